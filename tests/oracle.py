"""An independent answer to what every sparse operator should give.

Shares no code with the project: a sparse tensor is written out as the dense grid that it stands for, torch's dense
layers run on it in float64, and a boolean grid is carried along that says which sites are active. It is itself tested
against plain loops in ``test_oracle.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F


@dataclass
class Grid:
    """values (B, C, D, H, W); active (B, D, H, W) bool; background (C,), or None: missing inputs add nothing."""

    values: torch.Tensor
    active: torch.Tensor
    background: torch.Tensor | None

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """(M, C): the values at (M, 4) sites."""
        b, z, y, x = indices.long().T
        return self.values[b, :, z, y, x]


def grid(features, indices, shape, batch_size, background):
    """Write a sparse tensor out. Differentiable in features and background."""
    base = torch.zeros(features.shape[1], dtype=features.dtype) if background is None else background
    values = base[None, None, None, None, :].repeat(batch_size, *shape, 1)
    b, z, y, x = indices.long().T
    values = values.index_put((b, z, y, x), features)
    active = torch.zeros(batch_size, *shape, dtype=torch.bool)
    active[b, z, y, x] = True
    return Grid(values.permute(0, 4, 1, 2, 3), active, background)


def _pad(values, fill, before, after):
    """Pad (B, C, D, H, W) with one value a channel."""
    b, c, d, h, w = values.shape
    shape = (b, c, d + before[0] + after[0], h + before[1] + after[1], w + before[2] + after[2])
    out = fill.view(1, c, 1, 1, 1).expand(shape).clone()
    out[:, :, before[0] : before[0] + d, before[1] : before[1] + h, before[2] : before[2] + w] = values
    return out


def _reach(active, kernel, stride, padding, dilation):
    """Output sites with an active input in the window."""
    mask = F.pad(active.double()[:, None], [p for n in reversed(padding) for p in (n, n)])
    return F.conv3d(mask, torch.ones(1, 1, *kernel, dtype=torch.double), stride=stride, dilation=dilation)[:, 0] > 0


def _fill(x):
    return x.background if x.background is not None else torch.zeros(x.values.shape[1], dtype=x.values.dtype)


def _rest(values, active, background):
    """Everything that is not active holds the background (0 for None)."""
    fill = torch.zeros(values.shape[1], dtype=values.dtype) if background is None else background
    return torch.where(active[:, None], values, fill.view(1, -1, 1, 1, 1))


def _after(weight, bias, background):
    if background is None:
        return None
    out = torch.einsum("ozyxi,i->o", weight, background)
    return out if bias is None else out + bias


def conv(x, weight, bias, stride=(1, 1, 1), padding=(0, 0, 0), dilation=(1, 1, 1)):
    padded = _pad(x.values, _fill(x), padding, padding)
    values = F.conv3d(padded, weight.permute(0, 4, 1, 2, 3), bias, stride=stride, dilation=dilation)
    active = _reach(x.active, weight.shape[1:4], stride, padding, dilation)
    background = _after(weight, bias, x.background)
    if (
        background is not None
    ):  # a dense network computes every site: it must find the background wherever we do not look
        there = values.permute(0, 2, 3, 4, 1)[~active]
        torch.testing.assert_close(there, background.expand_as(there), rtol=1e-9, atol=1e-9)
    return Grid(_rest(values, active, background), active, background)


def submanifold(x, weight, bias, dilation=(1, 1, 1)):
    kernel = weight.shape[1:4]
    before = [k // 2 * d for k, d in zip(kernel, dilation)]
    after = [(k - 1) * d - b for k, d, b in zip(kernel, dilation, before)]
    padded = _pad(x.values, _fill(x), before, after)
    values = F.conv3d(padded, weight.permute(0, 4, 1, 2, 3), bias, dilation=dilation)
    background = _after(weight, bias, x.background)
    return Grid(_rest(values, x.active, background), x.active, background)


def transposed(x, weight, bias, shape, active=None, stride=(1, 1, 1), padding=(0, 0, 0), dilation=(1, 1, 1)):
    """Output grid ``shape``; active sites given (inverse convolution), or every site reached."""
    kernel = weight.shape[1:4]
    extra = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]  # enough background that no window leaves the grid
    start = [p + e * s for p, e, s in zip(padding, extra, stride)]

    def spread(values, w):
        made = F.conv_transpose3d(values, w, stride=stride, dilation=dilation)
        cut = [slice(a, a + n) for a, n in zip(start, shape)]
        return made[:, :, cut[0], cut[1], cut[2]]

    values = spread(_pad(x.values, _fill(x), extra, extra), weight.permute(4, 0, 1, 2, 3))
    if bias is not None:
        values = values + bias.view(1, -1, 1, 1, 1)
    if active is None:
        ones = torch.ones(1, 1, *kernel, dtype=torch.double)
        mask = _pad(x.active.double()[:, None], torch.zeros(1, dtype=torch.double), extra, extra)
        active = spread(mask, ones)[:, 0] > 0
    if x.background is None:
        background = None
    elif tuple(stride) == (1, 1, 1):
        background = _after(weight, bias, x.background)
    else:  # one vector only if nothing is added
        assert not x.background.any()
        background = torch.zeros(weight.shape[0], dtype=values.dtype) if bias is None else bias
    return Grid(_rest(values, active, background), active, background)


def max_pool(x, kernel, stride, padding=(0, 0, 0), dilation=(1, 1, 1)):
    fill = torch.full((x.values.shape[1],), -torch.inf, dtype=x.values.dtype)
    if x.background is None:
        values = torch.where(x.active[:, None], x.values, fill.view(1, -1, 1, 1, 1))
    else:
        values, fill = x.values, x.background
    pooled = F.max_pool3d(_pad(values, fill, padding, padding), kernel, stride, dilation=dilation)
    active = _reach(x.active, kernel, stride, padding, dilation)
    return Grid(_rest(pooled, active, x.background), active, x.background)


def avg_pool(x, kernel, stride, padding=(0, 0, 0), dilation=(1, 1, 1)):
    ones = torch.ones(1, 1, *kernel, dtype=x.values.dtype)

    def total(values):
        channels = values.shape[1]
        return F.conv3d(values, ones.expand(channels, 1, *kernel), stride=stride, dilation=dilation, groups=channels)

    summed = total(_pad(x.values, _fill(x), padding, padding))
    active = _reach(x.active, kernel, stride, padding, dilation)
    if x.background is None:
        zero = torch.zeros(1, dtype=x.values.dtype)
        count = total(_pad(x.active[:, None].to(x.values.dtype), zero, padding, padding)).clamp(min=1)
    else:
        count = kernel[0] * kernel[1] * kernel[2]
    return Grid(_rest(summed / count, active, x.background), active, x.background)


def pointwise(x, function):
    """``function`` maps (rows, C) to (rows, C')."""
    moved = function(x.values.movedim(1, -1).reshape(-1, x.values.shape[1]))
    values = moved.view(*x.values.shape[:1], *x.values.shape[2:], -1).movedim(-1, 1)
    background = None if x.background is None else function(x.background[None])[0]
    return Grid(_rest(values, x.active, background), x.active, background)


def global_avg(x):
    if x.background is not None:
        return x.values.mean((2, 3, 4))
    return x.values.sum((2, 3, 4)) / x.active.sum((1, 2, 3)).clamp(min=1)[:, None]


def global_max(x):
    if x.background is not None:
        return x.values.amax((2, 3, 4))
    fill = x.values.masked_fill(~x.active[:, None], -torch.inf).amax((2, 3, 4))
    return torch.where(torch.isinf(fill), torch.zeros_like(fill), fill)


def add(x, y):
    assert torch.equal(x.active, y.active)
    background = None if x.background is None else x.background + y.background
    return replace(x, values=x.values + y.values, background=background)
