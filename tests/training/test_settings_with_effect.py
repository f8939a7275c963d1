"""Settings that do nothing, or not what they say, are said before the first epoch, or refused with the cure."""

import warnings
from collections import Counter

import nibabel
import numpy as np
import pytest
import torch

from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.cli.settings import settings_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.checks import prepare, require
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.effect import check_effect, check_effect_on, without_effect
from napari_sparse3d.training.losses.triplet import choose_triplets
from napari_sparse3d.training.optimize import make_optimizer, momentum
from napari_sparse3d.training.processes import ProcessGroup
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.samplers import epoch_batches
from napari_sparse3d.training.session import Data, train
from napari_sparse3d.voxels import Recipe

TRIPLET, NO_CLASSES = {"kind": "triplet"}, {"kind": "triplet", "classify": 0, "smoothing": 0.1}
RECIPE = {"threshold": {"kind": "otsu"}}

IDLE = [
    ("momentum", {"momentum": 0.5}, {"optimizer": "nesterov"}),
    ("momentum_schedule", {"momentum_schedule": "step"}, {"optimizer": "nesterov"}),
    ("momentum_schedule", {"momentum_schedule": "step", "optimizer": "nesterov", "epochs": 5}, {"epochs": 6}),
    ("initial_momentum", {"initial_momentum": 0.2, "optimizer": "nesterov"}, {"momentum_schedule": "step"}),
    ("momentum_step_epochs", {"momentum_step_epochs": 9.0, "optimizer": "nesterov"}, {"momentum_schedule": "step"}),
    ("classes_per_batch", {"classes_per_batch": 4}, {"sampler": "pk"}),
    ("cases_per_class", {"cases_per_class": 2}, {"sampler": "pk"}),
    ("warmup_epochs", {"warmup_epochs": 3, "epochs": 3}, {"epochs": 4}),
    ("patience", {"patience": 4, "epochs": 5}, {"epochs": 6}),
    ("test_views", {"test_views": 8}, {"augment": {"turns": "mirror"}}),
    ("test_views", {"test_views": 9, "augment": {"turns": "mirror"}}, {"augment": {"turns": "all"}}),
    ("loss.smoothing", {"loss": {**NO_CLASSES, "smoothing": 0.2}}, {"loss": {**TRIPLET, "smoothing": 0.2}}),
    ("loss.classify", {"loss": NO_CLASSES}, {"loss": TRIPLET}),
    ("loss.class_weights", {"loss": {"class_weights": "balanced"}}, {"sampler": "shuffled"}),
    ("loss.margin", {"loss": {**TRIPLET, "margin": 2}}, {"loss": {**TRIPLET, "margin": 2, "distance": "squared-l2"}}),
    ("calibrate", {"calibrate": "frequencies", "sampler": "shuffled"}, {"sampler": "balanced"}),
    ("recipe.field", {"recipe": {**RECIPE, "field": 32}}, {"recipe": {**RECIPE, "field": 64}}),
    ("connectivity", {"recipe": {**RECIPE, "components": {"connectivity": 6}}},
     {"recipe": {**RECIPE, "components": {"connectivity": 6, "keep": 1}}}),
    ("does not fit the field", {"recipe": {**RECIPE, "field": 64, "resample": {"kind": "longest_side", "voxels": 65}}},
     {"recipe": {**RECIPE, "field": 64, "resample": {"kind": "longest_side", "voxels": 64}}}),
    ("percentile=100", {"recipe": {"threshold": {"kind": "percentile", "percentile": 100}}},
     {"recipe": {"threshold": {"kind": "percentile", "percentile": 99}}}),
    ("mixed_precision", {"mixed_precision": True}, {"mixed_precision": False}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "idle", "cure"), IDLE, ids=[f"{n}-{i}" for n, (i, *_) in enumerate(IDLE)])
