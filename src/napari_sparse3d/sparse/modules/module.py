"""What every layer on sparse tensors has."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import nn

from napari_sparse3d.sparse.observers import observers_of, run_observed
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.window import Window


class SparseModule(nn.Module):
    """A layer on sparse tensors: what it is given is checked, and observers see it, wherever it is called.

    Tables, maps and dense twins ask a layer what it is; a layer of your own answers by these.

    Attributes
    ----------
    kind : str
        What it is called in tables; "": as its class.
    window : Window or None
        What it slides over the grid, of convolutions and pools.
    transposed : bool
        Whether it spreads its input out through the window.
    needs_paired : bool
        Whether it takes, beside its input, the tensor whose sites it returns to.
    at_each_site : bool
        Whether it looks at features and background alone, so that it works on a grid written out as well.
    no_dense_twin : str
        Why a dense program cannot do what it does; "" where one can.
    """

    kind: ClassVar[str] = ""
    window: Window | None = None
    transposed: ClassVar[bool] = False
    needs_paired: ClassVar[bool] = False
    at_each_site: ClassVar[bool] = False
    no_dense_twin: ClassVar[str] = ""

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """As ``nn.Module``; ``InputError`` if the parts of a sparse tensor do not fit together."""
        for each in inputs:
            if isinstance(each, SparseTensor):
                each.check()
        if observers := observers_of(self):
            return run_observed(observers, self, inputs, partial(super().__call__, *inputs, **named))
        return super().__call__(*inputs, **named)

    def work(self, output: SparseTensor) -> int:
        """Multiply-accumulates that its output took; 0 for what multiplies nothing."""
        return 0

    def caption(self) -> str:
        """What it is, with its window: ``SparseMaxPool3d(3, 2)`` is ``max pool 3 / 2``."""
        name = self.kind or type(self).__name__
        if self.window is None:
            return name
        kernel, stride = self.window.kernel, self.window.stride
        size = kernel[0] if len(set(kernel)) == 1 else "x".join(map(str, kernel))
        return f"{name} {size}" + ("" if stride == (1, 1, 1) else f" / {max(stride)}")
