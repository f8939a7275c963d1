"""Connected parts of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.voxels.recipe import Components


def keep_largest(mask: NDArray[np.bool_], which: Components) -> NDArray[np.bool_]:
    """Keep the largest connected parts of a mask.

    Parameters
    ----------
    mask : ndarray
        (Z, Y, X) bool.
    which : Components
        How many parts, and what counts as connected. Of equal parts the first in raster order goes first.

    Returns
    -------
    ndarray
        (Z, Y, X) bool.
    """
    if which.keep == "all":
        return mask
    import cc3d

    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=which.connectivity)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    _, first_voxel = np.unique(labels, return_index=True)
    order = np.lexsort((first_voxel, -sizes))  # by size, then by place
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[: which.keep]] = True
    chosen &= sizes > 0
    return chosen[labels]
