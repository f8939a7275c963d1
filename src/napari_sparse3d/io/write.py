"""Writing volumes: NIfTI, NRRD and whatever format can be written; whole or not at all, and read back equal."""

from __future__ import annotations

import os
from contextlib import nullcontext
from io import IOBase
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.fileholders import FileHolder
from numpy.typing import NDArray

from napari_sparse3d.catalog.formats import FORMATS
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing, replacing_folder
from napari_sparse3d.io.deflate import gzip_writer
from napari_sparse3d.io.orientation import ras_from_sar
from napari_sparse3d.io.provenance import stamp
from napari_sparse3d.io.series import VolumeSequence
from napari_sparse3d.text import any_of
from napari_sparse3d.volume import Volume

_NRRD_TYPES = {
    "int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16", "int32": "int32", "uint32": "uint32",
    "int64": "int64", "uint64": "uint64", "float32": "float", "float64": "double",
}  # fmt: skip


def write_volume(scan: Volume | VolumeSequence, path: str | os.PathLike[str]) -> None:
    """Write a volume, or all volumes of a sequence into one 4D file, with its geometry, unit and times.

    The time from one volume to the next is written where it is known and even, NRRD takes uneven times too; else the
    file claims none. Labels are written as such (NIfTI's intent code; the free text of NRRD).

    Parameters
    ----------
    scan : Volume or VolumeSequence
        (Z, Y, X) or (T, Z, Y, X). Boolean data is written as uint8.
    path : path
        Ends as a format that is written: ``.nii``, ``.nii.gz``, ``.nrrd``, or that of another package. A file appears
        whole or not at all and takes the place of an earlier one; a format that is a folder is only written where
        nothing is. Missing folders are made.

    Raises
    ------
    InputError
        If the ending is another, or the data has a type that the format does not know.
    """
    target = Path(path)
    kind = FORMATS.written_as(target.name)
    if kind is None:
        raise InputError(f"a volume is written as {any_of(FORMATS.by_written_ending)}, got {target.name!r}")
    data = scan.data if isinstance(scan, VolumeSequence) and len(scan) > 1 else _single(scan)
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    if data.dtype == np.float16:
        data = data.astype(np.float32)
    if str(data.dtype) not in _NRRD_TYPES:
        raise InputError(f"voxels of type {data.dtype} cannot be written; convert them to integers or floats first")
    replace = replacing_folder if kind.stored == "folder" else replacing
    with replace(target) as temporary:
        kind.load(kind.write)(data, scan, temporary)


def _single(scan: Volume | VolumeSequence) -> NDArray[Any]:
    return scan.data[0] if isinstance(scan, VolumeSequence) else scan.data


def write_nifti(data: NDArray[Any], scan: Volume | VolumeSequence, path: Path) -> None:
    """NIfTI-1, or NIfTI-2 where an axis is longer than that can count."""
    stored = data.transpose(tuple(reversed(range(data.ndim))))  # (x, y, z, t): the same memory, x fastest
    affine = ras_from_sar(scan.affine)
    # NIfTI-1 counts voxels along an axis in 16 bits
    image_class: Any = nibabel.Nifti1Image if max(stored.shape) < 32768 else nibabel.Nifti2Image
    image: Any = image_class(stored, affine, dtype=data.dtype)
    step = scan.step_s if isinstance(scan, VolumeSequence) and data.ndim == 4 else None
    image.header.set_xyzt_units("mm", None if step is None else "sec")
    if data.ndim == 4:
        image.header["pixdim"][4] = 0.0 if step is None else step  # nibabel begins with 1
    if step is not None and isinstance(scan, VolumeSequence) and scan.times_s is not None:
        image.header["toffset"] = scan.times_s[0]
    if _holds_labels(scan, data):
        image.header.set_intent("label")
    image.set_sform(affine, code="scanner")
    # a qform can hold no shear; one that disagreed with the sform would be worse than none
    image.set_qform(affine, code="scanner", strip_shears=True)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        image.set_qform(None, code=0)
    image.header["descrip"] = _stamped(scan, data).encode()
    # nibabel.save leaves the file open where it fails, and a full disk is full until somebody closes it
    packed = path.name.lower().endswith(".gz")
    with path.open("wb") as file, gzip_writer(file) if packed else nullcontext(file) as opened:
        image.to_file_map({"image": FileHolder(filename=str(path), fileobj=cast(IOBase, opened))})


def _holds_labels(scan: Volume | VolumeSequence, data: NDArray[Any]) -> bool:
    return data.dtype.kind in "iu" and (bool(scan.meta.get("labels")) or scan.unit == "label")


def _stamped(scan: Volume | VolumeSequence, data: NDArray[Any]) -> str:
    return stamp(scan.unit, scan.modality, labels=_holds_labels(scan, data))


def write_nrrd(data: NDArray[Any], scan: Volume | VolumeSequence, path: Path) -> None:
    """One volume; or a sequence as 3D Slicer writes it: the volumes as the fastest axis, of kind ``list``.

    Format: teem.sourceforge.net/nrrd. Not by ITK, which can only write four axes of space, without an orientation in
    the patient, and calls a file written that is cut short by a full disk (seen with SimpleITK 2.5.7).
    """
    affine = ras_from_sar(scan.affine)
    columns = " ".join(_nrrd_vector(affine[:3, axis]) for axis in range(3))
    in_time = data.ndim == 4
    stored = np.ascontiguousarray(np.moveaxis(data, 0, -1) if in_time else data)
    header = "\n".join(
        [
            "NRRD0005",
            f"content: {_stamped(scan, data)}",
            f"type: {_NRRD_TYPES[str(data.dtype.newbyteorder('='))]}",
            f"dimension: {data.ndim}",
            "space: right-anterior-superior",
            f"sizes: {' '.join(str(n) for n in reversed(stored.shape))}",
            f"space directions: {'none ' if in_time else ''}{columns}",
            f"kinds: {'list ' if in_time else ''}domain domain domain",
            "endian: little",
            "encoding: gzip",
            f"space origin: {_nrrd_vector(affine[:3, 3])}",
            'space units: "mm" "mm" "mm"',
            *(_nrrd_times(scan) if in_time and isinstance(scan, VolumeSequence) else ()),
        ]
    )
    little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    with path.open("wb") as file:
        file.write(header.encode() + b"\n\n")
        with gzip_writer(file) as packed:
            for plane in little.reshape(-1, *little.shape[-2:]):
                packed.write(plane.data)


def _nrrd_times(scan: VolumeSequence) -> list[str]:
    """The times of the volumes: each by the key of 3D Slicer's sequences, and the step where it is even."""
    if scan.times_s is None:
        return []
    lines = ['labels: "time" "" "" ""', 'units: "s" "" "" ""']
    if scan.step_s is not None:
        lines.append(f"spacings: {scan.step_s!r} NaN NaN NaN")
    values = " ".join(repr(float(time)) for time in scan.times_s)
    return [*lines, "axis 0 index type:=numeric", f"axis 0 index values:={values}"]


def _nrrd_vector(vector: NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(value)) for value in vector) + ")"
