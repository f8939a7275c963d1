"""Which voxels of a CT lie in the patient's body, and not in the couch, a head holder or a blanket.

Thresholding, opening, connected parts and filling, as CT segmentation pipelines do it, on a grid of about 2 mm:

1. *Dense* is what is above ``above_hu`` (-300: between fat and the foam of a mattress).
2. What is left when ``thinner_than_mm / 2`` are taken off everywhere are the *cores*. The largest is the trunk. Of the
   others those belong to the body that are tissue and lie beside it: arms, legs. A couch lies below (or above, prone).
3. The couch is what is thin (no core, grown back by what was taken off, reaches it), runs along the scan and lies at
   the height of the trunk's underside or upper side; and every other core. Other thin things that touch the body are
   its own: the nose, fingers, the wall of a sinus. Where the couch touches the body, its cross-section is carried on
   below it.
4. Holes are filled, axial slice by slice: lungs and bowel are the body's.

The border is right to one voxel of that grid; there the couch's side goes to the couch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.image_data import padding_of
from napari_sparse3d.voxels.recipe import Body

Mask = NDArray[np.bool_]

GRID_MM = 2.0
"""The couch is looked for on every n-th voxel, so that they lie about this far apart."""
_LEAST_PART_ML = 20.0
"""A core below this is no arm."""
_LEAST_TISSUE_HU = -150.0
"""Half of an arm is denser."""
_BESIDE = 0.1
"""An arm's middle lies further than this share of the trunk's height from its underside and upper side."""
_BELOW = 0.25
"""A couch's middle lies less far in it than this share, or beyond."""
_ALONG = 0.75
"""A couch that touches the body runs along at least this share of the scan."""
_COUCH_MM = 100.0
"""So much of a couch's face must be seen."""
_ROUNDS = 20
"""Of fitting the couch's face to what is not below it."""


