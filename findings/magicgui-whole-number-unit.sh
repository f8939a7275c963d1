#!/usr/bin/env bash
# magicgui 0.10.2 with superqt 0.9.0: the SpinBox of a whole number is no QSpinBox but superqt's own box, which has no setSuffix, so it
# cannot show a unit; the FloatSpinBox is a QDoubleSpinBox, which can. And an empty text of a CheckBox becomes its name.
# It surprises because both are called spin boxes and take the same arguments, and because "" is what takes Qt's own text away.
# So: a whole number with a unit (voxels, epochs) is a FloatSpinBox without decimals, and the text of a check box is set on the Qt widget.
set -euo pipefail
source "$(dirname "$0")/run"
use magicgui==0.10.2 superqt==0.9.0 PyQt6==6.11.0
QT_QPA_PLATFORM=offscreen python - <<'PYTHON'
import magicgui
import superqt
from magicgui.widgets import CheckBox, FloatSpinBox, SpinBox
from qtpy.QtWidgets import QApplication, QDoubleSpinBox, QSpinBox

application = QApplication([])
print("magicgui", magicgui.__version__, "and superqt", superqt.__version__)
whole, number = SpinBox(value=3).native, FloatSpinBox(value=3.0).native
for box in (whole, number):
    print(f"{type(box).__name__}: setSuffix {hasattr(box, 'setSuffix')}")
text = CheckBox(name="use_good", text="").native.text()
print(f"check box with an empty text: {text!r}")
assert not isinstance(whole, QSpinBox) and not hasattr(whole, "setSuffix")
assert isinstance(number, QDoubleSpinBox) and hasattr(number, "setSuffix")
assert text == "use good"
PYTHON
