"""Where a volume was read from, with its name or without. No Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from napari_sparse3d.catalog.formats import FORMATS
from napari_sparse3d.errors import InputError


@dataclass(frozen=True)
class Source:
    """Where a volume was read from: what the command line and ``read_volume`` need to read it again."""

    path: Path
    series: int | None = None
    frame: int | None = None
    repair: str | None = None
    label: str | None = None
    """Of a label map: which label is the shape, or ``"all"``."""

    def options(self) -> list[str]:
        """As options of the command line."""
        given = {
            "--series": self.series,
            "--frame": self.frame,
            "--repair": self.repair,
            "--label-value": self.label,
        }
        return [part for name, value in given.items() if value is not None for part in (name, str(value))]

    def python(self) -> str:
        """As a call of ``read_volume``."""
        given = {"series": self.series, "frame": self.frame, "repair": self.repair}
        words = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
        read = f"read_volume({str(self.path)!r}{words})"
        if self.label is None:
            return read
        return f"mask_of({read})" if self.label == "all" else f"mask_of({read}, {self.label})"


SCAN, MODEL, DATA, TABLE = "SCAN", "MODEL", "DATA", "cohort.parquet"
"""What stands for a path in the lines that a session keeps; the last is the session's own table."""
STANDS_FOR = {
    SCAN: "the scan, as a file or folder",
    MODEL: "the model's file",
    DATA: "the labelled set",
}


def without_name(source: Source) -> Source:
    """The same, with a word in the place of the path: what it is called may name a patient."""
    # the ending, by which a reader is chosen, is kept
    return replace(source, path=Path(SCAN + FORMATS.ending_of(source.path.name)))


def model_without_name(model: str) -> str:
    """A model's name; a word in the place of a file."""
    return f"{MODEL}.safetensors" if model.endswith(".safetensors") else model


def explained(text: str) -> str:
    """Lines of a shell or of Python, with what their words stand for above them."""
    used = [f"# {word} stands for {what}" for word, what in STANDS_FOR.items() if re.search(rf"\b{word}\b", text)]
    hint = ["# session.json has the SHA-256 of each, by which it is found again"] if used else []
    return "\n".join([*used, *hint, text])


def require_source(source: Source | None) -> Source:
    """The source, or why there is no line to copy.

    Raises
    ------
    InputError
        If the volume was not read from a file.
    """
    if source is None:
        raise InputError(
            "this layer was not opened from a file; save it as NIfTI and open that, then it can be repeated"
        )
    return source
