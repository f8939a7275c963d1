"""Where the sites of each layer lie over the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from napari_sparse3d.models.trace import leaves
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.modules import takes_sparse
from napari_sparse3d.sparse.observers import Observer, observed_by
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
    recorder = _GridRecorder(network)
    with observed_by(recorder):
        yield recorder.grids


class _GridRecorder(Observer):
    def __init__(self, network: nn.Module) -> None:
        self.grids: dict[str, Grid] = {}
        self._names = {module: name.removeprefix("layers.") for name, module in leaves(network) if takes_sparse(module)}
        self._known: list[tuple[Tensor, Grid]] = []
        """Sites and their grid. The tensors are kept, so that none of their identities is given away again."""

    def sees(self, module: nn.Module) -> bool:
        return module in self._names

    def around(self, module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        output = run()
        if isinstance(output, SparseTensor) and isinstance(inputs[0], SparseTensor):
            grid = self._grid_after(module, [x for x in inputs if isinstance(x, SparseTensor)], output)
            self._known.append((output.indices, grid))
            self.grids[self._names[module]] = grid
        return output

    def _grid_after(self, module: nn.Module, inputs: list[SparseTensor], output: SparseTensor) -> Grid:
        window = getattr(module, "window", None)
        for x in inputs:
            if x.indices is output.indices:  # the sites stay, or are those of an earlier layer
                return self._grid_of(x)
        if isinstance(window, Window):
            return self._grid_of(inputs[0]).after(window, transposed="Transpose" in type(module).__name__)
        return self._grid_of(inputs[0])

    def _grid_of(self, x: SparseTensor) -> Grid:
        return next((grid for sites, grid in reversed(self._known) if sites is x.indices), Grid())


def _point(values: list[float]) -> Point:
    z, y, x = values
    return z, y, x
