"""Cases that are read ahead and meet the network together: rows, bits and faults are those of one after the other."""

import threading
import tracemalloc

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sparse3d import volume
from napari_sparse3d.cases import ahead as ahead_module
from napari_sparse3d.cases import run as run_module
from napari_sparse3d.cases.ahead import Ahead
from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.run import Runner, read_case, run_case
from napari_sparse3d.cohort.embed import embed_cases, thumbnail
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.models.networks.residual import ResidualNet
from napari_sparse3d.voxels import RangeThreshold, Recipe, ToLongestSide, VoxelSet, arrays

SMALL = {"field": 16, "channels": (16, 16), "embedding": 6, "classes": 3}


def small_model(network=None):
    card = load_model("residual").card.model_copy(
        update={
            "arguments": SMALL,
            "classes": ("ball", "box", "c"),
            "recipe": Recipe(name="small", threshold=RangeThreshold(low=50), field=16),
        }
    )
    return Model(build_network("residual", **SMALL) if network is None else network, card)


@pytest.fixture(scope="module")
def model():
    return small_model()


def voxels(seed, side, share, value=1.0):
    random = np.random.default_rng(seed)
    indices = np.argwhere(random.random((side,) * 3) < share).astype(np.int32)
    features = np.full((len(indices), 1), value, np.float32)
    return VoxelSet(indices, features, (side,) * 3, np.eye(4))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """One voxel, few, dense ones where Winograd's way may pay, none at all; and every way to fail."""
    folder = tmp_path_factory.mktemp("cases")
    sets = {
        "one": voxels(0, 1, 2),
        "few": voxels(1, 12, 0.02),
        "some": voxels(2, 9, 0.3),
        "dense": voxels(3, 16, 2),
        "half": voxels(4, 16, 0.6),
        "empty": voxels(5, 7, 0),
        "not_finite": voxels(6, 4, 0.5, np.nan),
        "too_large": voxels(7, 17, 0.1),
    }
    wide = voxels(8, 6, 0.5)
    sets["channels"] = VoxelSet(wide.indices, np.ones((wide.n_active, 3), np.float32), wide.shape, wide.affine)
    for name, each in sets.items():
        each.save(folder / f"{name}.npz")
    (folder / "broken.npz").write_bytes(b"PK no archive")
    paths = [*sorted(folder.iterdir()), folder / "missing.npz"]
    data = np.zeros((10, 11, 12), np.int16)
    data[2:7, 3:8, 4:9] = 100
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), folder / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros_like(data), np.eye(4)), folder / "nothing.nii.gz")
    return [Case.at(path) for path in (*paths, folder / "scan.nii.gz", folder / "nothing.nii.gz")]


def plain(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def alone(cases, model):
    rows = plain(run_case(case, Runner(model)) for case in cases)
    assert {row["status"] for row in rows} == {"done", "failed"}
    return {row["path"]: row for row in rows}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    picked=st.lists(st.integers(0, 12), max_size=9),
    together=st.integers(1, 6),
    sites=st.sampled_from([0, 300, 1 << 16]),
    most_bytes=st.sampled_from([0, 5000, 1 << 28]),
    threads=st.sampled_from([1, 2]),
)
def test_whatever_cases_are_together_each_row_is_that_of_the_case_alone(
    cases, model, alone, picked, together, sites, most_bytes, threads
):
    chosen = [Case.at(cases[number % len(cases)].path) for number in picked]
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead_module, "_TOGETHER", together)
        patch.setattr(ahead_module, "_MOST_SITES", sites)
        patch.setattr(ahead_module, "_MOST_BYTES", most_bytes)
        torch.set_num_threads(threads)
        try:
            with Ahead(chosen, Runner(model)) as ahead:
                rows = plain(run_case(case, ahead.runner) for case in chosen)
        finally:
            torch.set_num_threads(before)
    assert rows == [alone[str(case.path)] for case in chosen]


