"""Pictures are looked at by people; here it is checked that they show the data and take any input."""

import io

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from napari_sparse3d.pictures import as_png, layers_figure, planes_figure
from napari_sparse3d.pictures.evaluation import curves_figure
from napari_sparse3d.pictures.planes import _edges
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet, voxelize

ORANGE = np.array([0xE6, 0x9F, 0x00]) / 255


def pixels(figure):
    return matplotlib.image.imread(io.BytesIO(as_png(figure, dpi=80)))[..., :3]


def box(shape=(20, 30, 24), unit="a.u."):
    data = np.zeros(shape, np.float32)
    data[shape[0] // 3 :, shape[1] // 4 : -2, 1 : shape[2] // 2] = 100
    return Volume(data, np.diag([2.0, 1, 1, 1]), unit)


def made_of(volume, low=50):
    return voxelize(volume, Recipe(threshold=RangeThreshold(low=low)))


def test_active_voxels_are_outlined_in_orange():
    volume = box()
    outlined = pixels(planes_figure(volume, made_of(volume)))
    bare = pixels(planes_figure(volume, made_of(volume, low=1000)))

    def orange(image):
        return (np.abs(image - ORANGE).max(axis=-1) < 0.05).sum()

    assert orange(outlined) > 300
    assert orange(bare) == 0


def test_the_patients_right_is_on_the_viewers_left():
    data = np.zeros((16, 16, 16), np.float32)
    data[:, :, 13:] = 100  # axis 2 grows toward Right
    volume = Volume(data, np.eye(4))
    empty = VoxelSet(np.zeros((0, 3), np.int32), np.zeros((0, 1), np.float32), (16, 16, 16), np.eye(4))
    figure = planes_figure(volume, empty)
    figure.canvas.draw()
    axial = figure.axes[0]
    corners = axial.transData.transform([(14.5, 8), (1.5, 8)])
    assert corners[0, 0] < corners[1, 0]
    shown = pixels(figure)
    height, width = shown.shape[:2]
    extent = axial.get_position()
    middle = int((1 - (extent.y0 + extent.y1) / 2.0) * height) + 12  # beside the letters
    left = shown[middle, int((extent.x0 + 0.15 * extent.width) * width)]
    right = shown[middle, int((extent.x1 - 0.15 * extent.width) * width)]
    assert left.mean() > 0.9
    assert right.mean() < 0.1


@pytest.mark.parametrize(
    "volume",
    [box((1, 1, 1)), box((40, 3, 3)), box((3, 3, 40)), box(unit="HU"), Volume(np.zeros((4, 4, 4)), np.eye(4))],
    ids=["one voxel", "tall", "wide", "CT", "constant"],
)
def test_any_volume(volume):
    for low in (50, 1000):
        assert pixels(planes_figure(volume, made_of(volume, low), title="a title")).size > 0


def test_edges_are_those_between_active_and_not():
    mask = np.array([[True, True], [False, True]])
    found = {tuple(map(tuple, edge)) for edge in _edges(mask).astype(int).tolist()}
    # (column, row) corners of the L-shape's outline
    assert found == {
        ((0, 0), (1, 0)), ((1, 0), (2, 0)), ((0, 1), (1, 1)), ((1, 2), (2, 2)),
        ((0, 0), (0, 1)), ((1, 1), (1, 2)), ((2, 0), (2, 1)), ((2, 1), (2, 2)),
    }  # fmt: skip


def test_layers_show_every_bar_and_mark():
    figure = layers_figure(["input", "conv1"], [126, 125], [9.76, 100], {"published": [9, 90], "reference": [10, 100]})
    (ax,) = figure.axes
    assert [bar.get_height() for bar in ax.patches] == [9.76, 100]
    assert [text.get_text() for text in ax.texts] == ["9.8", "100"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["input\n126³", "conv1\n125³"]
    assert [text.get_text() for text in ax.get_legend().get_texts()][1:] == ["published", "reference"]
    assert pixels(figure).std() > 0.1


def test_layers_without_anything_to_compare():
    assert pixels(layers_figure(["input"], [8], [50.0], {})).size > 0


def test_the_users_own_style_stays():
    before = dict(matplotlib.rcParams)
    volume = box()
    planes_figure(volume, made_of(volume))
    layers_figure(["input"], [8], [50.0], {})
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("measured", [{}, {"val_auc": float("nan")}, {"val_auc": None}], ids=["none", "nan", "null"])
def test_curves_of_epochs_that_lack_the_measure(measured):
    history = [{"epoch": 1, "loss": 1.0, "val_loss": 1.0, **measured}]
    alone = curves_figure(history, "auc")
    assert np.isnan(alone.axes[1].lines[0].get_ydata()).all()
    both = curves_figure([*history, {"epoch": 2, "loss": 0.5, "val_loss": 0.7, "val_auc": 0.8}], "auc")
    assert [text.get_text() for text in both.axes[1].texts] == ["0.800 at epoch 2"]
