"""What was made from a bare tensor of indices, kept for as long as the tensor lives.

Sparse tensors hold their :class:`~napari_sparse3d.sparse.sites.Sites`. A bare tensor (a user's, or one that torch hands
to an operator) finds by this table what was made from it before. Not on the tensor itself: it would be copied, pickled
and sent to other processes with it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from threading import RLock
from typing import Any
from weakref import ref

from torch import Tensor

from napari_sparse3d.voxels.fingerprint import fingerprint

_MEMOS: dict[int, tuple[ref[Tensor], dict[Any, Any]]] = {}
_CHANGE = RLock()  # for what is more than one step; a tensor may go, and be dropped, in the middle of any of them


def memo_of(tensor: Tensor) -> dict[Any, Any]:
    """The place for what is made from this tensor: the same dictionary each time, dropped with the tensor."""
    number = id(tensor)
    held = _MEMOS.get(number)
    if held is not None and held[0]() is tensor:
        return held[1]
    with _CHANGE:
        held = _MEMOS.get(number)  # another thread may have been here
        if held is not None and held[0]() is tensor:
            return held[1]
        memo: dict[Any, Any] = {}
        _MEMOS[number] = ref(tensor, partial(_drop, _MEMOS, _CHANGE, number)), memo
        return memo


def version(indices: Tensor) -> tuple[int, int]:
    """Changes when indices (N, 4) int32 are written to: what was made from them before is then out of date.

    torch counts the writes that go through it. Those that it does not see (through numpy or ``.data``, and in inference
    mode, where nothing is counted) change the fingerprint of what stands there; on other devices than the processor,
    where neither numpy nor the kernels reach, the count is all there is.
    """
    count = 0 if indices.is_inference() else indices._version
    if not indices.is_cpu:
        return count, 0
    ready = indices.contiguous()
    address = ready.data_ptr()
    # memory that was given back is for the engine to refuse
    return count, fingerprint(address, ready.shape[0]) if address else 0


# (dictionary and lock are arguments, as at the interpreter's end a tensor may outlive this module's names)
def _drop(
    places: dict[int, tuple[ref[Tensor], dict[Any, Any]]], change: AbstractContextManager[Any], number: int,
    gone: ref[Tensor],
) -> None:  # fmt: skip
    with change:
        held = places.get(number)
        if held is not None and held[0] is gone:  # else another tensor has taken over this number
            del places[number]
