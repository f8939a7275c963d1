"""Pools over windows, and over whole grids."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from napari_sparse3d.sparse import operators
from napari_sparse3d.sparse.contract import Rows
from napari_sparse3d.sparse.modules.convolution import Size, _window
from napari_sparse3d.sparse.modules.module import SparseModule
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.traced import Traced
from napari_sparse3d.sparse.window import Geometry, Window


class _Pool(SparseModule):
    """A window that slides over the grid; an output site is active where any input in it is active."""

    window: Window

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1) -> None:
        super().__init__()
        self.window = _window(kernel_size, kernel_size if stride is None else stride, padding, dilation)

    def extra_repr(self) -> str:
        return f"kernel={self.window.kernel}, stride={self.window.stride}, padding={self.window.padding}"

    def output_sites(self, x: SparseTensor) -> tuple[Sites, Geometry]:
        """M of them, and the geometry that leads there."""
        geometry = self.window.over(x.spatial_shape, x.batch_size)
        return operators.output_sites(x.sites, geometry), geometry


class SparseMaxPool3d(_Pool):
    """Largest value in the window; missing inputs and padding are the background, which stays what it is.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (int, int, int)
        As in ``torch.nn.MaxPool3d``, ordered (z, y, x); stride defaults to the kernel size.
    """

    kind = "max pool"

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (M, C)."""
        if isinstance(x, Traced):
            return x.pooled("max_pool", self.window)
        out, geometry = self.output_sites(x)
        return SparseTensor._at(Rows(operators.max_pool(x.rows, x.sites, out, geometry), x.background), out)


class SparseAvgPool3d(_Pool):
    """Mean over the window; missing inputs and padding are the background (left out of the mean where that is None)."""

    kind = "avg pool"

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (M, C)."""
        if isinstance(x, Traced):
            return x.pooled("avg_pool", self.window)
        out, geometry = self.output_sites(x)
        return SparseTensor._at(Rows(operators.avg_pool(x.rows, x.sites, out, geometry), x.background), out)


class GlobalAvgPool(SparseModule):
    """Mean over the whole grid of each volume, background counted; over its active sites where background is None."""

    def forward(self, x: SparseTensor) -> Tensor:
        """(N, C) -> (B, C); a volume without sites gives its background, or 0."""
        rows = _by_volume(x)
        count = _sites_per_volume(x).to(x.features.dtype)[:, None]
        total = x.features.new_zeros(x.batch_size, x.features.shape[1]).scatter_add(0, rows, x.features)
        if x.background is None:
            return total / count.clamp(min=1)
        sites = prod(x.spatial_shape)
        return total / sites + x.background * ((sites - count) / sites)


class GlobalMaxPool(SparseModule):
    """Largest value over the whole grid of each volume, background counted where any site is missing."""

    def forward(self, x: SparseTensor) -> Tensor:
        """(N, C) -> (B, C); a volume without sites gives its background, or 0."""
        lowest = x.features.new_full((x.batch_size, x.features.shape[1]), -torch.inf)
        largest = lowest.scatter_reduce(0, _by_volume(x), x.features, "amax")
        count = _sites_per_volume(x)[:, None]
        if x.background is None:
            return torch.where(count > 0, largest, torch.zeros_like(largest))
        return torch.where(count < prod(x.spatial_shape), torch.maximum(largest, x.background), largest)


_FEW_VALUES = 32768  # torch's own threshold for using threads


def _by_volume(x: SparseTensor) -> Tensor:
    """(N, C): the volume of each value."""
    channels = x.features.shape[1]
    if torch.compiler.is_compiling() or len(x.indices) * channels >= _FEW_VALUES:
        return x.indices[:, :1].long().expand(-1, channels)
    # scattering by an expanded index wakes all of torch's threads, however little there is
    return x.sites.once(
        ("volume of each value", channels), lambda: x.indices[:, :1].long().expand(-1, channels).contiguous()
    )


def _sites_per_volume(x: SparseTensor) -> Tensor:
    def counted() -> Tensor:
        return torch.zeros(x.batch_size, dtype=torch.int64, device=x.indices.device).scatter_add(
            0, x.indices[:, 0].long(), torch.ones_like(x.indices[:, 0], dtype=torch.int64)
        )

    return counted() if torch.compiler.is_compiling() else x.sites.once("sites of each volume", counted)
