"""The unit of our own files: formats without a field for it get it in their free text, and give it back."""

from __future__ import annotations

import re

_PREFIX = "napari-sparse3d"
_UNITS = ("HU", "a.u.", "Bq/mL", "counts", "counts/s", "g/mL", "Gy", "label")
_STAMP = re.compile(rf"{_PREFIX} unit=(\S+)(?: modality=([A-Z]{{2,8}}))?( labels)?")


def stamp(unit: str, modality: str, *, labels: bool = False) -> str:
    """The free text of a file that this project writes: unit, modality, whether it holds labels, and nothing else."""
    known = unit if unit in _UNITS else "a.u."
    named = f" modality={modality}" if re.fullmatch(r"[A-Z]{2,8}", modality) else ""
    return f"{_PREFIX} unit={known}{named}{' labels' if labels else ''}"


def read_stamp(text: str) -> tuple[str, str] | None:
    """Unit and modality of a text that :func:`stamp` made; ``None`` for any other."""
    stamp = _STAMP.fullmatch(text.strip("\0 "))
    return (stamp[1], stamp[2] or "") if stamp is not None and stamp[1] in _UNITS else None


def is_stamped_as_labels(text: str) -> bool:
    """Whether a text that :func:`stamp` made says that the file holds labels."""
    stamp = _STAMP.fullmatch(text.strip("\0 "))
    return stamp is not None and stamp[3] is not None
