"""The engine for CUDA: spconv multiplies, everything else is torch on the same device.

spconv's own way to build indices cannot express every geometry of this package, and its layers have no background.
So the rulebook comes from :mod:`rulebook`, the background and the pools are torch, and spconv gets the one thing it
is best at: gather, multiply, scatter. What a CUDA card alone can run is :class:`_ImplicitGemm`; all else here runs, and
is tested, on CPU tensors with the same package. On these spconv runs with one thread (with more it was seen to race).

spconv multiplies float32 and float16 (on the CPU float64 too). Any other type, and everything where
``torch.use_deterministic_algorithms`` is on, is multiplied by torch, offset by offset.

References
----------
Yan, Mao, Li. SECOND: Sparsely Embedded Convolutional Detection. Sensors 18(10), 2018; https://github.com/traveller59/spconv
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.engine.rulebook import Rulebook, check_sites, output_sites, rulebook
from napari_sparse3d.errors import EngineError
from napari_sparse3d.sparse.arrays import channels_of, check_convolution, check_pool, check_sizes
from napari_sparse3d.sparse.engine import Engine
from napari_sparse3d.sparse.window import Geometry, Triple

_ON_CPU = {torch.float16, torch.float32, torch.float64}
_ON_CUDA = {torch.float16, torch.float32}
_MASK_BITS = 32


@dataclass(frozen=True)
class SpconvPlan:
    """The rulebook, and what spconv wants it as; each form is made when it is first needed."""

    rules: Rulebook
    kernel: Triple
    reduced_masks: dict[torch.dtype, tuple[Tensor, int]] = field(default_factory=dict)
    """What spconv's forward pass leaves for the gradient of the weight, by the type that was multiplied."""

    @cached_property
    def pair_lists(self) -> tuple[Tensor, Tensor]:
        """(2, K, P) int32 input and output rows, filled with -1, and (K,) int32 how many there are."""
        sizes = [len(rows) for rows, _ in self.rules.pairs]
        lists = self.rules.table.new_full((2, self.rules.volume, max(sizes)), -1)
        for offset, (rows_in, rows_out) in enumerate(self.rules.pairs):
            lists[0, offset, : sizes[offset]] = rows_in
            lists[1, offset, : sizes[offset]] = rows_out
        return lists, torch.tensor(sizes, dtype=torch.int32)

    @cached_property
    def forward_masks(self) -> tuple[Tensor, Tensor]:
        """For each output row, see :func:`masks_of`."""
        return masks_of(self.rules.table)

    @cached_property
    def backward_masks(self) -> tuple[Tensor, Tensor]:
        """For each input row, see :func:`masks_of`."""
        return masks_of(self.rules.reversed_table)


def masks_of(table: Tensor) -> tuple[Tensor, Tensor]:
    """(K, M) rows or -1 -> (M, 1) int32 one bit an offset, and (M,) int32 the rows with like masks side by side."""
    bits = torch.zeros(table.shape[1], dtype=torch.int64, device=table.device)
    for offset, rows in enumerate(table):
        bits |= (rows >= 0).long() << offset
    # the same 32 bits, as torch's signed type: spconv reads them unsigned
    signed = torch.where(bits >= 2**31, bits - 2**32, bits).int()
    return signed[:, None].contiguous(), signed.argsort().int()


