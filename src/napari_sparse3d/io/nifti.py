"""NIfTI-1 and -2, Analyze and MGH/MGZ, through nibabel."""

from __future__ import annotations

import gzip
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io.content import Beginning, first_bytes, is_mgh, other_half
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.intensity import refuse_all_nan, rescaled, unit_and_modality, unit_of_header
from napari_sparse3d.io.limits import MAX_HEADER_BYTES, check_claim, check_memory, what_begins
from napari_sparse3d.io.naming import named_as_labels, safe_file_name
from napari_sparse3d.io.orientation import axis_codes, canonical, shear_degrees
from napari_sparse3d.io.provenance import is_stamped_as_labels
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence
from napari_sparse3d.volume import whole_labels

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI-1 xyzt_units: unknown, metre, mm, micron
_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}  # and its bits of time; Hz, ppm and rad/s (32, 40, 48) are no time
_LIBRARY_ERRORS = (
    ImageFileError, HeaderDataError, MGHError, OSError, EOFError, zlib.error, ValueError, TypeError, KeyError,
    IndexError, OverflowError, struct.error, AttributeError, MemoryError, np.linalg.LinAlgError, ZeroDivisionError,
    WrapStructError, StopIteration,
)  # fmt: skip
"""What nibabel raises on damaged files (found by mutating real ones)."""

SHEAR_SAID_DEGREES = 0.25
FORMS_AGREE_MM = 0.05


def scan_nifti(path: Path) -> tuple[SeriesInfo]:
    """Read the header of one file.

    Raises
    ------
    ReadError
        If the file is not what its name says, is truncated, or is not a volume.
    """
    with _one_line(), warnings.catch_warnings(), ExitStack() as files:
        warnings.simplefilter("ignore")
        return (_describe(path, _open(path, files)),)


@dataclass(frozen=True)
class NiftiFile:
    """Loads the voxels of one file."""

    path: Path

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        with _one_line(), warnings.catch_warnings(), ExitStack() as files:
            warnings.simplefilter("ignore")
            image = _open(self.path, files)
            info = _describe(self.path, image)
            stored = _voxels(image, frames)
            repairs = []
            if np.iscomplexobj(stored):
                stored = np.abs(stored)
                repairs.append("magnitude of complex voxels")
            order = canonical(_spatial_shape(image), _affine_mm(image)[0])
            # (x, y, z, t) as stored to (t, z, y, x)
            data = np.ascontiguousarray(np.stack([order.apply(stored[..., t]) for t in range(stored.shape[3])]))
        refuse_all_nan(data)
        unit, modality, source = unit_and_modality(_free_text(image), data)
        meta: dict[str, Any] = {
            "format": info.format,
            "stored_orientation": info.orientation,
            "stored_dtype": str(image.get_data_dtype()),
            "faults": [fault.as_dict() for fault in info.faults],
        }
        if source:
            meta["unit_from"] = source
        if _is_label_map(image, self.path):
            # labels in floating point are common (a scaled or resampled file); probabilities stay what they are
            with suppress(InputError):
                data = whole_labels(data)
                meta["labels"] = True
        if repairs:
            meta["repairs"] = repairs
        times = _times_s(image, info.n_frames)
        if times is not None and frames is not None:
            times = tuple(times[t] for t in frames)
        return VolumeSequence(data, order.affine, unit, modality, info.description, meta, times)


@contextmanager
def _one_line() -> Iterator[None]:
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


def _open(path: Path, files: ExitStack) -> Any:
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
            _, compressed = first_bytes(image_path, 4)
    names = kind.filespec_to_file_map(str(header_path)) if kind in _ANALYZE else {}
    if kind is nibabel.MGHImage:  # which leaves a file that it opens itself open where its header is damaged
        names = {"image": _opened(image_path, compressed, files)}
    else:
        names |= {"header": _holder(header_path, files), "image": _holder(image_path, files)}
    image = kind.from_file_map(names)
    if kind is not nibabel.MGHImage:
        _check_spacing(head, image)
    check_claim(
        _n_bytes(image, image.shape), image_path.stat().st_size, what="the header", compressed=compressed,
        least_bytes=_n_bytes(image, image.shape[:3]),
    )  # fmt: skip
    return image


