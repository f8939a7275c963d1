"""The calls of the operators, argument by argument: what their schemas carry, by name.

Sites come as themselves, or as the tensors that a schema can carry; geometries as themselves, or as integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from napari_sparse3d.sparse.arrays import check_slope
from napari_sparse3d.sparse.contract import Engine, Epilogue, Plan
from napari_sparse3d.sparse.engine import engine
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry

Packed = Geometry | Sequence[int]
Standing = Sites | Tensor


def geometry_of(packed: Packed) -> Geometry:
    """The geometry that came as itself or packed."""
    return packed if isinstance(packed, Geometry) else Geometry.unpack(packed)


def sites_read(standing: Standing, geometry: Geometry) -> Sites:
    """The sites that an operator of this geometry reads."""
    return Sites.of(standing, geometry.in_shape, geometry.batch_size)


def sites_written(standing: Standing, geometry: Geometry) -> Sites:
    """The sites that an operator of this geometry writes to."""
    return Sites.of(standing, geometry.out_shape, geometry.batch_size)


class Where(NamedTuple):
    """Where an operator reads and writes, and who executes it."""

    sites: Standing
    out: Standing
    geometry: Packed
    engine: str

    def planned(self) -> tuple[Engine[Plan], Plan]:
        """The engine, and its plan."""
        chosen, geometry = engine(self.engine), geometry_of(self.geometry)
        plan = sites_read(self.sites, geometry).plan(chosen, sites_written(self.out, geometry), geometry)
        return chosen, plan


class WhereFused(NamedTuple):
    """The same of a convolution and what follows it in one pass."""

    sites: Standing
    out: Standing
    geometry: Packed
    slope: float
    pooled: Standing | None
    pool_geometry: Packed
    engine: str

    def planned(self) -> tuple[Engine[Plan], Plan, Epilogue[Plan]]:
        """The engine, its plan, and what follows."""
        check_slope(self.slope)
        chosen, plan = Where(self.sites, self.out, self.geometry, self.engine).planned()
        if self.pooled is None:
            return chosen, plan, Epilogue(self.slope)
        _, pool = Where(self.out, self.pooled, self.pool_geometry, self.engine).planned()
        return chosen, plan, Epilogue(self.slope, pool)
