"""What the Train panel knows: the data, the run that is going on, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.train.curve import NamedCurve
from napari_sparse3d.widgets.train.settings import ChosenSettings


@dataclass(frozen=True)
class Started:
    """What a run is trained with, from its start on: what is chosen afterwards is for the next one."""

    data: Path
    settings: ChosenSettings

    @property
    def planned(self) -> int:
        """Epochs."""
        return self.settings.epochs

    def arguments(self, data: str = "") -> list[str]:
        """The command line after ``napari-sparse3d``; ``data`` in place of its own."""
        return ["train", data or str(self.data), *self.settings.options()]

    def python(self, data: str = "") -> str:
        """The same in Python."""
        return self.settings.python(Path(data) if data else self.data)

    def to_epochs(self, epochs: int) -> Started:
        """The same to other epochs, which is how a run goes on."""
        return replace(self, settings=replace(self.settings, epochs=epochs))

    def words(self) -> str:
        """What stands over its curves."""
        called = f"{self.settings.name}: " if self.settings.name else ""
        return f"{called}{self.data.name} · {self.settings.words()}"


@dataclass(frozen=True)
class GoneOn:
    """A run of the list that goes on: its settings are those in its folder, unless it is to have other epochs."""

    data: Path
    run: str
    runs: Path
    called: str
    planned: int
    more_epochs: bool = False

    def arguments(self, data: str = "") -> list[str]:
        """As of :class:`Started`; for another place than this one the folder of runs is left out."""
        where = [] if data else ["--runs", str(self.runs)]
        epochs = ["--epochs", str(self.planned)] if self.more_epochs else []
        return ["train", data or str(self.data), "--resume", self.run, *where, *epochs]

    def python(self, data: str = "") -> str:
        """As of :class:`Started`."""
        folder = Path("runs") if data else self.runs
        epochs = self.planned if self.more_epochs else None
        return repeat.resume_python(Path(data) if data else self.data, self.run, folder, epochs)

    def to_epochs(self, epochs: int) -> GoneOn:
        """As of :class:`Started`."""
        return replace(self, planned=epochs, more_epochs=True)

    def words(self) -> str:
        """As of :class:`Started`."""
        return f"{self.called}: {self.data.name} · continuing to {self.planned} epochs"


@dataclass
class TrainingState:
    """What stands in the panel.

    Attributes
    ----------
    data : Path or None
        The labelled set that is chosen.
    started : Started, GoneOn or None
        What the run that is going on, or was the last, is trained with.
    chosen_at_end : Started or None
        What stood in the controls when it ended.
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
    started: Started | GoneOn | None = None
    chosen_at_end: Started | None = None
    run_name: str = ""
    classes: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    stopping: bool = False
    model: Path | None = None

    def begin(self, started: Started | GoneOn, *, anew: bool) -> None:
        """A process starts: with a run of its own, or to go on with the last."""
        self.started, self.chosen_at_end, self.stopping = started, None, False
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

    def curves(self) -> tuple[NamedCurve, NamedCurve, str, float | None]:
        """Training loss, the validation measure that chooses the best epoch, its name, and what guessing gives."""
        loss = NamedCurve("", [event["epoch"] for event in self.epochs], [event["loss"] for event in self.epochs])
        if not self.epochs:
            return loss, loss, "", None
        chosen = str(self.epochs[-1]["selected_by"])
        there = [event for event in self.epochs if event["val"].get(chosen) is not None]
        bounds = [event.get("bounds") or {} for event in there]
        measure = NamedCurve(
            "",
            [event["epoch"] for event in there],
            [event["val"][chosen] for event in there],
            [each.get("low") for each in bounds],
            [each.get("high") for each in bounds],
        )
        return loss, measure, chosen, bounds[-1].get("chance") if bounds else None


def data_words(path: Path) -> str:
    """What a labelled set is called, and its classes where they are folders."""
    classes = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    found = f": {', '.join(classes[:6])}{' …' if len(classes) > 6 else ''}" if classes else ""
    return f"{path.name}{found}. Every case is checked before the first epoch."


def check_words(event: dict[str, Any]) -> str:
    """What there is to train on, and what is wrong with it."""
    classes = ", ".join(f"{name} {count}" for name, count in event.get("classes", {}).items())
    held = ", ".join(f"{name} {count}" for name, count in event.get("val_classes", {}).items())
    text = f"✓ {event.get('train', 0):,} cases to train on ({classes}), {event.get('val', 0):,} to validate"
    text += f" ({held})" if held else ""
    if how := split_words(event.get("split"), (event.get("settings") or {}).get("seed")):
        text += f"\n{how}"
    problems: Sequence[dict[str, Any]] = event.get("problems") or []
    if problems:
        said = [str(problem.get("message") or problem.get("what") or problem) for problem in problems]
        text += f"\n⚠ {words.count(len(problems), 'problems')}: " + "; ".join(said[:4])
    return text


def split_words(split: str | None, seed: int | None) -> str:
    """How the cases for validation were chosen, and the seed; "" where nothing is known of either."""
    drawn = "" if seed is None else f" by seed {seed}"
    how = {
        "set": "Split: as the data say",
        "drawn": f"Split: drawn{drawn}, patients kept together",
        "both": f"Split: as the data say, the rest drawn{drawn}",
    }.get(split or "", "")
    return f"{how} · seed {seed}" if how and seed is not None and split == "set" else how


def epoch_words(event: dict[str, Any]) -> str:
    """How far the run is, and how good."""
    chosen = event["selected_by"]
    ends = event.get("bounds") or {}
    interval = f" [{ends['low']:.3f}, {ends['high']:.3f}]" if "low" in ends and "high" in ends else ""
    wait = f" · {words.seconds(event['seconds_left'])} left" if event["epoch"] < event["epochs"] else ""
    return (
        f"epoch {event['epoch']}/{event['epochs']} · {chosen} {_figure(event['val'][chosen])}{interval} · "
        f"best {_figure(event['best'])} at {event['best_epoch']}{wait}"
    )


def _figure(value: float | None) -> str:
    """A loss that chooses is told as a loss, not as the negative number of which the largest is the best."""
    return "–" if value is None else f"{abs(value):.3f}"
