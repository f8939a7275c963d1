"""The repair of a tilted or unevenly spaced stack: linear resampling onto a true grid, on request only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.stack import Stack


def resampled_stack(stack: Stack, frames: Iterable[int]) -> tuple[NDArray[Any], NDArray[np.float64], str]:
    """Placeholder until the repair lands."""
    raise NotImplementedError
