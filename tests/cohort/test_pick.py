"""A thing in a scan is pointed at: cut out exactly, classified, and found among the known ones."""

from __future__ import annotations

import json
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

import napari_sparse3d as ns3
from napari_sparse3d.cases.crop import crop, patient_order
from napari_sparse3d.cases.finding import Cutting, finding_in_scan, finding_of_label
from napari_sparse3d.catalog import TRAINED
from napari_sparse3d.cli import app
from napari_sparse3d.cohort.pick import shipped_cohort
from napari_sparse3d.errors import InputError
from napari_sparse3d.io.phantom import NODULES_MM, chest_phantom, nodules_phantom
from napari_sparse3d.io.write import write_volume
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.part import part_at
from napari_sparse3d.voxels.recipe import ToSpacing
from napari_sparse3d.voxels.resample import resample

NODULE = Cutting("nodule", 64, 1.0, -400.0)


def turned(degrees: float, spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> np.ndarray:
    """An affine that is oblique about two axes."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, origin
    return affine


@pytest.fixture(scope="module")
def scan() -> Volume:
    """Smooth values without symmetry, oblique and anisotropic."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (20, 31, 27)), indexing="ij")
    data = (100 * np.sin(z / 3) + 70 * np.cos(y / 4 + x / 9) + x * y / 5).astype(np.float32)
    return Volume(data, turned(17, (2.5, 0.8, 1.1), (-40.0, 12.0, 33.0)), "HU", "CT")


def by_simple_itk(volume: Volume, at: Volume) -> np.ndarray:
    """The values of a volume at the voxels of another grid, linear; NaN outside. ITK's axes are ours backwards."""

    def image(data: np.ndarray, affine: np.ndarray) -> sitk.Image:
        made = sitk.GetImageFromArray(data)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        made.SetSpacing(spacing[::-1].tolist())
        made.SetDirection((affine[:3, :3] / spacing)[::-1, ::-1].ravel().tolist())
        made.SetOrigin(affine[:3, 3][::-1].tolist())
        return made

    source = image(volume.data.astype(np.float64), volume.affine)
    target = image(np.zeros(at.shape), at.affine)
    return sitk.GetArrayFromImage(sitk.Resample(source, target, sitk.Transform(), sitk.sitkLinear, np.nan))


@pytest.mark.parametrize("index", [(9, 15, 13), (1, 2, 3), (19, 30, 26)])
def test_a_crop_lies_where_simple_itk_finds_the_same_values(scan, index):
    place = (scan.affine @ [*index, 1.0])[:3]
    cut = crop(scan, tuple(place), side=16, spacing_mm=1.0).volume
    expected = by_simple_itk(scan, cut)
    known = np.isfinite(expected) & np.isfinite(cut.data)
    assert known.sum() > 300
    np.testing.assert_allclose(cut.data[known], expected[known], rtol=0, atol=2e-3)
    # beyond the outermost centres ITK has nothing, and we half a voxel more
    assert not (np.isfinite(expected) & ~np.isfinite(cut.data)).any()


def test_a_crop_is_a_window_of_the_whole_scan_resampled(scan):
    whole, affine, _ = resample(scan.data, scan, ToSpacing(spacing_mm=(1.0, 1.0, 1.0)))
    cut = crop(scan, tuple((scan.affine @ [9, 15, 13, 1.0])[:3]), side=12, spacing_mm=1.0).volume
    first = np.rint((np.linalg.inv(affine) @ cut.affine[:, 3])[:3]).astype(int)
    window = whole[tuple(slice(at, at + 12) for at in first)]
    inside = np.isfinite(cut.data)
    np.testing.assert_array_equal(cut.data[: window.shape[0], : window.shape[1], : window.shape[2]], window)
    assert inside.sum() == window.size


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_axis_orders_and_directions_are_taken_in_the_patients_order(scan, order):
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-10.0, 20.0, 5.0)
    straight = Volume(scan.data, affine, "HU", "CT")
    place = tuple((affine @ [9, 15, 13, 1.0])[:3])
    expected = crop(straight, place, side=10, spacing_mm=1.0).volume
    for flips in product((False, True), repeat=3):
        columns, data = affine[:, [*order, 3]].copy(), scan.data.transpose(order)
        for axis in (axis for axis, flip in enumerate(flips) if flip):
            columns[:3, 3] += columns[:3, axis] * (data.shape[axis] - 1)
            columns[:3, axis] *= -1
            data = np.flip(data, axis)
        same = Volume(data, columns, "HU", "CT")
        np.testing.assert_array_equal(patient_order(same).data, scan.data)
        cut = crop(same, place, side=10, spacing_mm=1.0).volume
        np.testing.assert_array_equal(cut.data, expected.data)
        np.testing.assert_allclose(cut.affine, expected.affine, atol=1e-9)