class SpconvEngine(Engine):
    """spconv on CUDA tensors; on CPU tensors the same, slowly, with a backward pass by torch (spconv has none there).

    Raises
    ------
    EngineError
        If spconv cannot be imported; the message names the line that installs it.
    """

    name: ClassVar[str] = "spconv"

    def __init__(self) -> None:
        self._ops = _import_spconv()
        self._has_cuda = self._ops.CONV_CPP is not None

    def lacks(self, device_type: str) -> str:
        """See :class:`Engine`."""
        if device_type == "cpu" or self._has_cuda:
            return ""
        return f"spconv here is its CPU build; pip uninstall --yes spconv && {ENGINES['spconv'].install}"

    def check_sites(self, indices: Tensor, batch_size: int, shape: Triple) -> None:
        """See :class:`Engine`."""
        check_sites(indices, batch_size, shape)

    def output_sites(self, indices: Tensor, geometry: Geometry) -> Tensor:
        """See :class:`Engine`."""
        return output_sites(indices, geometry)

    def plan(self, in_indices: Tensor, out_indices: Tensor, geometry: Geometry) -> SpconvPlan:
        """See :class:`Engine`."""
        return SpconvPlan(rulebook(in_indices, out_indices, geometry), geometry.window.kernel)

    def convolution(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: SpconvPlan
    ) -> Tensor:
        """See :class:`Engine`."""
        check_convolution(features, weight, bias, background, plan.rules.inputs, plan.kernel)
        if plan.rules.outputs == 0 or plan.rules.inputs == 0:
            made = features.new_zeros(plan.rules.outputs, weight.shape[0])
        else:
            made = self._products(features.contiguous(), weight.contiguous(), plan)
        if background is not None:
            # each missing input adds what its offset's weights make of the background
            of_offset = (weight.flatten(1, 3) @ background).T
            made = torch.addmm(made, plan.rules.missing.T.to(made.dtype), of_offset)
        return made if bias is None else made + bias

    def convolution_backward(
        self,
        grad: Tensor,
        features: Tensor,
        weight: Tensor,
        background: Tensor | None,
        plan: SpconvPlan,
        *,
        of_features: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """See :class:`Engine`."""
        check_convolution(features, weight, None, background, plan.rules.inputs, plan.kernel)
        check_sizes([("grad", grad, (plan.rules.outputs, weight.shape[0]))])
        if plan.rules.outputs == 0 or plan.rules.inputs == 0:
            features_grad, of_weight = torch.zeros_like(features), torch.zeros_like(weight)
        else:
            features_grad, of_weight = self._products_backward(
                grad.contiguous(), features.contiguous(), weight.contiguous(), plan
            )
        if background is None:
            return features_grad, of_weight, grad.sum(0), None
        of_missing = plan.rules.missing.to(grad.dtype) @ grad  # (K, C_out)
        of_weight = of_weight + (of_missing.T[:, :, None] * background).view_as(weight)
        of_background = torch.einsum("ko,oki->i", of_missing, weight.flatten(1, 3))
        return features_grad, of_weight, grad.sum(0), of_background

    def max_pool(self, features: Tensor, background: Tensor | None, plan: SpconvPlan) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        check_pool(features, background, plan.rules.inputs)
        lowest = features.new_full((features.shape[1],), -torch.inf) if background is None else background
        stored = torch.cat([features, lowest[None]])
        size = (plan.rules.outputs, features.shape[1])
        largest = features.new_full(size, -torch.inf)
        origin = plan.rules.table.new_full(size, -1)
        for rows in plan.rules.table:  # spconv's own pool starts from 0 on the CPU and spreads gradients over ties
            candidate = stored[rows]  # -1 is the last row: the background
            better = candidate > largest
            largest = torch.where(better, candidate, largest)
            origin = torch.where(better, rows[:, None], origin)
        return largest, origin

    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: SpconvPlan) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        shape = (plan.rules.outputs, channels_of(grad, "grad"))
        check_sizes([("grad", grad, shape), ("rows", rows, shape)])
        of_features = grad.new_zeros(plan.rules.inputs, grad.shape[1])
        for rows_in, rows_out in plan.rules.pairs:
            chosen = rows[rows_out] == rows_in[:, None]
            of_features.index_add_(0, rows_in, torch.where(chosen, grad[rows_out], 0))
        return of_features, torch.where(rows < 0, grad, 0).sum(0)

    def avg_pool(self, features: Tensor, background: Tensor | None, plan: SpconvPlan) -> Tensor:
        """See :class:`Engine`."""
        check_pool(features, background, plan.rules.inputs)
        absent = features.new_zeros(features.shape[1]) if background is None else background
        stored = torch.cat([features, absent[None]])
        total = features.new_zeros((plan.rules.outputs, features.shape[1]), dtype=wide(features.dtype))
        for rows in plan.rules.table:
            total += stored[rows]
        return (total / self._summands(plan, over_active=background is None)).to(features.dtype)

    def avg_pool_backward(self, grad: Tensor, plan: SpconvPlan, *, over_active: bool) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        check_sizes([("grad", grad, (plan.rules.outputs, channels_of(grad, "grad")))])
        share = grad.to(wide(grad.dtype)) / self._summands(plan, over_active=over_active)
        of_features = share.new_zeros(plan.rules.inputs, grad.shape[1])
        for rows_in, rows_out in plan.rules.pairs:
            of_features.index_add_(0, rows_in, share[rows_out])
        of_background = (plan.rules.missing.sum(0)[:, None] * share).sum(0)
        return of_features.to(grad.dtype), of_background.to(grad.dtype)

    def _summands(self, plan: SpconvPlan, *, over_active: bool) -> Tensor | int:
        return (plan.rules.table >= 0).sum(0).clamp(min=1)[:, None] if over_active else plan.rules.volume

    # -- products over active pairs: all that is left for spconv ---------------------------------------

    def _products(self, features: Tensor, weight: Tensor, plan: SpconvPlan) -> Tensor:
        """(M, C_out): the sum over active inputs alone."""
        if features.dtype not in (_ON_CUDA if features.is_cuda else _ON_CPU) or _by_torch(plan):
            return multiply(features, weight, plan.rules)
        if features.is_cuda:
            return _ImplicitGemm(self._ops, plan).forward(features, weight)
        lists, sizes = plan.pair_lists
        if lists.shape[2] == 0:
            return features.new_zeros(plan.rules.outputs, weight.shape[0])
        with _one_thread():
            made: Tensor = self._ops.indice_conv(features, weight, lists, sizes, plan.rules.outputs)
        return made

    def _products_backward(
        self, grad: Tensor, features: Tensor, weight: Tensor, plan: SpconvPlan
    ) -> tuple[Tensor, Tensor]:
        """Gradients for the features and the weight, of active inputs alone."""
        if features.is_cuda and features.dtype in _ON_CUDA and not _by_torch(plan):
            return _ImplicitGemm(self._ops, plan).backward(grad, features, weight)
        return multiply_backward(grad, features, weight, plan.rules)