def body_of(volume: Volume, region: Body) -> Mask:
    """The body of a CT, on the scan's own grid.

    Parameters
    ----------
    volume : Volume
        In HU. The couch is looked for in front of and behind the patient, whichever of its axes that is.
    region : Body

    Returns
    -------
    ndarray
        (Z, Y, X) bool. Nothing, with a warning, where no part of the scan is dense and thick enough.

    Raises
    ------
    InputError
        If the volume is not in HU.
    """
    require_hu(volume.unit)
    order = np.abs(volume.affine[:3, :3] / volume.spacing_mm).argmax(axis=1).tolist()
    if order != [0, 1, 2] and sorted(order) == [0, 1, 2]:  # another order of axes than readers give
        turned = replace(volume, data=volume.data.transpose(order), affine=volume.affine[:, [*order, 3]])
        return body_of(turned, region).transpose(np.argsort(order))
    # a scan thinner than a step is seen on one slice
    steps = [min(max(1, round(GRID_MM / mm)), size) for mm, size in zip(volume.spacing_mm, volume.shape, strict=True)]
    spacing_mm = np.array(volume.spacing_mm) * steps
    values = volume.data[tuple(slice(step // 2, None, step) for step in steps)]
    least = max(region.above_hu, -math.inf if (padding := padding_of(volume)) is None else padding)
    dense = values > np.float64(least)
    body = _body(dense, values, spacing_mm, region.thinner_than_mm / 2)
    if not body.any():
        warnings.warn(
            f"no body is in the scan: nothing above {region.above_hu:g} HU is thicker than "
            f"{region.thinner_than_mm:g} mm, so no voxel is active",
            stacklevel=2,
        )
        return np.zeros(volume.shape, dtype=bool)
    couch = dense & ~body
    body |= _grown(body) & ~_grown(couch)
    for axis, (step, size) in enumerate(zip(steps, volume.shape, strict=True)):
        body = body.take(np.minimum(np.arange(size) // step, body.shape[axis] - 1), axis)
    return body


def require_hu(unit: str) -> None:
    """Raise ``InputError`` where no body can be told from a couch by its density."""
    if unit != "HU":
        raise InputError(
            f"the body is told from the couch by HU, but the volume is in {unit}; take region out of the recipe "
            "(in MR the couch is not seen)"
        )


def in_body(indices: NDArray[np.int32], affine: NDArray[np.float64], body: Mask, volume: Volume) -> Mask:
    """(N,) bool: which voxels of a grid over the same box have their centre in a body.

    Parameters
    ----------
    indices : ndarray
        (N, 3) [z, y, x].
    affine : ndarray
        (4, 4) of their grid, along the same axes as the volume's.
    body : ndarray
        (Z, Y, X) bool, on the volume's own grid.
    volume : Volume
    """
    places: list[NDArray[Any]] = list(indices.T)
    if not np.array_equal(affine, volume.affine):
        to_scan = np.linalg.inv(volume.affine) @ affine
        for axis, size in enumerate(body.shape):
            centres = to_scan[axis, 3] + to_scan[axis, axis] * np.arange(int(places[axis].max(initial=0)) + 1)
            places[axis] = np.clip(np.rint(centres), 0, size - 1).astype(np.intp)[places[axis]]
    inside: Mask = body[tuple(places)]
    return inside


def _body(dense: Mask, values: NDArray[Any], spacing_mm: NDArray[np.float64], radius_mm: float) -> Mask:
    """Of the coarse grid: see the module."""
    import cc3d

    if not dense.any():
        return dense
    cores = cc3d.connected_components(_further_than(radius_mm, ~dense, spacing_mm), connectivity=6)
    sizes = np.bincount(cores.ravel())
    if len(sizes) == 1:
        return np.zeros_like(dense)
    sizes[0] = 0
    trunk = int(sizes.argmax())
    boxes = cc3d.statistics(cores)["bounding_boxes"]
    low, high = boxes[trunk][1].start, boxes[trunk][1].stop
    core = _numbered(cores, [trunk, *_beside(cores, sizes, boxes, (low, high), values, spacing_mm)])
    thick = dense & ~_further_than(radius_mm + float(spacing_mm.max()) / 2, core, spacing_mm)
    thin = cc3d.connected_components(dense & ~thick, connectivity=26)
    below, above = _along(thin, (low, high), len(dense))
    foreign = np.unique(thin[(cores > 0) & ~core]).tolist()
    solid = dense & ~_numbered(thin, [*below, *above, *(number for number in foreign if number > 0)])
    most = math.ceil(2 * radius_mm / spacing_mm[1]) + 1
    least = math.ceil(_COUCH_MM / spacing_mm[2])
    _cut_beyond(solid, _numbered(thin, below), most, least)
    _cut_beyond(solid[:, ::-1], _numbered(thin, above)[:, ::-1], most, least)
    parts = cc3d.connected_components(solid, connectivity=26)
    own = np.unique(parts[core]).tolist()
    return _filled(_numbered(parts, [number for number in own if number > 0]))


def _numbered(parts: NDArray[Any], numbers: Sequence[int]) -> Mask:
    """Where parts with these numbers are."""
    chosen = np.zeros(int(parts.max()) + 1, dtype=bool)
    chosen[list(numbers)] = True
    where: Mask = chosen[parts]
    return where


def _beside(
    cores: NDArray[Any],
    sizes: NDArray[np.intp],
    boxes: list[Any],
    height: tuple[int, int],
    values: NDArray[Any],
    spacing_mm: NDArray[np.float64],
) -> list[int]:
    """The numbers of those cores that are arms or legs beside the trunk, which reaches over these rows."""
    least = _LEAST_PART_ML * 1000 / spacing_mm.prod()
    margin = _BESIDE * (height[1] - height[0])
    beside = []
    for number in np.flatnonzero((sizes >= least) & (sizes < sizes.max())).tolist():
        part = cores[boxes[number]] == number
        middle = boxes[number][1].start + (part.sum(axis=(0, 2)) @ np.arange(part.shape[1])) / part.sum()
        if height[0] + margin <= middle <= height[1] - 1 - margin:
            is_tissue = np.median(values[boxes[number]][part]) >= _LEAST_TISSUE_HU
            beside += [number] if is_tissue else []
    return beside


def _along(thin: NDArray[Any], height: tuple[int, int], length: int) -> tuple[list[int], list[int]]:
    """The numbers of those thin parts that run along the scan at the trunk's underside, and at its upper side."""
    import cc3d

    about = cc3d.statistics(thin)
    slices = about["bounding_boxes"]
    margin = _BELOW * (height[1] - height[0])
    below, above = [], []
    for number in range(1, len(about["voxel_counts"])):
        if slices[number][0].stop - slices[number][0].start >= _ALONG * length:
            middle = about["centroids"][number][1]
            if middle < height[0] + margin:
                below.append(number)
            elif middle > height[1] - 1 - margin:
                above.append(number)
    return below, above


def _cut_beyond(solid: Mask, couch: Mask, most: int, least_columns: int) -> None:
    """Where a body touches the couch below it, take the couch out of it, in place.

    The couch's upper face is seen on both sides of the contact: a parabola (flat or a cradle) carries it on below the
    body. Where it does not fit, is narrow, or more than ``most`` rows would be cut, this is no couch: nothing is.
    """
    profile = couch.mean(axis=0) > 0.5
    columns = np.flatnonzero(profile.any(axis=0))
    face = len(profile) - 1 - profile[::-1, columns].argmax(axis=0)
    for _ in range(_ROUNDS):
        if len(columns) < max(least_columns, 3):
            return
        fit = np.polynomial.Polynomial.fit(columns, face, 2)
        seen = face - fit(columns) > -1.5  # not lower: the underside of the couch, or half hidden by the body
        if seen.all():
            break
        columns, face = columns[seen], face[seen]
    if np.abs(face - fit(columns)).max() > 1.5:
        return
    between = np.arange(columns[0], columns[-1] + 1)
    beyond = np.arange(len(profile))[:, None] <= np.rint(fit(between))
    body = solid[:, :, columns[0] : columns[-1] + 1]
    if (body & beyond).sum(axis=1).max() <= most:
        body &= ~beyond


def _further_than(mm: float, what: Mask, spacing_mm: NDArray[np.float64]) -> Mask:
    """Voxels of which the centre is further from that of every voxel of ``what`` than ``mm``."""
    if not what.any() or what.all():  # nothing to measure from
        return np.full(what.shape, not what.any())
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(what.view(np.uint8))
    image.SetSpacing(spacing_mm[::-1].tolist())  # type: ignore[no-untyped-call]
    transform: Any = sitk.SignedMaurerDistanceMapImageFilter()  # type: ignore[no-untyped-call]
    transform.SetSquaredDistance(False)
    transform.SetUseImageSpacing(True)
    distance = transform.Execute(image)  # has to outlive the view
    further: Mask = sitk.GetArrayViewFromImage(distance) > mm
    return further


def _filled(mask: Mask) -> Mask:
    """Without the holes of each axial slice: what nothing but the mask parts from the border of the slice."""
    import cc3d

    filled = mask.copy()
    for plane in filled:
        outside = cc3d.connected_components(np.pad(~plane, 1, constant_values=True), connectivity=4)
        plane[...] = outside[1:-1, 1:-1] != outside[0, 0]
    return filled


def _grown(mask: Mask) -> Mask:
    """By one voxel on every side, corners too."""
    grown = mask.copy()
    for axis in range(3):
        along = np.moveaxis(grown, axis, 0)
        before = along.copy()
        along[1:] |= before[:-1]
        along[:-1] |= before[1:]
    return grown
