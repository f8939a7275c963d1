"""What stands in the place of a sparse tensor while a network is read: it has a shape and no values.

Modules run on it as on any other, and what they would have an engine do is written down as steps. Whatever asks for
values, sites or a device ends that: such a network runs layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from napari_sparse3d.sparse.contract import Filters, Layer, Program, Step
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.window import Geometry, Triple, Window

if TYPE_CHECKING:
    from napari_sparse3d.sparse.modules.pointwise import SparseBatchNorm


class NotTracedError(Exception):
    """The network does what cannot be written down as steps."""


class Trace:
    """The steps of a network, and the tensors that each multiplies with.

    Parameters
    ----------
    shape : (int, int, int)
        The grid of the input.
    batch_size, channels : int
    dtype : torch.dtype
    grounded : bool
        Whether the input has a background.
    """

    def __init__(self, shape: Triple, batch_size: int, channels: int, dtype: torch.dtype, *, grounded: bool) -> None:
        self.batch_size, self.dtype, self.grounded = batch_size, dtype, grounded
        self.steps: list[Step] = []
        self.tensors: list[tuple[Tensor | None, ...]] = []
        self.why_not = ""
        self._written: dict[tuple[int, tuple[Geometry, ...]], int] = {}
        self.input = Traced(self, 0, shape, channels, 0)

    def refuse(self, why: str) -> NoReturn:
        """End it, also where somebody catches the error."""
        self.why_not = self.why_not or why
        raise NotTracedError(why)

    def program(self, output: object) -> Program:
        """All steps, once the network gave what the last of them makes."""
        if (
            not isinstance(output, Traced)
            or output.trace is not self
            or output.value != len(self.steps)
            or not self.steps
        ):
            self.refuse("it gives something else than its last layer")
        if self.why_not:
            raise NotTracedError(self.why_not)
        return Program(tuple(self.steps), self.dtype, output.spatial_shape, output.place == 0)

    def add(self, step: Step, tensors: tuple[Tensor | None, ...], shape: Triple, place: int) -> Traced:
        """One more step, whose value stands where the value of this number does."""
        self.steps.append(step)
        self.tensors.append(tensors)
        return Traced(self, len(self.steps), shape, step.channels[1], place)

    def written(self, place: int, *windows: Geometry) -> int:
        """The first value at the sites that windows, one after the other, make of another's: perhaps the next."""
        return self._written.setdefault((place, windows), len(self.steps) + 1)


class _Shape:
    """Of rows that are not there."""

    ndim = 2

    def __init__(self, trace: Trace, channels: int) -> None:
        self._trace, self._channels = trace, channels

    @property
    def shape(self) -> _Sizes:
        return _Sizes(self._trace, self._channels)

    @property
    def dtype(self) -> torch.dtype:
        return self._trace.dtype

    def __getattr__(self, name: str) -> NoReturn:
        self._trace.refuse(f"it looks at values ({name})")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> NoReturn:
        for each in arguments:
            if isinstance(each, _Shape):
                each._trace.refuse(f"it looks at values ({getattr(function, '__name__', function)})")
        raise NotTracedError("it looks at values")


class _Sizes:
    """(N, C), of which N is not known."""

    def __init__(self, trace: Trace, channels: int) -> None:
        self._trace, self._channels = trace, channels

    def __getitem__(self, axis: object) -> int:
        if axis in (1, -1):
            return self._channels
        self._trace.refuse("it looks at the number of sites")

    def __getattr__(self, name: str) -> NoReturn:
        self._trace.refuse("it looks at the number of sites")

    def __iter__(self) -> NoReturn:
        self._trace.refuse("it looks at the number of sites")

    def __len__(self) -> int:
        return 2


