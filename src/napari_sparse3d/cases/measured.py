"""Which cases of a labelled set a model is measured on: those of a split, without those that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.labels import label_numbers
from napari_sparse3d.cases.seen import side_of, unlike_training
from napari_sparse3d.cases.splits import NAMED_SPLITS
from napari_sparse3d.cases.store import VoxelStore, case_title
from napari_sparse3d.errors import InputError, failure_line
from napari_sparse3d.models.finite import check_features

if TYPE_CHECKING:
    from napari_sparse3d.models import Model

_UNREADABLE = "unreadable"
"""The side of a case whose content is not known: it stays, and is named among those that fail."""


@dataclass(frozen=True)
class SplitCases:
    """The cases of a split, and which it is: a name, or ``all``."""

    split: str
    cases: tuple[Case, ...]


@dataclass
class MeasuredCases:
    """The cases that are measured, and what became of the others.

    Attributes
    ----------
    cases : list of Case
        Labelled with classes of the model, readable, and not larger than its field.
    failed : list of str
        One line for each case that cannot be measured, with its number and what to do.
    unlabelled : int
        Cases without a label.
    trained_on : int or None
        Of those measured; None: the model does not say which cases it was trained on.
    left_out : int
        Trained on, and so not measured.
    outside : int
        Of those measured, unlike the cases that the model was trained on.
    """

    cases: list[Case] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unlabelled: int = 0
    trained_on: int | None = None
    left_out: int = 0
    outside: int = 0


def cases_in_split(cases: Sequence[Case], split: str | None, model: Model, store: VoxelStore) -> SplitCases:
    """The cases of a split: that which the set names, else that in which the model was trained on them.

    Parameters
    ----------
    cases : sequence of Case
    split : str or None
        A split's name, in any of the words that tables have for it, or ``all``; None: test where there is one, else
        val, else all.
    model : Model
    store : VoxelStore
        Knows the content of cases, of which the set does not say a split.

    Raises
    ------
    InputError
        If no case is in that split; the message names those that there are.
    """
    wanted = None if split is None else NAMED_SPLITS.get(split.lower(), split)
    if wanted == "all":
        return SplitCases("all", tuple(cases))
    sides = {case: case.split or _side(case, model, store) for case in cases}
    present = set(sides.values())
    chosen = wanted or next((one for one in ("test", "val") if one in present), "all")
    if chosen == "all":
        return SplitCases(chosen, tuple(cases))
    if chosen not in present:
        known = ", ".join(sorted(one for one in present if one and one != _UNREADABLE)) or "none, so use --split all"
        raise InputError(f"the set has no case in split {chosen!r}; it has {known}")
    return SplitCases(chosen, tuple(case for case in cases if sides[case] in (chosen, _UNREADABLE)))


def _side(case: Case, model: Model, store: VoxelStore) -> str | None:
    """On which side the model's training had a case, of which its set does not say."""
    if model.card.split is None:
        return None
    try:
        return side_of(model.card, store.facts(case).content)
    except Exception:  # said with the others that cannot be read
        return _UNREADABLE


def measurable(asked: SplitCases, model: Model, store: VoxelStore, *, skip_unlabelled: bool = False) -> MeasuredCases:
    """Read every case of a split, and sort out what a model cannot, or must not, be measured on.

    Cases that the model was trained on are left out, unless the split says that they are wanted (``all``, ``train``).

    Parameters
    ----------
    asked : SplitCases
    model : Model
    store : VoxelStore
        Of the model's recipe.
    skip_unlabelled : bool
        Whether a case without a label is no failure.

    Raises
    ------
    InputError
        If none is left; the message says why.
    """
    measured = MeasuredCases(trained_on=None if model.card.split is None else 0)
    for case in asked.cases:
        if case.label is None:
            measured.unlabelled += 1
            if not skip_unlabelled:
                measured.failed.append(f"{case_title(case)}: has no label; give it one, or use --skip-unlabelled")
            continue
        if fault := _fault(case, model, store):
            measured.failed.append(f"{case_title(case)}: {fault}")
            continue
        facts, voxels = store.facts(case), store.get(case)
        if side_of(model.card, facts.content) == "train":
            if asked.split not in ("all", "train"):
                measured.left_out += 1
                continue
            measured.trained_on = (measured.trained_on or 0) + 1
        percent = 100.0 * voxels.n_active / model.describer.field**3
        measured.outside += bool(unlike_training(model.card, facts, voxels, percent))
        measured.cases.append(case)
    if not measured.cases:
        raise InputError(_nothing_left(asked, measured))
    return measured


def _fault(case: Case, model: Model, store: VoxelStore) -> str:
    """Why a case cannot be measured; "" where it can."""
    try:
        label_numbers([case], model.card.classes)
        voxels = store.get(case)
        check_features(torch.from_numpy(voxels.features))
    except Exception as error:  # whatever is wrong with one case, the others are measured
        return failure_line(error, case.path).removeprefix(f"case {case.number} ")
    side = model.describer.field
    if max(voxels.shape) > side:
        size = "x".join(map(str, voxels.shape))
        return f"is {size} voxels, larger than the network's field of {side}; it needs a smaller crop"
    return ""


def _nothing_left(asked: SplitCases, measured: MeasuredCases) -> str:
    if measured.left_out and not measured.failed:
        return (
            f"the model was trained on all {measured.left_out} cases of split {asked.split!r}; "
            "measure it on others, or on these with --split all"
        )
    first = measured.failed[0] if measured.failed else "none has a label"
    return f"none of {len(asked.cases)} cases can be read; {first}"
