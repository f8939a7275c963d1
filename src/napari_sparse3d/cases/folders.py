"""Labelled sets that are folders: one per class, or images beside label maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_sparse3d.cases.case import Case, Split
from napari_sparse3d.cases.read import MESHES
from napari_sparse3d.cases.splits import NAMED_SPLITS
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import whole_labels


def label_maps(root: Path) -> Iterator[Case]:
    """Each value of each label map in ``labels/`` is a case, labelled with that value.

    Raises
    ------
    InputError
        If a file there is no label map.
    """
    from napari_sparse3d.io import read_volume

    masks = [mask for mask in sorted((root / "labels").iterdir()) if kind_of(mask) == "scan" and mask.name[0] != "."]
    for number, mask in enumerate(masks, start=1):
        data = read_volume(mask).data
        try:
            values = np.unique(whole_labels(data))
        except InputError as error:
            raise InputError(f"file {number} of {len(masks)} in labels/ is no label map: {error}") from error
        for value in values[values > 0].tolist():
            name = f"labels/{mask.name}[{value}]"
            yield Case(name, mask, "mask", str(value), str(value), None, mask.name.partition(".")[0], mask)


def class_folders(root: Path) -> Iterator[Case]:
    """The cases of a folder per class; below it, or above it, ``train``, ``val``, ``test``.

    Raises
    ------
    InputError
        If nothing is left of a class's name without the patients in it.
    """
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        above = NAMED_SPLITS.get(folder.name)
        for labelled in sorted(path for path in folder.iterdir() if path.is_dir()) if above else [folder]:
            yield from _class_folder(root, labelled, above)


def known_persons(places: Iterable[Path]) -> frozenset[str]:
    """What identifies persons in the tags of these files and folders."""
    from napari_sparse3d.io.formats import may_have_tags

    tagged = [place for place in places if may_have_tags(place)]
    if not tagged:
        return frozenset()
    from napari_sparse3d.io.dicom.person import identity_at

    return frozenset(word for place in tagged for word in identity_at(place))


def _class_folder(root: Path, folder: Path, split: Split | None) -> Iterator[Case]:
    """The cases of a class, which is called as its folder, but never as a patient in it."""
    from napari_sparse3d.io.naming import without_identity

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
            kind = kind_of(place)
            if kind and not place.name.startswith("."):
                name = place.relative_to(root).as_posix()
                yield Case(name, place, kind, label=folder.name, split=below or split)


def kind_of(path: Path) -> str:
    """How a file is read: as a mesh, a voxel set or a scan; "" for what is no case."""
    from napari_sparse3d.io.formats import opens

    name = path.name.lower()
    if name.endswith(MESHES):
        return "mesh"
    if name.endswith(".npz"):
        return "voxels"
    return "scan" if opens(path) else ""
