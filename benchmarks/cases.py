"""Real cases for walking the panels and for their pictures; made-up ones where the real ones are not at hand.

Real ones come from ``NAPARI_SPARSE3D_DATA``, or ``../shared/data`` beside the checkout.
"""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_sparse3d.environment import variable

DATA = Path(variable("NAPARI_SPARSE3D_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
SERIES = ("TotalSegmentator__CT_jpeg2000_20sl", "dcm_qa_philips__classic_4D_EPI")
"""A body and a phantom: nobody's face."""


def nodule_table(folder: Path, count: int) -> Path:
    """A table of masks: LIDC-IDRI nodules where they are at hand, otherwise balls and boxes."""
    folder.mkdir(parents=True)
    rows = [
        (_write(folder, number, mask), label, patient, split)
        for number, (mask, label, patient, split) in enumerate(_cases(count))
    ]
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient", "split"])
        writer.writerows(rows)
    return folder / "cases.csv"


def nodules_by_class(folder: Path, count: int) -> Path:
    """The same as a folder per class."""
    for number, (mask, label, _, _) in enumerate(_cases(count)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        _write(folder / label, number, mask)
    return folder


def _cases(count: int) -> Iterator[tuple[np.ndarray[Any, Any], str, str, str]]:
    """Mask, label, patient and split, as many of one label as of the other."""
    data = DATA / "labelled" / "lidc_nodules"
    if not (data / "lidc_nodules_open.npz").is_file():
        for number, (label, mask) in enumerate(_random_shapes(count)):
            yield mask, label, str(number), "train"
        return
    arrays = np.load(data / "lidc_nodules_open.npz")
    about = list(csv.DictReader((data / "lidc_nodules_open.csv").open()))
    for malignant, label in (("0", "benign"), ("1", "malignant")):
        picked = [i for i, row in enumerate(about) if row["label_malignant"] == malignant]
        for i in picked[: count // 2]:
            indices = arrays["coords"][arrays["offsets"][i] : arrays["offsets"][i + 1]]
            mask = np.zeros((64, 64, 64), dtype=bool)
            mask[tuple(indices.T)] = True
            yield mask, label, about[i]["patient"], about[i]["split"]


def disc(folder: Path) -> Path | None:
    """A folder with several DICOM series, where real ones are at hand."""
    folder.mkdir(parents=True)
    for name in SERIES:
        case = DATA / "dicom" / name
        if (case / "in").is_dir():
            (folder / name).symlink_to(case / "in", target_is_directory=True)
        elif (case / "in.tar.xz").is_file():
            with tarfile.open(case / "in.tar.xz") as archive:
                archive.extractall(folder / name, filter="data")
    return folder if any(folder.iterdir()) else None


def _write(folder: Path, number: int, mask: np.ndarray[Any, Any]) -> str:
    from napari_sparse3d.io.write import write_volume
    from napari_sparse3d.volume import Volume

    name = f"nodule_{number:04d}.nii.gz"
    write_volume(Volume(mask.astype(np.uint8), np.eye(4)), folder / name)
    return name


def _random_shapes(count: int) -> list[tuple[str, np.ndarray[Any, Any]]]:
    random = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*[np.arange(64) - 31.5] * 3, indexing="ij"))
    found = []
    for number in range(count):
        radii = random.uniform(9, 22, 3)[:, None, None, None]
        if number % 2:
            found.append(("ball", ((grid / radii) ** 2).sum(axis=0) < 1))
        else:
            found.append(("box", (np.abs(grid) < 0.8 * radii).all(axis=0)))
    return found
