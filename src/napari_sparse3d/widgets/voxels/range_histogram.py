"""A histogram with a range slider under it, and the two ends as numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QDoubleRangeSlider

from napari_sparse3d.measure.histogram import Histogram
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.number_box import NumberBox
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.theme import ORANGE

_MARGIN = 8
"""Pixels at each end of the slider's groove: half a handle."""


class RangeHistogram(QWidget):
    """Choose a range of values. Counts are drawn on a logarithmic scale: bone is few voxels, and has to be seen."""

    changed = Signal(float, float)
    """The user moves an end: low, high."""
    released = Signal()
    """The user has let go, or has typed a number."""

    def __init__(self) -> None:
        super().__init__()
        self.plot = _Plot()
        self.slider = QDoubleRangeSlider(Qt.Orientation.Horizontal)  # type: ignore[no-untyped-call]
        self.slider.setToolTip("Which values are active. Drag an end, or the bar between them.")
        self.slider.setAccessibleName("Range of active values")
        self.low = _number("the lowest active value", self._why_not_low)
        self.high = _number("the highest active value", self._why_not_high)
        self.unit = QLabel()
        self.unit.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.unit.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        ends = Row(most=3)
        ends.add(self.low, self.unit, self.high)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.plot)
        layout.addWidget(self.slider)
        layout.addLayout(ends)
        self._histogram: Histogram | None = None
        self._digits = 0
        self.slider.valueChanged.connect(self._slid)
        self.slider.sliderReleased.connect(self.released)
        for box in (self.low, self.high):
            box.taken.connect(self._typed)
        self.setEnabled(False)

    @property
    def histogram(self) -> Histogram | None:
        """What is shown."""
        return self._histogram

    @property
    def range(self) -> tuple[float, float]:
        """The chosen ends, in the unit of the values."""
        return self.low.value(), self.high.value()

    def set_histogram(self, histogram: Histogram | None, unit: str) -> None:
        """Show other counts; the range becomes all of it."""
        self._histogram = histogram
        self.setEnabled(histogram is not None)
        self.plot.set_histogram(histogram)
        self.unit.setText(unit)
        if histogram is None:
            return
        low, high = histogram.low, histogram.high
        if low == high:
            high += 1e-9  # a slider needs a length
        # a thousand steps at least, however small the values are
        self._digits = digits = 0 if histogram.integer else max(0, int(3 - np.floor(np.log10(high - low))))
        with _Quiet(self.slider, self.low, self.high):
            self.slider.setRange(low, high)
            self.slider.setSingleStep(max((high - low) / 1000, 10.0**-digits))
            for box in (self.low, self.high):
                box.setSingleStep(max((high - low) / 200, 10.0**-digits))
        self.set_range(low, high)

    def set_range(self, low: float, high: float) -> None:
        """Put the ends somewhere, without a signal; where one lies outside the scan, the slider stands at its end."""
        if self._histogram is None:
            return
        bottom, top = self._histogram.low, self._histogram.high
        with _Quiet(self.slider):
            self.slider.setValue((float(np.clip(low, bottom, top)), float(np.clip(high, bottom, top))))
        self.low.show_value(low)
        self.high.show_value(high)
        self.plot.set_range(low, high)

    def _slid(self, ends: tuple[float, float]) -> None:
        low, high = self._at_an_end(ends[0]), self._at_an_end(ends[1])
        self.low.show_value(low)
        self.high.show_value(high)
        self.plot.set_range(low, high)
        self.changed.emit(low, high)
        if not self.slider.isSliderDown():  # by key or wheel: nothing will be released
            self.released.emit()

    def _typed(self) -> None:
        low, high = self._end_shown_in(self.low), self._end_shown_in(self.high)
        self.set_range(low, high)
        self.changed.emit(low, high)
        self.released.emit()

    def _end_shown_in(self, box: NumberBox) -> float:
        """The scan's own end where that is typed, which can have more digits than are shown; else the number."""
        value = box.value()
        if self._histogram is not None:
            for end in (self._histogram.low, self._histogram.high):
                if box.textFromValue(value) == box.textFromValue(end):
                    return end
        return value

    def _at_an_end(self, value: float) -> float:
        """Where the slider is pulled to an end, that end itself; else as many digits as the scan's values are worth."""
        if self._histogram is not None:
            for end in (self._histogram.low, self._histogram.high):
                if abs(value - end) <= 0.5 * 10.0**-self._digits:
                    return end
        return round(value, self._digits)

    def _why_not_low(self, value: float) -> str:
        high = self.high.value()
        return f"must be at most the highest, {high:g}" if value > high else ""

    def _why_not_high(self, value: float) -> str:
        low = self.low.value()
        return f"must be at least the lowest, {low:g}" if value < low else ""


class _Plot(Painted):
    """The bars, those inside the range in orange."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(84)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("How often each value occurs (logarithmic)")
        self._histogram: Histogram | None = None
        self._range = (0.0, 0.0)

    def set_histogram(self, histogram: Histogram | None) -> None:
        self._histogram = histogram
        self.update()

    def set_range(self, low: float, high: float) -> None:
        self._range = (low, high)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        painter = QPainter(self)
        look = self.look
        if look is None:
            return
        painter.fillRect(self.rect(), QColor(look.foreground))
        if self._histogram is None:
            return
        width, height = self.width() - 2 * _MARGIN, self.height() - 6
        columns = max(1, width // 2)
        heights = _column_heights(self._histogram, columns)
        low, high = self._range
        span = (self._histogram.high - self._histogram.low) or 1.0
        width_each = width / columns
        for column, share in enumerate(heights):
            value = self._histogram.low + (column + 0.5) / columns * span
            inside = low <= value <= high or columns * abs(value - low) < span / 2
            painter.fillRect(
                QRectF(_MARGIN + column * width_each, 3 + height * (1 - share), width_each - 0.4, height * share),
                QColor(ORANGE if inside else look.line),
            )
        painter.setPen(QColor(look.text))
        for end in (low, high):
            x = round(_MARGIN + (end - self._histogram.low) / span * width)
            painter.drawLine(x, 2, x, self.height() - 2)


def _column_heights(histogram: Histogram, columns: int) -> NDArray[np.float64]:
    """Counts per column of the picture, on a logarithmic scale from 0 to 1."""
    centres = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    span = (histogram.high - histogram.low) or 1.0
    place = np.clip(((centres - histogram.low) / span * columns).astype(int), 0, columns - 1)
    sums = np.bincount(place, weights=histogram.counts, minlength=columns)
    logarithm = np.log1p(sums)
    return np.asarray(logarithm / (logarithm.max() or 1.0))


def _number(name: str, why_not: Callable[[float], str]) -> NumberBox:
    box = NumberBox(name, check=why_not)
    box.setToolTip(name[:1].upper() + name[1:])
    box.setMinimumWidth(64)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box


class _Quiet:
    """Inside this block the given widgets send no signals."""

    def __init__(self, *widgets: QWidget) -> None:
        self._widgets = widgets

    def __enter__(self) -> None:
        for widget in self._widgets:
            widget.blockSignals(True)

    def __exit__(self, *_: object) -> None:
        for widget in self._widgets:
            widget.blockSignals(False)
