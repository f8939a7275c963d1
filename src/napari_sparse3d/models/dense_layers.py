"""The dense twins of sparse layers: the same weights and the same answers, on whole grids instead of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.sparse import (
    SparseAvgPool3d,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseInverseConv3d,
    SparseMaxPool3d,
    SubMConv3d,
)
from napari_sparse3d.sparse.window import Triple, Window


@dataclass(frozen=True, eq=False)
class DenseGrid:
    """Stands where a network expects a ``SparseTensor``, with all sites written out.

    Where there is a background, every site that is not active holds it. Where it is None, they hold anything.

    Attributes
    ----------
    features : Tensor
        (B, D, H, W, C): pointwise layers work on the last axis.
    background : Tensor or None
        (C,).
    find_active : callable
        Gives (B, D, H, W) bool. Called only by layers that need it, so that it costs nothing elsewhere.
    """

    features: Tensor
    background: Tensor | None
    find_active: Callable[[], Tensor]

    @cached_property
    def active(self) -> Tensor:
        """(B, D, H, W) bool."""
        return self.find_active()

    @property
    def spatial_shape(self) -> Triple:
        """The grid (D, H, W)."""
        _, z, y, x, _ = self.features.shape
        return z, y, x

    @property
    def batch_size(self) -> int:
        """Number of volumes."""
        return self.features.shape[0]

    def with_features(self, features: Tensor, background: Tensor | None) -> DenseGrid:
        """The same sites with other features."""
        return replace(self, features=features, background=background, find_active=lambda: self.active)

    def __add__(self, other: DenseGrid) -> DenseGrid:
        """Sum of two grids with the same sites."""
        background = None if self.background is None or other.background is None else self.background + other.background
        return self.with_features(self.features + other.features, background)

    def filled(self, value: float = 0.0) -> Tensor:
        """(B, D, H, W, C); where the background is None, ``value`` at the sites that are not active."""
        if self.background is not None:
            return self.features
        return torch.where(self.active[..., None], self.features, value)

    def dense(self) -> Tensor:
        """(B, C, D, H, W); background None counts as 0."""
        return self.filled().movedim(-1, 1)

    def above_background(self) -> Tensor:
        """(B, C, D, H, W): what may be padded with 0."""
        return self.dense() if self.background is None else (self.features - self.background).movedim(-1, 1)

    def reached(self, window: Window) -> Callable[[], Tensor]:
        """Finds the output sites with an active input in their window."""

        def find() -> Tensor:
            padded = _pad(self.active[:, None].to(self.features.dtype), window)
            return functional.max_pool3d(padded, window.kernel, window.stride, dilation=window.dilation)[:, 0] > 0

        return find


class _Convolution(nn.Module):
    """Weights in torch's layout; convolves what differs from the background and adds the rest as a constant."""

    def __init__(self, layer: SparseConv3d | SubMConv3d | SparseConvTranspose3d | SparseInverseConv3d) -> None:
        super().__init__()
        order = (4, 0, 1, 2, 3) if layer.transposed else (0, 4, 1, 2, 3)
        self.weight = nn.Parameter(layer.weight.detach().permute(order).contiguous())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.window = layer.window

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.window}"

    def _background(self, background: Tensor | None) -> Tensor | None:
        """What the layer makes of a window of background."""
        if background is None:
            return None
        # (C_out, C_in, ...), or (C_in, C_out, ...) transposed
        summed = self.weight.sum((2, 3, 4))
        summed = summed.T if isinstance(self, _Transposed) else summed
        total = (summed * background).sum(1)
        return total if self.bias is None else total + self.bias

    def _finished(self, convolved: Tensor, background: Tensor | None) -> Tensor:
        constant = self.bias if background is None else background
        values = convolved.movedim(1, -1)
        return values if constant is None else values + constant


class DenseConv3d(_Convolution):
    """Twin of ``SparseConv3d``."""

    def forward(self, x: DenseGrid) -> DenseGrid:
        """Convolve the whole grid."""
        w = self.window
        background = self._background(x.background)
        values = functional.conv3d(x.above_background(), self.weight, None, w.stride, w.padding, w.dilation)
        return DenseGrid(self._finished(values, background), background, x.reached(w))


class DenseSubMConv3d(_Convolution):
    """Twin of ``SubMConv3d``: sites that are not active keep the background."""

    def forward(self, x: DenseGrid) -> DenseGrid:
        """Convolve the whole grid, then keep the active sites."""
        w = self.window
        background = self._background(x.background)
        after = [(k - 1) * d - p for k, d, p in zip(w.kernel, w.dilation, w.padding, strict=True)]
        ends = [n for pair in zip(reversed(w.padding), reversed(after), strict=True) for n in pair]
        padded = functional.pad(x.above_background(), ends)
        values = self._finished(functional.conv3d(padded, self.weight, None, dilation=w.dilation), background)
        if background is not None:
            values = torch.where(x.active[..., None], values, background)
        return x.with_features(values, background)