@pytest.mark.parametrize("number", range(len(NODULES_MM)))
def test_a_click_finds_the_nodule_that_is_there(number):
    centre, radius = NODULES_MM[number]
    finding = finding_in_scan(chest_phantom(), centre, NODULE)
    np.testing.assert_allclose(finding.centre_mm, centre, atol=1.0)
    # the phantom's grid is 3 x 2 x 2 mm: a ball of few voxels is known to about one of them
    assert 2 * radius - 3 <= max(finding.extent_mm) <= 2 * radius + 3
    middle = np.argwhere(finding.mask.data).mean(axis=0)
    np.testing.assert_allclose(middle, 31.5, atol=0.51)


def test_the_answer_does_not_depend_on_where_in_the_nodule_the_click_falls():
    centre, _ = NODULES_MM[3]
    masks = [
        finding_in_scan(chest_phantom(), tuple(np.add(centre, off)), NODULE).mask
        for off in ((0, 0, 0), (4, -3, 2), (-7, 1, 4.2))
    ]
    for other in masks[1:]:
        np.testing.assert_array_equal(other.data, masks[0].data)
        np.testing.assert_array_equal(other.affine, masks[0].affine)


def test_what_hangs_on_something_larger_is_cut_loose_and_that_is_said():
    mask = np.zeros((60, 60, 60), dtype=bool)
    mask[:, :, :12] = True  # a wall
    z, y, x = np.ogrid[:60, :60, :60]
    ball = (z - 30) ** 2 + (y - 30) ** 2 + (x - 22) ** 2 <= 64
    mask |= ball
    mask[29:32, 29:32, 10:16] = True  # a stalk
    part = part_at(mask, (30, 30, 24), 24)
    assert part.opened >= 1
    assert part.mask[ball].mean() > 0.95
    assert (part.mask & ~ball).sum() < 0.1 * ball.sum()
    with pytest.raises(InputError, match="cannot be cut loose"):
        part_at(mask, (30, 30, 5), 24)


def chest(**changes: object) -> Volume:
    phantom = chest_phantom()
    return Volume(
        changes.get("data", phantom.data), phantom.affine, changes.get("unit", "HU"), changes.get("modality", "CT")
    )


@pytest.mark.parametrize(
    ("volume", "at_mm", "said"),
    [
        (chest(), (0.0, 0.0, 500.0), "lies outside the scan"),
        (chest(), (0.0, 100.0, 155.0), "only air at this place"),
        (chest(), (-30.0, 25.0, -12.0), "cannot be cut loose"),  # the heart
        (chest(unit="a.u.", modality="MR"), (30.0, 15.0, 70.0), r"a\.u\. \(MR\)"),
        (chest(), (float("nan"), 0.0, 0.0), "finite"),
    ],
)
def test_places_that_cannot_be_meant_are_refused_in_a_line(volume, at_mm, said):
    with pytest.raises(InputError, match=said) as error:
        finding_in_scan(volume, at_mm, NODULE)
    assert "\n" not in str(error.value)


def test_near_the_border_the_cube_is_padded_and_that_is_said():
    data = np.full((40, 40, 40), -850, dtype=np.int16)
    data[2:9, 15:24, 30:39] = 20
    finding = finding_in_scan(Volume(data, np.eye(4), "HU", "CT"), (5.0, 19.0, 34.0), NODULE)
    assert finding.n_voxels == 7 * 9 * 9
    share = 1 - (37.5 * 40 * 38) / 64**3  # about: what lies in the scan, of 64^3
    said = next(note for note in finding.notes if "beyond the scan" in note)
    assert abs(int(said.split()[0]) - 100 * share) <= 2
    np.testing.assert_allclose(finding.centre_mm, (5.0, 19.0, 34.0), atol=1e-9)


def test_a_box_takes_what_is_in_it_and_says_what_it_cut():
    data = np.full((60, 60, 60), -850, dtype=np.int16)
    data[25:35, 25:35, 20:50] = 20
    data[22, 22, 22] = 20
    finding = finding_in_scan(Volume(data, np.eye(4), "HU", "CT"), (30.0, 30.0, 30.0), NODULE, box_mm=(20, 20, 20))
    assert finding.extent_mm == (10.0, 10.0, 20.0)  # r from 20 up to 40
    assert {"Took the largest part in the box", "It goes on beyond the box, where it was cut off"} <= {*finding.notes}
    with pytest.raises(InputError, match="only air in the box"):
        finding_in_scan(Volume(data, np.eye(4), "HU", "CT"), (5.0, 5.0, 5.0), NODULE, box_mm=(4, 4, 4))
    with pytest.raises(InputError, match="draw a smaller one"):
        finding_in_scan(Volume(data, np.eye(4), "HU", "CT"), (30.0, 30.0, 30.0), NODULE, box_mm=(80, 4, 4))


