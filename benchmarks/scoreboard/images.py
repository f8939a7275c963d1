"""One form for every image that is compared: canonical RAS, time last, with where it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_sparse3d.io import VolumeSequence

# (s, a, r) and (S, A, R) to (x, y, z) and (R, A, S)
REVERSE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)


@dataclass(frozen=True, eq=False)
class Image:
    """A volume, or volumes of one grid.

    Parameters
    ----------
    name : str
        What to call it in a table.
    data : ndarray
        (X, Y, Z, T), axes growing toward Right, Anterior, Superior; T is 1 for a plain volume.
    affine : ndarray
        (4, 4) index (x, y, z, 1) to RAS millimetres.
    step_s : float, optional
        Seconds from one volume to the next; ``None`` where nothing says.
    series : str
        Series number and description, as far as they are known: only to name what belongs together.
    """

    name: str
    data: NDArray[Any]
    affine: NDArray[np.float64]
    step_s: float | None = None
    series: str = ""

    @property
    def size(self) -> str:
        """``"64 x 64 x 35"``, with ``", 6 volumes"`` where there are several."""
        *space, volumes = self.data.shape
        return " x ".join(map(str, space)) + (f", {volumes} volumes" if volumes > 1 else "")


def from_sequence(sequence: VolumeSequence, name: str) -> Image:
    """What our product read."""
    return Image(
        name, sequence.data.transpose(3, 2, 1, 0), REVERSE @ sequence.affine @ REVERSE, sequence.step_s, sequence.name
    )


def from_nifti(path: Path) -> Image:
    """What dcm2niix wrote or a set publishes, with the JSON beside it.

    Raises
    ------
    ValueError
        If it holds colours.
    OSError, nibabel.filebasedimages.ImageFileError
        If it is damaged or was not delivered whole.
    """
    image = nibabel.as_closest_canonical(nibabel.load(path))
    data = np.asanyarray(image.dataobj)
    if data.dtype.names:
        raise ValueError("colours are no intensities")
    data = data.reshape(*data.shape[:3], -1)  # a fifth axis counts volumes too
    return Image(
        stem(path), data, np.asarray(image.affine, dtype=float), _step(image.header, data.shape[3]), _about(path)
    )


def stem(path: Path) -> str:
    """The name without ``.nii`` or ``.nii.gz``."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _step(header: Any, volumes: int) -> float | None:
    seconds = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}.get(header.get_xyzt_units()[1])
    if volumes < 2 or seconds is None or len(header.get_zooms()) < 4:
        return None
    return float(header.get_zooms()[3]) * seconds or None


def _about(path: Path) -> str:
    sidecar = path.with_name(stem(path) + ".json")
    if not sidecar.is_file():
        return ""
    try:
        fields = json.loads(sidecar.read_text(errors="replace"))
    except json.JSONDecodeError:  # dcm2niix leaves backslashes as they are; the sidecar only names the series
        return ""
    return str(fields.get("SeriesDescription", fields.get("ProtocolName", "")))