def test_what_does_nothing_is_said_and_its_cure_works(name, idle, cure):
    said = [line for line in without_effect(Training(**idle)) if name in line]
    assert len(said) == 1
    assert "\n" not in said[0]
    assert not [line for line in without_effect(Training(**{**idle, **cure})) if name in line]


def test_of_the_defaults_nothing_is_said():
    for architecture in ("residual", "deepc2", "deepc2_wide"):
        field = {} if architecture == "residual" else {"recipe": "mri-110"}
        assert without_effect(Training(architecture=architecture, **field)) == []
    assert without_effect(Training(mixed_precision=True), device="cuda") == []


def test_pairs_of_a_library_need_two_cases_of_a_class():
    pytest.importorskip("pytorch_metric_learning")
    alone = {"sampler": "pk", "cases_per_class": 1}
    assert any("cases_per_class=1" in line for line in without_effect(Training(loss="NTXentLoss", **alone)))
    assert not without_effect(Training(loss="ArcFaceLoss", **alone))  # which has a weight for each class
    usual = Training(loss="NTXentLoss", sampler="pk")
    assert not without_effect(usual, processes=3)
    assert "among 4 processes draws nothing together" in without_effect(usual, processes=4)[0]


@pytest.mark.parametrize(
    "acts",
    [
        {"loss": NO_CLASSES},
        {"loss": {"class_weights": "balanced"}},
        {"warmup_epochs": 40},
        {"loss": {**TRIPLET, "margin": 2.5}},
        {"test_views": 9, "augment": {"turns": "mirror"}},
        {"momentum_schedule": "step", "optimizer": "nesterov", "epochs": 5},
        {"calibrate": "frequencies", "sampler": "shuffled"},
        {"recipe": {**RECIPE, "field": 32}},
    ],
)
def test_of_what_acts_nobody_says_that_it_does_not(acts):
    said = without_effect(Training(**acts))
    assert said
    assert not [line for line in said if "without effect" in line]


def test_what_is_not_asked_for_is_not_said_to_be_lost():
    """No smoothing of a cross entropy that is not there, and weights that are not: nothing is missing."""
    none = Training(loss={**TRIPLET, "classify": 0, "smoothing": 0, "class_weights": "none"})
    assert [line.partition("=")[0] for line in without_effect(none)] == ["loss.classify"]
    both = Training(loss={**TRIPLET, "classify": 0, "smoothing": 0.2, "class_weights": "balanced"})
    names = [line.partition("=")[0] for line in without_effect(both)]
    assert names == ["loss.smoothing", "loss.class_weights", "loss.classify"]


REFUSED = [
    ({"loss": TRIPLET, "sampler": "pk", "cases_per_class": 1}, 1, "cases_per_class=1 .*make it 2"),
    ({"loss": TRIPLET, "sampler": "pk", "cases_per_class": 4}, 4, "among 4 processes .*make it 5"),
    ({"loss": TRIPLET, "sampler": "shuffled", "batch_size": 2}, 1, "batch_size=2 holds no triplet"),
    ({"loss": TRIPLET, "sampler": "balanced", "batch_size": 1}, 1, "batch_size=1 holds no triplet"),
    ({"sampler": "pairs", "batch_size": 2}, 1, "batch_size=2 holds no triplet"),
    ({"loss": TRIPLET, "sampler": "shuffled", "batch_size": 4}, 2, "batch_size=4 among 2 processes .*make it 5"),
    ({"sampler": "pairs"}, 2, "sampler=pairs .*2 processes"),
    ({"loss": {**TRIPLET, "pairs": "lazily-shuffled"}}, 1, "set sampler=pairs"),
]


@pytest.mark.parametrize(("settings", "processes", "said"), REFUSED)
def test_a_loss_without_triplets_is_refused(settings, processes, said, tmp_path):
    config = Training(**settings)
    with pytest.raises(InputError, match=said):
        check_effect(config, processes=processes)
    if processes == 1:  # before any case is looked for
        with pytest.raises(InputError, match=said):
            train(Data(tmp_path / "none"), config, runs=RunStore(tmp_path))
        (tmp_path / "s.json").write_text(config.model_dump_json())
        with pytest.raises(InputError, match=said):
            settings_of(tmp_path / "s.json", None, {}, [])


