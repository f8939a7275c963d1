"""Not a number is no diagnosis: finite or failed, and it is said what is not finite."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import load_model
from napari_sparse3d.models.export import export_model
from napari_sparse3d.models.heads import calibration
from napari_sparse3d.training.predict import predict
from napari_sparse3d.voxels import VoxelSet

BAD = [float("nan"), float("inf"), float("-inf")]


def voxels(value=1.0, features=1):
    indices = np.argwhere(np.ones((6, 6, 6))).astype(np.int32)
    rows = np.ones((len(indices), features), np.float32)
    rows[100] = value
    return VoxelSet(indices, rows, (6, 6, 6), np.eye(4))


def places(network):
    return [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["deepc2", "residual"])
def test_features_that_are_not_finite_are_named(name, bad):
    with pytest.raises(InputError, match=r"features are not finite.*1 of 216"):
        load_model(name).run(voxels(bad))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["deepc2", "residual"])
def test_one_bad_weight_anywhere_is_found_and_its_layer_named(name, bad):
    model = load_model(name)
    assert np.isfinite(model.run(voxels()).probabilities).all()
    for place in places(model.network):
        value = model.network.state_dict()[place]  # shares its memory with the network
        before = value.flatten()[-1].item()
        value.view(-1)[-1] = bad
        layer = place.rpartition(".")[0].removeprefix("layers.")
        with pytest.raises(InputError, match=f"weights of layer '{layer}' are not finite"):
            model.run(voxels())
        value.view(-1)[-1] = before
    assert np.isfinite(model.run(voxels()).probabilities).all()


def test_values_that_grow_too_large_on_the_way_are_a_failure():
    model = load_model("deepc2")
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if name.endswith("conv3.weight") or name.endswith("conv4.weight"):
                weight.mul_(1e30)
    with pytest.raises(InputError, match="layer 'conv4' gives values that are not finite"):
        model.run(voxels())
    with torch.no_grad():
        model = load_model("deepc2")
        model.network.classifier.weight.fill_(3e38)
    with pytest.raises(InputError, match="the result is not finite"):
        model.run(voxels())


def test_large_finite_values_are_no_fault():
    """Their sum overflows, they do not."""
    from napari_sparse3d.models.finite import all_finite

    assert all_finite(torch.full((1000,), 3e38), torch.full((10,), -3e38))
    assert all_finite(torch.full((1000,), 6e4, dtype=torch.float16))
    assert not all_finite(torch.tensor([1.0, float("inf"), float("-inf")]))
    assert all_finite(torch.tensor([1, 2]))
    assert all_finite()


def damaged(tmp_path, bad=float("nan")):
    model = load_model("residual")
    path = tmp_path / "model.safetensors"
    model.save(path)
    weights = load_file(path)
    weights["classifier.bias"][0] = bad
    save_file(weights, path, metadata={"card": model.card.model_dump_json()})
    return path


@pytest.mark.parametrize("bad", BAD)
def test_a_file_with_such_weights_is_not_loaded_and_none_is_written(tmp_path, bad):
    with pytest.raises(InputError, match="weights of layer 'classifier' are not finite"):
        load_model(damaged(tmp_path, bad))
    model = load_model("residual")
    model.network.classifier.bias.data[0] = bad
    for write in (
        lambda: model.save(tmp_path / "new.safetensors"),
        lambda: export_model(model, tmp_path / "new.pt2", format="torch"),
    ):
        with pytest.raises(InputError, match="classifier"):
            write()
    assert not list(tmp_path.glob("new*"))


def invoked(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_predict_fails_the_case_alone(tmp_path):
    import pyarrow.parquet

    voxels().save(tmp_path / "good.npz")
    voxels(float("nan")).save(tmp_path / "bad.npz")
    table = tmp_path / "out.parquet"
    paths = [tmp_path / "good.npz", tmp_path / "bad.npz", tmp_path / "good.npz"]
    done = invoked("predict", *paths, "--model", "deepc2", "-o", table, "--device", "cpu")
    assert done.exit_code == 1
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "not finite" in rows[1]["error"]
    assert rows[1]["label"] is None
    assert rows[1]["probabilities"] is None


def test_activations_and_evaluate_fail_with_one_line(tmp_path):
    voxels(float("inf")).save(tmp_path / "bad.npz")
    done = invoked("activations", tmp_path / "bad.npz", "--model", "deepc2", "--json")
    assert done.exit_code == 1
    assert "not finite" in json.loads(done.stdout.splitlines()[-1])["error"]
    for kind in ("class 0", "class 1"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in range(3):
            voxels(float("nan") if number == 1 else 1.0).save(tmp_path / "set" / kind / f"{number}.npz")
    done = invoked("evaluate", "deepc2", tmp_path / "set", "--split", "all", "--json", "--device", "cpu")
    assert done.exit_code == 1
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert result["n"] == 4
    assert len(result["failed"]) == 2
    assert all("not finite" in line for line in result["failed"])


class Store:
    def __init__(self, sets):
        self.sets = sets

    def get(self, case):
        return self.sets[int(case.name)]


def cases(count, tmp_path):
    return [Case(str(number), tmp_path / f"{number}.npz", "voxels") for number in range(count)]


def test_predictions_of_many_cases_are_finite_or_none(tmp_path):
    network = load_model("deepc2").network
    sets = [voxels(), voxels(float("nan")), voxels()]
    with pytest.raises(InputError, match="features of one of cases 1 to 3 are not finite"):
        predict(network, cases(3, tmp_path), Store(sets))
    network.classifier.bias.data[0] = float("-inf")  # which softmax turns into a probability of 0
    with pytest.raises(InputError, match="classifier"):
        predict(network, cases(1, tmp_path), Store(sets))


@pytest.mark.parametrize("bad", BAD)
def test_nothing_is_calibrated_on_what_is_not_finite(bad):
    probabilities = np.full((6, 2), 0.5)
    probabilities[2, 0] = bad
    labels = np.array([0, 1, 0, 1, 0, 1])
    with pytest.raises(InputError, match="1 of 12"):
        calibration.fit(probabilities, labels)
    with pytest.raises(InputError, match="1 of 12"):
        calibration.Correction(1.0, (0.0, 0.0)).applied(probabilities)
    classifier = torch.nn.Linear(3, 2)
    before = classifier.weight.detach().clone()
    for wrong in (calibration.Correction(bad, (0.0, 0.0)), calibration.Correction(1.0, (0.0, bad))):
        with pytest.raises(InputError, match="not finite"):
            wrong.fold_into(classifier)
    assert torch.equal(classifier.weight, before)
    with pytest.raises(InputError, match="no case"):
        calibration.to_frequencies(np.zeros(2, dtype=np.int64))
