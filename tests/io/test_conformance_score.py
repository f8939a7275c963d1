"""The public scoreboard's own comparison: what it must not take for the same, and how it counts."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from dicom_files import save, slice_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not in a source distribution", allow_module_level=True)
sys.path.append(str(BENCHMARKS))

from scoreboard.compare import differences, same  # noqa: E402
from scoreboard.images import Image, from_nifti  # noqa: E402
from scoreboard.judge import judge  # noqa: E402
from scoreboard.reviewed import review_of  # noqa: E402
from scoreboard.shuffle import changes, shuffled_copy  # noqa: E402
from scoreboard.sources import Answer, dicom_of, ours, published  # noqa: E402
from scoreboard.table import markdown, put_into, score, totals  # noqa: E402

AFFINE = np.array([[2.0, 0.1, 0, -30], [-0.1, 2.0, 0, 7], [0, 0, 3.5, 100], [0, 0, 0, 1]])
SHAPE = (9, 8, 5, 4)


def data_of(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 3000, shape).astype(np.int16)


def image(data: np.ndarray | None = None, affine: np.ndarray = AFFINE, step: float | None = 2.0) -> Image:
    return Image("series", data_of() if data is None else data, affine, step)


def kinds(changed: Image) -> list[str]:
    assert same(changed, image()) == (not differences(changed, image())), "the quick and the long way disagree"
    return [item.kind for item in differences(changed, image())]


def test_what_rounding_makes_is_the_same() -> None:
    assert kinds(image()) == []
    assert kinds(image(data_of().astype(np.float32))) == []
    assert kinds(image(data_of() * (1 + 1e-7))) == []
    assert kinds(image(affine=AFFINE.astype(np.float32).astype(float))) == []
    assert kinds(image(step=2.0004)) == []
    assert kinds(image(step=None)) == [], "not to claim a step is no difference"


@pytest.mark.parametrize(("axis", "letters"), [(0, "L-R"), (1, "P-A"), (2, "I-S")])
def test_mirrored(axis: int, letters: str) -> None:
    flipped = image(np.flip(data_of(), axis))
    assert kinds(flipped) == ["mirrored"]
    assert letters in str(differences(flipped, image())[0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_in_the_affine(axis: int) -> None:
    turned = AFFINE.copy()
    turned[:, axis] *= -1
    assert "place" in kinds(image(affine=turned))


@pytest.mark.parametrize("volume", range(4))
def test_one_volume_of_several_mirrored(volume: int) -> None:
    data = data_of()
    data[..., volume] = data[:, ::-1, :, volume]
    assert kinds(image(data)) == ["mirrored"]
    assert f"volumes {volume} of 4" in str(differences(image(data), image())[0])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift_mm", [0.002, -1.0, 80.0])
def test_moved(axis: int, shift_mm: float) -> None:
    moved = AFFINE.copy()
    moved[axis, 3] += shift_mm
    assert kinds(image(affine=moved)) == ["place"]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stretched(axis: int) -> None:
    stretched = AFFINE.copy()
    stretched[:, axis] *= 1.001
    assert kinds(image(affine=stretched)) == ["place"]


def test_the_thickness_of_a_single_slice_counts() -> None:
    thick = AFFINE.copy()
    thick[:, 2] *= 2
    one = data_of(shape=(9, 8, 1, 1))
    assert [item.kind for item in differences(image(one, thick), image(one))] == ["place"]


def test_an_affine_of_nan_is_no_place() -> None:
    assert kinds(image(affine=AFFINE * np.nan)) == ["place"]


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (3, 2, 1, 0), (1, 2, 3, 0)])
def test_reordered(order: tuple[int, ...]) -> None:
    reordered = image(data_of()[..., order])
    assert kinds(reordered) == ["order"]
    assert " ".join(map(str, order)) in str(differences(reordered, image())[0])


def test_slices_exchanged_between_volumes() -> None:
    data = data_of()
    data[:, :, 2, [0, 1]] = data[:, :, 2, [1, 0]]
    assert kinds(image(data)) == ["values"]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_volumes_missing_or_too_many(count: int) -> None:
    data = np.concatenate([data_of(), data_of(1)], axis=3)[..., :count]
    assert kinds(image(data, step=None)) == ["volumes"]


@pytest.mark.parametrize(
    "place", [(0, 0, 0, 0), (8, 7, 4, 3), (3, 3, 1, 2)], ids=["first", "last", "off the quick sample"]
)
def test_one_voxel(place: tuple[int, ...]) -> None:
    data = data_of().astype(float)
    data[place] += 1
    assert kinds(image(data)) == ["values"]
    data[place] = np.nan
    assert kinds(image(data)) == ["values"]


def test_rescaled_or_shifted() -> None:
    assert kinds(image(data_of() * 1.001)) == ["values"]
    assert kinds(image(data_of() - 1.0)) == ["values"]


def test_not_a_number_equals_only_itself() -> None:
    data = data_of().astype(float)
    data[1, 2, 3, 0] = np.nan
    assert same(image(data), image(data.copy()))
    endless = data.copy()
    endless[1, 2, 3, 0] = np.inf
    assert not same(image(endless), image(data))
    assert not same(image(data), image(endless))


def test_shape_and_step() -> None:
    assert kinds(image(data_of(shape=(8, 9, 5, 4)))) == ["shape"]
    assert kinds(image(step=3.0)) == ["step"]


def test_stored_otherwise_is_the_same(tmp_path: Path) -> None:
    """Any storage order with the affine that belongs to it is one image; the order without it is not."""
    stored = nibabel.Nifti1Image(data_of(), AFFINE)
    stored.header.set_xyzt_units("mm", "msec")
    stored.header.set_zooms((*stored.header.get_zooms()[:3], 2000.0))
    for name, turned in (("as_is", stored), ("flipped", stored.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]])))):
        nibabel.save(turned, tmp_path / f"{name}.nii.gz")
        assert kinds(from_nifti(tmp_path / f"{name}.nii.gz")) == []
    wrong = nibabel.Nifti1Image(np.flip(data_of(), 0), AFFINE)
    nibabel.save(wrong, tmp_path / "wrong.nii")
    assert kinds(from_nifti(tmp_path / "wrong.nii")) == ["mirrored"]


# -- how a set is judged


def named(name: str, data: np.ndarray, series: str = "") -> Image:
    return Image(name, data, AFFINE, None, series)


def test_published_and_dcm2niix_agree() -> None:
    one, two = data_of(1, (9, 8, 5, 1)), data_of(2, (9, 8, 5, 1))
    references = [named("a", one), named("b", two)]
    verdict = judge("set", Answer([named("0", two), named("1", one)]), Answer(references), Answer(references[:1]))
    assert sorted(verdict.right) == ["a", "b"]
    assert not verdict.wrong
    assert not verdict.notes
    assert score(verdict) == (2, 0, 0)


def test_what_is_not_read_is_refused_or_wrong() -> None:
    reference = Answer([named("a", data_of(1), "T1")])
    refused = judge("set", Answer(refused={"0: T1": "gap: 1 slice is missing"}), reference, Answer())
    assert refused.refused == {"a": "gap: 1 slice is missing"}
    silent = judge("set", Answer(), reference, Answer())
    assert list(silent.wrong) == ["a"]


def test_dcm2niix_against_published() -> None:
    first, second = data_of(1), data_of(1)
    second[0, 0, 0, 0] += 5
    verdict = judge(
        "set", Answer([named("0", first)]), Answer([named("a", first)]), Answer([named("a_published", second)])
    )
    assert verdict.right == ["a_published"]
    assert any("dcm2niix differs from the published" in note for note in verdict.notes)
    assert any("not to published" in note for note in verdict.notes)


def test_volumes_joined_or_split_are_said() -> None:
    parts = [named("e1", data_of()[..., :2]), named("e2", data_of()[..., 2:])]
    whole = named("all", data_of())
    joined = judge("set", Answer([whole]), Answer(parts), Answer())
    assert joined.right == ["e1", "e2"]
    assert joined.notes == ["all joins e1, e2"]
    split = judge("set", Answer(parts), Answer([whole]), Answer())
    assert split.right == ["all"]
    mixed = judge("set", Answer([named("all", data_of()[..., [1, 0, 2, 3]])]), Answer(parts), Answer())
    assert mixed.wrong, "within a part the order counts"


def test_a_volume_read_mirrored_within_a_series() -> None:
    data = data_of()
    mirrored = named("0: T1", data, "T1")
    halves = [named("6", data[..., ::2], "T1"), named("1006", data[:, ::-1, :, 1::2], "T1")]
    verdict = judge("set", Answer([mirrored]), Answer(halves), Answer(halves))
    assert len(verdict.wrong) == 1
    assert "mirrored along P-A" in verdict.wrong["0: T1"]


def test_what_no_reference_holds() -> None:
    verdict = judge("set", Answer([named("0", data_of(3, (4, 4, 4, 1)))]), Answer([named("a", data_of())]), Answer())
    assert list(verdict.only_ours) == ["0"]
    assert "| set | 1 / 1 / 0 | 0 | 0 | 1 |" in markdown([verdict])


def test_a_step_that_we_do_not_say_is_noted() -> None:
    verdict = judge("set", Answer([image(step=None)]), Answer([image()]), Answer())
    assert verdict.right == ["series"]
    assert verdict.notes == ["no time step of ours where the reference has one: 1"]


def test_another_series_is_no_reference() -> None:
    reference = named("a", data_of(1), "T1 axial")
    lone = judge("set", Answer([named("1: T2", data_of(2), "T2")]), Answer(), Answer([reference]))
    assert list(lone.only_ours) == ["1: T2"]
    assert list(lone.wrong) == ["a"], "not read, and nothing says why"
    same_series = judge("set", Answer([named("1: T1_axial", data_of(2))]), Answer(), Answer([reference]))
    assert list(same_series.wrong) == ["1: T1_axial"]


# -- with files


@pytest.fixture
def dicom_set(tmp_path: Path) -> Path:
    """A set of two volumes in time, told apart by their temporal position; its reference made from the same numbers."""
    folder = tmp_path / "set"
    chance = np.random.default_rng(5)
    stored = chance.integers(0, 500, (2, 4, 6, 7)).astype(np.uint16)  # (T, slices, rows, columns)
    number = 0
    for volume in range(2):
        for k in range(4):
            number += 1
            dataset = slice_of((0, 0, 3.0 * k), size=(6, 7))
            dataset.PixelData = stored[volume, k].tobytes()
            dataset.TemporalPositionIdentifier = volume + 1
            dataset.InstanceNumber = number
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            save(dataset, folder / "In" / f"{number:03d}")
    return folder


def test_shuffling_means_the_same(dicom_set: Path, tmp_path: Path) -> None:
    with dicom_of(dicom_set) as dicom:
        before = ours(dicom)
        assert [read.data.shape[3] for read in before.images] == [2]
        shuffled_copy(dicom, tmp_path / "copy", renumber=True)
    files = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert len(files) == 8
    assert len({path.parent for path in files}) > 1
    numbers = {int(pydicom.dcmread(path).InstanceNumber) for path in files}
    assert len(numbers) == 8
    assert numbers != set(range(1, 9))
    assert changes(before, ours(tmp_path / "copy")) == []


def test_changes_are_seen() -> None:
    before, after = Answer([image()], {"1": "gap"}), Answer([image(data_of()[..., ::-1])], {"1": "tilt"})
    assert changes(before, after) == [
        "series changes in order: the same volumes as 3 2 1 0",
        "no longer refused: gap",
        "now refused: tilt",
    ]
    assert changes(before, Answer([], {"1": "gap"})) == ["series (9 x 8 x 5, 4 volumes) is gone"]
    assert changes(Answer([], {"1": "gap"}), before) == ["series (9 x 8 x 5, 4 volumes) is new"]
    assert changes(before, before) == []


def test_a_set_from_its_files(dicom_set: Path) -> None:
    with dicom_of(dicom_set) as dicom:
        read = ours(dicom)
    (dicom_set / "Ref").mkdir()
    right = nibabel.Nifti1Image(read.images[0].data, read.images[0].affine)
    nibabel.save(right, dicom_set / "Ref" / "1.nii.gz")
    nibabel.save(right, dicom_set / "Ref" / "1_Eq_1.nii.gz")  # resampled by the converter: left out
    (dicom_set / "Ref" / "cut.nii").write_bytes(b"\0" * 100)
    reference = published(dicom_set)
    assert [item.name for item in reference.images] == ["1"]
    assert list(reference.refused) == ["cut"]
    verdict = judge("set", read, None, reference)
    assert verdict.right == ["1"]
    assert verdict.counts == (1, 0, 1)


# -- what was reviewed


def test_a_review_covers_its_cause_alone() -> None:
    folder = "dcm_qa_frag"
    assert review_of(folder, "0: anat-T1w_acq-tfl", "against x: place: corners up to 0.01004 mm off")
    assert not review_of(folder, "0: anat-T1w_acq-tfl", "against x: place: corners up to 80 mm off")
    assert not review_of(folder, "0: anat-T1w_acq-tfl", "against x: mirrored: the volume along L-R")
    assert not review_of("another", "0: anat-T1w_acq-tfl", "against x: place: corners up to 0.01004 mm off")


def test_a_reviewed_refusal_is_counted_apart() -> None:
    reference = Answer([named("2_", data_of(1))])
    verdict = judge("dicom2nifti__failing_sliceincrement_001", Answer(refused={"0": "gap: one"}), reference, Answer())
    assert not verdict.refused
    assert list(verdict.refused_rightly) == ["2_"]
    assert "1 refused (1 rightly)" in totals([verdict])
    other = judge("dicom2nifti__failing_sliceincrement_001", Answer(refused={"0": "damaged"}), reference, Answer())
    assert list(other.refused) == ["2_"]


def test_the_table_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")
    put_into(page, "new")
    put_into(page, "newer")
    assert page.read_text() == "before\n<!-- table: begin -->\n\nnewer\n\n<!-- table: end -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="add both"):
        put_into(page, "new")
    assert page.read_text() == "no marks"