def halves_of(path: Path) -> tuple[Path, ...]:
    """The files that :func:`_open` takes an image from: one, or a pair and the ``.mat`` that SPM keeps beside it.

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


def _holder(path: Path, files: ExitStack) -> FileHolder:
    """A file for nibabel: by its name, which tells it whether to unpack; opened here where that would be wrong."""
    _, packed = first_bytes(path, 4)
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
    sizes = struct.unpack_from(end + "3d", head, 112) if _is_nifti2(image) else struct.unpack_from(end + "3f", head, 80)
    if not (np.isfinite(sizes) & (np.array(sizes) != 0)).all():
        told = ", ".join(f"{size:g}" for size in sizes)
        raise ReadError(
            f"the header gives no distance between the voxels (pixdim {told}, and no sform); set it with the program "
            "that wrote the file"
        )


def _is_nifti2(image: Any) -> bool:
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


def _describe(path: Path, image: Any) -> SeriesInfo:
    name = safe_file_name(path)
    kind = _format_name(image)
    faults: list[Fault] = []
    dtype = image.get_data_dtype()
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    orientation, n_frames = "", 1
    if dtype.fields is not None:
        faults.append(
            Fault.of(
                FaultKind.COLOUR, "voxels are RGB colours, not intensities; convert one channel to a scalar volume"
            )
        )
    elif min(image.shape, default=0) < 1 or len(image.shape) < 3:
        faults.append(
            Fault.of(
                FaultKind.NOT_A_VOLUME,
                f"the image is {len(image.shape)}D with shape {image.shape}; a volume needs three axes",
            )
        )
    elif any(n > 1 for n in image.shape[4:]):
        faults.append(
            Fault.of(
                FaultKind.NOT_A_VOLUME,
                f"voxels are vectors or matrices (shape {image.shape}); extract one component first",
            )
        )
    else:
        if np.issubdtype(dtype, np.complexfloating):
            faults.append(
                Fault.of(FaultKind.COMPLEX, "voxels are complex numbers; their magnitude can be read on request")
            )
        affine, notes = _affine_mm(image)
        faults.extend(notes)
        order = canonical(_spatial_shape(image), affine)
        shape = order.shape
        z, y, x = np.linalg.norm(order.affine[:3, :3], axis=0).tolist()
        spacing = (z, y, x)
        orientation = axis_codes(affine)
        shear = shear_degrees(affine)
        if shear > SHEAR_SAID_DEGREES:
            faults.append(
                Fault.of(
                    FaultKind.SHEARED,
                    f"axes miss being perpendicular by {shear:.2f} degrees; the affine keeps it, displays drop it",
                )
            )
        if 1 in _spatial_shape(image):
            faults.append(
                Fault.of(
                    FaultKind.SINGLE_SLICE,
                    f"only one voxel along an axis (shape {shape}): the spacing there is the header's word",
                )
            )
        n_frames = int(image.shape[3]) if len(image.shape) > 3 else 1
        if n_frames > 1:
            faults.append(Fault.of(FaultKind.FOUR_D, f"{n_frames} volumes; choose one with frame=0 to {n_frames - 1}"))
    return SeriesInfo(
        0,
        kind,
        "",
        name,
        shape,
        n_frames,
        spacing,
        orientation,
        unit_of_header(_free_text(image), dtype, *_scaling(image)),
        1,
        tuple(faults),
        source=path,
        loader=NiftiFile(path),
    )


def _free_text(image: Any) -> str:
    return bytes(image.header["descrip"]).decode("latin-1") if "descrip" in image.header else ""


_INTENT_LABEL = 1002


def _is_label_map(image: Any, path: Path) -> bool:
    """Whether the voxels are labels: the header's intent says so, or an integer file is named as such."""
    if isinstance(image, nibabel.Nifti1Pair) and int(image.header["intent_code"]) == _INTENT_LABEL:
        return True
    if is_stamped_as_labels(_free_text(image)):
        return True
    return bool(image.get_data_dtype().kind in "iu" and named_as_labels(path))


def _format_name(image: Any) -> str:
    if isinstance(image, nibabel.MGHImage):
        return "MGH"
    if not isinstance(image, nibabel.Nifti1Pair):
        return "Analyze"
    return "NIfTI-2" if _is_nifti2(image) else "NIfTI-1"


def _spatial_shape(image: Any) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in image.shape[:3])
    return x, y, z


def _affine_mm(image: Any) -> tuple[NDArray[np.float64], list[Fault]]:
    """The affine in RAS millimetres, and what its header leaves open."""
    affine = np.array(image.affine, dtype=np.float64)
    header = image.header
    if isinstance(image, nibabel.MGHImage):
        return affine, []  # in mm, by definition
    if not isinstance(image, nibabel.Nifti1Pair):
        return affine, [
            Fault.of(
                FaultKind.UNKNOWN_ORIENTATION,
                "an Analyze header has no orientation: left and right are assumed, not known",
            )
        ]
    faults = []
    code = int(header["xyzt_units"]) & 7
    if code not in _MM_PER_UNIT:
        raise ReadError(
            f"the header's spatial unit code is {code}; 1 (metre), 2 (mm) and 3 (micron) are defined; repair the header"
        )
    to_mm = _MM_PER_UNIT[code]
    if code == 0:
        faults.append(
            Fault.of(FaultKind.UNKNOWN_UNIT, "the header names no spatial unit; millimetres are assumed, as everywhere")
        )
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if sform == 0 and qform == 0:
        faults.append(
            Fault.of(
                FaultKind.UNKNOWN_ORIENTATION, "sform and qform are both unset: left and right are assumed, not known"
            )
        )
    elif sform > 0:
        faults.extend(_disagreement(image, affine, to_mm))
    affine[:3] *= to_mm
    return affine, faults


