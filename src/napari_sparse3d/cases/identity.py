"""What tells a series from all others: its own place, and its content.

A place is what finds the series again: ``read_volume(path, series=number)``. Of a folder of many series it is the file,
or the nearest folder, that holds all of its files, and the number is counted there; so a series has one place, from
wherever it was found. Its content is a hash of what was read, and so the same under any name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import Recipe, VoxelSet

SHORT = 8
"""Digits of a content hash that stand in messages."""


CASE = "case"
"""Key of a layer's metadata under which readers say which case it shows."""


@dataclass(frozen=True)
class CaseIdentity:
    """Which case it is, but for its content.

    Attributes
    ----------
    path : Path or None
        Its own place; None: it is from no file.
    series : int or None
        Its number there; None: it is the only one.
    patient : str
        The patient's salted hash; "" where that is not known.
    part : str
        Which part of it, as :func:`part_of` names one; "": all of it.
    """

    path: Path | None = field(default=None, repr=False)
    series: int | None = None
    patient: str = ""
    part: str = field(default="", repr=False)


def part_of(mask: Path | None, value: str) -> str:
    """What tells one thing in a scan from the others: the label map that draws it, and its label there."""
    return "" if mask is None else f"{value} of {mask.resolve()}"


def identify(root: Path, series_here: Sequence[SeriesInfo], info: SeriesInfo) -> CaseIdentity:
    """Which case a series is, of those that a scan of ``root`` found."""
    place, series = places(root, series_here)[info.index]
    return CaseIdentity(place, series, info.patient)


def places(root: Path, series: Sequence[SeriesInfo]) -> Mapping[int, tuple[Path, int]]:
    """The own place of each series that a scan of ``root`` found: by its index, a path and the series' number there."""
    if not root.is_dir():
        return {info.index: (root, info.index) for info in series}
    files = {info.index: series_files(info) for info in series}
    # above each file: itself and every folder up to the root
    touched: dict[Path, set[int]] = {}
    nearest: dict[int, Path] = {}
    for index, own in files.items():
        chains = [_chain(file, root) for file in own]
        for place in {place for chain in chains for place in chain}:
            touched.setdefault(place, set()).add(index)
        common = set(chains[0]).intersection(*chains[1:]) if chains else set()
        nearest[index] = max(common, key=lambda place: len(place.parts), default=root)
    own_place: dict[int, tuple[Path, int]] = {}
    for index, place in nearest.items():
        others = touched.get(place, set())
        # a folder with a part of another series would show another list when it is scanned alone
        whole = all(nearest[other] == place or place in nearest[other].parents for other in others)
        own_place[index] = (place, sorted(others).index(index)) if whole and index in others else (root, index)
    return own_place


def series_files(info: SeriesInfo) -> list[Path]:
    """The files of one series, of a folder of many."""
    stack = getattr(info.loader, "stack", None)
    return [info.source] if stack is None else sorted({plane.path for plane in stack.planes})


def _chain(file: Path, root: Path) -> list[Path]:
    """The file and the folders above it, up to the root; nothing where it lies elsewhere."""
    if file == root or not file.is_relative_to(root):
        return [root] if file == root else []
    above = [place for place in file.parents if place == root or place.is_relative_to(root)]
    return [file, *above]


def content_of_volume(volume: Volume) -> str:
    """SHA-256 of a volume's array (its type, shape and values), affine and unit."""
    data = volume.data
    little = data.astype(data.dtype.newbyteorder("<"), copy=False)
    return _digest(
        [f"{little.dtype.str} {data.shape} {volume.unit}".encode()],
        [np.ascontiguousarray(little), volume.affine.astype("<f8") + 0.0],  # -0.0 is 0.0
    )


def content_of_voxels(voxels: VoxelSet) -> str:
    """SHA-256 of a voxel set's grid, indices, features and affine."""
    return _digest(
        [f"voxels {voxels.shape} {voxels.features.shape}".encode()],
        [voxels.indices.astype("<i4"), voxels.features.astype("<f4"), voxels.affine.astype("<f8") + 0.0],
    )


def _digest(heads: Sequence[bytes], arrays: Sequence[NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for head in heads:
        total.update(head + b"\n")
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of what a recipe makes of a volume: neither its name nor the network's field is a part of that."""
    return hashlib.sha256(recipe.model_dump_json(exclude={"name", "field"}).encode()).hexdigest()


def patient_key(identifier: str) -> str:
    """A patient's salted hash: of an identifier, or the hash itself where it is one already.

    The same identifier in a table and in a DICOM tag gives the same hash.
    """
    from napari_sparse3d.io.identity import patient_hash

    text = identifier.strip()
    is_hash = len(text) == 16 and all(digit in "0123456789abcdef" for digit in text)
    return text if is_hash else patient_hash(text)
