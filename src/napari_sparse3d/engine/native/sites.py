"""The kernels' index of a site set, made once and kept by its :class:`~napari_sparse3d.sparse.sites.Sites`."""

from __future__ import annotations

from functools import lru_cache

import torch

from napari_sparse3d import _kernels
from napari_sparse3d.engine.native.arrays import asked, ready
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Triple, check_grid

_INDEX = "native index"  # under which it is kept


def index_of(sites: Sites) -> _kernels.SiteIndex:
    """Their index; ``InputError`` if a site lies outside the grid or the batch, or occurs twice."""
    return sites.once(_INDEX, lambda: _indexed(sites))


def _indexed(sites: Sites) -> _kernels.SiteIndex:
    (indices,) = ready([("indices", sites.indices, sites.indices.shape)], dtype=torch.int32)
    check_grid(sites.shape, sites.batch_size)
    return asked(
        _kernels.index_sites,
        indices=indices.data_ptr(),
        rows=indices.shape[0],
        batch_size=sites.batch_size,
        shape=sites.shape,
        threads=torch.get_num_threads(),
    )


def sites_of(index: _kernels.SiteIndex, shape: Triple, batch_size: int) -> Sites:
    """The sites of an index that the kernels made, which is kept for them."""
    indices = torch.empty((index.count, 4), dtype=torch.int32, device="cpu")
    index.write(indices=indices.data_ptr(), threads=torch.get_num_threads())
    return Sites.trusted(indices, shape, batch_size, {_INDEX: index})


@lru_cache(maxsize=4096)
def bound(geometry: Geometry) -> _kernels.Geometry:
    """A geometry as the kernels take it."""
    window = geometry.window
    return _kernels.Geometry(
        kernel=window.kernel,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        in_shape=geometry.in_shape,
        out_shape=geometry.out_shape,
        batch_size=geometry.batch_size,
        transposed=geometry.transposed,
    )
