"""Words as they are compared with each other: by their letters alone, in whatever script and spelling they stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

_LATIN = {
    # letters that no decomposition takes apart
    **dict(zip("øłđðþıħŧŋæœßĸ", ("o", "l", "d", "d", "th", "i", "h", "t", "n", "ae", "oe", "ss", "k"), strict=True)),
    # Cyrillic and Greek as passports and libraries write them, as far as those agree (ISO 9, BGN/PCGN, ELOT 743)
    **dict(zip("абвгґдеэєзиіїйклмнопрстуфъьыў", "abvggdeeeziiiiklmnoprstuf''yu", strict=True)),
    **dict(zip("жхцчшщюя", ("zh", "kh", "ts", "ch", "sh", "shch", "yu", "ya"), strict=True)),
    **dict(zip("ђћљњџ", ("dj", "c", "lj", "nj", "dz"), strict=True)),
    **dict(zip("αβγδεζηικλμνοπρσςτυφωθξχψ", (*"avgdeziiklmnoprsstyfo", "th", "x", "ch", "ps"), strict=True)),
}  # fmt: skip
_LOOSE = (
    *(("tsch", "c"), ("shch", "s"), ("sch", "s"), ("sh", "s"), ("zh", "z"), ("kh", "h"), ("ch", "c"), ("ph", "f")),
    *(("tz", "c"), ("ts", "c"), ("cz", "c"), ("x", "ks"), ("y", "i"), ("j", "i"), ("w", "v"), ("f", "v")),
)
"""Ways to write one sound that differ between transliterations."""


def visible(text: str) -> str:
    """Without soft hyphens, zero-width and other format characters."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


def with_repaired(values: Iterable[str]) -> Iterator[str]:
    """Each text, and what it is :func:`repaired`, where that is another."""
    for value in values:
        yield value
        if (mended := repaired(value)) != value:
            yield mended


def repaired(text: str) -> str:
    """UTF-8 that was read as Latin-1, as where a file names no character set; else the text itself."""
    if text.isascii():
        return text
    try:
        return unicodedata.normalize("NFKC", text.encode("latin-1").decode("utf-8"))
    except UnicodeError:
        return text


def words_of(text: str) -> list[str]:
    """Runs of letters, marks and digits."""
    text = unicodedata.normalize("NFKC", visible(text))
    return "".join(ch if ch.isalnum() or unicodedata.category(ch)[0] == "M" else " " for ch in text).split()


def parts_of(word: str) -> list[str]:
    """``LiWuT1`` as Li, Wu, T, 1; letters of dense scripts apart from others. Nothing where there is one part."""
    runs = re.findall(r"\d+|[^\W\d_]+", word)
    parts = [part for each in runs for part in re.findall(_CAMEL, each) or [each]] if not word.islower() else runs
    parts = [run for part in parts for run in _by_density(part)]
    # two letters on their own are a name only where case parts them
    return [part for part in parts if len(part) >= 2 or is_dense(part)] if len(parts) > 1 else []


_CAMEL = r"[^\W\d_]?(?:(?<=[A-ZÀ-ÖØ-Þ])[a-zß-öø-ÿ]+|[a-zß-öø-ÿ]+)|[A-ZÀ-ÖØ-Þ]+(?![a-zß-öø-ÿ])"


def _by_density(word: str) -> list[str]:
    runs: list[str] = []
    for character in word:
        if runs and is_dense(runs[-1]) == is_dense(character):
            runs[-1] += character
        else:
            runs.append(character)
    return runs


def is_dense(text: str) -> bool:
    """Whether it is of a script in which one or two characters are a name: Chinese, Japanese, Korean."""
    return bool(text) and all(unicodedata.east_asian_width(character) in "WF" for character in text)


def key_of(word: str) -> str:
    """The word's letters and digits alone: Latin where they can be, without case, accents and width."""
    if word.isascii():
        return word.lower()
    lower = unicodedata.normalize("NFKC", visible(word)).casefold().replace("ου", "ou")
    # й and ї are letters of their own, which taking off their marks would change into others
    bare = "".join(
        _LATIN.get(ch, ch) if ch in _LATIN else "".join(map(_letter, unicodedata.normalize("NFKD", ch))) for ch in lower
    )
    return unicodedata.normalize("NFC", bare).replace("'", "")


def _letter(character: str) -> str:
    if unicodedata.category(character)[0] == "M":
        return ""
    if "ァ" <= character <= "ヶ":
        return chr(ord(character) - 0x60)  # hiragana
    digit = unicodedata.decimal(character, None)
    return _LATIN.get(character, character) if digit is None else str(digit)


def keys_of(word: str) -> set[str]:
    """The spellings that are taken for one word: its letters, with plain umlauts, and as transliterations differ."""
    key = key_of(word)
    plain = _plain_umlauts(key)
    loose = _loose(plain)
    return {key, plain, *([loose] if len(loose) >= 4 else [])} - {""}


def _plain_umlauts(key: str) -> str:
    """Without what German, Danish and Dutch write for an accent: Mueller, Muller and Müller are one."""
    for pair in ("ae", "oe", "ue", "aa", "ss"):
        key = key.replace(pair, pair[0])
    return key


def _loose(key: str) -> str:
    for written, sound in _LOOSE:
        key = key.replace(written, sound)
    return re.sub(r"(.)\1+", r"\1", key)


def without_accented(word: str) -> str:
    """``Mller``: what is left where a program dropped the letters that it did not know."""
    return "" if word.isascii() else "".join(character for character in word if character.isascii())
