"""NIfTI-1 and -2, Analyze and MGH/MGZ, through nibabel: what their headers mean, and the voxels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.filling import read_volumes, source_of
from napari_sparse3d.io.intensity import Scaling, refuse_all_nan, scaling_of, unit_and_modality, unit_of_header
from napari_sparse3d.io.limits import check_memory
from napari_sparse3d.io.naming import named_as_labels, safe_file_name
from napari_sparse3d.io.nifti_files import is_nifti2, is_packed, library_errors_as_read_errors, open_image
from napari_sparse3d.io.orientation import Canonical, axis_codes, canonical
from napari_sparse3d.io.patient_world import shear_degrees
from napari_sparse3d.io.provenance import is_stamped_as_labels
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence
from napari_sparse3d.volume import whole_labels

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI-1 xyzt_units: unknown, metre, mm, micron
_SECONDS_PER_UNIT = {8: 1.0, 16: 1e-3, 24: 1e-6}  # and its bits of time; Hz, ppm and rad/s (32, 40, 48) are no time

SHEAR_SAID_DEGREES = 0.25
FORMS_AGREE_MM = 0.05


def scan_nifti(path: Path) -> tuple[SeriesInfo]:
    """Read the header of one file.

    Raises
    ------
    ReadError
        If the file is not what its name says, is truncated, or is not a volume.
    """
    with library_errors_as_read_errors(), warnings.catch_warnings(), ExitStack() as files:
        warnings.simplefilter("ignore")
        return (_describe(path, open_image(path, files)),)


@dataclass(frozen=True)
class NiftiFile:
    """Loads the voxels of one file."""

    path: Path

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        with library_errors_as_read_errors(), warnings.catch_warnings(), ExitStack() as files:
            warnings.simplefilter("ignore")
            image = open_image(self.path, files)
            info = _describe(self.path, image)
            order = canonical(_spatial_shape(image), _affine_mm(image)[0])
            data, repairs = _read(image, order, range(info.n_frames) if frames is None else frames)
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
    return "NIfTI-2" if is_nifti2(image) else "NIfTI-1"


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


def _scaling(image: Any) -> tuple[float, float]:
    """Slope and intercept; a header that leaves them out means 1 and 0."""
    proxy = image.dataobj
    return float(np.nan_to_num(proxy.slope, nan=1.0)), float(np.nan_to_num(proxy.inter, nan=0.0))


def _read(image: Any, order: Canonical, frames: Sequence[int]) -> tuple[NDArray[Any], list[str]]:
    """(t, s, a, r) of these frames, scaled; integers stay integers where the scaling leaves them so. And repairs."""
    proxy = image.dataobj
    dtype: np.dtype[Any] = proxy.dtype
    check_memory(int(np.prod(order.shape)) * len(frames) * dtype.itemsize, what="the header")
    slope, intercept = _scaling(image)
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise ReadError(f"the header's scaling is not finite (slope {slope}, intercept {intercept}); repair the header")
    path, packed = Path(image.file_map["image"].filename), is_packed(image)

    def scaling(extremes: Callable[[], tuple[int, int]]) -> Scaling:
        if dtype.kind == "c":
            real = np.zeros(0, dtype).real.dtype.newbyteorder("=")
            return Scaling(real, lambda stored: np.abs(stored * slope + intercept))
        return scaling_of(dtype, 1.0 if slope == 0 else slope, intercept, extremes)

    data = read_volumes(lambda: source_of(path, proxy.offset, packed=packed), order, dtype, frames, scaling)
    return data, ["magnitude of complex voxels"] if dtype.kind == "c" else []
