"""Pictures of an evaluation and of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sparse3d.measure import metrics
from napari_sparse3d.measure.retrieval import Retrieval
from napari_sparse3d.pictures.style import BLUE, INK, MUTED, PAPER, RULE, VERMILLION, style


def evaluation_figure(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    classes: Sequence[str],
    found: Retrieval | None,
    *,
    title: str = "",
) -> Figure:
    """Confusion matrix, ROC curves, calibration, and precision over recall of the retrieval, side by side.

    Parameters
    ----------
    probabilities : ndarray
        (n, classes).
    labels : ndarray
        (n,).
    classes : sequence of str
    found : Retrieval or None
        None: there was nothing to retrieve.
    """
    with style():
        figure = Figure(figsize=(14, 3.9), facecolor=PAPER, layout="constrained")
        axes = figure.subplots(1, 4)
        _confusion(axes[0], metrics.confusion(probabilities, labels), classes)
        _roc(axes[1], probabilities, labels, classes)
        _calibration(axes[2], metrics.calibration(probabilities, labels))
        _retrieval(axes[3], found)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def curves_figure(history: Sequence[Mapping[str, float]], selected_by: str, *, title: str = "") -> Figure:
    """Loss in training and validation, and the measure that chose the epoch, over the epochs.

    Parameters
    ----------
    history : sequence of mapping
        One row an epoch: ``epoch``, ``loss``, ``val_loss``, ``val_...``.
    selected_by : str
        The measure, without ``val_``.
    """
    epochs = [row["epoch"] for row in history]
    with style():
        figure = Figure(figsize=(9.2, 3.4), facecolor=PAPER, layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, [row["loss"] for row in history], color=BLUE, label="training")
        left.plot(epochs, [row["val_loss"] for row in history], color=VERMILLION, ls="--", label="validation")
        left.set_ylabel("loss")
        left.legend(frameon=False)
        # an epoch may lack the measure: none can be taken of one class, or it was trained with other measures
        values = np.array([row.get(f"val_{selected_by}", np.nan) for row in history], dtype=float)
        right.plot(epochs, values, color=VERMILLION, marker="o", markersize=3)
        if np.isfinite(values).any():
            best = int(np.nanargmax(values))
            words = f"{values[best]:.3f} at epoch {epochs[best]:.0f}"
            place = (epochs[best], values[best])
            right.annotate(words, place, (0, 8), textcoords="offset points", ha="center", fontsize=9)
        right.margins(y=0.15)
        right.set_ylabel(f"validation {selected_by}")
        for ax in (left, right):
            ax.set_xlabel("epoch")
            ax.grid(color=RULE, linewidth=0.8)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def _confusion(ax: Any, table: NDArray[np.int64], classes: Sequence[str]) -> None:
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        ink = PAPER if share[row, column] > 0.5 else INK
        ax.text(column, row, f"{count}", ha="center", va="center", color=ink, fontsize=9)
    ax.set_xticks(range(len(classes)), classes, rotation=30 if len(classes) > 3 else 0)
    ax.set_yticks(range(len(classes)), classes)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")


def _roc(ax: Any, probabilities: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]) -> None:
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, ls=":")
    shown = [1] if len(classes) == 2 else range(len(classes))
    for number in shown:
        positive = labels == number
        if 0 < positive.sum() < len(positive):
            area = metrics.binary_auc(probabilities[:, number], positive)
            false, true = metrics.roc_curve(probabilities[:, number], positive)
            ax.plot(false, true, linewidth=1.5, label=f"{classes[number]} {area:.3f}")
    ax.set_xlabel("false positive rate")
    ax.set_ylabel("true positive rate")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(title="area under the curve", fontsize=8, title_fontsize=8, frameon=False)


def _calibration(ax: Any, calibration: metrics.Calibration) -> None:
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, ls=":")
    ax.scatter(
        calibration.confidence,
        calibration.correct,
        s=12 + 120 * calibration.count / calibration.count.sum(),
        color=BLUE,
        zorder=2,
    )
    ax.set_xlim(0, 1.03)
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("probability of the predicted class")
    ax.set_ylabel("share that is right")
    ax.set_title(f"calibration error {calibration.error:.3f}", fontsize=9)


def _retrieval(ax: Any, retrieval: Retrieval | None) -> None:
    ax.set_xlabel("recall")
    ax.set_ylabel("precision of the retrieval")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.03)
    if retrieval is not None:
        ax.plot(retrieval.recall, retrieval.precision, color=BLUE)
        ax.set_title(f"mAP {retrieval.map:.3f} over {retrieval.n_queries} queries", fontsize=9)
