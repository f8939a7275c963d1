"""What an engine must offer.

Meaning shared by all engines
-----------------------------
A sparse tensor is the dense tensor that equals ``background`` everywhere but at its rows. Sites outside the grid
(padding) hold the background as well. ``background=None`` means that missing inputs add nothing. In a transposed
geometry an output site meets only the offsets at which the formula gives a whole input site, inside the grid or not.

An engine has sites, convolution and pools (:class:`Engine`). What can be built on these, a convolution with what
follows it in one pass, is written once (``engine/composed.py``); an engine that does it better overrides it. Two more
things an engine may have or not: batch normalisation (:class:`Normalizes`), and layers one after the other in one call
(:class:`RunsChains`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Triple


class Plan(Protocol):
    """The engine's own object for two site sets and a geometry: which input row meets which offset for which output.

    It must not hold the sites that it starts from: it is kept for as long as they live.
    """

    @property
    def inputs(self) -> int:
        """N, the number of rows that are read."""

    @property
    def outputs(self) -> int:
        """M, the number of rows that are written."""


P = TypeVar("P", bound=Plan)
C = TypeVar("C", bound=Plan)


class Rows(NamedTuple):
    """A sparse tensor's values, or their gradients, without the sites that they stand at."""

    features: Tensor
    """(N, C)."""
    background: Tensor | None
    """(C,): what every other site holds. As a gradient None where nothing depends on it."""


class Filters(NamedTuple):
    """What a convolution has learned."""

    weight: Tensor
    """(C_out, kz, ky, kx, C_in)."""
    bias: Tensor | None = None
    """(C_out,)."""


@dataclass(frozen=True)
class Epilogue(Generic[P]):
    """What follows a convolution in the same pass: a max pool, then a leaky ReLU, which never falls."""

    slope: float = 1.0
    """Of the leaky ReLU, at least 0: 0 is ReLU, 1 none."""
    pool: P | None = None
    """The plan of the max pool, from the sites that the convolution writes."""


NOTHING: Epilogue[Any] = Epilogue()
"""No epilogue."""


class Fused(NamedTuple):
    """What :meth:`Engine.fused_convolution` gives."""

    values: Tensor
    """(P, C_out)."""
    rows: Tensor | None
    """(P, C_out) int32: the convolution's row behind each maximum, -1 for its background. None without a pool."""
    background: Tensor | None
    """(C_out,), or None where the input has none."""


class Gradients(NamedTuple):
    """Of a convolution."""

    features: Tensor
    """(N, C_in)."""
    weight: Tensor
    """(C_out, kz, ky, kx, C_in)."""
    bias: Tensor
    """(C_out,)."""
    background: Tensor | None
    """(C_in,), or None where the input has none."""


