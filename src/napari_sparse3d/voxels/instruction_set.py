"""The instruction set that the C++ kernels use, or one line that says why there is none."""

from __future__ import annotations

import napari_sparse3d._kernels as _kernels
from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import EngineError


def instruction_set() -> str:
    """The kernels' choice for this processor, or that of ``NAPARI_SPARSE3D_ISA``.

    Whoever calls a kernel asks for it first: the kernels themselves only know a ``ValueError``.

    Raises
    ------
    InputError
        If one of our environment variables cannot be used.
    EngineError
        If ``NAPARI_SPARSE3D_ISA`` asks for an instruction set that this processor or this build lacks.
    """
    check_environment()
    try:
        chosen: str = _kernels.instruction_set()
    except ValueError as error:
        raise EngineError(str(error)) from error
    return chosen