def test_what_waits_is_bounded_by_its_bytes(cases, model, monkeypatch):
    scans = [Case.at(case.path) for case in cases if case.path.name == "dense.npz"] * 12
    each = voxels(3, 16, 2).n_active * 4 * 4
    monkeypatch.setattr(ahead_module, "_MOST_BYTES", 3 * each)
    monkeypatch.setattr(ahead_module, "_estimate", lambda case: each)
    monkeypatch.setattr(ahead_module, "_TOGETHER", 1)
    read, most = [], []
    original = run_module.read_case

    def counted(case, runner):
        read.append(case)
        return original(case, runner)

    monkeypatch.setattr(ahead_module, "read_case", counted)
    scans = [Case.at(case.path) for case in scans]
    with Ahead(scans, Runner(model)) as ahead:
        for done, case in enumerate(scans):
            run_case(case, ahead.runner)
            most.append(len(read) - done - 1)
    assert len(read) == 12
    assert max(most) <= 3


def test_a_large_case_is_read_alone(cases, model, monkeypatch):
    """Its volume is not there while the network runs on another."""
    order = []
    answered, original = run_module.answered, run_module.read_case
    monkeypatch.setattr(ahead_module, "_estimate", lambda case: 1 << 40)
    monkeypatch.setattr(ahead_module, "read_case", lambda *call: (order.append("read"), original(*call))[1])
    monkeypatch.setattr(ahead_module, "answered", lambda *call: (order.append("run"), answered(*call))[1])
    scans = [Case.at(cases[number].path) for number in range(4)]
    with Ahead(scans, Runner(model)) as ahead:
        for case in scans:
            run_case(case, ahead.runner)
    assert order == ["read", "run"] * 4


def test_who_stops_early_leaves_no_thread(cases, model):
    before = threading.active_count()
    rows = embed_cases(cases, model)
    next(rows)
    assert threading.active_count() == before + 1
    rows.close()
    assert threading.active_count() == before


def test_an_interrupt_ends_it(cases, model, monkeypatch):
    def interrupted(*call):
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead_module, "answered", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(embed_cases(cases, model))
    assert threading.active_count() == before


def test_another_order_than_was_announced_is_an_error(cases, model):
    with Ahead(cases, Runner(model)) as ahead, pytest.raises(RuntimeError, match="in the order"):
        run_case(cases[1], ahead.runner)


def test_what_is_said_of_a_case_is_said_in_its_turn(cases, model):
    said = []
    scans = [Case.at(case.path) for case in cases if case.path.name == "scan.nii.gz"] * 1
    scans += [Case.at(scans[0].path)]
    with Ahead(scans, Runner(model, say=said.append)) as ahead:
        for number, case in enumerate(scans):
            alone = []
            run_case(case, Runner(model, say=alone.append))
            assert said == alone * number
            run_case(case, ahead.runner)


# -- several voxel sets, one look at the weights --


def same(one, other):
    assert one.probabilities.tobytes() == other.probabilities.tobytes()
    assert one.embedding.tobytes() == other.embedding.tobytes()


@pytest.mark.parametrize("engine", ["native", "dense"])
def test_each_of_several_sets_is_as_alone(model, engine):
    sets = [voxels(seed, 16, share) for seed, share in enumerate([0.01, 0.7, 0, 2, 0.3])]
    for one, result in zip(sets, model.run_each(sets, engine=engine), strict=True):
        same(model.run(one, engine=engine), result)


def test_of_several_sets_one_fails_alone(model):
    good = voxels(0, 9, 0.3)
    first, second, third = model.run_each([good, voxels(6, 4, 0.5, np.nan), good])
    assert isinstance(second, InputError)
    assert "not finite" in str(second)
    same(first, third)
    assert model.run_each([]) == []


@pytest.mark.parametrize("way", ["data", "numpy", "state"])
def test_weights_that_change_between_calls_are_seen(way):
    model = small_model()
    sets = [voxels(seed, 12, 0.4) for seed in range(3)]
    before = model.run_each(sets)
    weight = model.network.layers.stem.weight
    if way == "data":
        weight.data.mul_(2)
    elif way == "numpy":
        weight.detach().numpy()[...] *= 2
    else:
        model.network.load_state_dict({name: 2 * each for name, each in model.network.state_dict().items()})
    for one, old, new in zip(sets, before, model.run_each(sets), strict=True):
        assert old.embedding.tobytes() != new.embedding.tobytes()
        same(model.run(one), new)