class _Transposed(_Convolution):
    def _spread(self, x: DenseGrid, extra: Triple) -> tuple[Tensor, Tensor | None]:
        w = self.window
        if w.stride == (1, 1, 1):
            background = self._background(x.background)
        else:  # the sparse layer refuses any other background than 0
            background = None if x.background is None else self.weight.new_zeros(self.weight.shape[1])
            if background is not None and self.bias is not None:
                background = background + self.bias
        y = functional.conv_transpose3d(
            x.above_background(), self.weight, None, w.stride, w.padding, extra, 1, w.dilation
        )
        return self._finished(y, background), background


class DenseConvTranspose3d(_Transposed):
    """Twin of ``SparseConvTranspose3d``."""

    def __init__(self, layer: SparseConvTranspose3d) -> None:
        super().__init__(layer)
        self.output_padding = layer.output_padding

    def forward(self, x: DenseGrid) -> DenseGrid:
        """Spread the whole grid."""
        w = self.window

        def find() -> Tensor:
            ones = self.weight.new_ones(1, 1, *w.kernel)
            active = x.active[:, None].to(ones.dtype)
            spread = functional.conv_transpose3d(
                active, ones, None, w.stride, w.padding, self.output_padding, 1, w.dilation
            )
            return spread[:, 0] > 0.5

        values, background = self._spread(x, self.output_padding)
        return DenseGrid(values, background, find)


class DenseInverseConv3d(_Transposed):
    """Twin of ``SparseInverseConv3d``: back to the sites of an earlier grid."""

    def forward(self, x: DenseGrid, paired: DenseGrid) -> DenseGrid:
        """Spread the whole grid, then keep the sites of ``paired``."""
        least = self.window.transposed_output_shape(x.spatial_shape)
        z, y, w = (want - have for want, have in zip(paired.spatial_shape, least, strict=True))
        values, background = self._spread(x, (z, y, w))
        if background is not None:
            values = torch.where(paired.active[..., None], values, background)
        return paired.with_features(values, background)


class DenseMaxPool3d(nn.Module):
    """Twin of ``SparseMaxPool3d``."""

    def __init__(self, layer: SparseMaxPool3d) -> None:
        super().__init__()
        self.window = layer.window

    def forward(self, x: DenseGrid) -> DenseGrid:
        """Pool the whole grid."""
        w = self.window
        if x.background is None:
            padded = _pad(x.filled(-torch.inf).movedim(-1, 1), w, -torch.inf)
        elif any(w.padding):
            padded = _pad(x.above_background(), w) + x.background[:, None, None, None]
        else:
            padded = x.dense()
        pooled = functional.max_pool3d(padded, w.kernel, w.stride, dilation=w.dilation)
        return DenseGrid(pooled.movedim(1, -1), x.background, x.reached(w))


class DenseAvgPool3d(nn.Module):
    """Twin of ``SparseAvgPool3d``."""

    def __init__(self, layer: SparseAvgPool3d) -> None:
        super().__init__()
        self.window = layer.window

    def forward(self, x: DenseGrid) -> DenseGrid:
        """Pool the whole grid."""
        total = self._sum(x.above_background())
        if x.background is not None:
            mean = total / self.window.volume + x.background
        else:
            mean = total / self._sum(x.active[:, None].to(total.dtype)).clamp(min=1)
        return DenseGrid(mean, x.background, x.reached(self.window))

    def _sum(self, values: Tensor) -> Tensor:
        w, channels = self.window, values.shape[1]
        ones = values.new_ones(channels, 1, *w.kernel)
        return functional.conv3d(values, ones, None, w.stride, w.padding, w.dilation, channels).movedim(1, -1)


class DenseGlobalAvgPool(nn.Module):
    """Twin of ``GlobalAvgPool``."""

    def forward(self, x: DenseGrid) -> Tensor:
        """Whole grid -> (B, C)."""
        if x.background is not None:
            return x.features.mean((1, 2, 3))
        count = x.active.sum((1, 2, 3)).clamp(min=1)[:, None]
        return x.filled().sum((1, 2, 3)) / count


class DenseGlobalMaxPool(nn.Module):
    """Twin of ``GlobalMaxPool``."""

    def forward(self, x: DenseGrid) -> Tensor:
        """Whole grid -> (B, C)."""
        largest = x.filled(-torch.inf).amax((1, 2, 3))
        if x.background is not None:
            return largest
        return torch.where(x.active.any(3).any(2).any(1)[:, None], largest, 0)


def _pad(values: Tensor, window: Window, value: float = 0.0) -> Tensor:
    return functional.pad(values, [p for p in reversed(window.padding) for _ in range(2)], value=value)
