"""Another grid over the same physical box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.recipe import NoResampling, Resample, ToLongestSide

Triple = tuple[int, int, int]

MAX_VOXELS = 2**31
"""A grid above this is a mistyped spacing, not a wish."""


def resample(volume: Volume, how: Resample) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Resample linearly.

    The new grid begins at the same corner of the physical box and has exactly the spacing asked for; its sizes are
    rounded (at least 1). On each axis the centre of new voxel ``i`` lies at ``(i + 1/2) * new_mm``, measured from the
    corner, as the centre of old voxel ``j`` lies at ``(j + 1/2) * old_mm``. Beyond the outermost old centres the
    nearest value holds.

    Parameters
    ----------
    volume : Volume
        ``data`` (Z, Y, X), finite.
    how : NoResampling, ToSpacing or ToLongestSide

    Returns
    -------
    data : ndarray
        (Z', Y', X') float32, or the volume's own array where the grid stays as it is.
    affine : ndarray
        (4, 4) float64 of the new grid.

    Raises
    ------
    InputError
        If the new grid would have more than 2^31 voxels.
    """
    if isinstance(how, NoResampling):
        return volume.data, volume.affine
    old_mm = np.array(volume.spacing_mm)
    extent_mm = old_mm * volume.shape
    new_mm = np.full(3, extent_mm.max() / how.voxels) if isinstance(how, ToLongestSide) else np.array(how.spacing_mm)
    sizes = np.maximum(np.round(extent_mm / new_mm), 1)
    if sizes.prod() > MAX_VOXELS:
        raise InputError(
            f"voxels of {_mm(new_mm)} over a box of {_mm(extent_mm)} would make a grid of "
            f"{' x '.join(f'{n:.0f}' for n in sizes)}; choose a larger spacing"
        )
    z, y, x = sizes.astype(int).tolist()
    ratio = new_mm / old_mm
    corner = ratio / 2 - 0.5  # the centre of new voxel 0, in old voxels

    affine = volume.affine.copy()
    affine[:3, :3] *= ratio
    affine[:3, 3] += volume.affine[:3, :3] @ corner
    return _linear(volume.data, (z, y, x), ratio, corner), affine


def _linear(
    data: NDArray[np.generic], shape: Triple, ratio: NDArray[np.float64], corner: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Sample ``data`` at old index ``corner + i * ratio`` for every new index i of ``shape``."""
    import SimpleITK as sitk  # a quarter of a second: only who resamples pays for it

    # In old voxels as unit of length: oblique and sheared axes stay straight in index space. ITK's order is x, y, z.
    image = sitk.GetImageFromArray(np.ascontiguousarray(data, dtype=np.float32))
    resampled: NDArray[np.float32] = sitk.GetArrayFromImage(
        sitk.Resample(
            image,
            size=shape[::-1],  # type: ignore[arg-type]  # its stub says one int
            interpolator=sitk.sitkLinear,
            outputOrigin=corner[::-1].tolist(),
            outputSpacing=ratio[::-1].tolist(),
            outputPixelType=sitk.sitkFloat32,
            # rounding may put the last centre outside the old box by part of a voxel
            useNearestNeighborExtrapolator=True,
        )
    )
    return resampled


def _mm(lengths: NDArray[np.float64]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"
