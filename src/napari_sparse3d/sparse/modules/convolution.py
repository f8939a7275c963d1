"""Convolutions over sparse tensors. Weights are (C_out, kz, ky, kx, C_in), as in spconv."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import operators
from napari_sparse3d.sparse.contract import Filters, Layer, Place
from napari_sparse3d.sparse.modules.module import SparseModule
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.traced import Traced
from napari_sparse3d.sparse.window import Geometry, Triple, Window, triple

Size = int | Sequence[int]


class Convolution(SparseModule):
    """Weights and window; subclasses say where the output sites are."""

    window: Window

    def __init__(self, in_channels: int, out_channels: int, window: Window, *, bias: bool) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.window = in_channels, out_channels, window
        self.weight = nn.Parameter(torch.empty(out_channels, *window.kernel, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As ``torch.nn.Conv3d``: uniform within 1 / sqrt(C_in * kernel volume)."""
        bound = 1 / sqrt(self.in_channels * self.window.volume)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Channels and window, as torch prints them."""
        w = self.window
        return (
            f"{self.in_channels}, {self.out_channels}, kernel={w.kernel}, stride={w.stride}, padding={w.padding}, "
            f"dilation={w.dilation}, bias={self.bias is not None}"
        )

    def work(self, output: SparseTensor) -> int:
        """Output sites x kernel volume x C_in x C_out; a missing input counts, since it holds the background."""
        return len(output.indices) * self.window.volume * self.in_channels * self.out_channels

    def check_channels(self, channels: int) -> None:
        """Raise ``InputError`` if the input has other channels than the weights."""
        if channels != self.in_channels:
            raise InputError(f"{type(self).__name__} expects {self.in_channels} channels, got {channels}")


class _Forward(Convolution):
    """Whose output sites follow from its input's."""

    submanifold: ClassVar[bool]

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C_in) on a grid -> (M, C_out) on the grid that the window makes."""
        self.check_channels(x.features.shape[1])
        return chained(x, [self.layer(x.spatial_shape, x.batch_size)])

    def layer(self, shape: Triple, batch_size: int, *, slope: float = 1.0, pool: Window | None = None) -> Layer:
        """This convolution over grids of a shape, then a leaky ReLU of this slope and a max pool."""
        find = _place if torch.compiler.is_compiling() else _known_place
        return Layer(find(self.window, self.submanifold, pool, shape, batch_size), self.weight, self.bias, slope)


def _place(window: Window, submanifold: bool, pool: Window | None, shape: Triple, batch_size: int) -> Place:
    geometry = window.within(shape, batch_size) if submanifold else window.over(shape, batch_size)
    return Place(geometry, submanifold, None if pool is None else pool.over(geometry.out_shape, batch_size))


_known_place = lru_cache(maxsize=1024)(_place)  # asked for by every layer at every pass


def chained(x: SparseTensor, layers: Sequence[Layer]) -> SparseTensor:
    """Layers one after the other; see :func:`operators.chain`."""
    if isinstance(x, Traced):
        return x.chained(layers)
    return SparseTensor._at(*operators.chain(x.rows, x.sites, layers))


class SparseConv3d(_Forward):
    """Convolution whose output site is active where any input in its window is active.

    Parameters
    ----------
    in_channels, out_channels : int
        C_in and C_out.
    kernel_size, stride, padding, dilation : int or (int, int, int)
        As in ``torch.nn.Conv3d``, ordered (z, y, x). Padding pads with the background.
    bias : bool
        Whether a bias is added (at every site, so it also changes the background).
    """

    kind = "conv"
    submanifold = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, _window(kernel_size, stride, padding, dilation), bias=bias)


class SubMConv3d(_Forward):
    """Submanifold convolution: the output sites are exactly the input sites.

    The window is centred on the site; an even kernel reaches one site further back than forward.

    References
    ----------
    Graham, Engelcke, van der Maaten. 3D Semantic Segmentation with Submanifold Sparse Convolutional Networks. CVPR
    2018.
    """

    kind = "submanifold conv"
    submanifold = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, dilation: Size = 1, bias: bool = True
    ) -> None:
        window = Window.submanifold(triple(kernel_size, "kernel_size"), triple(dilation, "dilation"))
        super().__init__(in_channels, out_channels, window, bias=bias)


class _Transposed(Convolution):
    """The window's formula with input and output swapped."""

    transposed = True

    def convolve(self, x: SparseTensor, out: Sites, geometry: Geometry) -> SparseTensor:
        """To these M sites, with (M, C_out) features."""
        self.check_channels(x.features.shape[1])
        if isinstance(x, Traced):
            x.trace.refuse(f"{type(self).__name__} makes sites of its own")
        rows = operators.convolution(x.rows, Filters(self.weight, self.bias), x.sites, out, geometry)
        return SparseTensor._at(rows, out)

    def _check_background(self, background: Tensor | None) -> None:
        # With a stride, each output phase meets other offsets: one vector stands for all only if nothing is added.
        if background is not None and self.window.stride != (1, 1, 1) and bool((background != 0).any()):
            raise ValueError(
                f"{type(self).__name__} with stride {self.window.stride} would need one background for each output "
                "phase, since its input's background is not zero; give the network's input background=None (missing "
                "inputs add nothing), or leave out the biases before this layer"
            )


class SparseInverseConv3d(_Transposed):
    """Transposed convolution back to the sites of an earlier tensor: the way up in a U-Net.

    Takes the same window as the ``SparseConv3d`` (or pool) that it undoes.
    """

    kind = "inverse conv"
    needs_paired = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, _window(kernel_size, stride, padding, dilation), bias=bias)

    def forward(self, x: SparseTensor, paired: SparseTensor) -> SparseTensor:
        """(M, C_in) -> (N, C_out) at the sites of ``paired``, the input of the layer that this one undoes."""
        if self.window.output_shape(paired.spatial_shape) != x.spatial_shape or paired.batch_size != x.batch_size:
            raise ValueError(
                f"{self.window} leads from the paired grid {paired.spatial_shape} to "
                f"{self.window.output_shape(paired.spatial_shape)}, not to this input's {x.spatial_shape}; "
                "give the input of the layer that is undone, and that layer's window"
            )
        geometry = Geometry(self.window, x.batch_size, x.spatial_shape, paired.spatial_shape, transposed=True)
        if isinstance(x, Traced) and isinstance(paired, Traced):
            self.check_channels(x.features.shape[1])
            return x.convolved(Filters(self.weight, self.bias), paired, geometry)
        self._check_background(x.background)
        return self.convolve(x, paired.sites, geometry)


class SparseConvTranspose3d(_Transposed):
    """Transposed convolution whose output site is active where any active input reaches it."""

    kind = "transposed conv"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, _window(kernel_size, stride, padding, dilation), bias=bias)
        self.output_padding: Triple = triple(output_padding, "output_padding")

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C_in) on a grid -> (M, C_out) on the grid that the window spreads it over."""
        shape = self.window.transposed_output_shape(x.spatial_shape, self.output_padding)
        self._check_background(x.background)
        geometry = Geometry(self.window, x.batch_size, x.spatial_shape, shape, transposed=True)
        return self.convolve(x, operators.output_sites(x.sites, geometry), geometry)


def _window(kernel_size: Size, stride: Size, padding: Size, dilation: Size) -> Window:
    return Window(
        triple(kernel_size, "kernel_size"),
        triple(stride, "stride"),
        triple(padding, "padding"),
        triple(dilation, "dilation"),
    )
