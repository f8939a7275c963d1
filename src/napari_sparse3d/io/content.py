"""What a file begins with, by which it is known: a name is a habit, and many archives have other ones."""

from __future__ import annotations

import re
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from napari_sparse3d.io.deflate import GZIP_MAGIC, Inflated

_HEAD_BYTES = 1024
_METAIMAGE = re.compile(
    rb"\s*(ObjectType|ObjectSubType|Comment|NDims|DimSize|Name|ID|TransformType|BinaryData|CompressedData)\s*=",
    re.IGNORECASE,
)
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")


@dataclass(frozen=True)
class Beginning:
    """What is seen of a file before its format is known; what a format's ``sniff`` is given."""

    name: str
    """In lower case."""
    head: bytes
    """The first bytes, unpacked where the file is gzip."""
    packed: bool
    """Whether it is."""

    @classmethod
    def of(cls, path: Path) -> Beginning:
        """Of a file."""
        return cls(path.name.lower(), *first_bytes(path))


def first_bytes(path: Path, n_bytes: int = _HEAD_BYTES) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked where it is gzip, and whether it is.

    Damage to the packed bytes ends what is returned; it is no error here.
    """
    with path.open("rb") as file:
        head = file.read(n_bytes)
        if not head.startswith(GZIP_MAGIC):
            return head, False
        head += file.read(8 * n_bytes)
    inflated, unpacked = Inflated(BytesIO(head)), b""
    with suppress(zlib.error, EOFError):
        while block := inflated.read(n_bytes - len(unpacked)):
            unpacked += block
    return unpacked, True


def voxels_are_packed(path: Path, n_bytes: int) -> bool:
    """Whether a file of nothing but ``n_bytes`` of voxels is gzip: its first bytes may be those of gzip by chance.

    One that is shorter can only be packed; one that is not is packed where it unpacks to that many, checksum and all.
    """
    _, begins_so = first_bytes(path, 4)
    if not begins_so or path.stat().st_size < n_bytes:
        return begins_so
    with path.open("rb") as file, suppress(zlib.error, EOFError):
        inflated, n_unpacked = Inflated(file), 0
        while n_unpacked <= n_bytes and (block := inflated.read()):
            n_unpacked += len(block)
        return n_unpacked >= n_bytes
    return False


def other_half(path: Path, ending: str) -> Path | None:
    """The other half (``"hdr"`` or ``"img"``) of a pair, beside the one at ``path``; gzipped or not, in any case."""
    stem = re.sub(r"\.(hdr|img)(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    for name in (f"{stem}.{ending}", f"{stem}.{ending}.gz"):
        if (path.parent / name).is_file():
            return path.parent / name
    wanted = (f"{stem}.{ending}".lower(), f"{stem}.{ending}.gz".lower())
    alike = sorted(file for file in path.parent.iterdir() if file.name.lower() in wanted and file.is_file())
    return alike[0] if len(alike) == 1 else None


def is_clutter(name: str) -> bool:
    """Whether a file is one that systems leave beside others: macOS's shadows ``._x``, folder settings."""
    return name.startswith("._") or name.lower() in (".ds_store", "thumbs.db", "desktop.ini")


# -- what the formats of this package begin with -----------------------------------------------------------------------


def is_dicom(seen: Beginning) -> bool:
    """Its mark after the preamble. What has neither, a bare data set, is told by its reader alone."""
    return not seen.packed and seen.head[128:132] == b"DICM"


def is_nifti(seen: Beginning) -> bool:
    """Size and mark of a header of NIfTI or Analyze. The image half of a pair is told by its header."""
    head = seen.head
    if len(head) < 348:
        return False
    for endian in "<>":
        (size,) = struct.unpack(endian + "i", head[:4])
        if size == 348:
            # an Analyze header has no mark of its own; without a name that says so its dimensions have to be sound
            dims = struct.unpack(endian + "8h", head[40:56])
            named = seen.name.endswith((".hdr", ".hdr.gz"))
            return named or head[344:348] in _NIFTI_MAGIC or (1 <= dims[0] <= 7 and min(dims[1:4]) > 0)
        if size == 540:
            return True
    return False


def is_nrrd(seen: Beginning) -> bool:
    """Its mark; as a whole it is never packed."""
    return not seen.packed and seen.head.startswith(b"NRRD")


def is_metaimage(seen: Beginning) -> bool:
    """One of the fields that MetaIO writes first; as a whole it is never packed."""
    return not seen.packed and _METAIMAGE.match(seen.head) is not None


def is_mgh(seen: Beginning) -> bool:
    """Its version, and its name: four bytes are no mark."""
    return seen.name.endswith((".mgz", ".mgh")) and seen.head[:4] == b"\0\0\0\1"
