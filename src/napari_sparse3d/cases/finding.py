"""A thing in a scan at which somebody points (a nodule), cut out as a model of masks takes it.

A place, a box or a label in; a mask out, in the cube that the model sees, at the spacing that it was trained on, with
the thing's centre of mass in the middle, as the training cases lie. No torch: the window does this itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.crop import Crop, crop, patient_order, shifted
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume, mask_of
from napari_sparse3d.voxels.components import keep_largest
from napari_sparse3d.voxels.part import WIDEST, part_at
from napari_sparse3d.voxels.recipe import Components, NoResampling, Recipe

if TYPE_CHECKING:
    from napari_sparse3d.models import Model

Millimetres = tuple[float, float, float]
"""(s, a, r)."""

_EQUAL = 1e-4
"""Sides of a voxel that differ by less, in parts, are equal: files keep them in single precision."""


@dataclass(frozen=True)
class Cutting:
    """How a model wants a thing cut out of a scan.

    Attributes
    ----------
    model : str
        For messages.
    side : int
        Voxels along each side of the cube.
    spacing_mm : float
    above_hu : float or None
        Which voxels of a CT are of a thing: those from so many HU on. None: not known.
    note : str
        Where the spacing is from, if the model does not say it.
    """

    model: str
    side: int
    spacing_mm: float
    above_hu: float | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Finding:
    """A thing that was cut out.

    Attributes
    ----------
    mask : Volume
        (side, side, side) uint8: 1 in the thing; its affine lies in the world of the scan.
    notes : tuple of str
        What was done to get it, and what is to be known of it; sentences without a full stop.
    """

    mask: Volume
    notes: tuple[str, ...] = ()

    @property
    def n_voxels(self) -> int:
        """Of the thing."""
        return int(np.count_nonzero(self.mask.data))

    @property
    def volume_mm3(self) -> float:
        """Of all its voxels."""
        return float(self.n_voxels * np.prod(self.mask.spacing_mm))

    @property
    def extent_mm(self) -> Millimetres:
        """Of the box around it, along the scan's axes."""
        occupied = np.argwhere(self.mask.data)
        s, a, r = ((np.ptp(occupied, axis=0) + 1) * self.mask.spacing_mm).tolist()
        return s, a, r

    @property
    def centre_mm(self) -> Millimetres:
        """Its centre of mass, (s, a, r) in the scan's world."""
        middle = np.argwhere(self.mask.data).mean(axis=0)
        s, a, r = (self.mask.affine[:3, :3] @ middle + self.mask.affine[:3, 3]).tolist()
        return s, a, r


def cutting_for(
    model: Model,
    *,
    spacing_mm: float | None = None,
    above_hu: float | None = None,
    own_mm: Sequence[float] | None = None,
) -> Cutting:
    """How a model wants a thing cut; what is given stands before what its card and the catalogue say.

    ``own_mm``: the spacing of the scan or label map, (z, y, x), which counts where the card says none.

    Raises
    ------
    InputError
        As :func:`cutting`.
    """
    card, seen = model.card, model.card.seen
    return cutting(
        card.name,
        card.recipe,
        model.describer.field,
        spacing_seen=None if seen is None else seen.spacing_mm,
        values_seen=() if seen is None else seen.values,
        spacing_mm=spacing_mm,
        above_hu=above_hu,
        own_mm=own_mm,
    )


def takes_things(recipe: Recipe, values_seen: Sequence[str]) -> bool:
    """Whether a model was trained on masks of single things, which are cut out for it."""
    return "mask" in values_seen and isinstance(recipe.resample, NoResampling)


def says_spacing(spacing_seen: tuple[float, float] | None) -> bool:
    """Whether a model was trained on voxels of one size in mm."""
    return spacing_seen is not None and spacing_seen[1] - spacing_seen[0] <= _EQUAL * spacing_seen[1]