@pytest.mark.parametrize("sampler", ["pk", "shuffled"])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_refused_is_what_gives_no_process_a_triplet(sampler, processes):
    """Against counting in the shards of real batches."""
    labels = [number % 3 for number in range(60)]
    for size in range(1, 10):
        config = Training(loss=TRIPLET, sampler=sampler, cases_per_class=size, batch_size=size)
        shards = [
            Counter(labels[case] for case in ProcessGroup(rank, processes).shard(batch))
            for epoch in range(3)
            for batch in epoch_batches(labels, config, epoch)
            for rank in range(processes)
        ]
        there = any(len(counts) > 1 and max(counts.values()) > 1 for counts in shards)
        if there:
            check_effect(config, processes=processes)
        else:
            with pytest.raises(InputError, match="triplet"):
                check_effect(config, processes=processes)


@pytest.mark.parametrize("batch", [(0, 1, 2, 3), (0, 0, 1), (0, 1)])
def test_when_a_batch_has_triplets_by_counting(batch):
    """What the refusals rest on: brute force over all rows of a batch."""
    rows = range(len(batch))
    there = any(batch[a] == batch[p] and a != p and batch[n] != batch[a] for a in rows for p in rows for n in rows)
    embedding = torch.nn.functional.normalize(torch.randn(len(batch), 3, generator=torch.Generator().manual_seed(0)))
    for pairs in ("hardest", "random"):
        found = choose_triplets(embedding, torch.tensor(batch), pairs, torch.Generator().manual_seed(0))
        assert bool(len(found[0])) == there


def test_classes_of_one_case_have_no_triplet():
    config = Training(loss=TRIPLET, sampler="pk")
    with pytest.raises(InputError, match="no class has two training cases, got 3 cases of 3 classes"):
        list(check_effect_on(config, ["a", "b", "c"]))
    assert list(check_effect_on(config, ["a", "a", "b"])) == []
    few = Training(sampler="pk", classes_per_batch=5)
    assert "every batch has all 2 of them" in next(check_effect_on(few, ["a", "a", "b", "b"]))


def grey_set(root, low):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            values = random.integers(low, 200, (6, 6, 6)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / name / f"{number}.nii.gz")
    return root


def looked_at(root, recipe, cache):
    return prepare(cases_of(root), VoxelStore(recipe, cache), 16)


