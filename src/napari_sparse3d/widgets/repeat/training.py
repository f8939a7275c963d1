"""A training, again. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def train_python(
    data: Path,
    chosen: Mapping[str, object],
    loss: str,
    recipe: str,
    *,
    use_good: bool,
    more: Mapping[str, Any] | None = None,
    name: str = "",
) -> str:
    """A training in Python.

    Parameters
    ----------
    data : Path
        The labelled set.
    chosen : mapping
        Settings by name, as ``architecture`` and ``epochs``.
    loss, recipe : str
        Their names.
    use_good : bool
        Whether cases that cannot be used are left out.
    more : mapping
        Further settings by dotted name, as ``train --set`` takes them.
    name : str
        Of the run and its model.
    """
    start = {"architecture": chosen.get("architecture"), "loss": loss}
    others = {name: value for name, value in chosen.items() if name != "architecture"}
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.measure.bounds import bounds",
            "from napari_sparse3d.measure.judge import judge, measure",
            "from napari_sparse3d.training.config import Training, starting_settings",
            "from napari_sparse3d.training.runs import RunStore",
            "from napari_sparse3d.training.session import Data, train",
            "from napari_sparse3d.voxels import Recipe",
            "",
            f"settings = starting_settings({', '.join(f'{name}={value!r}' for name, value in start.items() if value)})",
            *(f"settings[{name!r}] = {value!r}" for name, value in others.items()),
            f'settings["recipe"] = Recipe.named({recipe!r})',
            *_further(more or {}),
            f"data = Data(Path({str(data)!r}), use_good={use_good!r})",
            'runs = RunStore(Path("runs"))',
            "outcome = train(data, Training(**settings)"
            f"{f', name={name!r}' if name else ''}, runs=runs, measure=measure, judge=judge, bounds=bounds)",
            "print(outcome.model, outcome.metrics)",
            "",
        ]
    )


def resume_python(data: Path, run: str, runs: Path, epochs: int | None) -> str:
    """A run that goes on, in Python: with the settings in its folder, to other ``epochs`` unless that is None."""
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.measure.bounds import bounds",
            "from napari_sparse3d.measure.judge import judge, measure",
            "from napari_sparse3d.training.config import Training",
            "from napari_sparse3d.training.runs import RunStore",
            "from napari_sparse3d.training.session import Data, train",
            "",
            f"runs, run = RunStore(Path({str(runs)!r})), {run!r}",
            'settings = Training.model_validate_json((runs.folder / run / "settings.json").read_text())',
            *([] if epochs is None else [f'settings = settings.model_copy(update={{"epochs": {epochs}}})']),
            f"data = Data(Path({str(data)!r}))",
            "outcome = train(data, settings, runs=runs, resume=run, measure=measure, judge=judge, bounds=bounds)",
            "print(outcome.model, outcome.metrics)",
            "",
        ]
    )


def _further(more: Mapping[str, Any]) -> list[str]:
    """One line a part: the arguments of a network are given whole, other parts keep what is not said."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in more.items():
        part, _, inner = name.rpartition(".")
        parts.setdefault(part, {})[inner] = value
    plain = [f"settings[{name!r}] = {value!r}" for name, value in parts.pop("", {}).items()]
    kept = {part: "" if part == "arguments" else f"**settings.get({part!r}, {{}}), " for part in parts}
    return plain + [
        f"settings[{part!r}] = {{{kept[part]}{', '.join(f'{name!r}: {value!r}' for name, value in values.items())}}}"
        for part, values in parts.items()
    ]
