"""A box for a number that is taken as it was typed, or refused with the reason: never cut to a bound or a digit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

_LARGEST = 1e15
_DECIMALS = 100
"""Of what Qt keeps, so that it rounds no number of a scan; what is shown is as long as the number is."""


class NumberBox(QDoubleSpinBox):
    """Every number can be typed into it. One that cannot be is refused when it is entered; the panel says why.

    Parameters
    ----------
    name : str
        What the number is, for the sentence that refuses one.
    low, high : float, optional
        Bounds.
    above, below : bool
        Whether ``low`` or ``high`` itself is left out.
    whole : bool
        Whether a fraction is refused.
    unit : str
        Stands behind the number.
    check : callable, optional
        Says why a number within the bounds cannot be, or ``""``.
    """

    taken = Signal(float)
    """Another number, by hand or by ``setValue``: one that may be."""

    def __init__(
        self,
        name: str,
        *,
        low: float | None = None,
        high: float | None = None,
        above: bool = False,
        below: bool = False,
        whole: bool = False,
        unit: str = "",
        check: Callable[[float], str] = lambda _value: "",
    ) -> None:
        super().__init__()
        self._low, self._high, self._above, self._below = low, high, above, below
        self._whole, self._check = whole, check
        self.setAccessibleName(name)
        self.setDecimals(_DECIMALS)
        self.setRange(-_LARGEST, _LARGEST)  # ours are looked at when a number is there: Qt would swallow digits
        if unit:
            self.setSuffix(unit if unit == "°" else f" {unit}")
        self.setKeyboardTracking(False)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self._stands = self.value()
        self.valueChanged.connect(self._entered)

    def value(self) -> float:
        """The number that stands; an int where it is a whole one."""
        number = super().value()
        return int(number) if self._whole else number

    def show_value(self, value: float) -> None:
        """Show a number that is known to be right, without a signal."""
        with QSignalBlocker(self):
            self.setValue(value)

    def setValue(self, value: float) -> None:
        """As Qt's; a number that cannot be is refused as if it were typed, unless signals are blocked."""
        if self.signalsBlocked():
            self._stands = float(value)
        super().setValue(float(value))

    def stepBy(self, steps: int) -> None:
        """As Qt's, to the number that is shown: 0.1 and 0.2 are 0.3, and not 0.30000000000000004."""
        self.interpretText()
        self.setValue(float(f"{self.value() + steps * self.singleStep():.12g}"))
        self.selectAll()

    def textFromValue(self, value: float) -> str:
        """As short as the number is, in single precision where it has no more."""
        single = np.float32(value)
        text = np.format_float_positional(single, trim="-") if float(single) == value else f"{value:.12g}"
        point = self.locale().decimalPoint()
        return str(text).replace(".", point if isinstance(point, str) else ".")

    def valueFromText(self, text: str | None) -> float:
        """The number; the one that stands, where its own text stands."""
        plain = self._plain(text)
        if plain == self.textFromValue(self.value()):
            return self.value()
        return self._number(plain) or 0.0

    def validate(self, text: str | None, place: int) -> Any:
        """Anything can be typed; what is not a number is not entered."""
        known = self._number(self._plain(text)) is not None
        return (QValidator.State.Acceptable if known else QValidator.State.Intermediate), text or "", place

    def fixup(self, text: str | None) -> str:
        """What was typed is not a number: the one before stands, and that is said."""
        self._say(f"“{self._plain(text)}” is not a number")
        return self.prefix() + self.textFromValue(self.value()) + self.suffix()

    def _plain(self, text: str | None) -> str:
        return (text or "").removesuffix(self.suffix()).removesuffix(self.suffix().strip() or "\0").strip()

    def _number(self, text: str) -> float | None:
        answer: Any = self.locale().toDouble(text)
        number, known = answer
        return float(number) if known and np.isfinite(number) else None

    def _entered(self, value: float) -> None:
        reason = self._why_not(value)
        if not reason:
            self._stands = value
            self.taken.emit(value)
            return
        with QSignalBlocker(self):
            super().setValue(self._stands)
        self._say(f"{self.textFromValue(value)} was not accepted: {self.accessibleName()} {reason}")

    def _why_not(self, value: float) -> str:
        if self._low is not None and (value < self._low or (self._above and value == self._low)):
            return f"must be {'more than' if self._above else 'at least'} {self._low:g}"
        if self._high is not None and (value > self._high or (self._below and value == self._high)):
            return f"must be {'less than' if self._below else 'at most'} {self._high:g}"
        if self._whole and value != round(value):
            return "must be a whole number"
        return self._check(value)

    def _say(self, why: str) -> None:
        """Let the panel in which this stands say what was refused, and what stands instead."""
        above: QWidget | None = self.parentWidget()
        while above is not None and not hasattr(above, "say"):
            above = above.parentWidget()
        if above is not None:
            stands = self.textFromValue(self._stands)
            above.say(f"{why}; it stays at {stands}{self.suffix()}.", warning=True)
