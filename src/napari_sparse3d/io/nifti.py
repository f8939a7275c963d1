"""NIfTI-1 and -2, Analyze and MGH/MGZ, through nibabel."""

from __future__ import annotations

import gzip
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.intensity import refuse_all_nan, rescaled, unit_and_modality
from napari_sparse3d.io.limits import MAX_HEADER_BYTES, check_claim, check_memory, what_begins
from napari_sparse3d.io.naming import LABEL_NAME, safe_file_name
from napari_sparse3d.io.orientation import axis_codes, canonical, shear_degrees
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI-1 xyzt_units: unknown, metre, mm, micron
_LIBRARY_ERRORS = (
    ImageFileError, HeaderDataError, MGHError, OSError, EOFError, zlib.error, ValueError, TypeError, KeyError,
    IndexError, OverflowError, struct.error, AttributeError, MemoryError, np.linalg.LinAlgError, ZeroDivisionError,
)  # fmt: skip
"""What nibabel raises on damaged files (found by mutating real ones)."""

SHEAR_SAID_DEGREES = 0.25
FORMS_AGREE_MM = 0.05


def scan_nifti(path: Path) -> SeriesInfo:
    """Read the header of one file.

    Raises
    ------
    ReadError
        If the file is not what its name says, is truncated, or is not a volume.
    """
    with _one_line(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(path)
        return _describe(path, image)


@dataclass(frozen=True)
class NiftiFile:
    """Loads the voxels of one file."""

    path: Path

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        with _one_line(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _open(self.path)
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
            meta["labels"] = True
        if repairs:
            meta["repairs"] = repairs
        return VolumeSequence(data, order.affine, unit, modality, info.description, meta)


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


def _open(path: Path) -> Any:
    """The nibabel image, voxels not read; refuses a header that claims what the file cannot hold."""
    _check_first_bytes(path)
    image = nibabel.load(path)
    if not isinstance(image, (nibabel.Nifti1Pair, nibabel.AnalyzeImage, nibabel.MGHImage)):
        raise ReadError(f"the file is a {type(image).__name__}, not NIfTI, Analyze or MGH; convert it to NIfTI first")
    holder = Path(str(image.file_map["image"].filename))
    compressed = holder.suffix.lower() in (".gz", ".mgz")
    check_claim(
        _n_bytes(image, image.shape), holder.stat().st_size, what="the header", compressed=compressed,
        least_bytes=_n_bytes(image, image.shape[:3]),
    )  # fmt: skip
    return image


def _n_bytes(image: Any, shape: Sequence[int]) -> int:
    return int(np.prod([int(n) for n in shape], dtype=object)) * int(image.get_data_dtype().itemsize)


def _check_first_bytes(path: Path) -> None:
    """Bounds that nibabel does not check: it reads extensions up to where the header says that the voxels begin."""
    compressed = path.suffix.lower() in (".gz", ".mgz")
    with gzip.open(path, "rb") if compressed else path.open("rb") as file:
        head = file.read(544)
    if not head:
        raise ReadError("the file is empty; copy it again from its source")
    if path.name.lower().endswith((".img", ".img.gz", ".mgz", ".mgh")):
        return
    if len(head) < 348:
        raise ReadError(
            f"the file holds {len(head)} bytes, less than a NIfTI header of 348: it is truncated or no NIfTI file"
        )
    for endian in "<>":
        size = struct.unpack(endian + "i", head[:4])[0]
        if size == 348:
            offset = struct.unpack(endian + "f", head[108:112])[0]
        elif size == 540 and len(head) >= 176:
            offset = struct.unpack(endian + "q", head[168:176])[0]
        else:
            continue
        if not 0 <= offset <= MAX_HEADER_BYTES:
            raise ReadError(
                f"the header says that the voxels begin at byte {offset:g}, which no real file does: it is damaged"
            )
        return
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
        "a.u.",
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
    return bool(image.get_data_dtype().kind in "iu" and re.search(LABEL_NAME, path.name.lower()))


def _format_name(image: Any) -> str:
    if isinstance(image, nibabel.MGHImage):
        return "MGH"
    if not isinstance(image, nibabel.Nifti1Pair):
        return "Analyze"
    return "NIfTI-2" if int(image.header["sizeof_hdr"]) == 540 else "NIfTI-1"


def _spatial_shape(image: Any) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in image.shape[:3])
    return x, y, z


def _affine_mm(image: Any) -> tuple[NDArray[np.float64], list[Fault]]:
    """The affine in RAS millimetres, and what its header leaves open."""
    affine = np.array(image.affine, dtype=np.float64)
    header = image.header
    if isinstance(image, nibabel.MGHImage):
        return affine, []
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
    slope, intercept = float(np.nan_to_num(proxy.slope, nan=1.0)), float(np.nan_to_num(proxy.inter, nan=0.0))
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise ReadError(f"the header's scaling is not finite (slope {slope}, intercept {intercept}); repair the header")
    if raw.dtype.kind == "c":
        return np.asarray(raw * slope + intercept)
    return rescaled(raw, 1.0 if slope == 0 else slope, intercept)


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
