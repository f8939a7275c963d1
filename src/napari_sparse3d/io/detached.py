"""The voxels behind a NRRD or MetaImage header: which files hold them, contained, and their decoding within bounds.

A header may name its data files in many ways. Whatever form a name has, it is resolved first, and only a file that
really lies in the header's own folder is opened.
"""

from __future__ import annotations

import binascii
import bz2
import hashlib
import os
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.deflate import Inflated
from napari_sparse3d.io.filling import ByteSource
from napari_sparse3d.io.limits import MAX_DEFLATE_RATIO, check_claim
from napari_sparse3d.io.naming import safe_file_name

_BLOCK = 1 << 20
_MAX_FILES = 1_000_000
_OUTSIDE = "the header names a data file in another folder; keep header and data in one folder"
_MISSING = "the data file that the header names is not beside it; keep header and data in one folder"
_ENDS_EARLY = "the compressed voxels end too early: the file is truncated; copy it again from its source"
_ENDINGS = re.compile(r"((\.nii|\.hdr|\.img|\.raw)?\.gz|\.raw\.bz2|\.[A-Za-z0-9]{1,8})$")


class Encoding(Enum):
    """How voxels are written down."""

    RAW = "raw"
    GZIP = "gzip"
    """Deflated, in a gzip or a zlib wrapper."""
    BZIP2 = "bzip2"
    ASCII = "ascii"
    HEX = "hex"