class Engine(ABC, Generic[P]):
    """Executes the operators.

    All tensors lie on one device; indices are (N, 4) int32 [b, z, y, x], contiguous, unique. Rows may come in any
    order; new site sets are made in raster order. N may be 0 everywhere.
    """

    name: ClassVar[str]
    follows_autocast: ClassVar[bool] = True
    """Whether convolutions get their inputs in autocast's type, as torch's own do; else the engine decides itself."""

    def lacks(self, device_type: str) -> str:
        """Why it does not compute on this kind of device as it is installed here, with the cure; "" where it does.

        Asked only of kinds that its :class:`~napari_sparse3d.catalog.EngineInfo` names.
        """
        return ""

    @abstractmethod
    def check_sites(self, sites: Sites) -> None:
        """Raise ``InputError`` if a site lies outside the grid or the batch, or occurs twice."""

    @abstractmethod
    def output_sites(self, sites: Sites, geometry: Geometry) -> Sites:
        """Every output site with an active input in its window, in raster order, on the geometry's output grid."""

    @abstractmethod
    def plan(self, sites: Sites, out: Sites, geometry: Geometry) -> P:
        """The plan from one site set to another; the two may be the same (submanifold)."""

    @abstractmethod
    def convolution(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: P
    ) -> Tensor:
        """(N, C_in), (C_out, kz, ky, kx, C_in), (C_out,), (C_in,) -> (M, C_out): sum over the window, plus bias."""

    @abstractmethod
    def convolution_backward(
        self, grad: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, plan: P, *,
        of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        """Gradients of :meth:`convolution`, from ``grad`` (M, C_out).

        Without ``of_features`` nothing asks for those of the input: features may be an empty tensor, background zeros.
        """

    @abstractmethod
    def fused_convolution(
        self, inputs: Rows, filters: Filters, plan: P, then: Epilogue[P] = NOTHING, *, for_backward: bool = True
    ) -> Fused:
        """:meth:`convolution` and what follows it; of the background as well.

        Not ``for_backward``, nobody needs the rows that the maxima came from.
        """

    @abstractmethod
    def fused_convolution_backward(
        self, grad: Rows, forward: Fused, inputs: Rows, weight: Tensor, plan: P, then: Epilogue[P] = NOTHING, *,
        of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        """Gradients of :meth:`fused_convolution`, from those of the values (P, C_out) and of the background.

        ``made``: what the forward pass gave; values and background are looked at where there is an activation.
        """

    @abstractmethod
    def max_pool(self, features: Tensor, background: Tensor | None, plan: P) -> tuple[Tensor, Tensor]:
        """(N, C) -> values (M, C) and the input row each came from (M, C) int32, -1 for the background.

        Of equal values the first offset in raster order wins. With background None only active inputs count.
        """

    @abstractmethod
    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: P) -> tuple[Tensor, Tensor]:
        """Gradients with respect to features (N, C) and background (C,)."""

    @abstractmethod
    def avg_pool(self, features: Tensor, background: Tensor | None, plan: P) -> Tensor:
        """(N, C) -> (M, C): mean over the whole window, or over its active inputs where background is None."""

    @abstractmethod
    def avg_pool_backward(self, grad: Tensor, plan: P, *, over_active: bool) -> tuple[Tensor, Tensor]:
        """Gradients for features (N, C) and background (C,); ``over_active`` where the background was None."""


# -- layers one after the other in one call ---------------------------------------------------------


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


class FusedChain(NamedTuple):
    """What :meth:`RunsChains.run_chain_for_backward` gives."""

    values: Tensor
    """(M, C_out) of the last layer."""
    background: Tensor | None
    """(C_out,) of the last layer, or None where the input has none."""
    between: Tensor
    """What the engine needs of the layers before, as it likes."""


class RunsChains(ABC, Generic[C]):
    """An engine that runs layers one after the other in one call."""

    name: ClassVar[str]

    @abstractmethod
    def plan_chain(self, sites: Sites, places: Sequence[Place]) -> tuple[Sites | None, C]:
        """The last layer's sites, None where they are ``sites`` themselves, and the plan of all layers."""

    @abstractmethod
    def run_chain(self, inputs: Rows, layers: Sequence[Layer], plan: C) -> Rows:
        """:meth:`Engine.fused_convolution` of each layer, for inference: the last one's values and background."""

    @abstractmethod
    def run_chain_for_backward(self, inputs: Rows, layers: Sequence[Layer], plan: C) -> FusedChain:
        """The same for training."""

    @abstractmethod
    def run_chain_backward(
        self, grad: Rows, forward: FusedChain, inputs: Rows, layers: Sequence[Layer], plan: C, needed: Sequence[bool]
    ) -> list[Tensor | None]:
        """Gradients for features, background, and each layer's weight and bias, in this order.

        From those of the last layer's values (M, C_out) and background. None where it is not ``needed``, or what it
        would be the gradient of is None.
        """


# -- a whole network in one call --------------------------------------------------------------------


class Step(NamedTuple):
    """Makes the next value of a network, for inference, from values before it; value 0 is the network's input."""

    kind: str
    """``convolution``, ``max_pool``, ``avg_pool``, ``scale`` (batch normalisation by running statistics), ``sum``."""
    input: int
    channels: tuple[int, int]
    """C_in and C_out."""
    window: Geometry | None = None
    at: int = -1
    """The value at whose sites a convolution writes; -1: every site that its window makes."""
    pool: Geometry | None = None
    """Of a max pool after a convolution."""
    other: int = -1
    """The value at the same sites that a scale or sum adds; -1: none."""
    slope: float = 1.0
    """Of the leaky ReLU after a convolution or scale, at least 0; 0 is ReLU, 1 none."""
    eps: float = 0.0
    """Of a scale, added to the variance."""


@dataclass(frozen=True)
class Program:
    """What a network does: its steps, the last of which makes the result."""

    steps: tuple[Step, ...]
    dtype: torch.dtype
    """Of features and weights."""
    out_shape: Triple
    same_sites: bool
    """Whether the result stands at the sites of the input."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # looked up at every pass
        return hash((self.steps, self.dtype, self.out_shape, self.same_sites))


N = TypeVar("N")
"""The engine's own object for the weights of a network."""


class RunsNetworks(ABC, Generic[C, N]):
    """An engine that runs a whole network in one call, for inference."""

    name: ClassVar[str]

    @abstractmethod
    def plan_network(self, sites: Sites, program: Program) -> tuple[Sites | None, C]:
        """The result's sites, None where they are ``sites`` themselves, and the plan of all steps."""

    @abstractmethod
    def freeze_network(self, program: Program, tensors: Sequence[Sequence[Tensor | None]]) -> N:
        """The weights, copied: what is done with the tensors later is not seen.

        ``tensors``: for each step those of a convolution (weight, bias), of a scale (mean, variance, weight, bias).
        """

    @abstractmethod
    def run_network(self, inputs: Rows, program: Program, frozen: N, plan: C) -> tuple[Rows, float]:
        """The result, and a bound of all magnitudes on the way: infinite where none is known."""

    @abstractmethod
    def content_of(self, tensors: Sequence[Tensor]) -> Hashable:
        """Another value where a tensor was written to, by whatever way; tensors are contiguous, on the CPU."""


# -- batch normalisation with what may follow it, in one pass ---------------------------------------


class Normalized(NamedTuple):
    """What :meth:`Normalizes.batch_norm` gives."""

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


class Normalizes(ABC):
    """An engine that has batch normalisation, a residual connection and an activation in one pass."""

    @abstractmethod
    def scale_rows(
        self, features: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, *, slope: float = 1.0
    ) -> Tensor:
        """(N, C) -> (N, C): features * scale + shift (C,), plus ``other`` (N, C), and a leaky ReLU of this slope."""

    @abstractmethod
    def batch_norm(
        self, features: Tensor, weight: Tensor | None, bias: Tensor | None, other: Tensor | None, *,
        eps: float, slope: float = 1.0,
    ) -> Normalized:  # fmt: skip
        """:meth:`scale_rows` to the mean 0 and variance 1 of each channel (N > 0), then to weight and bias (C,)."""

    @abstractmethod
    def batch_norm_backward(
        self, grad: Tensor, forward: Normalized, features: Tensor, weight: Tensor | None, *,
        eps: float, slope: float = 1.0, of_other: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
        """Gradients for features, weight, bias and, if asked for, ``other``; the values count where a slope is."""
