"""The models that the package carries: small, described, and as good as their cards say."""

from importlib import resources

import numpy as np
import pytest

from napari_sparse3d.cases.groups import linked_cases
from napari_sparse3d.cases.labels import label_numbers
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.measure.judge import judge
from napari_sparse3d.models import bundled_models, load_model
from napari_sparse3d.training.predict import predict
from napari_sparse3d.voxels import VoxelSet

SETS = {
    "vessel": ("vesselmnist3d_64_trainval.npz", "label"),
    "adrenal": ("adrenalmnist3d_64_trainval.npz", "label"),
    "nodule": ("lidc_nodules/lidc_nodules_open.npz", "label_malignant"),
}
NAMES = sorted(bundled_models())


def test_together_they_are_small():
    assert NAMES
    assert set(NAMES) <= set(SETS)
    folder = resources.files("napari_sparse3d.models") / "bundled"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 10e6


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_is_needed(name):
    card = load_model(name).card
    assert card.name == name
    assert card.trained
    assert "research use only" in card.intended_use
    for text in (card.description, card.data, card.limits, card.licence):
        assert text
    measured = card.metrics["validation"]
    low, high = measured["intervals"]["auc"]
    assert low <= measured["auc"] <= high
    low, high = card.active_percent_seen
    assert 0 < low < high < 100
    assert card.recipe.field == card.arguments["field"]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_a_shape(name):
    model = load_model(name)
    ball = ((np.indices((40, 40, 40)) - 20) ** 2).sum(0) < 100
    indices = np.argwhere(ball).astype(np.int32)
    features = np.ones((len(indices), model.card.recipe.n_channels), np.float32)
    result = model.run(VoxelSet(indices, features, ball.shape, np.eye(4)), engine="native")
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(result.embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_good_as_its_card_says(name, data_dir, tmp_path):
    model = load_model(name)
    file, column = SETS[name]
    cases = [
        case
        for case in cases_of(data_dir / "labelled" / file, label_column=column)
        if case.split == "val" and case.label is not None
    ]
    training = model.card.training
    views = {"views": training["test_views"], "view_kind": training["augment"]["turns"]}
    store = VoxelStore(model.card.recipe, tmp_path)
    found = predict(model.network, cases, store, **views)
    labels = np.array(label_numbers(cases, model.card.classes))
    linked = linked_cases(cases, [store.facts(case).content for case in cases])
    figures = judge(found.probabilities, found.embeddings, labels, linked)
    for measure in ("auc", "accuracy", "map"):
        assert figures[measure] == pytest.approx(model.card.metrics["validation"][measure], abs=2e-3)
