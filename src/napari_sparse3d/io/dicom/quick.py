"""The wanted tags of a plain DICOM header, several times faster than a general parser.

pydicom builds an object for each element of a file; a scan of ten thousand files wants some seventy of them, as
plain values. This walks the elements (PS3.5, 7.1) of little-endian files and keeps the wanted ones. Whatever it does
not know (another byte order, sequences that are wanted, other character sets, damage) it leaves to pydicom by returning
``None``; a test holds both against each other on every real file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

_READ = 8192
_UNDEFINED = 0xFFFFFFFF
_PIXELS = 0x7FE00008  # float, double float and integer pixel data follow from here
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"))
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_NUMBERS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d"}
_ONE_TEXT = (b"LT", b"ST", b"UT")
_CHARSETS = {"": "latin-1", "ISO_IR 6": "latin-1", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}
_CHARSET_TAG, _SYNTAX_TAG = 0x00080005, 0x00020010
_SIGN_OF_PIXELS = (0x00280120, 0x00280121)  # "US or SS": pixel padding value and the other end of its range
_REPRESENTATION = 0x00280103
_KEPT_UNPARSED = 0x00409096  # real world value mapping: Philips writes one into every classic image
_SEQUENCES = (b"SQ", b"UN")
_SHORTEST_ITEM = 8
_IMPLICIT = "1.2.840.10008.1.2"
_NOT_PLAIN = (
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.8.1",
)  # big endian, deflated, deflated frames


Span = tuple[int, int, int, bool]
"""Tag of a sequence, where its content begins and ends in the file, whether that is implicit."""
PrivateKey = tuple[str, int, int]
"""Creator, group and the last two digits of the element."""


@dataclass(frozen=True, slots=True)
class Unparsed:
    """The items of a sequence as they stand in the file."""

    content: bytes
    implicit: bool


@dataclass(frozen=True, slots=True)
class QuickHeader:
    """Wanted values by tag, and where the pixels begin."""

    values: Mapping[int, Any]
    private: Mapping[PrivateKey, Any]
    transfer_syntax: str
    pixels_at: int
    pixels_tag: int
    """Which kind of pixels begins there: integers, floats or doubles."""
    sequences: tuple[Span, ...]
    """At the top level, and elements that may be sequences: an implicit file does not say."""


class _Unknown(Exception):
    """Something that pydicom should see."""


Blocks = Mapping[tuple[int, str], Mapping[int, bytes]]
"""Group and creator to the wanted elements of the creator's block (last two digits) and their representation."""


def quick_header(file: BinaryIO, size: int, wanted: Mapping[int, bytes], blocks: Blocks) -> QuickHeader | None:
    """Read the wanted tags of a file that has a preamble; ``None`` where pydicom has to.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size : int
        Its size in bytes.
    wanted : mapping of int to bytes
        Tag to its value representation.
    blocks : mapping
        The wanted private elements, by group and creator.
    """
    try:
        return _Walk(file, size, wanted, blocks).header()
    except (_Unknown, struct.error, UnicodeDecodeError, ValueError):
        return None


