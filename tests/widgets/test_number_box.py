"""Numbers that are typed are taken as they are or refused with a reason, never changed in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.gui


@pytest.fixture
def panel_of(qtbot: Any) -> Any:
    """Something that says, with a box in it."""
    from qtpy.QtWidgets import QVBoxLayout, QWidget

    class Saying(QWidget):
        def __init__(self, box: Any) -> None:
            super().__init__()
            QVBoxLayout(self).addWidget(box)
            self.said: list[str] = []

        def say(self, text: str, *, warning: bool = False) -> None:
            assert warning
            self.said.append(text)

    def of(box: Any) -> Any:
        panel = Saying(box)
        qtbot.addWidget(panel)
        panel.show()
        return panel

    return of


def typed(qtbot: Any, box: Any, text: str) -> None:
    from qtpy.QtCore import Qt

    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


@pytest.mark.parametrize(
    ("text", "value"),
    [("226.5", 226.5), ("-1000", -1000), ("5000", 5000), ("0.000001", 1e-6), ("226.1234567", 226.1234567)],
)
def test_what_is_typed_is_taken(qtbot: Any, panel_of: Any, text: str, value: float) -> None:
    from napari_sparse3d.widgets.toolbox.number_box import NumberBox

    box = NumberBox("a number", unit="HU")
    panel, taken = panel_of(box), []
    box.taken.connect(taken.append)
    typed(qtbot, box, text)
    assert (box.value(), taken, panel.said) == (value, [value], [])
    assert box.text() in (f"{text} HU", f"{value:.12g} HU")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("500", "500 was not accepted: Voxels must be at most 110; it stays at 40 mm."),
        ("0", "0 was not accepted: Voxels must be more than 0; it stays at 40 mm."),
        ("2.5", "2.5 was not accepted: Voxels must be a whole number; it stays at 40 mm."),
        ("many", "“many” is not a number; it stays at 40 mm."),
        ("77", "77 was not accepted: Voxels is reserved; it stays at 40 mm."),
    ],
)
def test_what_cannot_be_is_refused_and_said(qtbot: Any, panel_of: Any, text: str, reason: str) -> None:
    from napari_sparse3d.widgets.toolbox.number_box import NumberBox

    box = NumberBox(
        "Voxels", low=0, above=True, high=110, whole=True, unit="mm", check=lambda v: "is reserved" if v == 77 else ""
    )
    box.show_value(40)
    panel, taken = panel_of(box), []
    box.taken.connect(taken.append)
    typed(qtbot, box, text)
    assert (box.value(), taken) == (40, [])
    assert reason in panel.said
    assert box.text() == "40 mm"


@given(st.floats(-1e6, 1e6, width=32))
def test_a_value_of_a_scan_is_shown_and_left_as_it_is(qapp: Any, value: float) -> None:
    """In single precision, as scans are: what the box shows is the very number, also when it is read again."""
    from napari_sparse3d.widgets.toolbox.number_box import NumberBox

    box = NumberBox("a number")
    box.show_value(value)
    box.interpretText()
    assert box.value() == value
    assert np.float32(box.text().replace(",", ".")) == np.float32(value)
    box.deleteLater()


def test_steps_stand_where_they_are_shown(qtbot: Any) -> None:
    from napari_sparse3d.widgets.toolbox.number_box import NumberBox

    box = NumberBox("a number", high=0.35)
    qtbot.addWidget(box)
    box.setSingleStep(0.1)
    box.stepBy(3)
    box.stepBy(-1)
    box.stepBy(1)
    assert box.value() == 0.3
    box.stepBy(1)
    assert box.value() == 0.3, "0.4 is refused"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_end_of_a_scan_stays_its_end(qtbot: Any, dtype: Any) -> None:
    """Of 0 to 1 with a top of many digits: the highest value stays in the range while the other end is typed."""
    from napari_sparse3d.measure.histogram import histogram
    from napari_sparse3d.widgets.voxels.range_histogram import RangeHistogram
    from napari_sparse3d.widgets.voxels.recipes import custom_range

    values = np.random.default_rng(1).random((6, 7, 8)).astype(dtype)
    top = float(values.max())
    assert top != round(top, 12)
    ends = RangeHistogram()
    qtbot.addWidget(ends)
    ends.show()
    ends.set_histogram(histogram(values), "a.u.")
    assert ends.range == (float(values.min()), top)
    typed(qtbot, ends.low, "0.25")
    assert ends.range == (0.25, top)
    assert custom_range(*ends.range, float(values.min()), top, "a.u.").high is None
    shown = ends.high.text()
    typed(qtbot, ends.high, "0.5")
    assert ends.range == (0.25, 0.5)
    typed(qtbot, ends.high, shown)
    assert ends.range == (0.25, top)


@pytest.mark.parametrize("span", [1e-6, 3e-8, 1e-13])
def test_the_slider_stays_where_it_is_put_however_small_the_values(qtbot: Any, span: float) -> None:
    from napari_sparse3d.measure.histogram import histogram
    from napari_sparse3d.widgets.voxels.range_histogram import RangeHistogram

    values = np.linspace(0, span, 60).reshape(3, 4, 5)
    ends = RangeHistogram()
    qtbot.addWidget(ends)
    ends.set_histogram(histogram(values), "a.u.")
    ends.slider.setValue((0.25 * span, 0.75 * span))
    assert ends.range == pytest.approx((0.25 * span, 0.75 * span), rel=0.01)
    ends.slider.setValue((0.25 * span, span))
    assert ends.range[1] == span
