"""What spconv keeps for a whole process: how it is imported, TF32, threads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch

from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.errors import EngineError


def import_spconv() -> Any:
    """spconv's operators; ``EngineError`` with the line that installs it if they cannot be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch.cuda.amp, which spconv still uses
            from spconv.pytorch import ops
    except (ImportError, OSError) as error:
        raise EngineError(f"spconv cannot be imported ({error}); {ENGINES['spconv'].install}") from error
    return ops


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
def one_thread() -> Iterator[None]:
    """Torch runs on one thread in the ``with`` block."""
    with _alone:
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(before)
