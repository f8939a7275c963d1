"""Which files and which of nibabel's classes an image is opened from: NIfTI-1 and -2, Analyze, MGH.

Told by the first bytes and not by the name, and refused before nibabel sees it where a header claims what cannot be.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.content import Beginning, first_bytes, is_mgh, other_half, voxels_are_packed
from napari_sparse3d.io.limits import MAX_HEADER_BYTES, check_claim, what_begins

_LIBRARY_ERRORS = (
    ImageFileError, HeaderDataError, MGHError, OSError, EOFError, zlib.error, ValueError, TypeError, KeyError,
    IndexError, OverflowError, struct.error, AttributeError, MemoryError, np.linalg.LinAlgError, ZeroDivisionError,
    WrapStructError, StopIteration,
)  # fmt: skip
"""What nibabel raises on damaged files (found by mutating real ones)."""


@contextmanager
def library_errors_as_read_errors() -> Iterator[None]:
    """Whatever the library raises on a damaged file becomes one clear line, without the file's name."""
    try:
        yield
    except ReadError:
        raise
    except FileNotFoundError as error:
        raise ReadError("one file of the .hdr/.img pair is missing; keep both in one folder") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ReadError(
            "the file is named .gz but its contents are not gzip, or are damaged; copy it again from its source"
        ) from error
    except EOFError as error:
        raise ReadError("the file ends before its voxels do: it is truncated; copy it again from its source") from error
    except MemoryError as error:
        raise ReadError("the volume does not fit into this machine's memory; crop or downsample it first") from error
    except _LIBRARY_ERRORS as error:
        if "Expected" in str(error) and "bytes" in str(error):
            raise ReadError(
                "the file ends before its voxels do: it is truncated; copy it again from its source"
            ) from error
        raise ReadError(
            f"the file is not a readable NIfTI, Analyze or MGH volume ({type(error).__name__}); "
            "check that it is what its name says"
        ) from error


class _Quaternions:
    """The rule of the NIfTI-1 reference code (nifti1_io, ``nifti_quatern_to_mat44``) for the rotation of a qform.

    A quaternion stored in single precision may be a hair over unit length, which is normalised. nibabel refuses it.
    """

    def get_qform_quaternion(self) -> NDArray[np.float64]:
        """(4,) [a, b, c, d] of unit length."""
        header: Any = self
        vector = np.array([header[f"quatern_{letter}"] for letter in "bcd"], dtype=np.float64)
        square = float(vector @ vector)
        if not square <= 1 + _QUATERNION_TOLERANCE:
            raise ReadError(
                f"the header's quaternion has a squared length of {square:.4g}, not 1 at most: it is no rotation; "
                "repair the header"
            )
        rest = 1 - square
        if rest < 1e-7:
            return np.array([0.0, *(vector / np.sqrt(square))])
        return np.array([np.sqrt(rest), *vector])


_QUATERNION_TOLERANCE = 1e-3


class _Nifti1Header(_Quaternions, nibabel.Nifti1Header):
    pass


class _Nifti1PairHeader(_Quaternions, nibabel.nifti1.Nifti1PairHeader):
    pass


class _Nifti2Header(_Quaternions, nibabel.Nifti2Header):
    pass


class _Nifti2PairHeader(_Quaternions, nibabel.nifti2.Nifti2PairHeader):
    pass


class _Nifti1Image(nibabel.Nifti1Image):
    header_class = _Nifti1Header


class _Nifti1Pair(nibabel.Nifti1Pair):
    header_class = _Nifti1PairHeader


class _Nifti2Image(nibabel.Nifti2Image):
    header_class = _Nifti2Header


class _Nifti2Pair(nibabel.Nifti2Pair):
    header_class = _Nifti2PairHeader


_BY_MAGIC = {b"n+1\0": _Nifti1Image, b"ni1\0": _Nifti1Pair, b"n+2\0": _Nifti2Image, b"ni2\0": _Nifti2Pair}
_ANALYZE: tuple[Any, ...] = (nibabel.Spm2AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.AnalyzeImage)


