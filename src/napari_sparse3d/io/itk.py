"""NRRD and MetaImage (MHA, MHD), through SimpleITK."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.intensity import refuse_all_nan, unit_and_modality
from napari_sparse3d.io.limits import check_claim, what_begins
from napari_sparse3d.io.naming import LABEL_NAME, safe_file_name
from napari_sparse3d.io.orientation import axis_codes, canonical, shear_degrees
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence

_HEADER_BYTES = 65536
_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS to RAS


def scan_itk(path: Path) -> SeriesInfo:
    """Read the header of one file.

    Raises
    ------
    ReadError
        If the file is not what its name says, is damaged, or its voxels lie in a file elsewhere.
    """
    header = _Header.read(path)
    faults: list[Fault] = list(header.notes)
    shape = spacing = None
    orientation, n_frames = "", 1
    if header.components > 1 and not header.listed:
        kind, what = (
            (FaultKind.COLOUR, "colours")
            if header.components in (3, 4) and header.bytes_each == 1
            else (FaultKind.NOT_A_VOLUME, "vectors")
        )
        faults.append(Fault.of(kind, f"voxels are {what} of {header.components} components; extract one first"))
    elif header.dimension < 3:
        faults.append(Fault.of(FaultKind.NOT_A_VOLUME, f"the image is {header.dimension}D; a volume needs three axes"))
    elif header.dimension > 4:
        faults.append(
            Fault.of(
                FaultKind.NOT_A_VOLUME, f"the image is {header.dimension}D; three axes, or four with time, can be read"
            )
        )
    else:
        if header.complex:
            faults.append(
                Fault.of(FaultKind.COMPLEX, "voxels are complex numbers; their magnitude can be read on request")
            )
        order = canonical(header.size, header.affine_ras)
        shape = order.shape
        z, y, x = np.linalg.norm(order.affine[:3, :3], axis=0).tolist()
        spacing, orientation, n_frames = (z, y, x), axis_codes(header.affine_ras), header.n_frames
        shear = shear_degrees(order.affine)
        if shear > 0.25:
            faults.append(
                Fault.of(
                    FaultKind.SHEARED,
                    f"axes miss being perpendicular by {shear:.2f} degrees; the affine keeps it, displays drop it",
                )
            )
        if 1 in header.size:
            faults.append(
                Fault.of(
                    FaultKind.SINGLE_SLICE,
                    f"only one voxel along an axis (shape {shape}): the spacing there is the header's word",
                )
            )
        if n_frames > 1:
            faults.append(Fault.of(FaultKind.FOUR_D, f"{n_frames} volumes; choose one with frame=0 to {n_frames - 1}"))
    return SeriesInfo(
        0, header.format, "", safe_file_name(path), shape, n_frames, spacing, orientation, "a.u.", 1, tuple(faults),
        source=path, loader=ItkFile(path),
    )  # fmt: skip


@dataclass(frozen=True)
class ItkFile:
    """Loads the voxels of one file."""

    path: Path

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        info, header = scan_itk(self.path), _Header.read(self.path)
        repairs = []
        try:
            with _silent():
                image = sitk.ReadImage(str(self.path))
        except RuntimeError as error:
            raise ReadError(
                f"the voxels of the {header.format} file cannot be read: it is truncated or damaged"
            ) from error
        stored = sitk.GetArrayViewFromImage(image)  # (t, z, y, x) or (z, y, x), components last
        if header.listed and header.components > 1:
            stored = np.moveaxis(stored, -1, 0)
        stored = stored.reshape(header.n_frames, *reversed(header.size))
        if frames is not None:
            stored = stored[list(frames)]
        if np.iscomplexobj(stored):
            stored = np.abs(stored)
            repairs.append("magnitude of complex voxels")
        order = canonical(header.size, header.affine_ras)
        # ITK's arrays are (z, y, x); Canonical takes (x, y, z)
        data = np.stack([order.apply(volume.transpose(2, 1, 0)) for volume in stored])
        refuse_all_nan(data)
        unit, modality, source = unit_and_modality(header.content, data)
        meta: dict[str, Any] = {
            "format": header.format,
            "stored_orientation": info.orientation,
            "faults": [fault.as_dict() for fault in info.faults],
        }
        if source:
            meta["unit_from"] = source
        if data.dtype.kind in "iu" and re.search(LABEL_NAME, self.path.name.lower()):
            meta["labels"] = True
        if repairs:
            meta["repairs"] = repairs
        return VolumeSequence(data, order.affine, unit, modality, info.description, meta)


@dataclass(frozen=True)
class _Header:
    format: str
    dimension: int
    size: tuple[int, int, int]
    n_frames: int
    components: int
    bytes_each: int
    complex: bool
    listed: bool
    """Components are volumes of a list, not vectors."""
    affine_ras: NDArray[np.float64]
    notes: tuple[Fault, ...]
    content: str
    """The free text of an NRRD header."""

    @classmethod
    def read(cls, path: Path) -> _Header:
        with path.open("rb") as file:
            text = file.read(_HEADER_BYTES).decode("latin-1").split("\n\n", 1)[0]
        beginning = what_begins(text.encode("latin-1"))
        nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
        name = "NRRD" if nrrd else "MetaImage"
        if nrrd and not text.startswith("NRRD000"):
            raise ReadError(f"the file does not begin with NRRD000 but {beginning}: it is not what its name says")
        if not nrrd and "=" not in text[:200]:
            raise ReadError(
                f"the file does not begin with a MetaImage header but {beginning}: it is not what its name says"
            )
        _check_detached(text)
        reader: Any = sitk.ImageFileReader()  # type: ignore[no-untyped-call]
        reader.SetFileName(str(path))
        try:
            with _silent():
                reader.ReadImageInformation()
            size, dimension = [int(n) for n in reader.GetSize()], int(reader.GetDimension())
            components = int(reader.GetNumberOfComponents())
            pixel = str(sitk.GetPixelIDValueAsString(reader.GetPixelID()))  # type: ignore[no-untyped-call]
        except (RuntimeError, MemoryError, OverflowError, ValueError) as error:
            raise ReadError(f"the {name} header cannot be parsed: it is damaged, or not what its name says") from error
        bytes_each = _bytes_of(pixel)
        compressed = bool(re.search(r"(?im)^(encoding:\s*(gzip|gz|bzip2|bz2)|CompressedData\s*=\s*True)", text))
        text_encoded = bool(re.search(r"(?im)^encoding:\s*(txt|text|ascii|hex)", text))
        stored = sum(item.stat().st_size for item in _data_files(path, text))
        # text needs at least two characters a value
        per_value = 1 if text_encoded else bytes_each
        n_bytes = int(np.prod([*size, components], dtype=object)) * per_value
        check_claim(n_bytes, stored, what=f"the {name} header", compressed=compressed)
        affine, notes = np.eye(4), []
        if dimension >= 3:
            direction = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
            affine[:3, :3] = direction * np.array(reader.GetSpacing())[:3]
            affine[:3, 3] = np.array(reader.GetOrigin())[:3]
        affine = _FLIP_XY @ affine
        if nrrd:
            notes = _check_nrrd_space(text)
            scale = _nrrd_mm(text)
            affine[:3] *= scale
        elif not re.search(r"(?im)^(TransformMatrix|Rotation|Orientation)\s*=", text):
            notes = [
                Fault.of(
                    FaultKind.UNKNOWN_ORIENTATION,
                    "the header has no TransformMatrix: left and right are assumed, not known",
                )
            ]
        listed = bool(re.search(r"(?im)^kinds:.*\blist\b", text))
        found = re.search(r"(?im)^content:=?\s*(.*?)\s*$", text)
        content = found[1] if found else ""
        frames = size[3] if dimension == 4 else (components if listed else 1)
        spatial = [*size, 1, 1, 1][:3]
        return cls(
            name, dimension, (spatial[0], spatial[1], spatial[2]), int(frames), components, bytes_each,
            "complex" in pixel.lower(), listed, affine, tuple(notes), content,
        )  # fmt: skip


@contextmanager
def _silent() -> Iterator[None]:
    """ITK's own warnings on stderr name files."""
    display: Any = sitk.ProcessObject
    shown = display.GetGlobalWarningDisplay()
    display.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        display.SetGlobalWarningDisplay(shown)


