"""What is measured: three networks on fixed site sets, and one large volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sparse3d.engine.rulebook import output_sites, rulebook
from napari_sparse3d.io import sample_head_mri
from napari_sparse3d.models.networks.deepc2 import FIELD, DeepC2
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseSequential, SparseTensor, SubMConv3d
from napari_sparse3d.sparse.window import Geometry, Triple
from napari_sparse3d.voxels import Recipe, voxelize


@dataclass(frozen=True)
class Work:
    """What one forward pass takes at the least."""

    operations: float
    """Two for each product of an active input, a weight and an output."""
    moved_bytes: float
    """Every layer's input read once and output written once."""
    unasked_operations: float = 0.0
    """Of the operations, those of layers whose input needs no gradient: the first, where it sees a scan."""

    @property
    def both_ways(self) -> tuple[float, float]:
        """Operations and bytes of a forward and a backward pass: for inputs and for weights, everything once more."""
        return 3 * self.operations - self.unasked_operations, 3 * self.moved_bytes


@dataclass(frozen=True, eq=False)
class NetworkWorkload:
    """Layers on a site set; making the indices is part of the work.

    Attributes
    ----------
    indices : Tensor
        (N, 4) int32 [b, z, y, x].
    features : Tensor
        (N, C) float32.
    of_features : bool
        Whether a backward pass goes on to the features: not where they are a scan, as in training.
    """

    name: str
    layers: SparseSequential
    indices: Tensor
    features: Tensor
    shape: Triple
    of_features: bool = False

    def work(self) -> Work:
        """From the rulebooks of all layers, missing inputs left out."""
        indices, shape, channels = self.indices, self.shape, self.features.shape[1]
        operations = moved = unasked = 0.0
        for layer in self.layers:
            if not isinstance(layer, SparseConv3d | SubMConv3d | SparseMaxPool3d):
                continue
            kept = isinstance(layer, SubMConv3d)
            geometry = Geometry(layer.window, 1, shape, shape if kept else layer.window.output_shape(shape))
            sites = indices if kept else output_sites(indices, geometry)
            after = channels if isinstance(layer, SparseMaxPool3d) else layer.out_channels
            if not isinstance(layer, SparseMaxPool3d):
                pairs = int((rulebook(indices, sites, geometry).table >= 0).sum())
                operations += 2.0 * pairs * channels * after
                if indices is self.indices and not self.of_features:
                    unasked = operations
                moved += 4.0 * layer.weight.numel()
            moved += 4.0 * (len(indices) * channels + len(sites) * after)
            indices, shape, channels = sites, geometry.out_shape, after
        return Work(operations, moved, unasked)


@dataclass(frozen=True, eq=False)
class VolumeWorkload:
    """A volume whose voxels above a threshold are to be listed, with their values."""

    name: str
    data: NDArray[np.int16]
    low: int

    def work(self) -> Work:
        """The volume is read; three coordinates and a value are written for each voxel kept."""
        kept = int((self.data >= self.low).sum())
        return Work(0.0, float(self.data.nbytes + kept * 16))


Workload = NetworkWorkload | VolumeWorkload


def object40() -> NetworkWorkload:
    """deepC2 on a spherical shell of radius 18 in the middle of its field: like a ModelNet40 object of side 40."""
    axis = torch.arange(FIELD) - (FIELD - 1) / 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance = (z**2 + y**2 + x**2).sqrt()
    sites = ((distance - 18).abs() <= 0.5).nonzero().int()
    indices = torch.cat([torch.zeros_like(sites[:, :1]), sites], 1).contiguous()
    return NetworkWorkload("object40", _deepc2(), indices, torch.ones(len(indices), 1), (FIELD,) * 3)


def mri110() -> NetworkWorkload:
    """deepC2 on the MNI152 head with the recipe ``mri-110``."""
    x = _head()
    return NetworkWorkload("mri110", _deepc2(), x.indices, x.features, x.spatial_shape)


def subm32() -> NetworkWorkload:
    """One 3^3 submanifold convolution, 32 to 32 channels, on the sites of ``mri110``."""
    x = _head()
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = SparseSequential(SubMConv3d(32, 32, 3, bias=False))
    features = torch.randn(len(x.indices), 32, generator=generator)
    return NetworkWorkload("subm32", layers, x.indices, features, x.spatial_shape, of_features=True)


def ct512() -> VolumeWorkload:
    """512^3 int16, smooth, with 5 % of it above the threshold: like bone in a CT."""
    generator = np.random.default_rng(0)
    coarse = torch.from_numpy(generator.standard_normal((1, 1, 33, 33, 33), dtype=np.float32))
    smooth = nn.functional.interpolate(coarse, (512,) * 3, mode="trilinear", align_corners=True)[0, 0]
    data = (smooth * 500).round_().short().numpy()
    low = int(np.quantile(data[::4, ::4, ::4], 0.95)) + 1
    return VolumeWorkload("ct512", data, low)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "object40": object40,
    "mri110": mri110,
    "subm32": subm32,
    "ct512": ct512,
}


def _deepc2() -> SparseSequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = DeepC2().layers
    for layer in layers:
        if isinstance(layer, SparseConv3d):
            layer.bias = None  # plain spconv has none on the CPU
    return layers


def _head() -> SparseTensor:
    return SparseTensor.from_voxels(voxelize(sample_head_mri(), Recipe.named("mri-110")), FIELD)
