"""What a reader refuses before it allocates: a header is a claim, the file's size says how much of it can be true."""

from __future__ import annotations

import os

from napari_sparse3d.errors import ReadError

MAX_DEFLATE_RATIO = 1032
"""Deflate (gzip, zlib, zip) cannot expand by more than 1032 to 1 (RFC 1951: 258 bytes from at least two bits)."""

MAX_HEADER_BYTES = 64 * 1024 * 1024
"""No header, extension block or side data before the voxels is larger than this in any real file."""

_MEMORY_SHARE = 0.75


def memory_limit_bytes() -> int:
    """The largest array that a reader makes: three quarters of this machine's memory."""
    try:
        return int(_MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not POSIX
        return 16 * 1024**3


_BEGINNINGS = {
    b"\x89PNG": "like a PNG picture", b"\xff\xd8\xff": "like a JPEG picture", b"%PDF": "like a PDF",
    b"PK\x03\x04": "like a zip", b"\x1f\x8b": "like gzip", b"NRRD": "like NRRD", b"<!DO": "like a web page",
    b"<htm": "like a web page", b"{": "like JSON",
}  # fmt: skip


def what_begins(head: bytes) -> str:
    """How a file begins, in words: its bytes themselves may be somebody's report."""
    for magic, words in _BEGINNINGS.items():
        if head.startswith(magic):
            return words
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64]):
        return "with text"
    return "with something else"


_BOMB_BYTES, _BOMB_RATIO = 2 * 1024**3, 500


def check_claim(
    n_bytes: int,
    stored_bytes: int,
    *,
    what: str,
    compressed: bool,
    least_bytes: int | None = None,
    max_ratio: int | None = None,
) -> None:
    """Refuse a header that claims more voxels than the file can hold or than this machine can.

    Parameters
    ----------
    n_bytes : int
        Size of the voxels that the header claims, uncompressed.
    stored_bytes : int
        Bytes on disk that are to hold them.
    what : str
        What claims it, for the message (``"the NIfTI header"``).
    compressed : bool
        Whether the stored bytes are deflated.
    least_bytes : int, optional
        The least that is read at a time (one volume of a series in time); all of it unless told.
    max_ratio : int, optional
        How far the compression can expand, where it is another than deflate.

    Raises
    ------
    ReadError
        With both figures.
    """
    most = stored_bytes * (max_ratio or MAX_DEFLATE_RATIO) if compressed else stored_bytes
    if n_bytes > most:
        raise ReadError(
            f"{what} claims {_size(n_bytes)} of voxels but the file holds {_size(stored_bytes)}"
            f"{' compressed' if compressed else ''}: it is truncated or damaged; copy it again from its source"
        )
    if compressed and n_bytes > _BOMB_BYTES and n_bytes > _BOMB_RATIO * stored_bytes:
        raise ReadError(
            f"{what} claims {_size(n_bytes)} of voxels from {_size(stored_bytes)} compressed: no scan shrinks so far; "
            "unpack it first if it is sound"
        )
    check_memory(n_bytes if least_bytes is None else least_bytes, what=what)


def check_memory(n_bytes: int, *, what: str) -> None:
    """Refuse what would not fit into this machine's memory.

    Raises
    ------
    ReadError
        With the size.
    """
    if n_bytes > memory_limit_bytes():
        raise ReadError(
            f"{what} claims {_size(n_bytes)} of voxels, more than three quarters of this machine's memory; "
            "read it on a larger machine, or crop or downsample it first"
        )


def _size(n_bytes: int) -> str:
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")
