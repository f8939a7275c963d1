"""Which regions a class needs: each is emptied in turn, and the logit is watched. With captum, where it is installed.

Gradients say what a small change would do; this says what the network answers without a region. Those of
``gradients`` and ``activation_map`` stay our own: captum's integrated gradients give the same numbers, and its
Grad-CAM wants dense grids.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.attribution import Attribution, at_input, baseline, check_one_volume
from napari_sparse3d.sparse import SparseTensor

REGIONS_A_SIDE = 4
"""The box around the active voxels is parted into so many cubes along its longest side."""


def regions_left_out(network: nn.Module, x: SparseTensor, target: int) -> Attribution:
    """How much the logit of a class falls when a region holds the background instead.

    Parameters
    ----------
    network, x, target
        As in :func:`napari_sparse3d.explain.gradients.gradient_times_input`.

    Returns
    -------
    Attribution
        At the input's voxels; each has the value of its region.

    Raises
    ------
    InputError
        If captum is not installed, or nothing is active.

    References
    ----------
    Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014, section 4.2. Kokhlikyan et al.
    Captum. 2020.
    """
    try:
        from captum.attr import FeatureAblation
    except ImportError:
        raise InputError("leaving regions out needs captum: pip install captum, or choose another method") from None
    check_one_volume(x)
    region_of, count = _regions(x.indices)
    base = baseline(x)

    def logits(present: Tensor) -> Tensor:
        weights = present[0, region_of][:, None]
        answer: Tensor = network(x.with_features(base + weights * (x.features - base), x.background))
        return answer

    with torch.no_grad():
        everything = torch.ones((1, count), dtype=x.features.dtype, device=x.features.device)
        found = FeatureAblation(logits).attribute(everything, target=target)
    return at_input(x, found[0, region_of])


def _regions(indices: Tensor) -> tuple[Tensor, int]:
    """(N,) the number of each voxel's region, and how many regions there are: only those that hold a voxel."""
    places = indices[:, 1:].long()
    first = places.min(0).values
    side = max(1, -(-int((places.max(0).values - first + 1).max()) // REGIONS_A_SIDE))
    cubes = (places - first) // side
    key = (cubes[:, 0] * REGIONS_A_SIDE + cubes[:, 1]) * REGIONS_A_SIDE + cubes[:, 2]
    kept, region_of = torch.unique(key, return_inverse=True)
    return region_of, len(kept)
