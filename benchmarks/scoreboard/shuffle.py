"""A copy of a set that means the same: files renamed, spread over folders, and numbered at random."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from scoreboard.compare import same
from scoreboard.judge import nearest
from scoreboard.sources import Answer

_FOLDERS = 5


def shuffled_copy(dicom: Path, copy: Path, *, renumber: bool, seed: int = 0) -> None:
    """Copy DICOM files under random names into random sub-folders.

    Parameters
    ----------
    dicom, copy : Path
        From where, and to where.
    renumber : bool
        Whether each file gets a random InstanceNumber (0020,0013) too. It is a Type 2 "number that identifies this
        image" (PS3.3, C.7.6.1): it may be empty, and nothing makes it follow space or time.
    seed : int
        The same seed makes the same copy.
    """
    chance = random.Random(seed)
    files = [path for path in sorted(dicom.rglob("*")) if path.is_file() and _is_dicom(path)]
    places = chance.sample(range(10 * len(files)), len(files))
    numbers = chance.sample(range(1, 20 * len(files)), len(files))
    for path, place, number in zip(files, places, numbers, strict=True):
        target = copy / f"part{place % _FOLDERS}" / f"{place:08d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        if renumber:
            _renumber(target, number)


def changes(before: Answer, after: Answer) -> list[str]:
    """In what the second reading differs from the first: images that changed, refusals that came or went."""
    left, gone = list(after.images), []
    for image in before.images:
        match = next((other for other in left if same(other, image)), None)
        if match is None:
            gone.append(image)
        else:
            left.remove(match)
    said = []
    for image in gone:
        near, apart = nearest(image, left)
        if near is None or apart[0].kind == "shape":
            said.append(f"{image.name} ({image.size}) is gone")
        else:
            left.remove(near)
            said.append(f"{image.name} changes in " + "; ".join(map(str, apart)))
    said += [f"{image.name} ({image.size}) is new" for image in left]
    came, went = Counter(after.refused.values()), Counter(before.refused.values())
    said += [f"no longer refused: {why}" for why in (went - came).elements()]
    return said + [f"now refused: {why}" for why in (came - went).elements()]


def _is_dicom(path: Path) -> bool:
    try:
        pydicom.dcmread(path, specific_tags=["InstanceNumber"], stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError):
        return False
    return True


def _renumber(path: Path, number: int) -> None:
    dataset = pydicom.dcmread(path)
    dataset.InstanceNumber = number
    for tag in [element.tag for element in dataset.group_dataset(0)]:
        del dataset[tag]  # a command in a file, which pydicom reads and does not write
    dataset.save_as(path, enforce_file_format=False)
