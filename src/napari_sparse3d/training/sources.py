"""Which cases a labelled set holds: MedMNIST arrays, tables, folders per class, label maps, packed shapes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sparse3d.errors import InputError, line_of
from napari_sparse3d.io.formats import opens
from napari_sparse3d.io.naming import without_identity
from napari_sparse3d.parse import read_csv
from napari_sparse3d.training.cases import SPLITS, Case, Split
from napari_sparse3d.training.read import MESHES, arrays
from napari_sparse3d.volume import whole_labels

TABLES = (".csv", ".parquet")
NAMED_SPLITS: dict[str, Split] = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "val",
    "validation": "val",
    "testing": "test",
}


def cases_of(
    path: str | os.PathLike[str], *, label_column: str = "label", unlabelled: Sequence[str] = ("", "-1", "nan")
) -> list[Case]:
    """List the cases of a labelled set, without reading their voxels.

    Parameters
    ----------
    path : str or path
        * ``.npz`` of MedMNIST: ``train_images`` (n, z, y, x), ``train_labels`` (n, 1), the same for val and test;
        * ``.npz`` of sparse shapes: ``coords``, ``offsets``, ``size``, ``spacing``, with a ``.csv`` of the same name
          (columns ``patient``, ``split``, and the label; one row a shape);
        * ``.npz`` of packed shapes: ``X`` (n, bytes), ``y`` (n,);
        * ``.csv`` or ``.parquet``: columns ``path`` (relative to the table), ``label``, and where known ``patient``,
          ``split``, ``mask``;
        * a folder with ``images/`` and ``labels/``: each value of a label map is one case, labelled with that value;
        * a folder per class, of scans, voxel sets or meshes; below it, or above it, ``train``, ``val``, ``test``.
    label_column : str
        Column of the label, for sets with a table.
    unlabelled : sequence of str
        What stands for a missing label.

    Raises
    ------
    InputError
        If it is none of these.
    FileNotFoundError
        If there is nothing at ``path``.
    """
    found = _cases_of(Path(path), label_column, unlabelled)
    return [replace(case, number=number) for number, case in enumerate(found)]


def _cases_of(source: Path, label_column: str, unlabelled: Sequence[str]) -> list[Case]:
    if not source.exists():
        raise FileNotFoundError(2, "no such file or folder", str(source))
    if source.is_dir():
        found = list(_label_maps(source) if (source / "labels").is_dir() else _folders(source))
        if not found:
            raise InputError("the folder holds no cases; expected a folder per class, with scans or meshes in it")
        return found
    if source.suffix in TABLES:
        return list(_table(source, label_column, unlabelled))
    if source.suffix != ".npz":
        raise InputError("this is no labelled set; give a folder, a table (.csv, .parquet) or an .npz")
    stored = arrays(source)
    if any(f"{split}_images" in stored for split in SPLITS):
        return list(_medmnist(source, stored))
    if "offsets" in stored and "coords" in stored:
        return list(_sparse(source, stored, label_column, unlabelled))
    if "X" in stored and "y" in stored:
        return list(_packed(source, stored))
    raise InputError(
        f"the .npz holds {', '.join(sorted(stored)) or 'nothing'}; expected train_images and train_labels, "
        "or coords and offsets, or X and y"
    )


def _medmnist(source: Path, stored: dict[str, Any]) -> Iterator[Case]:
    for split in SPLITS:
        if f"{split}_images" not in stored:
            continue
        images, labels = stored[f"{split}_images"], stored.get(f"{split}_labels")
        if images.ndim != 4 or labels is None or labels.size != len(images):
            raise InputError(f"{split}_images must be (n, z, y, x) with one of {split}_labels each")
        for number, label in enumerate(labels.ravel().tolist()):
            yield Case(f"{source.name}[{split} {number}]", source, "medmnist", f"{split}:{number}", str(label), split)


def _sparse(source: Path, stored: dict[str, Any], column: str, unlabelled: Sequence[str]) -> Iterator[Case]:
    count = len(stored["offsets"]) - 1
    beside = source.with_suffix(".csv")
    rows = _rows(beside) if beside.exists() else [{} for _ in range(count)]
    if len(rows) != count:
        raise InputError(f"the .csv beside the set has {len(rows)} rows for its {count} shapes")
    if beside.exists() and column not in rows[0]:
        raise InputError(f"the .csv beside the set has no column {column!r}; choose one of {', '.join(rows[0])}")
    labels = stored["label"].ravel().tolist() if "label" in stored else [""] * count
    for number, (row, own) in enumerate(zip(rows, labels, strict=True)):
        label = row.get(column, str(own))
        yield Case(
            f"{source.name}[{number}]",
            source,
            "sparse",
            str(number),
            None if label in unlabelled else label,
            _split(row.get("split", ""), beside),
            row.get("patient") or None,
        )


def _packed(source: Path, stored: dict[str, Any]) -> Iterator[Case]:
    for number, (bits, label) in enumerate(zip(stored["X"], stored["y"].ravel().tolist(), strict=True)):
        # the same shape twice, as in ModelNet, must not be on both sides: equal shapes stay together like a patient's
        same = hashlib.sha256(bits.tobytes()).hexdigest()[:16]
        yield Case(f"{source.name}[{number}]", source, "packed", str(number), str(label), patient=same)


def _table(source: Path, column: str, unlabelled: Sequence[str]) -> Iterator[Case]:
    rows = _rows(source)
    for needed in ("path", column):
        if rows and needed not in rows[0]:
            raise InputError(f"the table has no column {needed!r}; its columns are {', '.join(rows[0])}")
    for row in rows:
        place = source.parent / row["path"]
        mask = source.parent / row["mask"] if row.get("mask") else None
        yield Case(
            row["path"],
            place,
            "mask" if mask else _kind(place),
            row.get("value", "") if mask else "",
            None if row[column] in unlabelled else row[column],
            _split(row.get("split", ""), source),
            row.get("patient") or None,
            mask,
        )


def _rows(path: Path) -> list[dict[str, str]]:
    """A table as text, a dict a row; missing values are empty."""
    if path.suffix != ".parquet":
        return read_csv(path)
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the table cannot be read: {line_of(error, path)}") from error
    return [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in table.iter_rows(named=True)
    ]


def _label_maps(root: Path) -> Iterator[Case]:
    from napari_sparse3d.io import read_volume

    masks = [mask for mask in sorted((root / "labels").iterdir()) if _kind(mask) == "scan" and mask.name[0] != "."]
    for number, mask in enumerate(masks, start=1):
        data = read_volume(mask).data
        try:
            values = np.unique(whole_labels(data))
        except InputError as error:
            raise InputError(f"file {number} of {len(masks)} in labels/ is no label map: {error}") from error
        for value in values[values > 0].tolist():
            name = f"labels/{mask.name}[{value}]"
            yield Case(name, mask, "mask", str(value), str(value), None, mask.name.partition(".")[0], mask)


def _folders(root: Path) -> Iterator[Case]:
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        above = NAMED_SPLITS.get(folder.name)
        for labelled in sorted(path for path in folder.iterdir() if path.is_dir()) if above else [folder]:
            yield from _class_folder(root, labelled, above)


def known_persons(places: Iterable[Path]) -> frozenset[str]:
    """What identifies persons in the tags of these files and folders."""
    from napari_sparse3d.io.dicom.person import identity_at

    tagged = (place for place in places if place.is_dir() or place.suffix.lower() in (".dcm", ""))
    return frozenset(word for place in tagged if place.exists() for word in identity_at(place))


def _class_folder(root: Path, folder: Path, split: Split | None) -> Iterator[Case]:
    """The cases of a class, which is called as its folder, but never as a patient in it."""
    cases = list(_cases_below(root, folder, split))
    persons = known_persons(case.path for case in cases)
    label = without_identity(folder.name, persons) if persons else folder.name
    if not label:
        raise InputError("a class is called after a patient in its folder; name the folder after what it shows")
    return (replace(case, label=label) for case in cases)


def _cases_below(root: Path, folder: Path, split: Split | None) -> Iterator[Case]:
    for entry in sorted(folder.iterdir()):
        below = NAMED_SPLITS.get(entry.name)
        for place in sorted(entry.iterdir()) if below and entry.is_dir() else [entry]:
            kind = _kind(place)
            if kind and not place.name.startswith("."):
                name = place.relative_to(root).as_posix()
                yield Case(name, place, kind, label=folder.name, split=below or split)


def _kind(path: Path) -> str:
    """How a file is read; "" for what is no case."""
    name = path.name.lower()
    if name.endswith(MESHES):
        return "mesh"
    if name.endswith(".npz"):
        return "voxels"
    return "scan" if opens(path) else ""


def _split(text: str, table: Path) -> Split | None:
    if not text:
        return None
    if text.lower() not in NAMED_SPLITS:
        raise InputError(f"the table has a split {text!r}; use train, val or test")
    return NAMED_SPLITS[text.lower()]