@dataclass(frozen=True)
class VoxelFiles:
    """Where the voxels of one image lie.

    Parameters
    ----------
    files : tuple of Path
        In order; each holds an equal share of the voxels.
    encoding : Encoding
        Of every file.
    offset : int
        Bytes before the data: the header in front of them, or what a header says to skip of the file as it is.
    line_skip : int
        Lines to skip after ``offset``, in the file as it is.
    byte_skip : int
        Bytes to skip then, of what is decoded where the data are compressed; -1: the data are the last bytes.
    """

    files: tuple[Path, ...]
    encoding: Encoding
    offset: int = 0
    line_skip: int = 0
    byte_skip: int = 0

    def check(self, n_items: int, dtype: np.dtype[Any], *, what: str, least_items: int) -> None:
        """Refuse, before anything is decoded, what the files cannot hold, and what they hold too much.

        Parameters
        ----------
        n_items, dtype
            What the header claims.
        what : str
            Who claims it, for the message.
        least_items : int
            The fewest that are read at a time: one volume.

        Raises
        ------
        ReadError
            With both figures.
        """
        sizes = [path.stat().st_size for path in self.files]
        n_bytes, each = n_items * dtype.itemsize, n_items * dtype.itemsize // len(self.files)
        packed = self.encoding in (Encoding.GZIP, Encoding.BZIP2)
        # the least that a value takes: a digit and a space as text, two digits a byte in hexadecimal
        claimed = {Encoding.ASCII: n_items, Encoding.HEX: 2 * n_bytes}.get(self.encoding, n_bytes)
        check_claim(
            claimed, sum(sizes), what=what, compressed=packed, least_bytes=least_items * dtype.itemsize,
            max_ratio=_MAX_BZIP2_RATIO if self.encoding is Encoding.BZIP2 else None,
        )  # fmt: skip
        if self.encoding is Encoding.RAW:
            for path, size in zip(self.files, sizes, strict=True):
                with path.open("rb") as file:
                    start = self._start(file)
                    held = size - start - max(self.byte_skip, 0)
                if held < each:
                    raise _too_short(each, held)
                if held > each and self.byte_skip != -1:
                    raise _too_long()
        elif self.encoding is Encoding.GZIP and self.byte_skip >= 0:
            for path, size in zip(self.files, sizes, strict=True):
                # a gzip file ends with the unpacked size of its last member, modulo 2^32 (RFC 1952); one that was cut
                # off ends with anything, mostly more than it could unpack to
                with path.open("rb") as file:
                    file.seek(self._start(file))
                    is_gzip = file.read(2) == b"\x1f\x8b"
                    file.seek(max(0, size - 4))
                    ends = int.from_bytes(file.read(4), "little")
                if is_gzip and each + self.byte_skip < ends <= size * MAX_DEFLATE_RATIO:
                    raise _too_long()

    @property
    def in_order(self) -> bool:
        """Whether the voxels can be had one after the other, by :meth:`source`, without all of them in memory."""
        return self.encoding in _DECODERS and self.byte_skip >= 0

    @contextmanager
    def source(self, n_items: int, dtype: np.dtype[Any]) -> Iterator[ByteSource]:
        """The bytes of all values, one after the other.

        Its methods raise ``ReadError`` where the files hold fewer or more values, or are damaged; ``verify`` reads to
        their ends.
        """
        with closing(self._blocks(n_items * dtype.itemsize // len(self.files))) as blocks:
            yield _Joined(blocks)

    def read(self, n_items: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """All values, (n_items,), in ``dtype``; a view of the file itself where that is raw and alone.

        Raises
        ------
        ReadError
            If the files hold fewer or more values, or are damaged.
        """
        each = n_items // len(self.files)
        if self.encoding is Encoding.RAW and len(self.files) == 1:
            with self.files[0].open("rb") as file:
                start = self._raw_start(file, each * dtype.itemsize)
            return np.memmap(self.files[0], dtype, "r", start, (n_items,))
        values = np.empty(n_items, dtype)
        if self.encoding is Encoding.ASCII:
            for number, path in enumerate(self.files):
                with path.open("rb") as file:
                    file.seek(self._start(file) + max(self.byte_skip, 0))
                    values[number * each : (number + 1) * each] = _from_text(file.read(), each, dtype)
            return values
        with self.source(n_items, dtype) as source:
            source.read_into(values.view(np.uint8).data)
            source.verify()
        return values

    def _blocks(self, n_bytes: int) -> Generator[memoryview]:
        for path in self.files:
            with path.open("rb") as file:
                yield from self._decoded(file, n_bytes)

    def _start(self, file: BinaryIO) -> int:
        file.seek(self.offset)
        for _ in range(self.line_skip):
            if not file.readline(_BLOCK):
                raise ReadError("the header skips more lines than the data file has; repair the header")
        return file.tell()

    def _raw_start(self, file: BinaryIO, n_bytes: int) -> int:
        if self.byte_skip == -1:
            return file.seek(0, os.SEEK_END) - n_bytes
        return self._start(file) + self.byte_skip

    def _decoded(self, file: BinaryIO, n_bytes: int) -> Iterator[memoryview]:
        """The bytes of one file's voxels."""
        if self.encoding is Encoding.RAW:
            file.seek(self._raw_start(file, n_bytes))
            return _exactly(_blocks(file), 0, n_bytes)
        file.seek(self._start(file))
        blocks = _DECODERS[self.encoding](file)
        if self.byte_skip == -1:
            return iter([_last(blocks, n_bytes)])
        return _exactly(blocks, self.byte_skip, n_bytes)


class _Joined:
    """A :class:`~napari_sparse3d.io.filling.ByteSource` of blocks that end where they should, or raise."""

    def __init__(self, blocks: Iterator[memoryview]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def skip(self, n_bytes: int) -> None:
        while n_bytes:
            n_bytes -= len(self._next(n_bytes))

    def read_into(self, out: memoryview) -> None:
        at = 0
        while at < len(out):
            piece = self._next(len(out) - at)
            out[at : at + len(piece)] = piece
            at += len(piece)

    def verify(self) -> None:
        for _ in self._blocks:
            pass

    def _next(self, most: int) -> memoryview:
        while not self._rest:
            self._rest = next(self._blocks)
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece


_MAX_BZIP2_RATIO = 60_000_000
"""A block of bzip2 holds 900,000 bytes, after runs of 255 were shortened to five, and takes at least a few bytes."""


def beside(header: Path, name: str) -> Path:
    """The file that a header names, which has to lie in the header's own folder.

    Backslashes count as slashes, ``.`` and ``..`` are resolved, links are followed. Where no file has the name, one
    whose name differs in its capitals alone is taken, or the one that a zip's member of that name was unpacked to.

    Raises
    ------
    ReadError
        If it lies elsewhere, or there is none.
    """
    cleaned = name.strip().replace("\\", "/")
    if not cleaned or "\0" in cleaned or re.match(r"[A-Za-z]:", cleaned):
        raise ReadError(_OUTSIDE)
    # by words first, so that nothing elsewhere is even looked at
    folder = Path(os.path.abspath(header.parent))  # noqa: PTH100 - resolve() would follow links
    target = Path(os.path.abspath(folder / cleaned))  # noqa: PTH100
    if target.parent != folder:
        raise ReadError(_OUTSIDE)
    try:
        if not target.is_file():
            target = _named_alike(folder, target.name)
        really = Path(os.path.realpath(target))
    except (OSError, ValueError) as error:  # a name that no file can have
        raise ReadError(_MISSING) from error
    if really.parent != Path(os.path.realpath(folder)):
        raise ReadError(_OUTSIDE)
    return target


def numbered(pattern: str, first: int, last: int, step: int) -> list[str]:
    """The names that a pattern of C's ``printf`` with one whole number stands for.

    Raises
    ------
    ReadError
        If the pattern has another form, or the numbers lead nowhere.
    """
    parts = re.fullmatch(r"((?:[^%]|%%)*)%([-+ 0]*\d{0,3})[diu]((?:[^%]|%%)*)", pattern)
    if parts is None or step == 0:
        raise ReadError("the header names its data files by a pattern that is not one number with a step; list them")
    count = (last - first) // step + 1
    if not 1 <= count <= _MAX_FILES:
        raise ReadError(
            f"the header's pattern of data files, from {first} to {last} by {step}, names none, or too many"
        )
    before, after = parts[1].replace("%%", "%"), parts[3].replace("%%", "%")
    return [f"{before}{f'%{parts[2]}d' % (first + step * n)}{after}" for n in range(count)]


def _named_alike(folder: Path, name: str) -> Path:
    unpacked = unpacked_name(name)
    alike = [
        file
        for file in folder.iterdir()
        if (file.name.lower() == name.lower() or file.name.endswith(unpacked[unpacked.rindex("_") :]))
        and file.is_file()
    ]
    if len(alike) != 1:
        raise ReadError(_MISSING)
    return alike[0]


def unpacked_name(name: str) -> str:
    """What a zip's member is called when it is unpacked: words that describe an image, and a mark of its whole name.

    The name itself may hold an identity. The mark is the same for both halves of a pair, and :func:`beside` finds the
    file by it.
    """
    ending = next(iter(re.findall(_ENDINGS, name)), ("",))[0].lower()
    stem = name[: len(name) - len(ending)]
    mark = hashlib.blake2b(stem.lower().encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    return f"{safe_file_name(Path(stem), 'volume')}_x{mark}{ending}"


def _too_short(expected: int, found: int) -> ReadError:
    return ReadError(
        f"a data file holds {max(found, 0)} bytes of voxels, the header's sizes need {expected}: it is truncated, or "
        "another file than the header was written for"
    )


def _too_long() -> ReadError:
    return ReadError(
        "the data are longer than the header's sizes say, so that every voxel may lie elsewhere than it should; "
        "correct the sizes or the bytes to skip in the header"
    )


def _exactly(blocks: Iterator[bytes], skip: int, n_bytes: int) -> Iterator[memoryview]:
    """So many bytes behind those to skip, and no more of them in ``blocks``."""
    at = -skip
    for block in blocks:
        piece = memoryview(block)[min(len(block), max(0, -at)) :]
        at += len(block)
        if at > n_bytes:
            raise _too_long()
        yield piece
    if at < n_bytes:
        raise _too_short(n_bytes, at)


def _last(blocks: Iterator[bytes], n_bytes: int) -> memoryview:
    """The last bytes of ``blocks``."""
    last = bytearray()
    for block in blocks:
        last += block
        if len(last) > 4 * max(n_bytes, _BLOCK):
            del last[: len(last) - n_bytes]
    if len(last) < n_bytes:
        raise _too_short(n_bytes, len(last))
    return memoryview(last)[len(last) - n_bytes :]


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """Members of gzip one after the other, or one zlib stream; never more than a block at a time."""
    inflated = Inflated(file)
    try:
        while block := inflated.read():
            yield block
    except zlib.error as error:
        raise ReadError("the compressed voxels are damaged (not deflated data); copy the file again") from error
    except EOFError as error:
        raise ReadError(_ENDS_EARLY) from error


def _bunzipped(file: BinaryIO) -> Iterator[bytes]:
    unpacker, packed = bz2.BZ2Decompressor(), b""
    try:
        while True:
            if unpacker.eof:
                packed = unpacker.unused_data or file.read(_BLOCK)
                if not packed.startswith(b"BZh"):
                    return
                unpacker = bz2.BZ2Decompressor()
            elif unpacker.needs_input:
                if not (packed := file.read(_BLOCK)):
                    break
            else:
                packed = b""
            if block := unpacker.decompress(packed, _BLOCK):
                yield block
    except (OSError, EOFError) as error:
        raise ReadError("the compressed voxels are damaged (not bzip2 data); copy the file again") from error
    raise ReadError(_ENDS_EARLY)


def _unhexed(file: BinaryIO) -> Iterator[bytes]:
    left = b""
    for block in _blocks(file):
        digits = left + b"".join(block.split())
        even = len(digits) // 2 * 2
        left = digits[even:]
        try:
            yield binascii.unhexlify(digits[:even])
        except binascii.Error as error:
            raise ReadError("the hexadecimal voxels hold other characters than 0-9 and a-f; check the file") from error
    if left:
        raise ReadError("the hexadecimal voxels have an odd number of digits: the file is truncated or damaged")


_DECODERS = {Encoding.GZIP: _inflated, Encoding.BZIP2: _bunzipped, Encoding.HEX: _unhexed}


def _from_text(text: bytes, n_items: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    words = text.replace(b",", b" ").split()
    if len(words) > n_items:
        raise _too_long()
    if len(words) < n_items:
        raise ReadError(f"the text holds {len(words)} values, the header's sizes need {n_items}: it is truncated")
    try:
        if dtype.kind == "f":
            return np.array(words, dtype="S").astype(np.float64).astype(dtype)
        values = [int(word) for word in words]
        limits = np.iinfo(dtype)
        if values and not (limits.min <= min(values) and max(values) <= limits.max):
            raise ReadError(f"the text holds whole numbers outside of the header's type {dtype.name}; correct the type")
        return np.array(values, dtype)
    except (ValueError, OverflowError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError("the text holds something else than numbers of the header's type; check the file") from error
