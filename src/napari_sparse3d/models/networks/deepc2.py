"""deepC2: six 2^3 convolutions with 3^3 max pools between them.

References
----------
Graham. Sparse 3D Convolutional Neural Networks. BMVC 2015 (the DeepC2 family of networks).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.models.heads import ClassHead
from napari_sparse3d.models.network import DescribingNetwork
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseSequential, SparseTensor

CHANNELS = (32, 64, 96, 128, 160, 192)
WIDE_CHANNELS = tuple(2 * width for width in CHANNELS)
FIELD = 126


class DeepC2(DescribingNetwork):
    """Sees a field of 126^3 voxels; the sides are 126-125-62-61-30-29-14-13-6-5-2-1.

    Parameters
    ----------
    in_features : int
        Features of each voxel (1: occupancy).
    classes : int
        Number of classes.
    """

    field = FIELD

    def __init__(self, in_features: int = 1, classes: int = 2) -> None:
        super().__init__()
        self._lay(in_features, classes, CHANNELS)

    def _lay(self, in_features: int, classes: int, widths: Sequence[int]) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = in_features
        for number, channels in enumerate(widths, start=1):
            layers[f"conv{number}"] = SparseConv3d(before, channels, 2)
            layers[f"relu{number}"] = nn.LeakyReLU(1 / 3)
            if number < len(widths):
                layers[f"pool{number}"] = SparseMaxPool3d(3, stride=2)
            before = channels
        self.layers = SparseSequential(layers)
        self.classifier = ClassHead(before, classes)
        self.in_features, self.classes = in_features, classes
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He's uniform initialisation for LeakyReLU(1/3), so that activations keep their size through the layers."""
        for module in self.layers:
            if isinstance(module, SparseConv3d):
                fan_in = module.in_channels * module.window.volume
                bound = nn.init.calculate_gain("leaky_relu", 1 / 3) * (3 / fan_in) ** 0.5
                nn.init.uniform_(module.weight, -bound, bound)

    def describe(self, x: SparseTensor) -> Tensor:
        """(B, D), D the last layer's channels (192): the features of the one site that is left of each volume."""
        if x.spatial_shape != (FIELD,) * 3:
            raise ValueError(f"deepC2 sees a field of {FIELD}^3 voxels, got {x.spatial_shape}")
        y: SparseTensor = self.layers(x)
        return y.dense()[:, :, 0, 0, 0]


class DeepC2Wide(DeepC2):
    """deepC2 with channels of one's own; unless given, twice as many.

    Parameters
    ----------
    in_features, classes : int
    channels : sequence of int
        Of the six convolutions; the last is the length of the embedding.

    Raises
    ------
    InputError
        If it is not six numbers from 1.
    """

    def __init__(self, in_features: int = 1, classes: int = 2, channels: Sequence[int] = WIDE_CHANNELS) -> None:
        super(DeepC2, self).__init__()
        if len(channels) != len(CHANNELS) or not all(type(width) is int and width > 0 for width in channels):
            raise InputError(f"channels must be {len(CHANNELS)} whole numbers from 1, got {channels!r:.80}")
        self._lay(in_features, classes, channels)