def _times_s(image: Any, n_frames: int) -> tuple[float, ...] | None:
    """When each volume begins; ``None`` where the header gives no step, or no unit of time with it."""
    if n_frames < 2:
        return None
    if isinstance(image, nibabel.MGHImage):
        step, first = float(image.header["tr"]) * 1e-3, 0.0  # milliseconds (FreeSurfer's mghformat)
    elif isinstance(image, nibabel.Nifti1Pair):
        per_unit = _SECONDS_PER_UNIT.get(int(image.header["xyzt_units"]) & 0x38)
        if per_unit is None:
            return None
        step, first = float(image.header["pixdim"][4]) * per_unit, float(image.header["toffset"]) * per_unit
        first = first if np.isfinite(first) else 0.0
    else:
        return None
    if not np.isfinite(step) or step <= 0:
        return None
    return tuple(first + step * n for n in range(n_frames))


def _disagreement(image: Any, affine: NDArray[np.float64], to_mm: float) -> list[Fault]:
    """The sform is what counts; say where the qform, or the voxel sizes beside it, tell something else."""
    header = image.header
    if int(header["qform_code"]) > 0:
        try:
            other = np.asarray(header.get_qform(), dtype=np.float64)
        except (HeaderDataError, ValueError):
            return [Fault.of(FaultKind.FORMS_DISAGREE, "the qform is not a rotation; the sform is used")]
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in _spatial_shape(image)], [1])).reshape(4, -1)
        distance = float(np.abs((affine - other) @ corners)[:3].max()) * to_mm
        if not distance <= FORMS_AGREE_MM:
            return [
                Fault.of(
                    FaultKind.FORMS_DISAGREE,
                    f"they differ by up to {distance:.3g} mm at the corners; the sform is used",
                )
            ]
        return []
    sizes = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64)) * to_mm
    columns = np.linalg.norm(affine[:3, :3], axis=0) * to_mm
    if (np.abs(sizes - columns) > 0.01 * columns).any():
        return [
            Fault.of(
                FaultKind.FORMS_DISAGREE,
                f"the sform has voxels of {np.round(columns, 4).tolist()} mm, pixdim of {np.round(sizes, 4).tolist()} "
                "mm; the sform is used",
            )
        ]
    return []


def _voxels(image: Any, frames: Sequence[int] | None) -> NDArray[Any]:
    """(x, y, z, t), scaled; integers stay integers where the scaling leaves them so. Only ``frames`` are read."""
    proxy = image.dataobj
    raw = _stored(proxy, _spatial_shape(image), frames)
    slope, intercept = _scaling(image)
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise ReadError(f"the header's scaling is not finite (slope {slope}, intercept {intercept}); repair the header")
    if raw.dtype.kind == "c":
        return np.asarray(raw * slope + intercept)
    return rescaled(raw, 1.0 if slope == 0 else slope, intercept)


def _scaling(image: Any) -> tuple[float, float]:
    """Slope and intercept; a header that leaves them out means 1 and 0."""
    proxy = image.dataobj
    return float(np.nan_to_num(proxy.slope, nan=1.0)), float(np.nan_to_num(proxy.inter, nan=0.0))


def _stored(proxy: Any, shape: tuple[int, int, int], frames: Sequence[int] | None) -> NDArray[Any]:
    """(x, y, z, t) as stored."""
    n_frames = int(np.prod(proxy.shape[3:], dtype=int))
    chosen = range(n_frames) if frames is None else frames
    check_memory(int(np.prod(shape)) * len(chosen) * proxy.dtype.itemsize, what="the header")
    if len(chosen) == n_frames:
        whole: NDArray[Any] = np.asanyarray(proxy.get_unscaled()).reshape(*shape, -1, order="F")
        return whole if frames is None else whole[..., list(frames)]
    # a proxy of the same file without its scaling: a slice of it reads that slice alone
    unscaled: Any = ArrayProxy(  # type: ignore[no-untyped-call]
        proxy.file_like, (proxy.shape, proxy.dtype, proxy.offset, 1.0, 0.0), order=proxy.order
    )
    only = (0,) * (len(proxy.shape) - 4)  # a fifth axis and beyond has one place
    return np.stack([np.asanyarray(unscaled[(..., t, *only)]) for t in chosen], axis=-1)
