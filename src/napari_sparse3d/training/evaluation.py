"""How good a model is on labelled cases: figures with intervals, and a report with pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.groups import LinkedCases, linked_cases
from napari_sparse3d.cases.labels import label_numbers
from napari_sparse3d.cases.measured import MeasuredCases
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.engine.choice import Choice
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.measure.judge import RETRIEVED_PER_CLASS, judge
from napari_sparse3d.measure.retrieval import retrieval
from napari_sparse3d.models import Model
from napari_sparse3d.models.card import ModelCard
from napari_sparse3d.sparse import use_engine
from napari_sparse3d.training.augment import turns
from napari_sparse3d.training.config import Augmentation
from napari_sparse3d.training.predict import Predictions, predict

MOST_VIEWS = 48
"""Symmetries of a cube."""


@dataclass(frozen=True)
class Views:
    """Over how many symmetric views predictions are averaged, and of which kind (``Augmentation.turns``)."""

    count: int
    kind: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model, measured.

    Attributes
    ----------
    figures : dict
        What :func:`~napari_sparse3d.measure.judge.judge` gives, with what was measured: JSON's own types.
    predictions : Predictions
        Of the n cases that were measured.
    labels : ndarray
        (n,) int64 class numbers.
    linked : LinkedCases or None
        What links cases, see :func:`~napari_sparse3d.cases.groups.linked_cases`.
    """

    figures: dict[str, Any]
    predictions: Predictions
    labels: NDArray[np.int64]
    linked: LinkedCases | None

    @property
    def title(self) -> str:
        """What was measured, and whether it was trained on, in one line."""
        figures = self.figures
        trained, left_out = figures["trained_on"], figures["trained_on_left_out"]
        notes = [f"{figures['n']} cases"]
        if trained is None:
            notes.append("which cases it was trained on is not known")
        elif trained:
            notes.append(f"{trained} of them trained on")
        if left_out:
            notes.append(f"{left_out} that it was trained on left out")
        if figures["unlabelled"]:
            notes.append(f"{figures['unlabelled']} without a label left out")
        if figures["outside_training"]:
            notes.append(f"{figures['outside_training']} unlike what it was trained on")
        return f"{figures['model']} on {figures['dataset']}, {figures['split']}: {', '.join(notes)}"

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value and 95 % interval of each measure; an interval that there is none of is empty."""
        rows = []
        for name, value in self.figures.items():
            if isinstance(value, float):
                low, high = self.figures["intervals"].get(name, (None, None))
                rows.append((name, f"{value:.3f}", "" if low is None else f"{low:.3f} to {high:.3f}"))
        return rows


def views_of(card: ModelCard, count: int | None = None) -> Views:
    """How many symmetric views are averaged: as asked for, else as the card says; of the kind that the card says.

    Raises
    ------
    InputError
        If ``count`` is not 1 to 48, or more than the kind has, or the card says what
        :class:`~napari_sparse3d.training.config.Training` would not take.
    """
    if count is not None and not 1 <= count <= MOST_VIEWS:
        raise InputError(f"views must be 1 to {MOST_VIEWS}, the symmetries of a cube, got {count}")
    known = get_args(Augmentation.model_fields["turns"].annotation)
    asked, count = count, card.training.get("test_views", 1) if count is None else count
    if count == 1:
        return Views(1, "none")
    augment = card.training.get("augment", {})
    kind = augment.get("turns", "none") if isinstance(augment, dict) else None
    if type(count) is not int or not 1 <= count <= MOST_VIEWS or not isinstance(kind, str) or kind not in known:
        raise InputError(
            f"the model's card asks for views that are none: test_views of 1 to {MOST_VIEWS} and augment.turns of "
            f"{', '.join(known)} were expected; give --views 1, or take a model that `train` wrote"
        )
    available = len(turns(kind))
    if asked is not None and asked > available:
        raise InputError(
            f"--views {asked}: the model was trained with augment.turns={kind}, which has {available} symmetric "
            f"view{'s' * (available > 1)}; give at most {available}, or leave it out"
        )
    return Views(min(count, available), kind)


def evaluate_model(
    model: Model,
    measured: MeasuredCases,
    store: VoxelStore,
    *,
    dataset: str,
    split: str,
    views: Views,
    choice: Choice,
) -> Evaluation:
    """Run a model on cases and judge what it says.

    Parameters
    ----------
    model : Model
    measured : MeasuredCases
        See :func:`napari_sparse3d.cases.measured.measurable`.
    store : VoxelStore
        Of the model's recipe.
    dataset, split : str
        What they are called.
    views : Views
    choice : Choice
        Engine and device.
    """
    labels = np.array(label_numbers(measured.cases, model.card.classes))
    linked = linked_cases(measured.cases, [store.facts(case).content for case in measured.cases])
    with use_engine(choice.engine):
        network = model.network.to(choice.device)
        predictions = predict(
            network, measured.cases, store, views=views.count, view_kind=views.kind, device=choice.device
        )
    figures = {
        "model": model.card.name,
        "dataset": dataset,
        "split": split,
        "trained_on": measured.trained_on,
        "trained_on_left_out": measured.left_out,
        "unlabelled": measured.unlabelled,
        "outside_training": measured.outside,
        "views": views.count,
        "classes": list(model.card.classes),
        **judge(predictions.probabilities, predictions.embeddings, labels, linked),
        "failed": measured.failed,
    }
    return Evaluation(figures, predictions, labels, linked)


def write_report(folder: Path, evaluation: Evaluation) -> None:
    """Write ``report.md`` with its picture ``evaluation.png``, and the figures as ``figures.json``.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    from napari_sparse3d.pictures.evaluation import evaluation_figure
    from napari_sparse3d.pictures.style import as_png

    figures, predictions, labels = evaluation.figures, evaluation.predictions, evaluation.labels
    groups = None if evaluation.linked is None else evaluation.linked.groups
    try:
        retrieved = retrieval(predictions.embeddings, labels, groups=groups, at_most_per_class=RETRIEVED_PER_CLASS)
    except InputError:  # no class with two cases
        retrieved = None
    title = evaluation.title
    picture = as_png(evaluation_figure(predictions.probabilities, labels, figures["classes"], retrieved, title=title))
    lines = [f"# {title}", "", "Research use only.", "", "| measure | value | 95 % interval |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in evaluation.rows()]
    lines += ["", f"Intervals: {figures['interval']}. Views averaged: {figures['views']}.", "", "![](evaluation.png)"]
    for name, content in (
        ("evaluation.png", picture),
        ("figures.json", json.dumps(figures, indent=1).encode()),
        ("report.md", "\n".join([*lines, ""]).encode()),
    ):
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
