"""Labelled sets of which many cases lie in one ``.npz``: MedMNIST, sparse shapes, packed shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from napari_sparse3d.cases.case import SPLITS, Case
from napari_sparse3d.cases.labels import UNLABELLED, label_of
from napari_sparse3d.cases.read import arrays
from napari_sparse3d.cases.splits import named_split
from napari_sparse3d.cases.tables import patient_column, rows_of_table
from napari_sparse3d.errors import InputError

_IN_ARRAYS = tuple(word for word in UNLABELLED if word != "-1")
"""Arrays of numbers have no word for a missing label but NaN: -1 is a class there."""


def cases_in_arrays(source: Path, column: str, unlabelled: Sequence[str], other_splits: bool) -> Iterator[Case]:
    """The cases of an ``.npz``: MedMNIST's images, sparse shapes with a table beside them, or packed shapes.

    Raises
    ------
    InputError
        If it holds none of these.
    """
    stored = arrays(source)
    if any(f"{split}_images" in stored for split in SPLITS):
        return _medmnist(source, stored)
    if _is_sparse(stored):
        return _sparse(source, stored, column, unlabelled, other_splits)
    if "X" in stored and "y" in stored:
        return _packed(source, stored)
    raise InputError(
        f"the .npz holds {', '.join(sorted(stored)) or 'nothing'}; expected train_images and train_labels, "
        "or coords and offsets, or X and y"
    )


def has_table_beside(source: Path) -> bool:
    """Whether an ``.npz`` is of sparse shapes with their table beside it: other arrays hold their labels themselves."""
    if not source.with_suffix(".csv").exists():
        return False
    stored = arrays(source)
    return _is_sparse(stored) and not any(f"{split}_images" in stored for split in SPLITS)


def _is_sparse(stored: dict[str, Any]) -> bool:
    return "offsets" in stored and "coords" in stored


def _medmnist(source: Path, stored: dict[str, Any]) -> Iterator[Case]:
    for split in SPLITS:
        if f"{split}_images" not in stored:
            continue
        images, labels = stored[f"{split}_images"], stored.get(f"{split}_labels")
        if images.ndim != 4 or labels is None or labels.size != len(images):
            raise InputError(f"{split}_images must be (n, z, y, x) with one of {split}_labels each")
        for number, label in enumerate(labels.ravel().tolist()):
            name = f"{source.name}[{split} {number}]"
            yield Case(name, source, "medmnist", f"{split}:{number}", label_of(label, _IN_ARRAYS), split)


def _sparse(
    source: Path, stored: dict[str, Any], column: str, unlabelled: Sequence[str], other_splits: bool
) -> Iterator[Case]:
    count = len(stored["offsets"]) - 1
    beside = source.with_suffix(".csv")
    rows = rows_of_table(beside) if beside.exists() else [{} for _ in range(count)]
    if len(rows) != count:
        raise InputError(f"the .csv beside the set has {len(rows)} rows for its {count} shapes")
    if beside.exists() and column not in rows[0]:
        raise InputError(f"the .csv beside the set has no column {column!r}; choose one of {', '.join(rows[0])}")
    labels = stored["label"].ravel().tolist() if "label" in stored else [""] * count
    patient_in = patient_column(list(rows[0])) if rows else None
    for number, (row, own) in enumerate(zip(rows, labels, strict=True)):
        yield Case(
            f"{source.name}[{number}]",
            source,
            "sparse",
            str(number),
            label_of(row.get(column, own), unlabelled),
            named_split(row.get("split", ""), other_splits),
            (row[patient_in].strip() or None) if patient_in is not None else None,
        )


def _packed(source: Path, stored: dict[str, Any]) -> Iterator[Case]:
    for number, (bits, label) in enumerate(zip(stored["X"], stored["y"].ravel().tolist(), strict=True)):
        # the same shape twice, as in ModelNet, must not be on both sides: equal shapes stay together like a patient's
        same = hashlib.sha256(bits.tobytes()).hexdigest()[:16]
        yield Case(f"{source.name}[{number}]", source, "packed", str(number), label_of(label, _IN_ARRAYS), patient=same)
