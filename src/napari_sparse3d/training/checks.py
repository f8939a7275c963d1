"""What is wrong with a labelled set, said before the first epoch: which file, what about it, what to do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.groups import groups_of, items_of, linked, patients_of
from napari_sparse3d.cases.labels import class_names
from napari_sparse3d.cases.store import VoxelStore, case_title
from napari_sparse3d.errors import InputError, failure_line
from napari_sparse3d.training.split import split_by_patient
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.voxels.recipe import sees_values


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    kind : str
        ``unreadable``, ``empty``, ``too large``, ``no label``, ``two labels``, ``patient on both sides``,
        ``content on both sides``, ``one class``, ``no cases``, ``all active``, ``continuous``,
        ``unknown class``.
    case : str
        Which case, by its number in the set (:func:`store.case_title`), or "" for the set as a whole.
    message : str
        What is wrong and what to do.
    """

    kind: str
    case: str
    message: str

    def __str__(self) -> str:
        return f"{self.case}: {self.message}" if self.case else self.message


@dataclass(frozen=True)
class Prepared:
    """A labelled set that has been looked through.

    Attributes
    ----------
    train, val : tuple of Case
        Usable, labelled, voxelised, no patient and no content on both sides.
    classes : tuple of str
    problems : tuple of Problem
        Cases left out are named here.
    active_percent : (float, float)
        Lowest and highest percent active of the field among the training cases.
    contents : mapping
        The content hash of each of them.
    split : str
        Who decided which cases are for validation: ``set``, ``drawn`` (from the seed) or ``both``.
    """

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    classes: tuple[str, ...]
    problems: tuple[Problem, ...]
    active_percent: tuple[float, float]
    contents: Mapping[Case, str] = field(default_factory=dict, repr=False)
    split: str = "set"


