"""The layers, as ``torch.nn.Module``s over :mod:`napari_sparse3d.sparse.operators`."""

from napari_sparse3d.sparse.modules.convolution import (
    SparseConv3d,
    SparseConvTranspose3d,
    SparseInverseConv3d,
    SubMConv3d,
)
from napari_sparse3d.sparse.modules.module import SparseModule
from napari_sparse3d.sparse.modules.normalization import SparseGroupNorm, SparseInstanceNorm, SparseSyncBatchNorm
from napari_sparse3d.sparse.modules.pointwise import Pointwise, SparseBatchNorm, SparseDropout, pointwise
from napari_sparse3d.sparse.modules.pooling import GlobalAvgPool, GlobalMaxPool, SparseAvgPool3d, SparseMaxPool3d
from napari_sparse3d.sparse.modules.sequential import SparseSequential, normalized, takes_sparse

__all__ = [
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Pointwise",
    "SparseAvgPool3d",
    "SparseBatchNorm",
    "SparseConv3d",
    "SparseConvTranspose3d",
    "SparseDropout",
    "SparseGroupNorm",
    "SparseInstanceNorm",
    "SparseInverseConv3d",
    "SparseMaxPool3d",
    "SparseModule",
    "SparseSequential",
    "SparseSyncBatchNorm",
    "SubMConv3d",
    "normalized",
    "pointwise",
    "takes_sparse",
]
