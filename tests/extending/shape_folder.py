"""What a stranger's package would hold: a format of which one image is a folder, ``shape.json`` with ``voxels.raw``.

It knows only the public side of napari-sparse3d: a descriptor, and the records that a scan and a reading give.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sparse3d.catalog import FormatInfo

SHAPE = FormatInfo(
    name="shape",
    title="Shape folder",
    description="shape.json with voxels.raw",
    home="shape_folder:scan_shape",
    stored="folder",
    endings=(".shape",),
    marks=("shape.json", "voxels.raw"),
    write="shape_folder:write_shape",
    written=(".shape",),
)


def scan_shape(folder: Path) -> list:
    """One series: its size and place from ``shape.json``."""
    from napari_sparse3d.errors import ReadError
    from napari_sparse3d.io import SeriesInfo

    try:
        header = json.loads((folder / "shape.json").read_text())
        n_frames, *shape = header["shape"]
        affine = np.array(header["affine"], dtype=np.float64)
    except (ValueError, KeyError) as error:
        raise ReadError("shape.json is damaged; write the folder again") from error
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    return [
        SeriesInfo(
            0, "Shape folder", header["modality"], "", tuple(shape), n_frames, spacing, "SAR", header["unit"], 2,
            source=folder, loader=ShapeFolder(folder),
        )
    ]  # fmt: skip


@dataclass(frozen=True)
class ShapeFolder:
    """Loads the voxels of one folder."""

    folder: Path

    def load(self, frames, repair):
        """The volumes, all or some."""
        from napari_sparse3d.io import VolumeSequence

        header = json.loads((self.folder / "shape.json").read_text())
        data = np.fromfile(self.folder / "voxels.raw", header["dtype"]).reshape(header["shape"])
        data = data if frames is None else data[list(frames)]
        return VolumeSequence(data, np.array(header["affine"]), header["unit"], header["modality"], "shape")


def write_shape(data, scan, folder: Path) -> None:
    """Write one volume, or all of a sequence."""
    folder.mkdir()
    stored = data if data.ndim == 4 else data[None]
    header = {
        "shape": stored.shape,
        "dtype": stored.dtype.newbyteorder("<").str,
        "affine": scan.affine.tolist(),
        "unit": scan.unit,
        "modality": scan.modality,
    }
    np.ascontiguousarray(stored, header["dtype"]).tofile(folder / "voxels.raw")
    (folder / "shape.json").write_text(json.dumps(header))
