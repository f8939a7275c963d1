"""Two scans of one patient lie on each other in napari, and what obliqueness costs is said.

The oracle is numpy and scipy: a world point, the voxel that the affine has there, and where napari puts that voxel.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_sparse3d.errors import InputError
from napari_sparse3d.io.layers import layer_of, scan_of
from napari_sparse3d.io.patient_world import undrawn
from napari_sparse3d.io.series import VolumeSequence
from napari_sparse3d.io.straighten import straightened
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.image_data import image_data

SHAPE = (5, 6, 7)
spacings = st.tuples(*[st.floats(0.3, 6)] * 3)
origins = st.tuples(*[st.floats(-900, 900)] * 3)
turns = st.tuples(*[st.floats(-0.6, 0.6)] * 3)


def affine_of(turn: Any, spacing: Any, origin: Any) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(turn).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def volume_of(affine: np.ndarray, shape: tuple[int, ...] = SHAPE, **about: Any) -> Volume:
    return Volume(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), affine, **about)


def shown_at(volume: Volume, world: np.ndarray) -> np.ndarray:
    """Where a layer of the volume shows a point of the patient."""
    _, kwargs, _ = layer_of(volume)
    index = np.linalg.solve(volume.affine, [*world, 1.0])[:3]
    return np.array(kwargs["scale"]) * index + kwargs["translate"]


@given(spacings, origins, origins)
def test_without_obliqueness_every_point_is_shown_where_it_is(spacing: Any, origin: Any, world: Any) -> None:
    volume = volume_of(affine_of((0, 0, 0), spacing, origin))
    np.testing.assert_allclose(shown_at(volume, np.array(world)), -np.array(world), atol=1e-6)
    assert "drawn" not in layer_of(volume)[1]["metadata"]


@given(turns, spacings, spacings, origins, origins, origins)
def test_scans_of_one_orientation_lie_on_each_other(
    turn: Any, first: Any, second: Any, here: Any, there: Any, world: Any
) -> None:
    """Crops, other spacings, other origins: one point of the patient is one point in napari."""
    one, other = (volume_of(affine_of(turn, *each)) for each in ((first, here), (second, there)))
    np.testing.assert_allclose(shown_at(one, np.array(world)), shown_at(other, np.array(world)), rtol=0, atol=1e-6)


@given(turns, spacings, origins)
def test_what_obliqueness_costs_is_what_is_said(turn: Any, spacing: Any, origin: Any) -> None:
    volume = volume_of(affine_of(turn, spacing, origin))
    _, kwargs, _ = layer_of(volume)
    corners = [np.array(corner) - 0.5 for corner in itertools.product(*((0, n) for n in SHAPE))]
    off = max(
        float(np.linalg.norm(np.array(kwargs["scale"]) * each + kwargs["translate"] + (volume.affine @ [*each, 1])[:3]))
        for each in corners
    )
    found = undrawn(volume.affine, SHAPE)
    assert found.off_mm == pytest.approx(off, abs=1e-6)
    assert found.degrees == pytest.approx(float(np.degrees(np.linalg.norm(turn))), abs=1e-5)
    said = kwargs["metadata"].get("drawn", "")
    assert bool(said) == (off >= 0.05)
    if said:
        degrees, most = re.fullmatch(
            r"drawn without its ([\d.]+) degrees; up to ([\d.]+) mm off at the corners", said
        ).groups()  # type: ignore[union-attr]
        assert float(degrees) == pytest.approx(float(np.degrees(np.linalg.norm(turn))), abs=0.051)
        assert off - 1e-6 <= float(most) <= off + 1


def test_shear_is_said_too() -> None:
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    affine[1, 0] = 2 * np.tan(np.radians(15))
    said = layer_of(volume_of(affine))[1]["metadata"]["drawn"]
    assert "shear of 15.0 degrees" in said


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_arrays_in_the_48_orders(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    """Made in Python against the rule of ``Volume``: napari slices along the axes, so these are put in order."""
    spacing = np.array([3.0, 2.0, 1.5])
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[list(order), [0, 1, 2]] = spacing * signs
    affine[:3, 3] = (40.0, -7.0, 11.0)
    volume = volume_of(affine)
    data, kwargs, _ = layer_of(volume)
    for value in (0, 100, 209):
        (place,), (index,) = np.argwhere(data == value), np.argwhere(volume.data == value)
        shown = np.array(kwargs["scale"]) * place + kwargs["translate"]
        np.testing.assert_allclose(shown, -(affine @ [*index, 1])[:3], atol=1e-9)
    back = scan_of(data, kwargs["metadata"], "back")
    (index,) = np.argwhere(back.data == 100)
    (before,) = np.argwhere(volume.data == 100)
    np.testing.assert_allclose(back.affine @ [*index, 1], affine @ [*before, 1], atol=1e-9)


def test_a_sequence_keeps_its_times_and_its_place() -> None:
    affine = affine_of((0, 0, 0), (3, 2, 1), (10, 20, 30))
    sequence = VolumeSequence(np.zeros((4, *SHAPE), np.float32), affine, times_s=(0.0, 1.5, 3.0, 4.5))
    data, kwargs, _ = layer_of(sequence)
    assert kwargs["axis_labels"] == ("T", "I", "P", "L")
    assert kwargs["translate"] == (0.0, -10.0, -20.0, -30.0)
    assert scan_of(data, kwargs["metadata"], "back").times_s == (0.0, 1.5, 3.0, 4.5)
    cropped = scan_of(data[1:3], kwargs["metadata"], "cropped")
    assert isinstance(cropped, VolumeSequence)
    assert cropped.times_s is None, "which two of the four they are is not known"
    assert cropped.data.shape == (2, *SHAPE)


# -- straightened ------------------------------------------------------------------------------------------------------


def run(volume: Volume) -> Volume:
    working = straightened(volume)
    try:
        while True:
            next(working)
    except StopIteration as end:
        return end.value


def world_of(volume: Volume) -> np.ndarray:
    """(Z, Y, X, 3) the world point of each voxel."""
    index = np.moveaxis(np.indices(volume.shape), 0, -1)
    return index @ volume.affine[:3, :3].T + volume.affine[:3, 3]


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8])
def test_straightened_holds_what_the_patient_holds(dtype: Any) -> None:
    """Values that grow evenly along the world stay what they are there, by linear interpolation."""
    affine = affine_of((0.2, -0.1, 0.25), (3.0, 1.5, 1.2), (-20, 100, -310))
    volume = volume_of(affine, (20, 30, 26), unit="HU" if dtype == np.int16 else "a.u.")
    slope = np.array([0.9, -0.7, 1.1])
    values = (world_of(volume) - affine[:3, 3]) @ slope + 120
    volume = Volume(values.astype(dtype), affine, volume.unit)
    found = run(volume)
    assert "drawn" not in layer_of(found)[1]["metadata"]
    assert found.spacing_mm == pytest.approx(volume.spacing_mm)
    assert found.data.dtype.kind == np.dtype(dtype).kind or dtype == np.uint8
    expected = (world_of(found) - affine[:3, 3]) @ slope + 120
    index = (world_of(found) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    inside = ((index >= 0) & (index <= np.array(volume.shape) - 1)).all(axis=-1)
    assert 0.3 < inside.mean() < 0.9
    np.testing.assert_allclose(found.data[inside], expected[inside], atol=0.01 if dtype == np.float32 else 1.5)
    far = ((index < -1) | (index > np.array(volume.shape))).any(axis=-1)
    if dtype == np.float32:
        assert np.isnan(found.data[far]).all()
    else:
        assert (found.data[far] == found.meta["padding"]).all()
        assert found.meta["padding"] < volume.data.min()
    assert re.search(r"resampled onto the patient's axes by [\d.]+ degrees \(linear\)", found.meta["repairs"][-1])


def test_straightened_labels_stay_labels() -> None:
    affine = affine_of((0, 0.3, 0), (2, 1, 1), (0, 0, 0))
    data = np.zeros((12, 20, 20), np.uint8)
    data[3:9, 5:15, 5:15] = 7
    found = run(Volume(data, affine, meta={"labels": True}))
    assert set(np.unique(found.data)) == {0, 7}
    volume_mm3 = [np.count_nonzero(each.data) * abs(np.linalg.det(each.affine[:3, :3])) for each in (found,)]
    assert volume_mm3[0] == pytest.approx(600 * 2, rel=0.05)


def test_straightening_does_not_interpolate_from_padding() -> None:
    affine = affine_of((0, 0.2, 0), (1, 1, 1), (0, 0, 0))
    data = np.full((16, 16, 16), -2000, np.int16)
    data[4:12, 4:12, 4:12] = 50
    found = run(Volume(data, affine, "HU", meta={"padding": -2000}))
    assert set(np.unique(found.data)) == {-2000, 50}


@pytest.mark.parametrize(
    ("dtype", "first", "meta"),
    [(np.uint64, 0, {}), (np.uint64, 0, {"padding": -5}), (np.int64, np.iinfo(np.int64).min, {})],
)
def test_outside_of_integers_without_one_to_spare_is_no_data(dtype: Any, first: int, meta: dict[str, Any]) -> None:
    """No integer type holds them and one below: they become floats, and the outside NaN."""
    data = np.full((8, 8, 8), 50, dtype)
    data[4, 4, 4] = first
    straight = run(Volume(data, affine_of((0, 0.4, 0), (1, 1, 1), (0, 0, 0)), meta=meta))
    assert straight.data.dtype == np.float64
    assert np.isnan(straight.data[0, 0, 0])
    assert np.nanmin(straight.data) >= first
    assert np.nanmax(straight.data) == pytest.approx(50)
    with pytest.warns(UserWarning, match="are not finite"):
        inside = image_data(straight, straight.data)
    assert inside is not None
    np.testing.assert_array_equal(inside, np.isfinite(straight.data))


def test_what_cannot_be_held_is_refused() -> None:
    affine = affine_of((0.5, 0.5, 0), (0.001, 100, 100), (0, 0, 0))
    with pytest.raises(InputError, match="crop it first"):
        run(Volume(np.zeros((4, 200, 200), np.int16), affine))
