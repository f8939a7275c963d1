"""Reading and writing scans: the only place that knows DICOM and NIfTI.

The names below are imported when they are first used, and each format's library with the first file of its kind:
together they take seconds to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sparse3d.io.dicom.segmentation import write_segmentation
    from napari_sparse3d.io.faults import Fault, FaultKind, Severity
    from napari_sparse3d.io.read import read_sequence, read_volume
    from napari_sparse3d.io.samples import sample_head_mri, sample_head_mri_path
    from napari_sparse3d.io.scanning import scan
    from napari_sparse3d.io.series import SeriesInfo, VolumeSequence
    from napari_sparse3d.io.write import write_volume

__all__ = [
    "Fault",
    "FaultKind",
    "SeriesInfo",
    "Severity",
    "VolumeSequence",
    "read_sequence",
    "read_volume",
    "sample_head_mri",
    "sample_head_mri_path",
    "scan",
    "write_segmentation",
    "write_volume",
]

_HOME = {
    "Fault": "faults",
    "FaultKind": "faults",
    "SeriesInfo": "series",
    "Severity": "faults",
    "VolumeSequence": "series",
    "read_sequence": "read",
    "read_volume": "read",
    "sample_head_mri": "samples",
    "sample_head_mri_path": "samples",
    "scan": "scanning",
    "write_segmentation": "dicom.segmentation",
    "write_volume": "write",
}
"""Where each public name lives. A type checker reads the imports above instead; a test keeps the two equal."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
