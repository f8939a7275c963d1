"""A card without memory: one clear error, whoever meets it; the case fails, the work goes on."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.cohort import find_cases
from napari_sparse3d.cohort.embed import embed_cases
from napari_sparse3d.errors import DeviceMemoryError
from napari_sparse3d.models import Model, load_model
from napari_sparse3d.voxels import VoxelSet
from napari_sparse3d.widgets.child.process import Child
from napari_sparse3d.widgets.toolbox.failures import ReportedError

TORCH_SAYS = "CUDA out of memory. Tried to allocate 3.27 GiB. GPU 0 has a total capacity of 11.76 GiB."
WE_SAY = r"the card has no memory left: 3\.27 GiB was asked for; use a smaller batch, .*fewer voxels.* --device cpu"


@pytest.fixture
def sets(tmp_path):
    """Two voxel sets: the first, of 27 voxels, is too large for the card, the second is not."""
    for name, side in (("a.npz", 3), ("b.npz", 2)):
        indices = np.argwhere(np.ones((side,) * 3)).astype(np.int32)
        VoxelSet(indices, np.ones((side**3, 1), np.float32), (side,) * 3, np.eye(4)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def model(monkeypatch):
    found = load_model("deepc2")
    describe = type(found.network).describe

    def full(self, x):
        if len(x.indices) == 27:
            raise torch.OutOfMemoryError(TORCH_SAYS)
        return describe(self, x)

    monkeypatch.setattr(type(found.network), "describe", full)
    return found


def test_a_model_says_it(sets, model: Model):
    with pytest.raises(DeviceMemoryError, match=WE_SAY):
        model.run(VoxelSet.load(sets / "a.npz"))


def test_a_cohort_goes_on(sets, model):
    first, second = embed_cases(find_cases(sets), model)
    assert (first["status"], second["status"]) == ("failed", "done")
    assert "3.27 GiB" in first["error"]


def test_predict_goes_on(sets, model):
    paths = [str(sets / name) for name in ("a.npz", "b.npz")]
    done = CliRunner().invoke(app, ["predict", *paths, "--model", "deepc2", "-o", str(sets / "out.parquet")])
    assert done.exit_code == 1
    assert "1 of 2 series" in done.output
    assert "3.27 GiB was asked for" in done.output.replace("\n", " ")


def test_the_process_behind_the_window_tells_it_and_lives_on(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import sys, types

def job():
    import torch
    from napari_sparse3d.sparse import use_engine
    yield "started"
    with use_engine("dense"):
        raise torch.OutOfMemoryError({TORCH_SAYS!r})

planted = types.ModuleType("napari_sparse3d.widgets.child.jobs.planted")
planted.job = job
sys.modules[planted.__name__] = planted
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Child()
    try:
        steps = child.call("planted.job")
        assert next(steps) == "started"
        with pytest.raises(ReportedError, match=f"(?i){WE_SAY}") as caught:
            next(steps)
        assert caught.value.failure.expected
        assert "\n" not in caught.value.failure.sentence
        assert child.running
        assert next(child.call("planted.job")) == "started"
    finally:
        child.stop()