class Traced(SparseTensor):
    """A value of a network that is read, not run."""

    __slots__ = ("_channels", "_shape", "place", "trace", "value")

    def __init__(self, trace: Trace, value: int, shape: Triple, channels: int, place: int) -> None:
        self.trace, self.value, self.place = trace, value, place
        self._shape, self._channels = shape, channels

    # -- what may be known of it --

    @property
    def features(self) -> Any:  # type: ignore[override]  # noqa: D102
        return _Shape(self.trace, self._channels)

    @property
    def background(self) -> Any:  # type: ignore[override]  # noqa: D102
        return _Shape(self.trace, self._channels) if self.trace.grounded else None

    @property  # type: ignore[misc]
    def spatial_shape(self) -> Triple:  # noqa: D102
        return self._shape

    @property  # type: ignore[misc]
    def batch_size(self) -> int:  # noqa: D102
        return self.trace.batch_size

    def check(self) -> None:
        """It fits together."""

    # -- what may be done with it --

    def chained(self, layers: Sequence[Layer]) -> Traced:
        """Convolutions one after the other, each with its activation and pool."""
        at = self
        for (geometry, submanifold, pool), weight, bias, slope in layers:
            windows = (*(() if submanifold else (geometry,)), *(() if pool is None else (pool,)))
            place = self.trace.written(at.place, *windows) if windows else at.place
            step = Step(
                "convolution", at.value, (at._channels, weight.shape[0]), geometry, at.value if submanifold else -1,
                pool, slope=slope,
            )  # fmt: skip
            at = self.trace.add(step, (weight, bias), (geometry if pool is None else pool).out_shape, place)
        return at

    def convolved(self, filters: Filters, paired: Traced, geometry: Geometry) -> Traced:
        """A convolution to the sites of another value."""
        if self.trace.grounded and geometry.window.stride != (1, 1, 1):
            self.trace.refuse("an inverse convolution looks at the background")
        step = Step("convolution", self.value, (self._channels, filters.weight.shape[0]), geometry, paired.value)
        return self.trace.add(step, tuple(filters), geometry.out_shape, paired.place)

    def pooled(self, kind: str, window: Window) -> Traced:
        """A pool of this kind."""
        geometry = window.over(self._shape, self.batch_size)
        step = Step(kind, self.value, (self._channels, self._channels), geometry)
        return self.trace.add(step, (), geometry.out_shape, self.trace.written(self.place, geometry))

    def normalized(self, norm: SparseBatchNorm, slope: float, other: SparseTensor | None) -> Traced:
        """Batch normalisation by running statistics, a sum, an activation."""
        if self.trace.grounded:
            self.trace.refuse("a batch normalisation has a background")
        if norm.training or norm.running_mean is None or norm.running_var is None:
            self.trace.refuse("a batch normalisation takes the statistics of its input")
        added = -1 if other is None else self._beside(other)
        step = Step("scale", self.value, (self._channels,) * 2, other=added, slope=slope, eps=norm.eps)
        tensors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return self.trace.add(step, tensors, self._shape, self.place)

    def at_each_site(self, module: nn.Module) -> Traced:
        """A module of torch's on rows and background."""
        if type(module) is nn.Identity:
            return self
        self.trace.refuse(f"{type(module).__name__} stands on its own")

    def __add__(self, other: SparseTensor) -> Traced:
        step = Step("sum", self.value, (self._channels,) * 2, other=self._beside(other))
        return self.trace.add(step, (), self._shape, self.place)

    def _beside(self, other: SparseTensor) -> int:
        """The number of a value with the same channels at the same sites."""
        if not isinstance(other, Traced) or other.trace is not self.trace:
            self.trace.refuse("it adds what is no layer's")
        if other.place != self.place or other._channels != self._channels:
            self.trace.refuse("it adds values at other sites")
        return other.value

    # -- what may not --

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        self.trace.refuse("it looks at values or sites")

    sites = property(_refused)
    indices = property(_refused)
    rows = property(_refused)
    active_percent = property(_refused)
    with_features = dense = to = _refused