def prepare(
    cases: Sequence[Case],
    store: VoxelStore,
    field: int,
    *,
    validation: float = 0.2,
    seed: int = 0,
    unlabelled_is_a_problem: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Voxelise every case and find what cannot be trained on.

    Parameters
    ----------
    cases : sequence of Case
        Test cases are left alone: they are neither read nor used.
    store : VoxelStore
    field : int
        Side of the network's field.
    validation, seed
        Of the split by patient, for cases without one.
    unlabelled_is_a_problem : bool
        False for sets that mark undecided cases on purpose.
    progress : function
        Called with (done, total).
    """
    looked = _look_at_all(cases, store, field, unlabelled_is_a_problem, progress)
    contradicting = _two_labels(looked.usable, looked.contents)
    usable = [case for place, case in enumerate(looked.usable) if place not in contradicting]
    contents = [content for place, content in enumerate(looked.contents) if place not in contradicting]
    patients, links = _links(usable, contents, [case for case in cases if case.split == "test"])
    decided = split_by_patient(usable, groups=links[: len(usable)], validation=validation, seed=seed)
    train_at, mixed = _training_places(decided, links, patients, contents)
    train = [decided[place] for place in train_at]
    classes = class_names(train)
    val_at = [place for place, case in enumerate(decided) if case.split == "val"]
    known_at = [place for place in val_at if decided[place].label in classes]
    val = [decided[place] for place in known_at]
    grids = [grid for place in train_at if (grid := looked.full_grid.get(usable[place])) is not None]
    problems = [
        *looked.problems,
        *contradicting.values(),
        *mixed,
        *_continuous([case.label for case in usable]),
        *(_unknown_class(decided[place]) for place in val_at if place not in known_at),
        *_too_few(train, val, classes),
        *_all_full(grids, len(train), store.recipe),
    ]
    percents = [looked.active_percent[usable[place]] for place in train_at] or [0.0]
    hashes = {decided[place]: contents[place] for place in (*train_at, *known_at)}
    active = (min(percents), max(percents))
    return Prepared(tuple(train), tuple(val), classes, tuple(problems), active, hashes, _who_split(usable))


_Grid: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]
"""Shape, and spacing where depth is seen: what tells sets apart of which every voxel is active and no value is seen."""


@dataclass
class _Looked:
    """The cases that can be used, each with its content, and what is wrong with the others."""

    usable: list[Case] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    active_percent: dict[Case, float] = field(default_factory=dict)
    full_grid: dict[Case, _Grid] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def _look_at_all(
    cases: Sequence[Case],
    store: VoxelStore,
    side: int,
    unlabelled_is_a_problem: bool,
    progress: Callable[[int, int], None],
) -> _Looked:
    """Every case but those for tests, voxelised one by one."""
    looked = _Looked()
    wanted = [case for case in cases if case.split != "test"]
    for number, case in enumerate(wanted):
        progress(number, len(wanted))
        if case.label is None:
            if unlabelled_is_a_problem:
                message = "has no label; give it one, or take it out of the set"
                looked.problems.append(Problem("no label", case_title(case), message))
            continue
        problem, percent = _look(case, store, side)
        if problem is not None:
            looked.problems.append(problem)
            continue
        looked.usable.append(case)
        looked.contents.append(store.facts(case).content)
        looked.active_percent[case] = percent
        if (grid := _full_grid(case, store)) is not None:
            looked.full_grid[case] = grid
    progress(len(wanted), len(wanted))
    return looked


def _training_places(
    cases: Sequence[Case], links: Sequence[int], patients: Sequence[str], contents: Sequence[str]
) -> tuple[list[int], list[Problem]]:
    """Which cases are trained on, by their place; and those that belong with a validation case, which are not."""
    val_in: dict[int, list[int]] = {}
    for place, case in enumerate(cases):
        if case.split == "val":
            val_in.setdefault(links[place], []).append(place)
    train: list[int] = []
    mixed: list[Problem] = []
    for place, case in enumerate(cases):
        if case.split != "train":
            continue
        if others := val_in.get(links[place]):
            mixed.append(_on_both_sides(place, others, cases, patients, contents))
        else:
            train.append(place)
    return train, mixed


def _unknown_class(case: Case) -> Problem:
    message = f"is labelled {case.label!r}, which no training case is; add training cases of that class"
    return Problem("unknown class", case_title(case), message)


def _too_few(train: Sequence[Case], val: Sequence[Case], classes: Sequence[str]) -> list[Problem]:
    """What is said where a side has no case, or all are of one class."""
    if not train or not val:
        side = "validation" if train else "training"
        return [Problem("no cases", "", f"no usable case is left for {side}; add labelled cases for it")]
    if len(classes) < 2:
        message = f"all training cases are labelled {classes[0]!r}; a second class is needed"
        return [Problem("one class", case_title(train[0]), message)]
    return []


def _who_split(cases: Sequence[Case]) -> str:
    drawn = sum(case.split is None for case in cases)
    return "set" if not drawn else "drawn" if drawn == len(cases) else "both"


def _two_labels(cases: Sequence[Case], contents: Sequence[str]) -> dict[int, Problem]:
    """The cases whose content has another label elsewhere in the set, by their place: which of them is right?"""
    problems: dict[int, Problem] = {}
    for places in linked(contents).values():
        if len({cases[place].label for place in places}) == 1:
            continue
        for place in places:
            other = next(cases[one] for one in places if cases[one].label != cases[place].label)
            message = (
                f"is labelled {cases[place].label!r}, and {case_title(other)} with the same content {other.label!r}; "
                "give both one label, or take one out of the set"
            )
            problems[place] = Problem("two labels", case_title(cases[place]), message)
    return dict(sorted(problems.items()))


def _links(cases: Sequence[Case], contents: Sequence[str], test: Sequence[Case]) -> tuple[list[str], list[int]]:
    """The patient of each case, and the group in which it must stay; test cases, which are not read, stand at the end.

    Where the tags call every case alike and nothing else is known, they say nothing of patients: it may be the name
    that an anonymiser gives to all. Then cases are told apart by their content alone, and that is said.
    """
    patients = patients_of(cases, unread=test)
    undecided = all(case.patient is None and case.split is None for case in cases) and not test
    if undecided and len(cases) > 2 and len(set(patients)) == 1 and patients[0]:
        warnings.warn(
            "all cases have the same patient in their tags: the split is by case, and what is measured on it says "
            "nothing about other patients; name them in a table with a column 'patient' if they are several",
            stacklevel=3,
        )
        patients = [""] * len(cases)
    return patients, groups_of(patients, [*contents, *[""] * len(test)], items_of([*cases, *test]))


def _on_both_sides(
    place: int, others: Sequence[int], cases: Sequence[Case], patients: Sequence[str], contents: Sequence[str]
) -> Problem:
    """A training case that belongs with validation cases: by its patient, its content, or through others."""
    kind, what, other = "patient", "that belongs with it through others (a patient, a content)", others[0]
    for name, words, values in (
        ("content", "with the same content", contents),
        ("patient", "of the same patient", patients),
    ):
        alike = [one for one in others if values[place] and values[one] == values[place]]
        if alike:
            kind, what, other = name, words, alike[0]
    message = f"is for training, but {case_title(cases[other])} {what} is for validation; put both on one side"
    return Problem(f"{kind} on both sides", case_title(cases[place]), message)


_FATAL = ("one class", "no cases", "all active")


def require(prepared: Prepared, *, use_good: bool) -> None:
    """Raise where training must not start.

    Raises
    ------
    InputError
        If there is a problem and ``use_good`` is False, or one that leaves nothing to train on. Names up to ten.
    """
    fatal = [problem for problem in prepared.problems if problem.kind in _FATAL]
    shown = fatal + [problem for problem in prepared.problems if problem not in fatal]
    if not shown or (use_good and not fatal):
        return
    lines = "; ".join(map(str, shown[:10]))
    more = f"; and {len(shown) - 10} more" if len(shown) > 10 else ""
    advice = "" if fatal else ". Mend these, or train on the good ones with --use-good"
    raise InputError(f"{len(shown)} problem(s) before the first epoch: {lines}{more}{advice}")


def _continuous(labels: Sequence[str | None]) -> list[Problem]:
    """What is said where labels may be measurements: numbers, of most of which there is one case.

    Whole numbers may be names of classes, of which it is warned; a few fractions are grades.
    """
    try:
        values = {float(label) for label in labels if label is not None}
    except ValueError:
        return []
    fractions = any(value % 1 for value in values)
    if len(values) < _FEW_NUMBERS or 2 * len(values) <= len(labels):
        return []
    numbers = f"the labels are {len(values)} numbers of {len(labels)} cases, {min(values):g} to {max(values):g}"
    cure = "if they are measurements, bin them into classes, or choose another column (--label)"
    if fractions:
        return [Problem("continuous", "", f"{numbers}, and each would be a class, as regression is not there; {cure}")]
    warnings.warn(f"{numbers}, and each is a class, as regression is not there; {cure}", stacklevel=3)
    return []


_FEW_NUMBERS = 20
"""Fewer may be grades or names of classes, though nearly every case has one of its own."""


def _full_grid(case: Case, store: VoxelStore) -> _Grid | None:
    """The grid of a scan of which every voxel is active and no value is seen; None of all others."""
    voxels = store.get(case)
    if sees_values(store.recipe) or voxels.n_active < math.prod(voxels.shape) or store.facts(case).values != "scan":
        return None
    sizes_mm = np.linalg.norm(voxels.affine[:3, :3], axis=0).round(6).tolist()
    return voxels.shape, tuple(sizes_mm) if "depth" in store.recipe.features else ()


def _all_full(grids: Sequence[_Grid], n_train: int, recipe: Recipe) -> list[Problem]:
    """What is said where a recipe makes every voxel of training scans active: refused, if then all are the same."""
    if not grids or 2 * len(grids) < n_train:
        return []
    what = (
        f"{len(grids)} of {n_train} training scans have every voxel active: the threshold of recipe {recipe.name!r} "
        f"separates nothing in them, and {' and '.join(recipe.features)} alone say nothing of their values"
    )
    cure = "choose a threshold inside their values (--recipe), or the feature intensity"
    if len(grids) == n_train and len(set(grids)) == 1:
        return [Problem("all active", "", f"{what}, so that all look the same; {cure}")]
    warnings.warn(f"{what}; {cure}", stacklevel=3)
    return []


def _look(case: Case, store: VoxelStore, field: int) -> tuple[Problem | None, float]:
    try:
        voxels = store.get(case)
    except FileNotFoundError:
        return Problem(
            "unreadable", case_title(case), "is not there; restore the file or take its row out of the set"
        ), 0.0
    except Exception as error:  # whatever is wrong with one case is said of that case
        text = failure_line(error, case.path)
        return Problem(
            "unreadable", case_title(case), f"cannot be read ({text}); replace it or take it out of the set"
        ), 0.0
    if voxels.n_active == 0:
        message = "is empty: the recipe's threshold leaves no voxel; choose another threshold or take it out of the set"
        return Problem("empty", case_title(case), message), 0.0
    extent = np.array(voxels.shape)
    if (extent > field).any():
        message = (
            f"is {'x'.join(map(str, voxels.shape))} voxels, larger than the network's field of {field}; "
            "resample it to fewer voxels in the recipe, or take a larger field"
        )
        return Problem("too large", case_title(case), message), 0.0
    return None, 100.0 * voxels.n_active / field**3