def test_a_label_is_taken_as_it_is():
    labels = nodules_phantom()
    finding = finding_of_label(labels, 4, NODULE)
    np.testing.assert_allclose(finding.centre_mm, NODULES_MM[3][0], atol=0.6)
    voxels = np.count_nonzero(labels.data == 4) * 12  # mm3
    assert finding.volume_mm3 == pytest.approx(voxels, rel=0.1)
    assert finding_of_label(labels, 4, NODULE, at_mm=finding.centre_mm).n_voxels == finding.n_voxels
    with pytest.raises(InputError, match=r"the label map has no label 9; it has 1, 2, 3, 4, 5$"):
        finding_of_label(labels, 9, NODULE)
    with pytest.raises(InputError, match="not at this place"):
        finding_of_label(labels, 4, NODULE, at_mm=(0.0, 0.0, 0.0))


@pytest.mark.parametrize("model", ["vessel", "adrenal"])
def test_a_model_without_millimetres_takes_those_of_the_scan_or_asks(model):
    """The cube of 64 voxels then holds the label voxel by voxel; of anisotropic voxels nobody can guess a side."""
    data = np.zeros((40, 42, 44), dtype=np.uint8)
    data[5:12, 8:18, 10:31] = 3
    picked = ns3.pick(Volume(data, np.diag([0.8, 0.8, 0.8, 1.0])), model, label=3)
    assert picked.finding.n_voxels == 7 * 10 * 21
    np.testing.assert_allclose(picked.finding.mask.spacing_mm, 0.8)
    assert any("as large as the scan's own" in note for note in picked.finding.notes)
    assert picked.result.probabilities.sum() == pytest.approx(1)
    anisotropic = Volume(data, np.diag([2.0, 0.8, 0.8, 1.0]))
    with pytest.raises(InputError, match=r"this scan's are 2 x 0\.8 x 0\.8 mm; give the size of a voxel in mm"):
        ns3.pick(anisotropic, model, label=3)
    chosen = ns3.pick(anisotropic, model, label=3, spacing_mm=1.0)
    np.testing.assert_allclose(chosen.finding.mask.spacing_mm, 1.0)
    assert not any("scan's own" in note for note in chosen.finding.notes)


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_the_shipped_cohort_is_small_and_names_nobody():
    path = TRAINED["nodule"].cohort_path
    assert path.stat().st_size < 1_000_000
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert "CC BY 3.0" in card["licence"]
    cohort = shipped_cohort("nodule")
    assert len(cohort) == card["n"] == 2043
    assert {*cohort.column("model_hash")} == {ns3.load_model("nodule").digest()}
    assert not {"path", "patient", "series", "content", "thumbnail"} & {*cohort.columns}
    text = path.read_bytes()
    assert b"LIDC-IDRI-" not in text
    assert b"1.3.6.1" not in text


def test_pick_gives_class_and_known_cases_in_python_and_on_the_command_line_alike(tmp_path):
    write_volume(chest_phantom(), tmp_path / "chest.nii.gz")
    s, a, r = NODULES_MM[1][0]
    volume = ns3.read_volume(tmp_path / "chest.nii.gz")
    picked = ns3.pick(volume, "nodule", at_mm=(s, a, r), k=3, engine="native")
    assert [row["distance"] for row in picked.like] == sorted(row["distance"] for row in picked.like)
    assert {"label", "malignancy", "spiculation", "extent_mm", "name"} <= {*picked.like[0]}
    # a ball is like small round nodules
    assert all(row["extent_mm"] < 30 for row in picked.like)
    call = ["pick", str(tmp_path / "chest.nii.gz"), f"--at={r},{a},{s}", "-k", "3", "--engine", "native", "--json"]
    said = CliRunner().invoke(app, call)
    assert said.exit_code == 0, said.output
    record = json.loads(said.stdout)
    assert record["probabilities"] == picked.result.probabilities.tolist()
    assert record["embedding"] == picked.result.embedding.tolist()
    assert [row["name"] for row in record["like"]] == [row["name"] for row in picked.like]
    assert record["centre_mm"]["R"] == pytest.approx(r, abs=1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["--at", "1,2"], "--at takes three numbers, R,A,S"),
        ([], "say where"),
        (["--label-value", "1", "--above", "3"], "leave --box and --above out"),
        (["--box", "1,2,3"], "say where: --at R,A,S"),
    ],
)
def test_calls_that_are_wrong_say_so(tmp_path, call, said):
    write_volume(nodules_phantom(), tmp_path / "labels.nii.gz")
    result = CliRunner().invoke(app, ["pick", str(tmp_path / "labels.nii.gz"), *call])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("model", "said"), [("deepc2", "not trained on masks"), ("vessel", "how large its voxels are")]
)
def test_models_that_take_something_else_are_refused(model, said):
    with pytest.raises(InputError, match=said):
        ns3.pick(chest(), model, at_mm=(30.0, 15.0, 70.0))
