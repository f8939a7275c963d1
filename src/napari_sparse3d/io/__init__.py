"""Reading and writing scans: the only place that knows DICOM and NIfTI."""

from napari_sparse3d.io.dicom.segmentation import write_segmentation
from napari_sparse3d.io.faults import Fault, FaultKind, Severity
from napari_sparse3d.io.read import read_sequence, read_volume
from napari_sparse3d.io.samples import sample_head_mri, sample_head_mri_path
from napari_sparse3d.io.scan import scan
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
