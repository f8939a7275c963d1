"""What an engine must offer, and the one lookup by name.

The operators of this package are executed by an *engine*: ``native`` (our C++ kernels, CPU), ``dense`` (plain torch,
the reference), ``spconv`` (CUDA), or one that another package brings. The catalogue knows them all
(:data:`napari_sparse3d.catalog.ENGINES`): this package depends on none of them.

Meaning shared by all engines
-----------------------------
A sparse tensor is the dense tensor that equals ``background`` everywhere but at its rows. Sites outside the grid
(padding) hold the background as well. ``background=None`` means that missing inputs add nothing. In a transposed
geometry an output site meets only the offsets at which the formula gives a whole input site, inside the grid or not.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from napari_sparse3d.catalog import ENGINES, EngineInfo
from napari_sparse3d.errors import CatalogError, DeviceMemoryError, EngineError
from napari_sparse3d.sparse.arrays import channels_of, channels_of_weight, check_sizes
from napari_sparse3d.sparse.window import Geometry, Triple


class Engine(ABC):
    """Executes the operators.

    All tensors lie on one device; ``indices`` are (N, 4) int32 [b, z, y, x], contiguous, unique. Rows may come
    in any order; new site sets are made in raster order. N may be 0 everywhere.

    A *plan* is the engine's own object for one pair of site sets and one geometry: which input row meets which kernel
    offset for which output row. It must not hold a reference to ``in_indices`` (it is cached for as long as they live).
    """

    name: ClassVar[str]
    normalizes: ClassVar[bool] = False  # whether it has batch normalisation, with what may follow it, in one pass
    chains: ClassVar[bool] = False  # whether it runs layers one after the other in one call

    def lacks(self, device_type: str) -> str:
        """Why it does not compute on this kind of device as it is installed here, with the cure; "" where it does.

        Asked only of kinds that its :class:`~napari_sparse3d.catalog.EngineInfo` names.
        """
        return ""

    @abstractmethod
    def check_sites(self, indices: Tensor, batch_size: int, shape: Triple) -> None:
        """Raise ``ValueError`` if a site lies outside the grid or the batch, or occurs twice."""

    @abstractmethod
    def output_sites(self, indices: Tensor, geometry: Geometry) -> Tensor:
        """(M, 4) int32, raster order: every output site with an active input in its window."""

    @abstractmethod
    def plan(self, in_indices: Tensor, out_indices: Tensor, geometry: Geometry) -> Any:
        """The plan from one site set to another; the two may be the same tensor (submanifold)."""

    @abstractmethod
    def convolution(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: Any
    ) -> Tensor:
        """(N, C_in), (C_out, kz, ky, kx, C_in), (C_out,), (C_in,) -> (M, C_out): sum over the window, plus bias."""

    @abstractmethod
    def convolution_backward(
        self,
        grad: Tensor,
        features: Tensor,
        weight: Tensor,
        background: Tensor | None,
        plan: Any,
        *,
        of_features: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Gradients of :meth:`convolution` for features, weight, bias and background, from ``grad`` (M, C_out).

        Without ``of_features`` nothing asks for those of the input: features may be an empty tensor, background zeros.
        """

    @abstractmethod
    def max_pool(self, features: Tensor, background: Tensor | None, plan: Any) -> tuple[Tensor, Tensor]:
        """(N, C) -> values (M, C) and the input row each came from (M, C) int32, -1 for the background.

        Of equal values the first offset in raster order wins. With background None only active inputs count.
        """

    @abstractmethod
    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Gradients with respect to features (N, C) and background (C,)."""

    @abstractmethod
    def avg_pool(self, features: Tensor, background: Tensor | None, plan: Any) -> Tensor:
        """(N, C) -> (M, C): mean over the whole window, or over its active inputs where background is None."""

    @abstractmethod
    def avg_pool_backward(self, grad: Tensor, plan: Any, *, over_active: bool) -> tuple[Tensor, Tensor]:
        """Gradients for features (N, C) and background (C,); ``over_active`` where the background was None."""

    # -- a convolution with what may follow it; an engine that does it in one pass overrides both --

    def fused_convolution(
        self,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        background: Tensor | None,
        plan: Any,
        *,
        slope: float = 1.0,
        pool_plan: Any = None,
        for_backward: bool = True,
    ) -> Fused:
        """:meth:`convolution`, a leaky ReLU of this slope (1: none, 0: ReLU), and :meth:`max_pool`; background as well.

        Not ``for_backward``, nobody needs the rows that the maxima came from.
        """
        values = self.convolution(features, weight, bias, background, plan)
        made = None if background is None else _background(weight, bias, background)
        rows = None
        if pool_plan is not None:
            values, rows = self.max_pool(values, made, pool_plan)
        if slope != 1:
            values = functional.leaky_relu(values, slope)
            made = None if made is None else functional.leaky_relu(made, slope)
        return Fused(values, rows, made)

    def fused_convolution_backward(
        self,
        grad: Tensor,
        grad_background: Tensor | None,
        made: Fused,
        features: Tensor,
        weight: Tensor,
        background: Tensor | None,
        plan: Any,
        *,
        slope: float = 1.0,
        pool_plan: Any = None,
        of_features: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Gradients for features, weight, bias and background, from those of the values (P, C_out) and the background.

        ``made``: what the forward pass gave; values and background are looked at where there is an activation.
        """
        c_out, _ = channels_of_weight(weight)
        channels_of(grad, "grad")
        shape = (grad.shape[0], c_out)
        values = [] if slope == 1 else [("values", made.values, shape)]
        check_sizes(
            [("grad", grad, shape), *values],
            [("grad_background", grad_background, (c_out,)), ("made_background", made.background, (c_out,))],
        )
        grad, grad_background = self._before_activation(grad, grad_background, made, slope)
        if made.rows is not None:
            grad, of_pool = self.max_pool_backward(grad, made.rows, pool_plan)
            if background is not None:
                grad_background = of_pool if grad_background is None else grad_background + of_pool
        known = self.convolution_backward(grad, features, weight, background, plan, of_features=of_features)
        if grad_background is None or background is None:
            return known
        of_input, of_weight, of_bias, of_background = known
        share = grad_background.to(weight.dtype)
        of_weight = of_weight + share[:, None, None, None, None] * background
        if of_background is not None:
            of_background = of_background + (weight.sum((1, 2, 3)) * share[:, None]).sum(0)
        return of_input, of_weight, of_bias + grad_background, of_background

    def leaky_relu_backward(self, grad: Tensor, values: Tensor, slope: float) -> Tensor:
        """Gradient before a leaky ReLU of this slope, at least 0, from the one after it and the values that it gave."""
        result: Tensor = torch.ops.aten.leaky_relu_backward(grad, values, slope, True)
        return result

    # -- layers one after the other in one call, for engines that say so --

    def plan_chain(self, indices: Tensor, places: Sequence[Place]) -> tuple[Tensor | None, Any]:
        """The last layer's sites (M, 4), None where they are ``indices`` themselves, and the plan of all layers."""
        raise NotImplementedError

    def run_chain(
        self, features: Tensor, background: Tensor | None, layers: Sequence[Layer], plan: Any
    ) -> tuple[Tensor, Tensor | None]:
        """:meth:`fused_convolution` of each layer, for inference: the last one's values (M, C_out) and background."""
        raise NotImplementedError

    def run_chain_for_backward(
        self, features: Tensor, background: Tensor | None, layers: Sequence[Layer], plan: Any
    ) -> FusedChain:
        """The same for training."""
        raise NotImplementedError

    def run_chain_backward(
        self,
        grad: Tensor,
        grad_background: Tensor | None,
        made: FusedChain,
        features: Tensor,
        background: Tensor | None,
        layers: Sequence[Layer],
        plan: Any,
        needed: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients for features, background, and each layer's weight and bias, in this order.

        From those of the last layer's values (M, C_out) and background. None where it is not ``needed``, or what it
        would be the gradient of is None.
        """
        raise NotImplementedError

    # -- batch normalisation with what may follow it, for engines that say so --

    def scale_rows(
        self, features: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, *, slope: float = 1.0
    ) -> Tensor:
        """(N, C) -> (N, C): features * scale + shift (C,), plus ``other`` (N, C), and a leaky ReLU of this slope."""
        raise NotImplementedError

    def batch_norm(
        self, features: Tensor, weight: Tensor | None, bias: Tensor | None, other: Tensor | None, *,
        eps: float, slope: float = 1.0,
    ) -> Normalized:  # fmt: skip
        """:meth:`scale_rows` to the mean 0 and variance 1 of each channel (N > 0), then to weight and bias (C,)."""
        raise NotImplementedError

    def batch_norm_backward(
        self, grad: Tensor, made: Normalized, features: Tensor, weight: Tensor | None, *,
        eps: float, slope: float = 1.0, of_other: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
        """Gradients for features, weight, bias and, if asked for, ``other``; the values count where a slope is."""
        raise NotImplementedError

    def _before_activation(
        self, grad: Tensor, grad_background: Tensor | None, made: Fused, slope: float
    ) -> tuple[Tensor, Tensor | None]:
        if slope == 1:
            return grad, grad_background
        if grad_background is not None and made.background is not None:
            grad_background = self.leaky_relu_backward(grad_background, made.background, slope)
        return self.leaky_relu_backward(grad, made.values, slope), grad_background


class Place(NamedTuple):
    """Where a :class:`Layer` reads and writes."""

    geometry: Geometry
    submanifold: bool
    """Whether the convolution's output sites are its input sites."""
    pool: Geometry | None
    """Of the max pool after it, if there is one."""

    @property
    def out_shape(self) -> Triple:
        """The grid that the layer writes to."""
        return (self.geometry if self.pool is None else self.pool).out_shape


class Layer(NamedTuple):
    """A convolution, and what follows it in the same pass."""

    place: Place
    weight: Tensor
    """(C_out, kz, ky, kx, C_in)."""
    bias: Tensor | None
    """(C_out,)."""
    slope: float = 1.0
    """Of the leaky ReLU after it, at least 0; 0 is ReLU, 1 none."""


class Fused(NamedTuple):
    """What :meth:`Engine.fused_convolution` gives."""

    values: Tensor
    """(P, C_out)."""
    rows: Tensor | None
    """(P, C_out) int32: the convolution's row behind each maximum, -1 for its background. None without a pool."""
    background: Tensor | None
    """(C_out,), or None where the input has none."""


class FusedChain(NamedTuple):
    """What :meth:`Engine.run_chain_for_backward` gives."""

    values: Tensor
    """(M, C_out) of the last layer."""
    background: Tensor | None
    """(C_out,) of the last layer, or None where the input has none."""
    between: Tensor
    """What the engine needs of the layers before, as it likes."""


class Normalized(NamedTuple):
    """What :meth:`Engine.batch_norm` gives."""

    values: Tensor
    """(N, C)."""
    mean: Tensor
    """(C,), of the features."""
    variance: Tensor
    """(C,), of the features, divided by N."""


def scale_and_shift(
    mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Batch normalisation by these statistics as one product and one sum a channel, all (C,)."""
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    return scale, -mean * scale if bias is None else bias - mean * scale


def _background(weight: Tensor, bias: Tensor | None, background: Tensor) -> Tensor:
    """A site whose whole window is background: (sum of W) background + bias."""
    # not a matrix product, which autocast would round
    made = (weight.sum((1, 2, 3)) * background).sum(1)
    return made if bias is None else made + bias


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _constant_in_compiled(function: _Function) -> _Function:
    """A compiled network keeps the engine that it was compiled for.

    What ``torch.compiler.assume_constant_result`` does, which first loads torch's compiler, sympy with it: as long as
    torch itself takes, for who never compiles.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


_requested: ContextVar[str] = ContextVar("napari_sparse3d_engine", default="auto")


@contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Run the operators in the ``with`` block on engine ``name``; ``"auto"``: the best on each device.

    Raises
    ------
    EngineError
        If there is no such engine.
    DeviceMemoryError
        If the card has no memory left for what is done in the block.
    """
    if name != "auto":
        engine(name)
    token = _requested.set(name)
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(_out_of_memory(str(error))) from error
    finally:
        _requested.reset(token)


def _out_of_memory(message: str) -> str:
    found = re.search(r"Tried to allocate ([\d.]+ \w+)", message)
    asked = found[1] if found else "more than there is"
    return (
        f"the card has no memory left: {asked} was asked for; use a smaller batch, a recipe that keeps fewer voxels "
        "(a smaller longest side, a higher threshold), or --device cpu"
    )


@_constant_in_compiled
def engine_name(device_type: str) -> str:
    """The engine that runs operators on tensors of this device: what was requested, or the best there is.

    Raises
    ------
    EngineError
        If none was requested, and no engine computes on such a device.
    """
    requested = _requested.get()
    return _automatic(device_type) if requested == "auto" else requested


@cache
def _automatic(device_type: str) -> str:
    on_device = engines_for(device_type)
    if not on_device:
        raise EngineError(f"no engine computes on {device_type!r}; move the tensors to the CPU or a CUDA card")
    usable = (info.name for info in on_device if not why_not(info, device_type))
    return next(usable, on_device[0].name)  # of which the lookup says what is missing


def engines_for(device_type: str) -> list[EngineInfo]:
    """What ``auto`` chooses from on this kind of device, installed or not: the best first."""
    willing = [info for info in ENGINES.values() if info.rank >= 0 and device_type in info.devices]
    return sorted(willing, key=lambda info: -info.rank)


def why_not(info: EngineInfo, device_type: str) -> str:
    """What keeps an engine from computing on a kind of device here, with the cure; "" where nothing does."""
    if info.missing:
        return info.missing
    try:
        return engine(info.name).lacks(device_type)
    except EngineError as error:
        return str(error)


def engine_names() -> list[str]:
    """The names of all engines that are known: ours, and those of installed packages."""
    return list(ENGINES)


@cache
def engine(name: str) -> Engine:
    """The engine of this name.

    Raises
    ------
    EngineError
        If there is none of this name, or what it needs cannot be imported.
    """
    try:
        made: Engine = ENGINES[name].load()()
    except CatalogError as error:
        raise EngineError(str(error)) from error
    return made
