"""The picture of a map."""

from __future__ import annotations

import numpy as np

from napari_sparse3d.pictures.maps import map_figure

POSITIONS = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)


def test_classes_have_a_legend_and_what_is_unknown_is_drawn_too() -> None:
    figure = map_figure(POSITIONS, [*"aabbccaabb", None, ""], name="label", here=(0.0, 1.0))
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]
    drawn = sum(len(points.get_offsets()) for points in axes.collections)
    assert drawn == len(POSITIONS)
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[0.0, 1.0]]]


def test_numbers_have_a_scale() -> None:
    figure = map_figure(POSITIONS, [*range(11), None], name="n_active", title="12 cases")
    assert len(figure.axes) == 2  # the map, and its bar of colours
    assert figure.axes[1].get_ylabel() == "n_active"
