"""The engine for CUDA: spconv multiplies, everything else is torch on the same device.

spconv's own way to build indices cannot express every geometry of this package, and its layers have no background; its
max pool starts from 0 on the CPU and spreads gradients over ties. So it is an engine by the rulebook, and spconv gets
the one thing it is best at: gather, multiply, scatter. What a CUDA card alone can run is :class:`_ImplicitGemm`; all
else here runs, and is tested, on CPU tensors with the same package. On these spconv runs with one thread (with more it
was seen to race).

spconv multiplies float32 and float16 (on the CPU float64 too). Any other type, and everything where
``torch.use_deterministic_algorithms`` is on, is multiplied by torch, offset by offset.

References
----------
Yan, Mao, Li. SECOND: Sparsely Embedded Convolutional Detection. Sensors 18(10), 2018; https://github.com/traveller59/spconv
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.engine.rulebook import Rulebook
from napari_sparse3d.engine.rulebook_engine import RulebookEngine, RulebookPlan
from napari_sparse3d.engine.spconv_process import import_spconv, one_thread, torch_allows_tf32, use_tf32
from napari_sparse3d.sparse.window import Triple

_ON_CPU = {torch.float16, torch.float32, torch.float64}
_ON_CUDA = {torch.float16, torch.float32}
_MASK_BITS = 32
_ALL_OFFSETS = [np.array([0xFFFFFFFF], dtype=np.uint32)]


@dataclass(frozen=True)
class SpconvPlan(RulebookPlan):
    """The rulebook, and what spconv wants it as; each form is made when it is first needed."""

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


class SpconvEngine(RulebookEngine[SpconvPlan]):
    """spconv on CUDA tensors; on CPU tensors the same, slowly, with a backward pass by torch (spconv has none there).

    Raises
    ------
    EngineError
        If spconv cannot be imported; the message names the line that installs it.
    """

    name: ClassVar[str] = "spconv"

    def __init__(self) -> None:
        self._ops = import_spconv()
        self._has_cuda = self._ops.CONV_CPP is not None

    def lacks(self, device_type: str) -> str:
        """See :class:`Engine`."""
        if device_type == "cpu" or self._has_cuda:
            return ""
        return f"spconv here is its CPU build; pip uninstall --yes spconv && {ENGINES['spconv'].install}"

    def planned(self, rules: Rulebook, kernel: Triple) -> SpconvPlan:
        """See :class:`RulebookEngine`."""
        return SpconvPlan(rules, kernel)

    def products(self, features: Tensor, weight: Tensor, plan: SpconvPlan) -> Tensor:
        """See :class:`RulebookEngine`."""
        if features.dtype not in (_ON_CUDA if features.is_cuda else _ON_CPU) or _by_torch(plan):
            return super().products(features, weight, plan)
        if features.is_cuda:
            return _ImplicitGemm(self._ops, plan).forward(features, weight)
        lists, sizes = plan.pair_lists
        if lists.shape[2] == 0:
            return features.new_zeros(plan.outputs, weight.shape[0])
        with one_thread():
            output: Tensor = self._ops.indice_conv(features, weight, lists, sizes, plan.outputs)
        return output

    def products_backward(
        self, grad: Tensor, features: Tensor, weight: Tensor, plan: SpconvPlan
    ) -> tuple[Tensor, Tensor]:
        """See :class:`RulebookEngine`."""
        if features.is_cuda and features.dtype in _ON_CUDA and not _by_torch(plan):
            return _ImplicitGemm(self._ops, plan).backward(grad, features, weight)
        return super().products_backward(grad, features, weight, plan)


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
            output, reduced, width = self.ops.implicit_gemm(
                features, weight, self.plan.rules.table, [masks], [order], self.plan.rules.outputs, _ALL_OFFSETS,
                is_train=True, is_subm=False,
            )  # fmt: skip
        self.plan.reduced_masks[features.dtype] = reduced, width
        result: Tensor = output
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
