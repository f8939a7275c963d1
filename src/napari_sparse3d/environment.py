"""Our environment variables: what they may be, said in one line where they are something else."""

from __future__ import annotations

import math
import os
from pathlib import Path

from napari_sparse3d.errors import InputError


def folder_named_by(variable: str, default: Path) -> Path:
    """The folder that an environment variable names, or ``default`` where it is not set.

    Raises
    ------
    InputError
        If it names something that is no folder.
    """
    named = os.environ.get(variable)
    if named is None:
        return default
    folder = Path(named).expanduser()
    if not named.strip() or "\n" in named or (folder.exists() and not folder.is_dir()):
        what = "nothing" if not named.strip() else "what is no folder"
        raise InputError(f"{variable} names {what}; set it to a folder, or unset it")
    return folder


_INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "avx512_bf16", "neon")


def check_environment() -> None:
    """See that our environment variables, where they are set, have values that can be used.

    Raises
    ------
    InputError
        Naming the variable and what it may be.
    """
    for variable in ("NAPARI_SPARSE3D_RUNS", "NAPARI_SPARSE3D_CACHE", "NAPARI_SPARSE3D_HOME"):
        folder_named_by(variable, Path())
    isa = os.environ.get("NAPARI_SPARSE3D_ISA", "")
    if isa and isa not in _INSTRUCTION_SETS:
        known = ", ".join(_INSTRUCTION_SETS)
        raise InputError(f"NAPARI_SPARSE3D_ISA is {isa!r}; set it to one of {known}, or unset it")
    pairs = os.environ.get("SPARSE3D_WINOGRAD_PAIRS")
    if pairs is not None and not _is_positive(pairs):
        raise InputError(f"SPARSE3D_WINOGRAD_PAIRS is {pairs!r}; set it to a number above 0, or unset it")


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