def _bytes_of(pixel: str) -> int:
    bits = re.search(r"(\d+)-bit", pixel)
    size = int(bits[1]) // 8 if bits else 1
    return size * 2 if "complex" in pixel.lower() and not bits else size


def _data_file_names(text: str) -> list[str]:
    names = re.findall(r"(?im)^data ?file:\s*(.+?)\s*$", text)
    names += [name for name in re.findall(r"(?im)^ElementDataFile\s*=\s*(.+?)\s*$", text) if name.upper() != "LOCAL"]
    return names


def _check_detached(text: str) -> None:
    """A detached header must not reach outside its own folder."""
    for name in _data_file_names(text):
        if "/" in name or "\\" in name or name.startswith(".."):
            raise ReadError("the header names a data file in another folder; keep header and data in one folder")


def _data_files(path: Path, text: str) -> list[Path]:
    names = _data_file_names(text)
    if not names:
        return [path]
    # a pattern or a list names many slices: take what lies beside the header as the bound
    found = [path.parent / name for name in names if (path.parent / name).is_file()]
    if not found and any(re.search(r"%|\bLIST\b", name) for name in names):
        found = [item for item in path.parent.iterdir() if item.is_file()]
    if not found:
        raise ReadError("the data file that the header names is not beside it; keep header and data in one folder")
    return found


def _check_nrrd_space(text: str) -> list[Fault]:
    if not re.search(r"(?im)^space:", text):
        return [
            Fault.of(FaultKind.UNKNOWN_ORIENTATION, "the header names no space: left and right are assumed, not known")
        ]
    space = re.search(r"(?im)^space:\s*(.+?)\s*$", text)
    known = ("left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las")
    if space is None or space[1].lower() not in known:
        return [
            Fault.of(
                FaultKind.UNKNOWN_ORIENTATION,
                "the header's space is not one of the patient: left and right are assumed, not known",
            )
        ]
    return []


def _nrrd_mm(text: str) -> float:
    """Millimetres per unit of the header's ``space units``."""
    units = re.search(r"(?im)^space units:\s*(.+?)\s*$", text)
    if units is None:
        return 1.0
    names = set(re.findall(r'"([^"]*)"', units[1]))
    scales = {
        {"mm": 1.0, "millimeter": 1.0, "m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001, "": 1.0}.get(name)
        for name in names
    }
    scale = next(iter(scales)) if len(scales) == 1 else None
    if scale is None:
        raise ReadError("the header's space units are not one unit of length for all axes; write the file in mm")
    return scale
