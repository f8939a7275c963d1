"""A number for what stands in an array of indices, by which it is seen that somebody filled it anew."""

from __future__ import annotations

from functools import cache

import napari_sparse3d._kernels as _kernels
from napari_sparse3d.voxels.instruction_set import instruction_set


def fingerprint(address: int, rows: int) -> int:
    """Of indices (rows, 4) int32, contiguous, from this address on: another number where they were filled anew.

    One pass at the speed of memory. No single change leaves the number as it was; of many at once, about one in 2^32.
    """
    _check_once()
    return _kernels.fingerprint(indices=address, rows=rows)


@cache
def _check_once() -> None:
    instruction_set()  # says in one line why there is none; this is asked for in every layer