def _by_torch(plan: SpconvPlan) -> bool:
    # a larger kernel needs several mask words, which spconv's layers do not use either
    return torch.are_deterministic_algorithms_enabled() or plan.rules.volume > _MASK_BITS


class _ImplicitGemm:
    """spconv's implicit GEMM: the only code of this engine that needs a CUDA card."""

    def __init__(self, ops: Any, plan: SpconvPlan) -> None:
        self.ops, self.plan = ops, plan

    def forward(self, features: Tensor, weight: Tensor) -> Tensor:
        masks, order = self.plan.forward_masks
        with torch.cuda.device(features.device):
            use_tf32(self.ops, torch_allows_tf32())
            made, reduced, width = self.ops.implicit_gemm(
                features, weight, self.plan.rules.table, [masks], [order], self.plan.rules.outputs, _ALL_OFFSETS,
                is_train=True, is_subm=False,
            )  # fmt: skip
        self.plan.reduced_masks[features.dtype] = reduced, width
        result: Tensor = made
        return result

    def backward(self, grad: Tensor, features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        rules, (masks, order) = self.plan.rules, self.plan.forward_masks
        back_masks, back_order = self.plan.backward_masks
        if features.dtype not in self.plan.reduced_masks:  # the plan was made anew since the forward pass
            self.forward(features, weight)
        reduced, width = self.plan.reduced_masks[features.dtype]
        with torch.cuda.device(features.device):
            use_tf32(self.ops, torch_allows_tf32())
            of_features, of_weight = self.ops.implicit_gemm_backward(
                features, weight, grad, rules.table, rules.reversed_table, [masks], [back_masks], [order], [back_order],
                mask_output_fwd=reduced, masks=_ALL_OFFSETS, mask_width=width, is_subm=False,
            )  # fmt: skip
        return of_features, of_weight


_ALL_OFFSETS = [np.array([0xFFFFFFFF], dtype=np.uint32)]


def multiply(features: Tensor, weight: Tensor, rules: Rulebook) -> Tensor:
    """Sum over active inputs by torch, (N, C_in) -> (M, C_out): any floating-point type, the same bits at each run.

    Half types are summed in float32.
    """
    total = features.new_zeros((rules.outputs, weight.shape[0]), dtype=wide(features.dtype))
    for (rows_in, rows_out), of_offset in zip(rules.pairs, weight.flatten(1, 3).unbind(1), strict=True):
        total.index_add_(0, rows_out, (features[rows_in] @ of_offset.T).to(total.dtype))
    return total.to(features.dtype)


def multiply_backward(grad: Tensor, features: Tensor, weight: Tensor, rules: Rulebook) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`multiply` for the features and the weight."""
    of_features = torch.zeros_like(features, dtype=wide(features.dtype))
    of_weight = []
    for (rows_in, rows_out), of_offset in zip(rules.pairs, weight.flatten(1, 3).unbind(1), strict=True):
        pulled = grad[rows_out]
        of_features.index_add_(0, rows_in, (pulled @ of_offset).to(of_features.dtype))
        of_weight.append(pulled.T @ features[rows_in])
    return of_features.to(features.dtype), torch.stack(of_weight, 1).view_as(weight)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums are kept: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def torch_allows_tf32() -> bool:
    """Whether torch multiplies float32 matrices in TF32 on CUDA."""
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)  # torch before 2.9


def use_tf32(ops: Any, allowed: bool) -> None:
    """Make spconv multiply float32 in TF32, or not.

    spconv keeps the fastest kernel that it measured for some channels, whatever the setting was then: so each setting
    gets a tuner of its own.
    """
    if allowed not in _tuners:
        _tuners[allowed] = _new_tuner()
    ops.constants.SPCONV_ALLOW_TF32 = allowed
    ops.CONV_CPP = _tuners[allowed]


_tuners: dict[bool, Any] = {}


def _new_tuner() -> Any:
    from spconv import algo

    return algo.ConvTunerSimple([algo.algocore.get_conv_algo_desp_from_param(p) for p in algo.ALL_IMPGEMM_PARAMS])


_alone = Lock()  # the number of threads is the process's: two that lower it at once would leave it lowered


@contextmanager
def _one_thread() -> Iterator[None]:
    with _alone:
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(before)


def _import_spconv() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.cuda.amp, which spconv still uses
            from spconv.pytorch import ops
    except (ImportError, OSError) as error:
        raise EngineError(f"spconv cannot be imported ({error}); {ENGINES['spconv'].install}") from error
    return ops
