"""What is said of a model and of its prediction. No Qt."""

from __future__ import annotations

from typing import Any

from napari_sparse3d.widgets.child.records import ModelInfo, NetworkResult
from napari_sparse3d.widgets.toolbox import words


def card_words(info: ModelInfo) -> str:
    """The card in a line: what it is, its field, how good it is; what it is for stands beside its prediction."""
    if not info.trained:
        return f"⚠ {words.RANDOM_WEIGHTS}. {info.field}³ field, {words.count(len(info.classes), 'classes')}."
    measures = _measures(info)
    return " · ".join(filter(None, (info.description, f"{info.field}³ field", measures)))


def honest_words(result: NetworkResult) -> str:
    """What has to stand beside a prediction: what it may be used for, and whether the input is like the training's."""
    info = result.model
    text = " · ".join(filter(None, (info.intended_use or words.RESEARCH_ONLY, _measures(info))))
    return "\n".join(filter(None, (text, words.unlike_training(info.name, result.outside_training))))


def tip_words(info: ModelInfo) -> str:
    """What else the card says: what it takes, what it was trained on, its limits and measures."""
    takes = f"takes {info.takes}" if info.takes else ""
    return "\n".join(filter(None, (takes, info.data, info.limits, str(info.metrics or ""))))


def _measures(info: ModelInfo) -> str:
    shown = []
    on = next((name for name in ("test", "validation") if isinstance((info.metrics or {}).get(name), dict)), "")
    metrics = info.metrics[on] if on else info.metrics
    for name in ("auc", "accuracy", "balanced_accuracy", "map"):
        value = _find(metrics, name)
        if value is not None:
            shown.append(f"{name.replace('_', ' ') if name not in ('auc', 'map') else name.upper()} {value:.3f}")
    return " · ".join(shown[:2]) + (f" ({on})" if shown and on else "")


def _find(metrics: Any, name: str) -> float | None:
    """A measure, wherever it stands in the card."""
    if isinstance(metrics, dict):
        value = metrics.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        for inside in metrics.values():
            found = _find(inside, name)
            if found is not None:
                return found
    return None