class _Walk:
    """One pass over the elements of a file, with the buffer that it reads through."""

    def __init__(self, file: BinaryIO, size: int, wanted: Mapping[int, bytes], blocks: Blocks) -> None:
        self.file, self.size, self.wanted, self.blocks = file, size, wanted, blocks
        self.buffer, self.base = file.read(_READ), 0
        if self.buffer[128:132] != b"DICM" or self.buffer[132:134] != b"\x02\x00":
            raise _Unknown
        self.raw: dict[int, tuple[bytes, bytes]] = {}
        self.private: dict[int, PrivateKey] = {}
        """Wanted private elements of this file, as soon as their creator has shown in which block they are."""
        self.sequences: list[Span] = []
        self.opened, self.opened_at = 0, 0  # the outermost sequence of undefined length that we are in
        self.depth, self.explicit, self.syntax = 0, True, ""

    def header(self) -> QuickHeader:
        """The wanted values of the file."""
        pixels_at, pixels_tag = self._elements()
        if not self.syntax or self.depth:
            raise _Unknown
        values, private = self._values()
        return QuickHeader(values, private, self.syntax, pixels_at, pixels_tag, tuple(self.sequences))

    def _elements(self) -> tuple[int, int]:
        """Walk to the pixels: where they begin, and their tag; the file's end and 0 where there are none."""
        position, base, buffer, size = 132, self.base, self.buffer, self.size
        tag_and_length, just_length = struct.Struct("<HH2sH").unpack_from, struct.Struct("<I").unpack_from
        while base + position < size:
            if position + 12 > len(buffer):
                base, buffer = self._read_on(base + position)
                position = 0
            group, element, vr, length = tag_and_length(buffer, position)
            tag = group << 16 | element
            if group > 2 and not self.syntax:
                self.syntax = _syntax(self.raw)
                self.explicit = self.syntax != _IMPLICIT
            if group == 0xFFFE:
                (length,) = just_length(buffer, position + 4)
                position += 8 + self._delimiter(tag, length, base + position)
                continue
            if group == 0x7FE0 and tag >= _PIXELS and self.depth == 0:
                return base + position, tag
            if vr in _SHORT and (self.explicit or group == 2):
                position += 8
            elif self.explicit or group == 2:
                if vr not in _LONG:
                    raise _Unknown
                (length,) = just_length(buffer, position + 8)
                position += 12
            else:
                (length,) = just_length(buffer, position + 4)
                vr = self.wanted.get(tag, b"UN")
                position += 8
            if length == _UNDEFINED:
                self._open(tag, vr, base + position)
                continue
            if base + position + length > size:
                raise _Unknown
            if self.depth == 0:
                self._keep(tag, vr, position, length)
            position += length
        return base + position, 0

    def _read_on(self, at: int) -> tuple[int, bytes]:
        self.file.seek(at)
        buffer = self.file.read(_READ)
        if len(buffer) < 8:
            raise _Unknown
        self.base, self.buffer = at, buffer.ljust(12, b"\0")
        return self.base, self.buffer

    def _content(self, position: int, length: int) -> bytes:
        if position + length <= len(self.buffer):
            return self.buffer[position : position + length]
        self.file.seek(self.base + position)
        return self.file.read(length)

    def _delimiter(self, tag: int, length: int, at: int) -> int:
        """Take in an item, or the end of one or of a sequence, at ``at``; how much of it is passed over."""
        if tag == _ITEM:
            return 0 if length == _UNDEFINED else length
        if tag == _ITEM_END:
            return 0
        if tag != _SEQUENCE_END or self.depth == 0:
            raise _Unknown
        self.depth -= 1
        if self.depth == 0:
            self.sequences.append((self.opened, self.opened_at, at, not self.explicit))
            if self.opened == _KEPT_UNPARSED:
                self.file.seek(self.opened_at)
                self.raw[self.opened] = (b"SQ", self.file.read(at - self.opened_at))
        return 0

    def _open(self, tag: int, vr: bytes, at: int) -> None:
        """Enter a sequence of undefined length, whose content begins at ``at``."""
        # explicit UN of undefined length holds implicit elements (PS3.5, 6.2.2); leave that to pydicom
        if (tag in self.wanted and tag != _KEPT_UNPARSED) or (self.explicit and vr != b"SQ"):
            raise _Unknown
        if self.depth == 0:
            self.opened, self.opened_at = tag, at
        self.depth += 1

    def _keep(self, tag: int, vr: bytes, position: int, length: int) -> None:
        """Keep what is wanted of an element at the top level, whose content begins at ``position`` of the buffer."""
        if tag in self.wanted or tag in (_SYNTAX_TAG, _CHARSET_TAG):
            self.raw[tag] = (vr, self._content(position, length))
        elif 0x10 <= tag & 0xFFFF < 0x100 and tag >> 16 & 1:
            self._creator(tag >> 16, tag & 0xFF, self._content(position, length))
        if length >= _SHORTEST_ITEM and (not self.explicit or vr in _SEQUENCES):
            begins = self.base + position
            self.sequences.append((tag, begins, begins + length, not self.explicit or vr == b"UN"))

    def _creator(self, group: int, block: int, name: bytes) -> None:
        """From here on the wanted elements of this creator's block are wanted too (PS3.5, 7.8)."""
        creator = name.decode("latin-1").strip("\0 ")
        of_the_block = self.blocks.get((group, creator))
        if of_the_block is not None:
            self.wanted = dict(self.wanted)
            for last, vr in of_the_block.items():
                tag = group << 16 | block << 8 | last
                self.wanted[tag] = vr
                self.private[tag] = (creator, group, last)

    def _values(self) -> tuple[dict[int, Any], dict[PrivateKey, Any]]:
        """What was kept, as values: by tag, and of private blocks."""
        signed = self.raw.get(_REPRESENTATION, (b"", b""))[1][:1] == b"\1"
        encoding = _encoding(self.raw)
        values: dict[int, Any] = {}
        private: dict[PrivateKey, Any] = {}
        for tag, (written, content) in self.raw.items():
            vr = written
            if vr == b"UN" or (tag in self.private and vr in (b"OB", b"OW")):
                # an archive or a converter did not know the element (PS3.5, 6.2.2); its name does
                vr = self.wanted.get(tag, vr)
            if tag in _SIGN_OF_PIXELS and (not self.explicit or written == b"UN"):
                vr = b"SS" if signed else b"US"
            if tag == _KEPT_UNPARSED and content:
                values[tag] = Unparsed(content, implicit=not self.explicit or written == b"UN")
            elif tag in self.private:
                private.setdefault(self.private[tag], _value(vr, content, encoding))
            else:
                values[tag] = _value(vr, content, encoding)
        return values, private


