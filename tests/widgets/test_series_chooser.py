"""The series chooser, and a folder dropped on a real window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_files import check_world_code, series_of
from napari_sparse3d.io import read_volume, scan
from napari_sparse3d.io.layers import scan_of
from napari_sparse3d.io.thumbnail import thumbnail

pytestmark = pytest.mark.gui


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A clean series, one with a gap, and one that is no volume."""
    series_of(tmp_path / "a", SeriesDescription="whole")
    series_of(tmp_path / "b", 6, series="1.8", SeriesNumber=4, SeriesDescription="gap")[2].unlink()
    series_of(tmp_path / "c", 2, series="1.9", SeriesNumber=5, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    return tmp_path


def test_table_tells_what_opens(archive: Path, qtbot: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDialogButtonBox

    from napari_sparse3d.widgets.opening.series_chooser import SeriesChooser

    found = scan(archive)
    chooser = SeriesChooser(found)
    qtbot.addWidget(chooser)
    chooser.show()
    qtbot.waitUntil(lambda: not chooser._waiting)
    badges = [chooser.table.item(row, 1).text() for row in range(3)]
    assert badges == ["✓ clean", "! repair", "✗ refused"]
    assert chooser.chosen().description == "whole"
    assert chooser.repair is None
    assert not chooser.table.item(0, 0).icon().isNull()
    assert not chooser.table.item(2, 2).flags() & Qt.ItemFlag.ItemIsEnabled
    chooser.table.setCurrentCell(1, 2)
    assert chooser.repair == "resample"
    assert "1 slice is missing" in chooser.reason.text()
    assert chooser.buttons.button(QDialogButtonBox.StandardButton.Open).isEnabled()


def test_thumbnail_is_the_middle_slice(archive: Path) -> None:
    info = scan(archive)[0]
    picture = thumbnail(info, 32)
    assert picture is not None
    assert picture.shape == (32, 32)
    assert picture.max() > 200
    assert picture[0].max() == 0, "a picture of 6 x 8 pixels is filled up to a square"


@pytest.mark.parametrize("row", [0, 1, None])
def test_folder_dropped_on_a_window(row: int | None, archive: Path, make_napari_viewer: Any, monkeypatch: Any) -> None:
    from qtpy.QtWidgets import QDialog

    from napari_sparse3d.widgets.opening.series_chooser import SeriesChooser

    asked = []

    def answer(chooser: SeriesChooser) -> int:
        asked.append(chooser.table.rowCount())
        if row is None:
            return QDialog.DialogCode.Rejected.value
        chooser.table.setCurrentCell(row, 2)
        return QDialog.DialogCode.Accepted.value

    monkeypatch.setattr(SeriesChooser, "exec", answer)
    viewer = make_napari_viewer()
    # two whole series: the reader has to ask
    series_of(archive / "d", series="1.7", SeriesNumber=6)
    viewer.open(str(archive), plugin="napari-sparse3d")
    assert asked == [4]
    if row is None:
        assert not viewer.layers
        return
    (layer,) = viewer.layers
    volume = scan_of(layer.data, layer.metadata, layer.name)
    if row == 0:
        check_world_code(volume)
    else:
        assert layer.metadata["repair"] == "resample"
        np.testing.assert_array_equal(layer.data, read_volume(archive, series=1, repair="resample").data)
