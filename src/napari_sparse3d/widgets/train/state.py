"""What the Train panel knows: the data, the run that is going on, and what is said of it. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sparse3d.widgets.toolbox import words


@dataclass
class TrainingState:
    """What stands in the panel.

    Attributes
    ----------
    data : Path or None
        The labelled set.
    run_name : str
        Of the run that is going on, or was the last.
    classes : list of str
    epochs : list of dict
        The ``epoch`` events of the run, see ``training.session``.
    stopping : bool
        The run has been asked to end after its epoch.
    model : Path or None
        The trained model.
    """

    data: Path | None = None
    run_name: str = ""
    classes: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    stopping: bool = False
    model: Path | None = None

    def begin(self, *, anew: bool) -> None:
        """A process starts: with a run of its own, or to go on with the last."""
        self.stopping = False
        if anew:
            self.epochs, self.run_name, self.model = [], "", None

    def checked(self, event: dict[str, Any]) -> None:
        """The data have been looked at."""
        self.classes = list(event.get("classes") or {})

    def epoch_done(self, event: dict[str, Any]) -> None:
        """One more epoch."""
        self.run_name = str(event["run"])
        self.epochs.append(event)

    def done(self, event: dict[str, Any]) -> Path:
        """The run has ended; gives its model."""
        self.run_name = str(event["run"])
        self.model = Path(event["model"])
        return self.model

    def class_names(self, count: int) -> list[str]:
        """Of so many classes; their numbers where the names are not known."""
        return self.classes if len(self.classes) == count else [str(number) for number in range(count)]

    def curves(self) -> tuple[list[int], list[float], list[float], str]:
        """Epochs, training loss, the validation measure that chooses the best epoch, and its name."""
        numbers = [event["epoch"] for event in self.epochs]
        losses = [event["loss"] for event in self.epochs]
        chosen = self.epochs[-1]["selected_by"] if self.epochs else ""
        return numbers, losses, [event["val"][chosen] for event in self.epochs], chosen


def data_words(path: Path) -> str:
    """What a labelled set is called, and its classes where they are folders."""
    classes = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    found = f": {', '.join(classes[:6])}{' …' if len(classes) > 6 else ''}" if classes else ""
    return f"{path.name}{found}. Every case is checked before the first epoch."


def check_words(event: dict[str, Any]) -> str:
    """What there is to train on, and what is wrong with it."""
    classes = ", ".join(f"{name} {count}" for name, count in event.get("classes", {}).items())
    text = f"✓ {event.get('train', 0):,} cases to train on ({classes}), {event.get('val', 0):,} to validate"
    problems: Sequence[dict[str, Any]] = event.get("problems") or []
    if problems:
        said = [str(problem.get("message") or problem.get("what") or problem) for problem in problems]
        text += f"\n⚠ {words.count(len(problems), 'problems')}: " + "; ".join(said[:4])
    return text


def epoch_words(event: dict[str, Any]) -> str:
    """How far the run is, and how good."""
    chosen = event["selected_by"]
    wait = f" · {words.seconds(event['seconds_left'])} left" if event["epoch"] < event["epochs"] else ""
    return (
        f"epoch {event['epoch']}/{event['epochs']} · {chosen} {event['val'][chosen]:.3f} · "
        f"best {event['best']:.3f} at {event['best_epoch']}{wait}"
    )
