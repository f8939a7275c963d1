"""Text from outside (names, classes, labels, paths, descriptions) as one line that a terminal and a table can show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

# what a terminal acts on (ECMA-48): control sequences such as colours, then strings such as window titles and links
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_BLANK_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")
"""Shown as nothing, though Unicode calls them letters or symbols."""


def printable(text: str) -> str:
    """One line that shows what it holds and does nothing: no control or format character, no escape sequence, no break.

    Breaks, tabs and other controls become spaces; a byte of a file's name that is no text becomes U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, _SEQUENCE.sub("", text)))


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    if category in ("Cc", "Zl", "Zp", "Zs"):
        return " "
    # format characters: bidirectional overrides, zero width, soft hyphen
    return "" if category == "Cf" or character in _BLANK_FILLERS else character


def one_file_name(name: str, fallback: str) -> str:
    """A name from outside as the name of one file or folder: it leads nowhere else, on any system.

    Letters, digits, ``_``, ``-`` and dots inside stay; whatever else stands between them becomes one ``-``.
    """
    clean = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", printable(name))).strip("-.")[:80].rstrip("-.")
    return f"_{clean}" if clean.split(".")[0].upper() in _RESERVED else clean or fallback


_RESERVED = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10)))
)
"""Windows gives these to devices, whatever ending follows."""


def any_of(words: Iterable[str]) -> str:
    """``a, b or c``."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for a word that is nearly a known one, or the last part of a dotted one; else ""."""
    by_letters: dict[str, str] = {}
    for name in known:
        for spelled in (name, name.rpartition(".")[2]):
            by_letters.setdefault(_letters(spelled), name)
    asked = _letters(word)
    near = get_close_matches(asked, by_letters, n=1, cutoff=0.7)
    near = near or [each for each in by_letters if len(asked) > 3 and each.startswith(asked)]
    return f"; did you mean {by_letters[near[0]]!r}?" if near else ""


def _letters(word: str) -> str:
    return re.sub(r"[\W_]", "", word).lower()


_FORMULA = re.compile(r"'*[=+\-@\t\r]", re.ASCII)


def cell_text(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula begins with an apostrophe.

    :func:`text_of_cell` gives every text back as it was.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def text_of_cell(text: str) -> str:
    """A cell of a CSV file without the apostrophe that :func:`cell_text` put before it."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