def cutting(
    model: str,
    recipe: Recipe,
    field: int,
    *,
    spacing_seen: tuple[float, float] | None,
    values_seen: Sequence[str],
    spacing_mm: float | None = None,
    above_hu: float | None = None,
    own_mm: Sequence[float] | None = None,
) -> Cutting:
    """As :func:`cutting_for`, of what is known where no model is loaded.

    Raises
    ------
    InputError
        If the model was not trained on masks of single things; or if neither it nor the scan's own grid, whose voxels
        are no cubes, says how large its voxels are.
    """
    from napari_sparse3d.catalog import TRAINED

    if not takes_things(recipe, values_seen):
        raise InputError(
            f"model {model!r} was not trained on masks of single things at one spacing, but on whole scans or on "
            "shapes of any size; choose a model such as nodule, or run this one on the whole scan"
        )
    note = ""
    if spacing_mm is None and spacing_seen is not None and says_spacing(spacing_seen):
        spacing_mm = spacing_seen[0]
    if spacing_mm is None:
        own = ", nor does this scan" if own_mm is None else f", and this scan's are {_by(own_mm)} mm"
        if own_mm is None or max(own_mm) - min(own_mm) > _EQUAL * max(own_mm):
            raise InputError(
                f"model {model!r} does not say how large its voxels are{own}; give the size of a voxel in mm, the same "
                "along all axes"
            )
        spacing_mm = own_mm[0]
        note = f"The voxels are as large as the scan's own: model {model!r} was trained without millimetres"
    if not np.isfinite(spacing_mm) or not 0.05 <= spacing_mm <= 20:
        raise InputError(f"the spacing must be 0.05 to 20 mm, got {spacing_mm:g}")
    if above_hu is None and model in TRAINED:
        above_hu = TRAINED[model].above_hu
    return Cutting(model, field, float(spacing_mm), above_hu, note)


def _by(mm: Sequence[float]) -> str:
    return " x ".join(f"{each:.3g}" for each in mm)


def finding_in_scan(volume: Volume, at_mm: Millimetres, how: Cutting, *, box_mm: Millimetres | None = None) -> Finding:
    """The thing at a place of a CT, or the largest in a box about it.

    Parameters
    ----------
    volume : Volume
        In HU.
    at_mm : tuple of float
        (s, a, r) in the world of ``volume.affine``: a place inside the thing, or the middle of the box.
    how : Cutting
    box_mm : tuple of float, optional
        (s, a, r) sides of the box, along the scan's own axes. Nothing outside it is taken.

    Raises
    ------
    InputError
        If the scan is not in HU, the place lies outside it or in air, or what lies there is no single thing of the
        model's size.
    """
    if volume.unit != "HU":
        kind = f" ({volume.modality})" if volume.modality else ""
        raise InputError(
            f"things are told from air by their HU, and this scan is in {volume.unit}{kind}; make labels of it, and "
            "choose a label"
        )
    if how.above_hu is None:
        raise InputError(
            f"it is not known from how many HU on a voxel is of a thing that model {how.model!r} knows; give the HU, "
            "or label it and choose the label"
        )
    cut = crop(volume, at_mm, side=2 * (how.side + WIDEST), spacing_mm=how.spacing_mm)
    with np.errstate(invalid="ignore"):  # what is no image data is in no range
        tissue = cut.volume.data >= how.above_hu
    notes = [f"Kept what has {how.above_hu:g} HU or more, at {how.spacing_mm:g} mm"]
    if box_mm is not None:
        mask, said = _largest_in_box(tissue, cut, at_mm, box_mm, how)
        notes += said
    else:
        _require_tissue(cut, tissue, how)
        mask, said = _part(tissue, cut, how)
        notes += said
    return _centred(mask, cut, how, notes, patient_order(volume))


