"""A case beside the open scan: where it lies, and one contrast for both."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import numpy as np
import pytest

from napari_sparse3d.widgets.cohort.beside import carried_over, robust_range, show_beside

pytestmark = pytest.mark.gui


def scan(viewer: Any, values: Any, unit: str, name: str) -> Any:
    from napari.layers import Image

    layer = Image(values, name=name, scale=(2, 1, 1), metadata={"unit": unit})
    if name == "here":
        viewer.add_layer(layer)
    return layer


def test_hu_are_shown_alike_and_stay_so(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer(show=True)
    random = np.random.default_rng(0)
    here = scan(viewer, random.normal(0, 300, (8, 20, 24)), "HU", "here")
    here.contrast_limits = (-160, 240)
    there = scan(viewer, random.normal(40, 200, (6, 22, 20)), "HU", "there")
    show_beside(viewer, there, here)
    assert tuple(there.contrast_limits) == (-160, 240)
    here.contrast_limits = (-1000, 200)
    assert tuple(there.contrast_limits) == (-1000, 200)
    there.contrast_limits = (0, 80)
    assert tuple(here.contrast_limits) == (0, 80)
    gap = there.extent.world[0] - here.extent.world[1]
    assert gap[-1] > 0
    np.testing.assert_allclose(there.extent.world.mean(axis=0)[:2], here.extent.world.mean(axis=0)[:2])


def test_other_intensities_keep_their_place_in_the_range(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer(show=True)
    values = np.random.default_rng(1).gamma(2, 100, (8, 20, 24))
    here = scan(viewer, values, "a.u.", "here")
    there = scan(viewer, 7 * values + 30, "a.u.", "there")  # the same picture from another scanner
    here.contrast_limits = (50, 400)
    show_beside(viewer, there, here)
    np.testing.assert_allclose(there.contrast_limits, (7 * 50 + 30, 7 * 400 + 30))
    there.contrast_limits = (7 * 100 + 30, 7 * 300 + 30)
    np.testing.assert_allclose(here.contrast_limits, (100, 300))


def test_a_case_that_is_closed_is_gone_and_so_are_the_titles(make_napari_viewer: Any, qtbot: Any) -> None:
    """A linked window kept every case in memory that had ever stood beside a scan."""
    from napari.layers import Image

    from napari_sparse3d.widgets.cohort.beside import link_contrast
    from napari_sparse3d.widgets.cohort.case_titles import put_titles

    here, there = (Image(np.arange(60.0).reshape(3, 4, 5) + shift) for shift in (0, 7))
    link_contrast(here, there)
    gone = ref(there)
    del there
    gc.collect()
    assert gone() is None
    here.contrast_limits = (1, 2)  # nobody follows

    viewer = make_napari_viewer(show=True)
    layers = [viewer.add_image(np.ones((3, 4, 5)), name=name) for name in ("here", "there")]
    put_titles(viewer, {layer: layer.name for layer in layers})
    assert "titles" in viewer.layers
    viewer.layers.remove(layers[1])
    qtbot.waitUntil(lambda: "titles" not in viewer.layers, timeout=5_000)


def test_ranges_of_what_has_none() -> None:
    assert robust_range(np.zeros((3, 4, 5))) == (0.0, 1.0)
    assert robust_range(np.full((2, 2, 2), np.nan)) == (0.0, 1.0)
    low, high = robust_range(np.pad(np.ones((4, 4, 4)), 3))  # a mask
    assert low < high
    assert carried_over((0.0, 1.0), (0.0, 2.0), (10.0, 20.0)) == (10.0, 15.0)
