"""Sparse tensors and their layers: the meaning, whatever engine executes it."""

from napari_sparse3d.sparse.engine import engine_names, use_engine
from napari_sparse3d.sparse.modules import (
    GlobalAvgPool,
    GlobalMaxPool,
    Pointwise,
    SparseAvgPool3d,
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseDropout,
    SparseGroupNorm,
    SparseInstanceNorm,
    SparseInverseConv3d,
    SparseMaxPool3d,
    SparseModule,
    SparseSequential,
    SparseSyncBatchNorm,
    SubMConv3d,
    normalized,
    pointwise,
)
from napari_sparse3d.sparse.tensor import SparseTensor

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
    "SparseTensor",
    "SubMConv3d",
    "engine_names",
    "normalized",
    "pointwise",
    "use_engine",
]