def adds_up(content: bytes, implicit: bool, little: bool) -> bool:
    """Whether every length in a sequence's content, at any depth, ends where what holds it does (PS3.5, 7.5)."""
    order = "<" if little else ">"
    header, word, short = (struct.Struct(order + form).unpack_from for form in ("HHI", "I", "H"))
    ends = [len(content)]  # of the sequences and items that we are in, from the outermost; -1: until its delimiter
    position = 0
    while ends != [position]:
        if position == ends[-1]:
            ends.pop()
            continue
        if position + 8 > len(content) or 0 <= ends[-1] < position:
            return False
        group, element, length = header(content, position)
        tag, vr = group << 16 | element, content[position + 4 : position + 6]
        position += 8
        if tag in (_ITEM_END, _SEQUENCE_END):
            if length or ends.pop() != -1:
                return False
            continue
        holds = tag == _ITEM
        if not holds and not implicit:
            if vr in _LONG and position + 4 <= len(content):
                (length,) = word(content, position)
                position += 4
            elif vr in _SHORT:
                (length,) = short(content, position - 2)
            else:
                return False
            holds = vr == b"SQ"
        if length == _UNDEFINED:
            if not (holds or implicit):
                return False
            ends.append(-1)
        elif position + length > len(content):
            return False
        elif holds:
            ends.append(position + length)
        else:
            position += length
    return True


def _syntax(raw: Mapping[int, tuple[bytes, bytes]]) -> str:
    syntax = raw[_SYNTAX_TAG][1].rstrip(b"\0 ").decode("ascii") if _SYNTAX_TAG in raw else ""
    if not syntax.startswith("1.2.840.10008.1.2") or syntax in _NOT_PLAIN:
        raise _Unknown
    return syntax


def _encoding(raw: Mapping[int, tuple[bytes, bytes]]) -> str:
    name = raw[_CHARSET_TAG][1].decode("ascii").strip("\0 ") if _CHARSET_TAG in raw else ""
    if name not in _CHARSETS:
        raise _Unknown
    return _CHARSETS[name]


def _value(vr: bytes, content: bytes, encoding: str) -> Any:
    """As pydicom has it: ``None`` for nothing, one value, or a list of several; numbers written as text stay text."""
    if vr in _NUMBERS:
        code = _NUMBERS[vr]
        count = len(content) // struct.calcsize(code)
        if count * struct.calcsize(code) != len(content):
            raise _Unknown
        numbers = struct.unpack(f"<{count}{code}", content)
        return numbers[0] if count == 1 else list(numbers) or None
    if vr in (b"OB", b"UN", b"OW"):
        return content
    if vr == b"SQ":
        if content:
            raise _Unknown
        return None
    text = content.decode(encoding).rstrip("\0 ")
    if not text:
        return None
    if vr in _ONE_TEXT or "\\" not in text:
        return text
    return [part.strip(" ") for part in text.split("\\")]
