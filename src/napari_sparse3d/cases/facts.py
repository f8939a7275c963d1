"""What is known of a case's volume without its voxels: a few words for tables, cards and comparisons."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from napari_sparse3d.cases.identity import content_of_volume, content_of_voxels
from napari_sparse3d.cases.read import Source
from napari_sparse3d.volume import two_values
from napari_sparse3d.voxels.voxel_set import VoxelSet

Values: TypeAlias = Literal["mask", "scan", "voxels"]
"""Two values alone; more; not known, of a voxel set that was saved."""


@dataclass(frozen=True)
class Facts:
    """Of one case.

    Attributes
    ----------
    content : str
        SHA-256, see :mod:`.identity`.
    spacing_mm : (float, float, float)
        (z, y, x).
    values : {"mask", "scan", "voxels"}
    unit, modality, manufacturer : str
        Empty where it is not known.
    """

    content: str
    spacing_mm: tuple[float, float, float]
    values: Values
    unit: str = ""
    modality: str = ""
    manufacturer: str = ""

    def to_json(self) -> str:
        """As :meth:`from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """What :meth:`to_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is something else.
        """
        values = json.loads(text)
        z, y, x = map(float, values["spacing_mm"])
        if not isinstance(values["content"], str) or len(values["content"]) != 64:
            raise ValueError("no content hash")
        return cls(**{**values, "spacing_mm": (z, y, x)})


def facts_of(source: Source, *, with_content: bool = True) -> Facts:
    """The facts of what :func:`read.read_source` gave; without its content (all voxels are hashed) where so asked."""
    if isinstance(source, VoxelSet):
        z, y, x = np.linalg.norm(source.affine[:3, :3], axis=0).tolist()
        return Facts(content_of_voxels(source) if with_content else "", (z, y, x), "voxels")
    meta: Any = source.meta
    return Facts(
        content_of_volume(source) if with_content else "",
        source.spacing_mm,
        "mask" if two_values(source.data) is not None else "scan",
        source.unit,
        source.modality,
        str(meta.get("Manufacturer") or ""),
    )
