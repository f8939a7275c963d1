"""A thing that was pointed at, again. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_sparse3d.widgets.repeat.line import line
from napari_sparse3d.widgets.repeat.source import Source

Millimetres = tuple[float, float, float]


@dataclass(frozen=True)
class Pointed:
    """At what: a place, a box about it, or a label.

    Attributes
    ----------
    at_mm, box_mm : tuple of float or None
        (s, a, r).
    label : int or None
        Of a label map.
    """

    at_mm: Millimetres | None = None
    box_mm: Millimetres | None = None
    label: int | None = None


@dataclass(frozen=True)
class Asked:
    """What was asked of which model: ``k`` known cases are listed, ``spacing_mm`` is where it was chosen."""

    source: Source
    pointed: Pointed
    model: str
    k: int
    engine: str = "auto"
    spacing_mm: float | None = None


def pick_command(asked: Asked) -> str:
    """``napari-sparse3d pick ...``; every digit of a place is written, so that it is the same place."""
    pointed, engine = asked.pointed, asked.engine
    # with "=", since the first number may be negative and would be taken for an option
    where = [f"--at={_ras(pointed.at_mm)}"] if pointed.at_mm is not None else []
    where += [f"--box={_ras(pointed.box_mm)}"] if pointed.box_mm is not None else []
    where += ["--label-value", str(pointed.label)] if pointed.label is not None else []
    chosen = [] if asked.spacing_mm is None else ["--spacing", repr(float(asked.spacing_mm))]
    chosen += [] if engine == "auto" else ["--engine", engine]
    scan = replace(asked.source, label=None)  # which label is said by what was pointed at
    return line(
        ["pick", str(asked.source.path), *scan.options(), *where, "--model", asked.model, "-k", str(asked.k), *chosen]
    )


def pick_python(asked: Asked) -> str:
    """The same in Python."""
    pointed, engine = asked.pointed, asked.engine
    given = {"at_mm": pointed.at_mm, "box_mm": pointed.box_mm, "label": pointed.label, "spacing_mm": asked.spacing_mm}
    words = [f"{name}={value!r}" for name, value in given.items() if value is not None] + [f"k={asked.k}"]
    words += [] if engine == "auto" else [f"engine={engine!r}"]
    order = "  # (s, a, r): mm toward the head, the front and the right" if pointed.at_mm is not None else ""
    return "\n".join(
        [
            "from napari_sparse3d.cohort.pick import pick",
            "from napari_sparse3d.io import read_volume",
            "",
            f"volume = {replace(asked.source, label=None).python()}",
            f"picked = pick(volume, {asked.model!r}, {', '.join(words)}){order}",
            "print(picked.result.label, picked.result.probabilities, *picked.finding.notes, sep='\\n')",
            "for row in picked.like:",
            "    print(row)",
            "",
        ]
    )


def _ras(mm: Millimetres) -> str:
    s, a, r = mm
    return ",".join(repr(float(value)) for value in (r, a, s))
