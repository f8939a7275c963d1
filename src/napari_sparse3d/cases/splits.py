"""What tables and folders call the sides of a split."""

from __future__ import annotations

from napari_sparse3d.cases.case import SPLITS, Split
from napari_sparse3d.errors import InputError

NAMED_SPLITS: dict[str, Split] = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "val",
    "validation": "val",
    "testing": "test",
}


def named_split(text: str, others: bool = False) -> str | None:
    """The split that a table names; ``others``: any, not only those that training knows."""
    name = text.strip()
    if not name:
        return None
    if name.lower() not in NAMED_SPLITS and not others:
        raise InputError(f"the table has a split {name!r}; use train, val or test")
    return NAMED_SPLITS.get(name.lower(), name)
