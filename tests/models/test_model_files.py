"""Model files: what is written comes back, and what is no model is refused in one line."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.models import Model, ModelCard, build_network, load_model
from napari_sparse3d.voxels.recipe import Recipe
from napari_sparse3d.voxels.voxel_set import VoxelSet


def ball(radius=9, side=24, channels=1):
    z, y, x = np.ogrid[:side, :side, :side]
    mask = (z - side / 2) ** 2 + (y - side / 2) ** 2 + (x - side / 2) ** 2 < radius**2
    indices = np.argwhere(mask).astype(np.int32, order="C")
    return VoxelSet(indices, np.ones((len(indices), channels), np.float32), (side,) * 3, np.eye(4))


def trained_model():
    card = ModelCard(
        name="knees",
        architecture="deepc2",
        arguments={"classes": 3},
        recipe=Recipe.named("mri-110"),
        classes=("a", "b", "c"),
        trained=True,
    )
    return Model(build_network("deepc2", seed=3, classes=3), card)


def test_written_and_read_back_gives_the_same_answer(tmp_path):
    model = trained_model()
    model.save(tmp_path / "knees.safetensors")
    again = load_model(tmp_path / "knees.safetensors")
    assert again.card == model.card
    one, two = model.run(ball()), again.run(ball())
    assert np.array_equal(one.embedding, two.embedding)
    assert np.array_equal(one.probabilities, two.probabilities)
    assert one.label in ("a", "b", "c")
    assert one.probabilities.sum() == pytest.approx(1)
    assert np.linalg.norm(one.embedding) == pytest.approx(1)
    assert [path.name for path in tmp_path.iterdir()] == ["knees.safetensors"]


def test_an_architecture_has_random_weights_that_depend_on_the_seed_alone():
    torch.manual_seed(1)
    one = load_model("deepc2")
    torch.manual_seed(2)
    two = load_model("deepc2")
    other = load_model("deepc2", seed=1)
    assert not one.card.trained
    assert "random weights" in one.card.description
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters()))
    assert not torch.equal(next(one.network.parameters()), next(other.network.parameters()))


def test_the_table_has_a_row_for_each_layer_and_gives_its_activations():
    result = load_model("deepc2").run(ball())
    assert [row.name for row in result.layers] == [
        "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4", "conv5", "pool5", "conv6",
    ]  # fmt: skip
    assert result.layers[0].macs == result.layers[0].active_sites * 8 * 1 * 32
    assert result.layers[-1].active_percent == 100
    third = result.activations("conv3")
    assert len(third.indices) == result.layers[4].active_sites
    assert third.features.shape[1] == 96
    with pytest.raises(InputError, match=r"no layer 'conv9'.*conv1"):
        result.activations("conv9")


def test_activations_are_those_after_the_activation_function():
    model = load_model("deepc2")
    result = model.run(ball())
    raw = model.network.layers[0](result.input)
    torch.testing.assert_close(
        result.activations("conv1").features, torch.nn.functional.leaky_relu(raw.features, 1 / 3).detach()
    )


def test_no_voxel_at_all_is_a_valid_input():
    empty = VoxelSet(np.zeros((0, 3), np.int32), np.zeros((0, 1), np.float32), (5, 5, 5), np.eye(4))
    result = load_model("deepc2").run(empty)
    assert np.isfinite(result.embedding).all()
    assert all(row.active_sites == 0 for row in result.layers)


@pytest.mark.parametrize(
    ("voxels", "message"),
    [(ball(side=130), "does not fit into the network's field"), (ball(channels=2), "takes 1 feature")],
)
def test_voxels_that_do_not_fit_are_refused(voxels, message):
    with pytest.raises(InputError, match=message):
        load_model("deepc2").run(voxels)


def test_what_is_no_model_is_refused_in_one_line(tmp_path):
    text = tmp_path / "text.safetensors"
    text.write_text("no weights here")
    bare = tmp_path / "bare.safetensors"
    save_file({"w": torch.zeros(1)}, bare)
    wrong = tmp_path / "wrong.safetensors"
    card = json.loads(trained_model().card.model_dump_json())
    save_file({"w": torch.zeros(1)}, wrong, metadata={"card": json.dumps(card)})
    broken = tmp_path / "broken.safetensors"
    save_file({"w": torch.zeros(1)}, broken, metadata={"card": '{"name": "x"}'})
    for path, message in [
        (text, "is no model file"),
        (bare, "no model card"),
        (wrong, "do not fit its own architecture"),
        (broken, "cannot be read"),
        ("resnet-9000", "there is no model 'resnet-9000'; choose .*deepc2"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_model(tmp_path / "nowhere.safetensors")


def test_engines_and_devices_that_are_not_here_are_named_with_what_to_do():
    model = load_model("deepc2")
    with pytest.raises(EngineError, match=r"no engine 'fast'; choose .*native"):
        model.run(ball(), engine="fast")
    with pytest.raises(EngineError, match="choose auto, cpu or cuda"):
        model.run(ball(), device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="sees no CUDA card"):
            model.run(ball(), device="cuda")
