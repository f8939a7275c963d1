"""The real DICOM cases: where they are, and what the reference converter made of each."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from napari_sparse3d.environment import variable

# (z, y, x) and (S, A, R) to (x, y, z) and (R, A, S)
REVERSE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)


@dataclass(frozen=True)
class Reference:
    """One volume that dcm2niix made: geometry and statistics in canonical RAS."""

    file: str
    shape: tuple[int, ...]
    spacing: np.ndarray
    affine: np.ndarray
    low: float
    high: float
    mean: float
    sha1: str


@dataclass(frozen=True)
class Case:
    """One folder of the collection."""

    name: str
    folder: Path
    references: tuple[Reference, ...]
    published: tuple[Path, ...]


def case_names() -> list[str]:
    """The names of all cases; none where the collection is not there."""
    here = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(variable("NAPARI_SPARSE3D_DATA") or here)
    return [item["case"] for item in manifest(data)] if (data / "dicom" / "manifest.json").is_file() else []


@lru_cache(maxsize=1)
def manifest(data: Path) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads((data / "dicom" / "manifest.json").read_text()))


def case_of(data: Path, name: str, scratch: Path) -> Case:
    """A case, unpacked into ``scratch`` where it is packed."""
    entry = next(item for item in manifest(data) if item["case"] == name)
    source = data / "dicom" / name
    if (source / "in.tar.xz").is_file():
        folder = scratch / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            with tarfile.open(source / "in.tar.xz") as archive:
                archive.extractall(folder, filter="data")
    else:
        folder = source / "in" if (source / "in").is_dir() else source
    references = tuple(
        Reference(
            item["file"],
            tuple(item["shape_ras"]),
            np.array(item["zooms_ras"][:3]),
            np.array(item["affine_ras"]),
            item["min"],
            item["max"],
            item["mean"],
            item["sha1_ras_f32"],
        )
        for item in entry["dcm2niix_1.0.20260724"]
    )
    return Case(name, folder, references, tuple(sorted((source / "ref").glob("*.nii.gz"))))


def as_ras(data: np.ndarray) -> np.ndarray:
    """(T, Z, Y, X) as the reference's float32 (x, y, z) or (x, y, z, t)."""
    ras = np.ascontiguousarray(data.transpose(3, 2, 1, 0).astype(np.float32))
    return ras[..., 0] if ras.shape[3] == 1 else ras


def same_values(ras: np.ndarray, reference: Reference) -> bool:
    """Equal to the last bit, or, where a lossy codec or a float scale rounds otherwise, equal in its statistics."""
    if any(hashlib.sha1(ras.tobytes(order)).hexdigest() == reference.sha1 for order in ("C", "F")):
        return True
    scale = max(abs(reference.low), abs(reference.high), 1.0)
    found = (float(ras.min()), float(ras.max()), float(ras.mean(dtype=np.float64)))
    return (
        max(abs(a - b) for a, b in zip(found, (reference.low, reference.high, reference.mean), strict=True))
        <= 1e-5 * scale
    )


def corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """(8, 3) world positions of the corner voxels."""
    index = np.array(np.meshgrid(*[(0, n - 1) for n in shape[-3:]], [1], indexing="ij")).reshape(4, -1)
    return (affine @ index)[:3].T