def open_image(path: Path, files: ExitStack) -> Any:
    """The nibabel image, voxels not read; refuses a header that claims what the file cannot hold.

    The class is chosen by the first bytes and not by the name; ``files`` closes what a name that is not nibabel's made
    necessary to open here.
    """
    header_path, image_path = _header_half(path), path
    head, compressed = first_bytes(header_path)
    if is_mgh(Beginning(header_path.name.lower(), head, compressed)):
        kind: Any = nibabel.MGHImage
        _check_orientation_flag(head)
    else:
        kind = _nifti_class(head, compressed, header_path)
        if kind not in (_Nifti1Image, _Nifti2Image):
            image_path = _image_half(header_path, path)
            compressed = _image_is_packed(image_path, _header_alone(kind, head))
    names = kind.filespec_to_file_map(str(header_path)) if kind in _ANALYZE else {}
    if kind is nibabel.MGHImage:  # which leaves a file that it opens itself open where its header is damaged
        names = {"image": _opened(image_path, compressed, files)}
    else:
        _, packed_header = first_bytes(header_path, 4)
        names |= {
            "header": _holder(header_path, packed_header, files),
            "image": _holder(image_path, compressed, files),
        }
    image = kind.from_file_map(names)
    if kind is not nibabel.MGHImage:
        _check_spacing(head, image)
    check_claim(
        _n_bytes(image, image.shape), image_path.stat().st_size, what="the header", compressed=compressed,
        least_bytes=_n_bytes(image, image.shape[:3]),
    )  # fmt: skip
    return image


def halves_of(path: Path) -> tuple[Path, ...]:
    """The files that :func:`open_image` takes an image from: one, or a pair and the ``.mat`` that SPM keeps beside it.

    Raises
    ------
    ReadError
        If the file is damaged, or the other half is missing.
    """
    header = _header_half(path)
    head, packed = first_bytes(header)
    kind = _nifti_class(head, packed, header)
    if kind in (_Nifti1Image, _Nifti2Image):
        return tuple(dict.fromkeys((header, path)))
    beside = kind.filespec_to_file_map(str(header)) if kind in _ANALYZE else {}
    matrix = [Path(beside["mat"].filename)] if "mat" in beside else []
    return (header, _image_half(header, path), *(file for file in matrix if file.is_file()))


def _header_half(path: Path) -> Path:
    """Of the image half of a pair its header; of any other file itself."""
    named = path.name.lower().endswith((".img", ".img.gz"))
    return (other_half(path, "hdr") or path) if named else path


def _image_half(header: Path, named: Path) -> Path:
    found = named if named != header else other_half(header, "img")
    if found is None:
        raise ReadError("one file of the .hdr/.img pair is missing; keep both in one folder")
    return found


def _header_alone(kind: Any, head: bytes) -> Any:
    return kind.header_class.from_fileobj(BytesIO(head), check=False)


def _image_is_packed(path: Path, header: Any) -> bool:
    """Of the image half of a pair: neither its name nor its first bytes say it, but the size that its header gives."""
    n_values = int(np.prod([int(n) for n in header.get_data_shape()], dtype=object))
    return voxels_are_packed(path, int(header.get_data_offset()) + n_values * header.get_data_dtype().itemsize)


def is_packed(image: Any) -> bool:
    """Whether the file of an opened image's voxels is gzip."""
    path = Path(image.file_map["image"].filename)
    if "header" in image.file_map and Path(image.file_map["header"].filename) != path:
        return _image_is_packed(path, image.header)
    return first_bytes(path, 4)[1]


def _holder(path: Path, packed: bool, files: ExitStack) -> FileHolder:
    """A file for nibabel: by its name, which tells it whether to unpack; opened here where that would be wrong."""
    if packed == path.name.lower().endswith((".gz", ".mgz")) and not path.name.lower().endswith((".bz2", ".zst")):
        return FileHolder(filename=str(path))
    return _opened(path, packed, files)