def finding_of_label(labels: Volume, value: int, how: Cutting, *, at_mm: Millimetres | None = None) -> Finding:
    """The voxels of one label; with a place, the part of them in which that lies.

    Parameters
    ----------
    labels : Volume
        Whole numbers.
    value : int
        Of the label; not 0, which is the background.
    how : Cutting
    at_mm : tuple of float, optional
        (s, a, r) in the world of ``labels.affine``.

    Raises
    ------
    InputError
        If there is no such label, or it does not fit into the model's cube.
    """
    own = patient_order(mask_of(labels, value))
    spans = [np.flatnonzero(own.data.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if at_mm is None:
        extent_mm = [(span[-1] - span[0] + 1) * mm for span, mm in zip(spans, own.spacing_mm, strict=True)]
        if max(extent_mm) > how.side * how.spacing_mm:
            raise InputError(
                f"label {value} reaches over {max(extent_mm):.0f} mm, and model {how.model!r} sees "
                f"{how.side * how.spacing_mm:g} mm; label single things, or give a place inside one"
            )
        middle = [(span[0] + span[-1]) / 2 for span in spans]
        s, a, r = (own.affine[:3, :3] @ middle + own.affine[:3, 3]).tolist()
        cut = crop(own, (s, a, r), side=2 * (how.side + WIDEST), spacing_mm=how.spacing_mm)
        mask, said = _half(cut), list[str]()
    else:
        cut = crop(own, at_mm, side=2 * (how.side + WIDEST), spacing_mm=how.spacing_mm)
        inside = _half(cut)
        if not inside[cut.place]:
            raise InputError(f"label {value} is not at this place; choose one inside it, or leave the place out")
        mask, said = _part(inside, cut, how)
    if not mask.any():
        raise InputError(
            f"label {value} is so thin that no voxel of {how.spacing_mm:g} mm is of it by half; model {how.model!r} "
            "cannot see it"
        )
    return _centred(mask, cut, how, [f"Took label {value}, at {how.spacing_mm:g} mm", *said], own)


def _half(cut: Crop) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray(cut.volume.data >= 0.5)


def _require_tissue(cut: Crop, tissue: NDArray[np.bool_], how: Cutting) -> None:
    if tissue[cut.place]:
        return
    value = float(cut.volume.data[cut.place])
    what = f"{value:.0f} HU" if np.isfinite(value) else "padding, no image data"
    raise InputError(
        f"there is only air at this place ({what}, and what is kept has {how.above_hu:g} HU or more); choose a place "
        "inside the nodule"
    )


def _part(mask: NDArray[np.bool_], cut: Crop, how: Cutting) -> tuple[NDArray[np.bool_], list[str]]:
    part = part_at(mask, cut.place, how.side)
    said = []
    if part.opened:
        opened_mm = part.opened * how.spacing_mm
        said.append(f"Cut loose from what it is attached to by an opening of {opened_mm:g} mm: look at its border")
    return part.mask, said


def _largest_in_box(
    tissue: NDArray[np.bool_], cut: Crop, at_mm: Millimetres, box_mm: Millimetres, how: Cutting
) -> tuple[NDArray[np.bool_], list[str]]:
    if len(box_mm) != 3 or not np.isfinite(box_mm).all() or min(box_mm) <= 0:
        raise InputError(f"a box is three lengths in mm above 0, got {list(box_mm)}")
    if max(box_mm) > how.side * how.spacing_mm:
        raise InputError(
            f"the box is {max(box_mm):.0f} mm long, and model {how.model!r} sees {how.side * how.spacing_mm:g} mm; "
            "draw a smaller one"
        )
    middle = (np.linalg.inv(cut.volume.affine) @ [*at_mm, 1.0])[:3]
    box = np.ones(tissue.shape, dtype=bool)
    for axis, (centre, length) in enumerate(zip(middle, box_mm, strict=True)):
        away_mm = (np.arange(tissue.shape[axis]) - centre) * how.spacing_mm
        along = (away_mm >= -length / 2) & (away_mm < length / 2)
        box &= along.reshape([-1 if each == axis else 1 for each in range(3)])
    inside = tissue & box
    if not inside.any():
        raise InputError(
            f"there is only air in the box: no voxel has {how.above_hu:g} HU or more; draw it around the nodule"
        )
    mask = keep_largest(inside, Components(keep=1, connectivity=6))
    said = []
    if inside.sum() > mask.sum():
        said.append("Took the largest part in the box")
    if (_touching(mask) & tissue & ~box).any():
        said.append("It goes on beyond the box, where it was cut off")
    return mask, said


def _touching(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels that have a face in common with one of the mask."""
    near = np.zeros_like(mask)
    for axis in range(3):
        there, back = np.swapaxes(near, 0, axis), np.swapaxes(mask, 0, axis)
        there[1:] |= back[:-1]
        there[:-1] |= back[1:]
    return near


def _centred(mask: NDArray[np.bool_], cut: Crop, how: Cutting, notes: Sequence[str], scan: Volume) -> Finding:
    """In the model's cube, the centre of mass in its middle as near as whole voxels allow."""
    occupied = np.argwhere(mask)
    low, high = occupied.min(axis=0), occupied.max(axis=0)
    first = np.floor(occupied.mean(axis=0) - (how.side - 1) / 2 + 0.5).astype(int)
    first = np.minimum(np.maximum(first, high - how.side + 1), low)  # a lopsided thing stays whole
    cube = np.zeros((how.side,) * 3, dtype=np.uint8)
    cube[tuple((occupied - first).T)] = 1
    z, y, x = first.tolist()
    affine = shifted(cut.volume.affine, (z, y, x))
    if how.note:
        notes = [*notes, how.note]
    beyond = _beyond(scan, affine, how.side)
    if beyond:
        notes = [*notes, f"{max(round(100 * beyond), 1)} % of its cube lies beyond the scan and counts as background"]
    return Finding(Volume(cube, affine, "a.u.", "", "finding"), tuple(notes))


def _beyond(scan: Volume, affine: NDArray[np.float64], side: int) -> float:
    """Which part of a cube along the scan's axes lies outside it."""
    to_scan = np.linalg.inv(scan.affine) @ affine
    inside = 1.0
    for axis, size in enumerate(scan.shape):
        places = to_scan[axis, axis] * np.arange(side) + to_scan[axis, 3]
        inside *= float(np.mean((places >= -0.5) & (places <= size - 0.5)))
    return 1.0 - inside