class Restless(ResidualNet):
    """Somebody's network, which changes while it runs."""

    def describe(self, x):
        self.layers.stem.weight.data.mul_(1.25)
        return super().describe(x)


def test_a_network_that_changes_itself_is_not_taken_for_what_it_was():
    sets = [voxels(seed, 12, 0.4) for seed in range(3)]
    torch.manual_seed(0)
    one, other = small_model(Restless(**SMALL)), small_model(Restless(**SMALL))
    other.network.load_state_dict(one.network.state_dict())
    for voxel_set, result in zip(sets, one.run_each(sets), strict=True):
        same(other.run(voxel_set), result)


def test_weights_that_are_no_numbers_fail_all(cases):
    model = small_model()
    model.network.project.weight.data[0] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        model.run_each([voxels(0, 9, 0.3)] * 2)
    rows = list(embed_cases(cases, model))
    assert {row["status"] for row in rows} == {"failed"}
    assert sum("weights of layer" in row["error"] for row in rows) == sum(
        case.path.name in ("one.npz", "few.npz", "some.npz", "dense.npz", "half.npz", "scan.nii.gz", "empty.npz",
                           "not_finite.npz", "too_large.npz", "channels.npz") for case in cases
    )  # fmt: skip


# -- memory and thumbnails --


@pytest.mark.parametrize("kind", ["scan", "mask"])
def test_a_scan_is_in_memory_once(tmp_path, model, monkeypatch, kind):
    monkeypatch.setattr(arrays, "_STRETCH_BYTES", 1 << 18)  # of a scan that is as many times smaller than real ones
    monkeypatch.setattr(volume, "_BLOCK", 1 << 16)
    data = np.zeros((192, 192, 192), np.int16 if kind == "scan" else np.uint8)
    data[50:150, 50:150, 50:150] = 100
    if kind == "scan":
        data[::2, 60, 70] = 17
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii")
    recipe = Recipe(name="r", resample=ToLongestSide(voxels=32), threshold=RangeThreshold(low=50), field=64)
    case, runner = Case.at(tmp_path / "a.nii"), Runner(model, recipe, engine="native", device="cpu")
    read_case(case, runner)
    tracemalloc.start()
    ready = read_case(case, runner)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ready.error is None
    assert held < 0.1 * data.nbytes  # the voxel set
    assert peak < 1.05 * data.nbytes + (3 << 20)  # and the blocks in which it is read, of whatever size it is


@given(
    seed=st.integers(0, 999),
    shape=st.tuples(*[st.integers(1, 70)] * 3),
    share=st.sampled_from([0.001, 0.05, 1.1]),
    spacing_mm=st.tuples(*[st.sampled_from([0.3, 1.0, 2.5, 9.0])] * 3),
)
def test_a_thumbnail_counts_every_voxel(seed, shape, share, spacing_mm):
    mask = np.random.default_rng(seed).random(shape) < share
    indices = np.argwhere(mask).astype(np.int32)
    drawn = thumbnail(VoxelSet(indices, np.ones((len(indices), 1), np.float32), shape, np.diag([*spacing_mm, 1.0])))
    if not len(indices):
        assert not drawn.any()
        return
    lines = mask.sum(axis=2)
    rows, columns = (np.flatnonzero(lines.any(axis=axis)) for axis in (1, 0))
    lines = lines[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    extent_mm = np.array(lines.shape) * np.linalg.norm(np.diag(spacing_mm)[:, :2], axis=0)
    height, width = np.maximum(1, np.round(48 * extent_mm / extent_mm.max()).astype(int))
    bins = np.zeros((min(height, lines.shape[0]), min(width, lines.shape[1])), int)
    for (z, y), count in np.ndenumerate(lines):
        bins[z * bins.shape[0] // lines.shape[0], y * bins.shape[1] // lines.shape[1]] += count
    top, left = (48 - height) // 2, (48 - width) // 2
    expected = np.zeros((48, 48))
    for row in range(height):
        for column in range(width):
            count = bins[row * bins.shape[0] // height, column * bins.shape[1] // width]
            expected[top + height - 1 - row, left + width - 1 - column] = count
    np.testing.assert_array_equal(drawn, np.uint8(255 * np.sqrt(expected / expected.max())))
