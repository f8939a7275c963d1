"""Where the sites of each layer lie over the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from napari_sparse3d.sparse import SparseModule, SparseTensor
from napari_sparse3d.sparse.recorder import LayerCall, recording_layers
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
    """Record the grid of each layer while the network runs inside the ``with`` block, called by this thread.

    Yields
    ------
    dict
        Layer name (as in the per-layer table) to grid; it fills while the network runs.
    """
    recorder = _Grids()
    with recording_layers(network, recorder.take):
        yield recorder.grids


class _Grids:
    def __init__(self) -> None:
        self.grids: dict[str, Grid] = {}
        self._known: list[tuple[Tensor, Grid]] = []
        """Sites and their grid. Held, so that none of their identities is given away again."""

    def take(self, call: LayerCall) -> None:
        inputs = [x for x in call.inputs if isinstance(x, SparseTensor)]
        if isinstance(call.output, SparseTensor) and inputs:
            grid = self._grid_after(call.module, inputs, call.output)
            self._known.append((call.output.indices, grid))
            self.grids[call.name] = grid

    def _grid_after(self, module: nn.Module, inputs: list[SparseTensor], output: SparseTensor) -> Grid:
        for x in inputs:
            if x.indices is output.indices:  # the sites stay, or are those of an earlier layer
                return self._grid_of(x)
        if isinstance(module, SparseModule) and module.window is not None:
            return self._grid_of(inputs[0]).after(module.window, transposed=module.transposed)
        return self._grid_of(inputs[0])

    def _grid_of(self, x: SparseTensor) -> Grid:
        return next((grid for sites, grid in reversed(self._known) if sites is x.indices), Grid())


def _point(values: list[float]) -> Point:
    z, y, x = values
    return z, y, x
