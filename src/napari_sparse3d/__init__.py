"""Sparse 3D networks on CT and MR volumes, in napari and from the command line.

>>> import napari_sparse3d as ns3
>>> volume = ns3.sample_head_mri()
>>> voxels = ns3.voxelize(volume, ns3.Recipe.named("mri-110"))
>>> result = ns3.load_model("deepc2").run(voxels)

The names below are imported when they are first used, so that importing the package itself costs almost nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from napari_sparse3d.lazy import on_first_use

# torch's OpenMP threads spin for some 4 ms after each operation, which keeps a core from our kernels' threads; a tenth
# of a millisecond is enough for operations that follow each other. libgomp reads this once, as torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from napari_sparse3d.cohort.pick import Picked, pick
    from napari_sparse3d.errors import EngineError, InputError, ReadError
    from napari_sparse3d.io import SeriesInfo, read_sequence, read_volume, sample_head_mri, scan
    from napari_sparse3d.models import Model, Result, load_model
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import Recipe, VoxelSet, voxelize

__all__ = [
    "EngineError",
    "InputError",
    "Model",
    "Picked",
    "ReadError",
    "Recipe",
    "Result",
    "SeriesInfo",
    "Volume",
    "VoxelSet",
    "load_model",
    "pick",
    "read_sequence",
    "read_volume",
    "sample_head_mri",
    "scan",
    "voxelize",
]

_HOME = {
    "EngineError": "errors",
    "InputError": "errors",
    "Model": "models",
    "Picked": "cohort.pick",
    "ReadError": "errors",
    "Recipe": "voxels",
    "Result": "models",
    "SeriesInfo": "io",
    "Volume": "volume",
    "VoxelSet": "voxels",
    "load_model": "models",
    "pick": "cohort.pick",
    "read_sequence": "io",
    "read_volume": "io",
    "sample_head_mri": "io",
    "scan": "io",
    "voxelize": "voxels",
}
"""Where each public name lives. A type checker reads the imports above instead; a test keeps the two equal."""

_on_first_use = on_first_use(__name__, _HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-sparse3d")
    return _on_first_use(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
