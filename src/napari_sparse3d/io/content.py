"""What a file is, told by its first bytes: a name is a habit, and many archives have other ones."""

from __future__ import annotations

import re
import struct
import zlib
from enum import Enum
from pathlib import Path

_HEAD_BYTES = 1024
_GZIP = b"\x1f\x8b"
_METAIMAGE = re.compile(
    rb"\s*(ObjectType|ObjectSubType|Comment|NDims|DimSize|Name|ID|TransformType|BinaryData|CompressedData)\s*=",
    re.IGNORECASE,
)
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0")

NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
MGH_ENDINGS = (".mgz", ".mgh")
NRRD_ENDINGS = (".nrrd", ".nhdr")
METAIMAGE_ENDINGS = (".mha", ".mhd")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima", ".dic")


class Content(Enum):
    """The formats that are told apart."""

    DICOM = "DICOM"
    NIFTI = "NIfTI or Analyze"
    MGH = "MGH"
    NRRD = "NRRD"
    METAIMAGE = "MetaImage"


def first_bytes(path: Path, n_bytes: int = _HEAD_BYTES) -> tuple[bytes, bool]:
    """The first bytes of a file, unpacked where it is gzip, and whether it is.

    Damage to the packed bytes ends what is returned; it is no error here.
    """
    with path.open("rb") as file:
        head = file.read(n_bytes)
        if not head.startswith(_GZIP):
            return head, False
        head += file.read(8 * n_bytes)
    try:
        return zlib.decompressobj(wbits=31).decompress(head, n_bytes), True
    except zlib.error:
        return b"", True


def content_of(path: Path) -> Content | None:
    """The format of a file by its first bytes; its name decides where they leave it open.

    ``None`` where neither tells. A DICOM file without a preamble is told by its reader alone, and the image half of a
    pair by its header.
    """
    head, packed = first_bytes(path)
    name = path.name.lower()
    if _is_nifti(head, named_header=name.endswith((".hdr", ".hdr.gz"))):
        return Content.NIFTI
    if name.endswith(MGH_ENDINGS) and head[:4] == b"\0\0\0\1":
        return Content.MGH
    if packed:
        return None  # no other format is packed as a whole
    if head[128:132] == b"DICM":
        return Content.DICOM
    if head.startswith(b"NRRD"):
        return Content.NRRD
    if _METAIMAGE.match(head):
        return Content.METAIMAGE
    return None


def named_format(path: Path) -> Content | None:
    """The format that a file's name claims."""
    name = path.name.lower()
    if name.endswith(NIFTI_ENDINGS):
        return Content.NIFTI
    if name.endswith(MGH_ENDINGS):
        return Content.MGH
    if name.endswith(NRRD_ENDINGS):
        return Content.NRRD
    if name.endswith(METAIMAGE_ENDINGS):
        return Content.METAIMAGE
    return Content.DICOM if name.endswith(DICOM_ENDINGS) else None


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


def _is_nifti(head: bytes, *, named_header: bool) -> bool:
    if len(head) < 348:
        return False
    for endian in "<>":
        (size,) = struct.unpack(endian + "i", head[:4])
        if size == 348:
            # an Analyze header has no mark of its own; without a name that says so its dimensions have to be sound
            dims = struct.unpack(endian + "8h", head[40:56])
            return named_header or head[344:348] in _NIFTI_MAGIC or (1 <= dims[0] <= 7 and min(dims[1:4]) > 0)
        if size == 540:
            return True
    return False
