"""Deflated streams, gzip's and zlib's: unpacked and packed by ISA-L where its package is there, else by zlib.

ISA-L takes half of zlib's time to unpack and a quarter to pack (``docs/decisions/0031-deflate-by-isa-l.md``). Python's
``gzip`` looks at a checksum only when it is asked for a byte beyond the last one; here it can be asked for.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any, BinaryIO

_unpacking: Any = zlib
_packing: Any = gzip.GzipFile
LEVEL = 1
"""As nibabel packs: beyond it zlib takes twice the time for a few percent."""

try:
    from isal import igzip, isal_zlib

    _unpacking, _packing = isal_zlib, igzip.IGzipFile
    LEVEL = isal_zlib.ISAL_DEFAULT_COMPRESSION
except ImportError:  # no wheel for this processor
    pass

GZIP_MAGIC = b"\x1f\x8b"
BLOCK = 1 << 18
"""Bytes at a time, in the nearest caches when they are copied on."""

_PACKED_BLOCK = 1 << 17


class Inflated:
    """What a stream holds, in order: members of gzip one after the other, or one zlib stream.

    Zeros behind a member are padding, as gzip itself takes them. Anything else there ends the stream, and ``trailing``
    says so.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.trailing = False
        self._file = file
        self._packed = b""
        self._inflater: Any = _unpacking.decompressobj(wbits=47)  # gzip or zlib, by the first bytes

    def read(self, n_bytes: int = BLOCK) -> bytes:
        """The next bytes, at least one and at most so many; none only behind the last, or where none are asked for.

        Raises
        ------
        EOFError
            If the file ends before the stream does.
        zlib.error
            If the stream is damaged: no deflated data, or others than its checksum is of.
        """
        block = b""
        while n_bytes and not block:
            if self._inflater is None and not self._begin_member():
                return b""
            block = self._step(n_bytes)
        return block

    def verify(self, most_bytes: int) -> None:
        """Unpack to the end of the member that the last byte came from, where its checksum and size are.

        Given up without a word where that is more than ``most_bytes`` away. Errors as :meth:`read`.
        """
        while self._inflater is not None and most_bytes > 0:
            most_bytes -= len(self._step(BLOCK))

    def _step(self, n_bytes: int) -> bytes:
        packed = self._packed or self._file.read(_PACKED_BLOCK)
        try:
            block: bytes = self._inflater.decompress(packed, n_bytes)
        except zlib.error:
            raise
        except _unpacking.error as error:
            raise zlib.error(str(error)) from error
        self._packed = self._inflater.unconsumed_tail
        if self._inflater.eof:
            self._packed, self._inflater = self._inflater.unused_data, None
        elif not packed and not block:  # nothing was left inside of it either
            raise EOFError("the deflated data end too early")
        return block

    def _begin_member(self) -> bool:
        behind = self._packed.lstrip(b"\0")
        while len(behind) < len(GZIP_MAGIC) and (more := self._file.read(_PACKED_BLOCK)):
            behind = (behind + more).lstrip(b"\0")
        self._packed = behind
        if not behind.startswith(GZIP_MAGIC):
            self.trailing = bool(behind)
            return False
        self._inflater = _unpacking.decompressobj(wbits=31)
        return True


def gzip_writer(file: BinaryIO) -> BinaryIO:
    """A file whose bytes arrive in ``file`` as one member of gzip; closing it leaves ``file`` open.

    Without name and time, so that equal content gives equal bytes.
    """
    packing: BinaryIO = _packing(filename="", mode="wb", compresslevel=LEVEL, fileobj=file, mtime=0)
    return packing
