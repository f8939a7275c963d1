"""The C++ threshold against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_sparse3d.voxels import native_threshold
from napari_sparse3d.voxels.native_threshold import count_voxels, find_voxels, slice_mask


def volume(dtype: str, shape: tuple[int, int, int] = (40, 30, 150)) -> Any:
    values = np.random.default_rng(3).normal(60, 40, shape)
    return values.clip(0, 255).astype(dtype) if dtype.endswith("u1") else values.astype(dtype)


def views(data: Any) -> dict[str, Any]:
    return {
        "plain": data,
        "every other": data[::2, 1::3, ::2],
        "reversed": data[::-1, :, ::-1],
        "transposed": data.transpose(2, 0, 1),
        "fortran": np.asfortranarray(data),
    }


@pytest.mark.parametrize("dtype", ["u1", "<i2", "<u2", "<f4", "<f8", ">i2", "<i4"])
@pytest.mark.parametrize("view", list(views(np.zeros((2, 2, 2)))))
@pytest.mark.parametrize(("low", "high"), [(80.5, 120.25), (-1e9, 1e9), (300000.0, 400000.0), (90.0, 80.0)])
def test_same_as_numpy(dtype: str, view: str, low: float, high: float) -> None:
    data = views(volume(dtype))[view]
    expected = np.argwhere((data.astype(np.float64) >= low) & (data.astype(np.float64) <= high))
    indices, values = find_voxels(data, low, high, threads=2)
    assert indices.dtype == np.int32
    assert values.dtype == np.float32
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, data[tuple(expected.T)].astype(np.float32))
    assert count_voxels(data, low, high, threads=2) == len(expected)


def test_voxels_where_the_sample_saw_none() -> None:
    data = np.zeros((128, 64, 64), dtype=np.int16)
    data[1:16] = 100  # between the slices that the room is guessed from
    data = np.concatenate([data] * 2)
    indices, _ = find_voxels(data, 50, 150)
    np.testing.assert_array_equal(indices, np.argwhere(data > 50))


@pytest.mark.parametrize("many", [0, 1 << 21], ids=["used pages", "new pages"])
def test_a_result_keeps_its_memory_as_long_as_anything_looks_at_it(many: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(native_threshold, "_MANY", many)
    data = volume("<i2")
    part = find_voxels(data, 100, 200)[0][3:5]
    before = part.copy()
    others = [find_voxels(data, low, 200) for low in (90, 80, 70)]
    np.testing.assert_array_equal(part, before)
    for low, (_, values) in zip((90, 80, 70), others, strict=True):
        assert values.min() == low


def test_what_is_not_a_number_is_never_in_range() -> None:
    data = np.full((3, 4, 70), np.nan, dtype=np.float32)
    data[1, 2, 3] = 5
    indices, values = find_voxels(data, -np.inf, np.inf)
    assert indices.tolist() == [[1, 2, 3]]
    assert values.tolist() == [5]
    assert count_voxels(data, np.nan, 1) == 0


def test_slice() -> None:
    plane = np.arange(12).reshape(3, 4)
    assert slice_mask(plane, 3, 5).sum() == 3


def test_two_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(Z, Y, X\)"):
        find_voxels(np.zeros((3, 4), dtype=np.int16), 0, 1)
