"""The sparse tensor: rows of features at active sites, and one background vector for every other site."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.arrays import check_indices
from napari_sparse3d.sparse.contract import Rows
from napari_sparse3d.sparse.engine import engine, engine_name
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Triple, check_grid, triple
from napari_sparse3d.voxels.field import offset_within
from napari_sparse3d.voxels.voxel_set import VoxelSet


class SparseTensor:
    """The dense tensor (B, C, D, H, W) that equals ``background`` everywhere but at its N rows.

    Parameters
    ----------
    features : Tensor
        (N, C), floating point. N may be 0.
    indices : Tensor
        (N, 4) int32 [b, z, y, x], unique, in any order.
    spatial_shape : int or (int, int, int)
        The grid (D, H, W).
    batch_size : int
        Number of volumes B; a volume may have no site at all.
    background : Tensor, optional
        (C,): what every site holds that is not stored. None (spconv's convention): missing inputs add nothing.

    Raises
    ------
    ValueError
        If shapes or types do not fit, a site lies outside the grid, or a site occurs twice.

    Attributes
    ----------
    sites : Sites
        Indices, grid and batch size, with all that is made from them once. Tensors that come from each other without a
        change of sites share it, and with it plans.
    """

    __slots__ = ("background", "features", "sites")

    features: Tensor
    sites: Sites
    background: Tensor | None

    def __init__(
        self,
        features: Tensor,
        indices: Tensor,
        spatial_shape: int | Sequence[int],
        batch_size: int = 1,
        background: Tensor | None = None,
    ) -> None:
        if isinstance(indices, Tensor) and (indices.ndim != 2 or indices.shape[1] != 4):
            raise InputError(
                f"indices must be (N, 4) [b, z, y, x], got {tuple(indices.shape)}; "
                "prepend a column of zeros for a single volume"
            )
        if isinstance(indices, Tensor) and indices.dtype != torch.int32:
            raise InputError(f"indices must be int32, got {indices.dtype}; use indices.int()")
        check_indices(indices)
        _check_rows(features, background, indices)
        self.features, self.background = features, background
        indices = indices.contiguous()  # kernels read rows of four; torch.nonzero gives columns
        shape = triple(spatial_shape, "spatial_shape")
        if torch.compiler.is_compiling():
            self.sites = Sites(indices, shape, batch_size)
            return
        check_grid(shape, batch_size)
        self.sites = Sites.of(indices, shape, batch_size)
        engine(engine_name(indices.device.type)).check_sites(self.sites)

    @classmethod
    def _at(cls, rows: Rows, sites: Sites) -> SparseTensor:
        """Without checks: for sites that an operator made."""
        tensor = cls.__new__(cls)
        tensor.features, tensor.background = rows
        tensor.sites = sites
        return tensor

    @property
    def rows(self) -> Rows:
        """Features and background."""
        return Rows(self.features, self.background)

    @property
    def indices(self) -> Tensor:
        """(N, 4) int32 [b, z, y, x]."""
        return self.sites.indices

    @indices.setter
    def indices(self, indices: Tensor) -> None:
        self.sites = Sites(indices, self.sites.shape, self.sites.batch_size)

    @property
    def spatial_shape(self) -> Triple:
        """The grid (D, H, W)."""
        return self.sites.shape

    @spatial_shape.setter
    def spatial_shape(self, shape: Triple) -> None:
        self.sites = Sites(self.sites.indices, shape, self.sites.batch_size)

    @property
    def batch_size(self) -> int:
        """Number of volumes."""
        return self.sites.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self.sites = Sites(self.sites.indices, self.sites.shape, batch_size)

    @classmethod
    def from_voxels(
        cls, voxels: VoxelSet | Sequence[VoxelSet], field: int | None = None, *, device: str | torch.device = "cpu"
    ) -> SparseTensor:
        """A batch of voxel sets, each centred in a cubic field; what is not active has background 0.

        Parameters
        ----------
        voxels : VoxelSet or sequence of VoxelSet
            All with the same number of features.
        field : int, optional
            Side of the cube. None: the grid of the voxel sets, which must then be the same for all.
        device : str or torch.device
            Where the tensor goes.

        Raises
        ------
        InputError
            If a voxel set is larger than the field, or grids differ where no field is given.
        """
        sets = [voxels] if isinstance(voxels, VoxelSet) else list(voxels)
        if not sets:
            raise InputError("a batch needs at least one voxel set, got none")
        shape = sets[0].shape if field is None else (field, field, field)
        for one in sets:
            if field is None and one.shape != shape:
                raise InputError(
                    f"voxel sets of one batch must share a grid, got {shape} and {one.shape}; give a field"
                )
        offsets = [(0, 0, 0) if field is None else offset_within(one.shape, field) for one in sets]
        indices = torch.empty((sum(len(one.indices) for one in sets), 4), dtype=torch.int32, device="cpu")
        begin = 0
        for number, (one, offset) in enumerate(zip(sets, offsets, strict=True)):
            placed, begin = indices[begin : begin + len(one.indices)], begin + len(one.indices)
            placed[:, 0] = number
            for axis, column in enumerate(
                torch.from_numpy(one.indices).unbind(1)
            ):  # five times as fast as rows of three
                torch.add(column, offset[axis], out=placed[:, axis + 1])
        features = [torch.from_numpy(one.features) for one in sets]
        rows = _sent(torch.cat(features), device)
        return cls(rows, _sent(indices, device), shape, len(sets), rows.new_zeros(rows.shape[1]))

    def with_features(self, features: Tensor, background: Tensor | None) -> SparseTensor:
        """The same sites with other features (N, C') and background (C',) or None.

        Raises
        ------
        InputError
            If there is not one row a site, or the background is not like a row.
        """
        _check_rows(features, background, self.indices)
        return SparseTensor._at(Rows(features, background), self.sites)

    def dense(self) -> Tensor:
        """(B, C, D, H, W): the tensor that this one stands for; background None counts as 0."""
        self.check()
        channels = self.features.shape[1]
        base = self.features.new_zeros(channels) if self.background is None else self.background
        grid = base.expand(self.batch_size, *self.spatial_shape, channels)
        grid = grid.index_put(tuple(self.indices.long().unbind(1)), self.features)
        return grid.permute(0, 4, 1, 2, 3).contiguous()

    def check(self) -> None:
        """Refuse parts that were put in the place of others and do not fit together.

        torch would spread one row over all sites, or take the first of too many.

        Raises
        ------
        InputError
            If there is not one row a site, the background is not like a row, or they are of another kind.
        """
        if torch.compiler.is_compiling():
            return
        check_indices(self.indices)
        _check_rows(self.features, self.background, self.indices)

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """As ``Tensor.to``, for a device or a floating-point type; indices stay int32."""
        features = self.features.to(*args, **kwargs)
        background = None if self.background is None else self.background.to(*args, **kwargs)
        indices = self.indices.to(features.device)
        sites = self.sites if indices is self.indices else Sites(indices, self.spatial_shape, self.batch_size)
        return SparseTensor._at(Rows(features, background), sites)

    def __add__(self, other: SparseTensor) -> SparseTensor:
        """Sum of two tensors with the same sites in the same order (a residual connection)."""
        self.check()
        other.check()
        if self.sites is not other.sites:
            _check_same(self.sites, other.sites)
        if (self.background is None) != (other.background is None):
            raise ValueError("one summand has a background and the other has none; give both a background or neither")
        if self.features.shape != other.features.shape:  # torch would spread a single row or channel
            raise InputError(
                f"sparse tensors can be added only with the same channels, got {tuple(self.features.shape)} and "
                f"{tuple(other.features.shape)}"
            )
        background = None if self.background is None or other.background is None else self.background + other.background
        return self.with_features(self.features + other.features, background)

    @property
    def active_percent(self) -> float:
        """Active sites as a percentage of all sites of all volumes."""
        return 100.0 * len(self.indices) / (prod(self.spatial_shape) * self.batch_size)

    def __repr__(self) -> str:
        return (
            f"SparseTensor({len(self.indices)} sites, {self.features.shape[1]} channels, grid {self.spatial_shape}, "
            f"batch {self.batch_size}, {self.features.dtype}, {self.features.device})"
        )


def _check_rows(features: Tensor, background: Tensor | None, indices: Tensor) -> None:
    sites = indices.shape[0]
    if not isinstance(features, Tensor) or features.ndim != 2 or features.shape[0] != sites:
        raise InputError(
            f"features must be (N, C) with one row a site, got {_described(features)} for {sites} sites; a module at "
            "each site must keep the rows"
        )
    if background is not None and (not isinstance(background, Tensor) or background.shape != features.shape[1:]):
        raise InputError(
            f"background must be ({features.shape[1]},) like a row of features, got {_described(background)}"
        )
    if not features.is_floating_point() or not (background is None or background.is_floating_point()):
        raise InputError(
            f"features and background must be floating point, got {features.dtype}"
            + ("" if background is None else f" and {background.dtype}")
        )
    if features.device != indices.device or not (background is None or background.device == indices.device):
        raise InputError(
            f"features and background must lie where the indices do, on {indices.device}; use x.to(device)"
        )


def _check_same(one: Sites, other: Sites) -> None:
    """Refuse two site sets that are not the same, row by row."""
    if one.indices is other.indices or torch.equal(one.indices, other.indices):
        return
    if torch.equal(_sorted(one.indices), _sorted(other.indices)):
        raise InputError(
            f"sparse tensors can be added only at the same sites in the same order, got the same {len(one)} sites in "
            "two orders; bring the rows of both, features and indices, into one order before the network"
        )
    shared = len(one) + len(other) - len(torch.unique(torch.cat([one.indices, other.indices]), dim=0))
    raise InputError(
        f"sparse tensors can be added only at the same sites, got {len(one)} and {len(other)}, of which {shared} are "
        "the same; use submanifold convolutions on both branches, or the same stride"
    )


def _sorted(indices: Tensor) -> Tensor:
    unique: Tensor = torch.unique(indices, dim=0)
    return unique


def _described(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _sent(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A copy on the device; to a card it runs beside the program, from memory that is not paged."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _flatten(x: SparseTensor) -> tuple[list[Any], tuple[Triple, int]]:
    return [x.features, x.indices, x.background], (x.spatial_shape, x.batch_size)


def _flatten_with_keys(x: SparseTensor) -> tuple[list[tuple[Any, Any]], tuple[Triple, int]]:
    leaves, grid = _flatten(x)
    keys = (_pytree.GetAttrKey(name) for name in ("features", "indices", "background"))
    return list(zip(keys, leaves, strict=True)), grid


def _unflatten(leaves: Any, grid: tuple[Triple, int]) -> SparseTensor:
    features, indices, background = leaves
    shape, batch_size = grid
    return SparseTensor._at(Rows(features, background), Sites(indices, triple(shape, "spatial_shape"), batch_size))


# torch.export and torch.compile take a SparseTensor apart into its tensors
_pytree.register_pytree_node(
    SparseTensor,
    _flatten,
    _unflatten,
    serialized_type_name="napari_sparse3d.sparse.SparseTensor",
    flatten_with_keys_fn=_flatten_with_keys,
)