def test_a_grey_set_of_which_every_voxel_is_active(tmp_path):
    full, parted = grey_set(tmp_path / "full", 1), grey_set(tmp_path / "parted", -200)
    shape = Recipe.named("shape-64")
    with pytest.raises(InputError, match=r"every voxel active.*occupancy and depth alone.*same; choose a threshold"):
        require(looked_at(full, shape, tmp_path / "cache"), use_good=True)
    assert not looked_at(parted, shape, tmp_path / "cache").problems
    grey = shape.model_copy(update={"features": ("intensity",)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not looked_at(full, grey, tmp_path / "cache").problems
    masks = tmp_path / "masks"
    for name in ("a", "b"):  # solid boxes, cropped to their size: every voxel of a mask may be one
        (masks / name).mkdir(parents=True)
        for number in range(3):
            box = np.ones((4, 4, 4 + number + 3 * (name == "b")), np.uint8)
            nibabel.save(nibabel.Nifti1Image(box, np.eye(4)), masks / name / f"{number}.nii.gz")
    assert not looked_at(masks, shape, tmp_path / "cache").problems


@pytest.mark.parametrize("differs", ["holes", "size", "spacing"])
def test_full_grey_scans_that_differ_are_warned_of(tmp_path, differs):
    root = grey_set(tmp_path / "set", 1)
    for number, path in enumerate(sorted((root / "b").iterdir())):
        values, affine = np.asarray(nibabel.load(path).dataobj).copy(), np.eye(4)
        if differs == "holes":
            values[3, 3, number] = -5
        elif differs == "size":
            values = values[: 4 + number % 3]
        else:
            affine = np.diag([1, 1, 2.0, 1])
        nibabel.save(nibabel.Nifti1Image(values, affine), path)
    recipe = Recipe(threshold={"kind": "range", "low": 0.5}, features=("occupancy", "depth"))
    with pytest.warns(UserWarning, match=r"of \d+ training scans have every voxel active.*or the feature intensity$"):
        assert not looked_at(root, recipe, tmp_path / "cache").problems
    if differs == "spacing":  # which nothing but the depth shows
        blind = recipe.model_copy(update={"features": ("occupancy",)})
        assert [one.kind for one in looked_at(root, blind, tmp_path / "cache").problems] == ["all active"]


def test_momentum_steps():
    config = Training(optimizer="nesterov", momentum_schedule="step", momentum_step_epochs=2)
    assert [momentum(config, epochs) for epochs in (0, 1.99, 2, 9)] == [0.5, 0.5, 0.99, 0.99]
    assert momentum(Training(optimizer="nesterov", momentum=0.8), 0) == 0.8
    # as a training of then, whose file has no such settings
    assert Training(momentum_schedule="step").digest() != Training().digest() == Training(initial_momentum=0.1).digest()
    # 0 is plain gradient descent, which torch's own optimizer refuses to look ahead in
    weight = torch.nn.Linear(2, 1)
    plain = make_optimizer([weight], Training(optimizer="nesterov", momentum=0, learning_rate=0.5, weight_decay=0))
    before = weight.weight.detach().clone()
    for _ in range(2):
        plain.zero_grad()
        weight(torch.ones(1, 2)).sum().backward()
        plain.step()
    assert torch.allclose(weight.weight, before - 1.0)


def test_every_pair_of_a_class_comes_once_before_one_comes_again():
    labels = [0, 0, 0, 0, 1, 1, 1, 2, 2]
    config = Training(sampler="pairs", batch_size=6, loss={**TRIPLET, "pairs": "lazily-shuffled"})
    seen = {0: [], 1: [], 2: []}
    for epoch in range(40):
        again = epoch_batches(labels, config, epoch)
        for batch, other in zip(epoch_batches(labels, config, epoch), again, strict=True):
            assert batch.tolist() == other.tolist()  # a function of the seed and the epoch alone
            target = torch.tensor([labels[row] for row in batch])
            chosen = choose_triplets(torch.zeros(len(batch), 2), target, "lazily-shuffled", torch.Generator())
            for anchor, positive, negative in zip(*(batch[rows.numpy()].tolist() for rows in chosen), strict=True):
                assert labels[anchor] == labels[positive] != labels[negative]
                assert anchor != positive
                seen[labels[anchor]].append((anchor, positive))
    for label, pairs in seen.items():
        members = [row for row, own in enumerate(labels) if own == label]
        every = {(a, p) for a in members for p in members if a != p}
        for start in range(0, len(pairs) - len(every), len(every)):
            assert set(pairs[start : start + len(every)]) == every
    assert seen[0][:12] != seen[0][12:24]  # each round in an order of its own
    with pytest.raises(InputError, match="two classes, one of them with two cases"):
        epoch_batches([0, 1, 2], config, 0)


def test_a_training_says_what_does_nothing(shapes, settings, tmp_path):
    config = settings(epochs=1, test_views=4, augment={}, warmup_epochs=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(Data(shapes), config, runs=RunStore(tmp_path))
    said = [str(each.message) for each in caught]
    assert sum("test_views=4 is without effect" in line for line in said) == 1
    assert sum("warmup_epochs=2" in line for line in said) == 1
