"""Where the sites of each layer lie over the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.modules import takes_sparse
from napari_sparse3d.sparse.window import Window

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Site ``o`` of a layer is centred on input voxel ``o * step + centre``, on each axis (z, y, x).

    That is the centre of everything that the site can see (its receptive field), padding included.
    """

    step: Point = (1.0, 1.0, 1.0)
    centre: Point = (0.0, 0.0, 0.0)

    def after(self, window: Window, *, transposed: bool = False) -> Grid:
        """The grid of a layer that slides ``window`` over this one (or spreads this one out through it)."""
        step, centre = [], []
        for axis in range(3):
            stride = window.stride[axis]
            middle = window.dilation[axis] * (window.kernel[axis] - 1) / 2 - window.padding[axis]
            if transposed:
                step.append(self.step[axis] / stride)
                centre.append(self.centre[axis] - self.step[axis] * middle / stride)
            else:
                step.append(self.step[axis] * stride)
                centre.append(self.centre[axis] + self.step[axis] * middle)
        return Grid(_point(step), _point(centre))


@contextmanager
def recording_grids(network: nn.Module) -> Iterator[dict[str, Grid]]:
    """Record the grid of each layer while the network runs inside the ``with`` block.

    Yields
    ------
    dict
        Layer name (as in the per-layer table) to grid; it fills while the network runs.
    """
    grids: dict[str, Grid] = {}
    known: list[tuple[Tensor, Grid]] = []
    """Sites and their grid. The tensors are kept, so that none of their identities is given away again."""

    def grid_of(x: SparseTensor) -> Grid:
        return next((grid for sites, grid in reversed(known) if sites is x.indices), Grid())

    def hook_for(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not isinstance(output, SparseTensor) or not isinstance(inputs[0], SparseTensor):
                return
            paired = [x for x in inputs if isinstance(x, SparseTensor) and x.indices is output.indices]
            window = getattr(module, "window", None)
            if paired:  # the sites stay, or are those of an earlier layer
                grid = grid_of(paired[0])
            elif isinstance(window, Window):
                grid = grid_of(inputs[0]).after(window, transposed="Transpose" in type(module).__name__)
            else:
                grid = grid_of(inputs[0])
            known.append((output.indices, grid))
            grids[name.removeprefix("layers.")] = grid

        return record

    hooks = [
        module.register_forward_hook(hook_for(name))
        for name, module in network.named_modules()
        if next(module.children(), None) is None and takes_sparse(module)
    ]
    try:
        yield grids
    finally:
        for hook in hooks:
            hook.remove()


def _point(values: list[float]) -> Point:
    z, y, x = values
    return z, y, x