def _opened(path: Path, packed: bool, files: ExitStack) -> FileHolder:
    opened: Any = gzip.open(path, "rb") if packed else path.open("rb")  # noqa: SIM115 - closed by the stack
    return FileHolder(filename=str(path), fileobj=files.enter_context(opened))


def _n_bytes(image: Any, shape: Sequence[int]) -> int:
    return int(np.prod([int(n) for n in shape], dtype=object)) * int(image.get_data_dtype().itemsize)


def _check_orientation_flag(head: bytes) -> None:
    """FreeSurfer's mghformat: without goodRASFlag the fields of size and direction hold nothing.

    nibabel fills in 1 mm and a coronal orientation, and says afterwards that the flag was set.
    """
    if head[28:30] != b"\0\1":
        raise ReadError(
            "the MGH header's flag for spacing and orientation (goodRASFlag) is not set: neither the voxels' size nor "
            "their directions are known; set them with the program that wrote it (mri_convert)"
        )


def _check_spacing(head: bytes, image: Any) -> None:
    """The voxel sizes as they are in the file: nibabel writes 1 over a 0, and takes the amount of a negative one."""
    if "sform_code" in image.header and int(image.header["sform_code"]) > 0:
        return  # which has them itself
    end = image.header.endianness
    sizes = struct.unpack_from(end + "3d", head, 112) if is_nifti2(image) else struct.unpack_from(end + "3f", head, 80)
    if not (np.isfinite(sizes) & (np.array(sizes) != 0)).all():
        told = ", ".join(f"{size:g}" for size in sizes)
        raise ReadError(
            f"the header gives no distance between the voxels (pixdim {told}, and no sform); set it with the program "
            "that wrote the file"
        )


def is_nifti2(image: Any) -> bool:
    """Whether an opened image has a header of NIfTI-2."""
    return isinstance(image, nibabel.Nifti1Pair) and int(image.header["sizeof_hdr"]) == 540


def _nifti_class(head: bytes, packed: bool, path: Path) -> Any:
    """By the first bytes; with bounds that nibabel does not check: it reads extensions up to where voxels begin."""
    if not head:
        if packed:
            raise ReadError("the file's contents begin like gzip and are damaged; copy it again from its source")
        raise ReadError("the file is empty; copy it again from its source")
    if len(head) < 348:
        raise ReadError(
            f"the file holds {len(head)} bytes, less than a NIfTI header of 348: it is truncated or no NIfTI file"
        )
    for endian in "<>":
        size = struct.unpack(endian + "i", head[:4])[0]
        if size == 348:
            offset, magic = struct.unpack(endian + "f", head[108:112])[0], head[344:348]
        elif size == 540 and len(head) < 540:
            raise ReadError(f"the file holds {len(head)} bytes, less than a NIfTI-2 header of 540: it is truncated")
        elif size == 540:
            offset, magic = struct.unpack(endian + "q", head[168:176])[0], head[4:8]
        else:
            continue
        if not 0 <= offset <= MAX_HEADER_BYTES:
            raise ReadError(
                f"the header says that the voxels begin at byte {offset:g}, which no real file does: it is damaged"
            )
        known = _BY_MAGIC.get(magic)
        if known is not None and (size == 540) == (known in (_Nifti2Image, _Nifti2Pair)):
            return known
        if size == 540:
            raise ReadError("the file begins like NIfTI-2 but lacks its mark: the header is damaged")
        return next(kind for kind in _ANALYZE if kind.header_class.may_contain_header(head))
    if path.suffix.lower() == ".gz" and not packed:
        raise ReadError(
            f"the file is named .gz but its contents are not gzip: they begin {what_begins(head)}; copy it again from "
            "its source"
        )
    raise ReadError(
        f"the file does not begin with a NIfTI or Analyze header, but {what_begins(head)}: it is not what its name says"
    )
