"""The panel for looking at scans."""

from __future__ import annotations

from functools import partial

from napari.layers import Layer
from qtpy.QtWidgets import QPushButton, QWidget

from napari_sparse3d.widgets.look.greys import OF_HU, Greys, choices_for, is_ct, limits_of, said_of
from napari_sparse3d.widgets.look.planes import LinkedPlanes
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.toolbox.cursor_line import cursor_line
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layers import follow_layers, scans, volume_layer
from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label
from napari_sparse3d.widgets.toolbox.panel import Panel

_SOURCE = "The usual windows of a CT, as Radiopaedia lists them (Windowing (CT))"


class LookPanel(Panel):
    """Window a scan in one click."""

    primary_text = "Reset greys"

    def build(self) -> None:
        """Lay out the controls, and connect them with the viewer."""
        self._opened: dict[str, tuple[float, float]] = {}
        self.empty = NothingOpen(self.viewer, self, self.say, sample="chest_ct")
        self.body.addWidget(self.empty)
        self.scan = combo("The scan whose grey levels are set; no other layer changes")
        top = form()
        top.addRow("Scan", self.scan)
        top.addRow(cursor_line(self.viewer, self._layer))
        self.body.addLayout(top)
        self.buttons: list[QPushButton] = []
        self._windows = QWidget()
        for number in range(len(OF_HU)):
            button = QPushButton()
            button.clicked.connect(partial(self._press, number))
            self.buttons.append(button)
        beside = Row()
        beside.add(*self.buttons)
        self._windows.setLayout(beside)
        self.body.addWidget(self._windows)
        self.text = small_label()
        self.body.addWidget(self.text)
        self.three = QPushButton("Three planes")
        self.three.setCheckable(True)
        self.three.setToolTip(
            "The two other planes beside this one, with one crosshair: a click in any of them moves it in all"
        )
        self.three.toggled.connect(self._toggle_planes)
        self.body.addWidget(self.three)
        self.body.addStretch(1)
        self.planes: LinkedPlanes | None = None
        follow_layers(self.viewer, self._layers_changed)
        self.viewer.layers.selection.events.active.connect(self._follow_active)
        self.scan.currentIndexChanged.connect(self._show_choices)
        self._layers_changed()

    def _layer(self) -> Layer | None:
        return volume_layer(self.viewer, self.scan.currentData() or "")

    def _layers_changed(self, _event: object = None) -> None:
        chosen = self.scan.currentData()
        self.scan.blockSignals(True)
        self.scan.clear()
        for layer in scans(self.viewer):
            identifier = str(layer.unique_id)
            self.scan.addItem(layer.name, identifier)
            low, high = layer.contrast_limits
            self._opened.setdefault(identifier, (float(low), float(high)))
        self.scan.setCurrentIndex(max(self.scan.findData(chosen), 0) if self.scan.count() else -1)
        self.scan.blockSignals(False)
        self._follow_active()
        self._show_choices()

    def _follow_active(self, _event: object = None) -> None:
        """The layer that is selected is meant, where it is a scan."""
        active = self.viewer.layers.selection.active
        if active in scans(self.viewer):
            self.scan.setCurrentIndex(self.scan.findData(str(active.unique_id)))

    def _show_choices(self, _event: object = None) -> None:
        layer = self._layer()
        self.empty.setVisible(layer is None)
        self.empty.say_why()
        self._windows.setVisible(layer is not None)
        self.primary.setEnabled(layer is not None)
        self.three.setVisible(layer is not None or self.planes is not None)
        self.text.setText("")
        if layer is None:
            return
        for button, greys in zip(self.buttons, choices_for(layer), strict=True):
            button.setText(greys.title)
            if greys.limits is not None:
                button.setToolTip(f"{greys.limits[0]:g} to {greys.limits[1]:g} HU. {_SOURCE}")
            else:
                button.setToolTip("A range of this scan's own values: without a unit there are no standard windows")
        if not is_ct(layer):
            self.text.setText("Not in HU: grey levels are percentiles of its own values.")

    def _press(self, number: int) -> None:
        layer = self._layer()
        if layer is not None:
            self.show_greys(layer, choices_for(layer)[number])

    def show_greys(self, layer: Layer, greys: Greys) -> None:
        """Set the greys of one layer, and say which they are."""
        with self.telling():
            limits = limits_of(layer, greys)
            layer.contrast_limits = limits
            self.text.setText(said_of(layer, greys, limits))

    def _toggle_planes(self, on: bool) -> None:
        if not on:
            if self.planes is not None:
                self.viewer.window.remove_dock_widget(self.planes)  # which closes them
            return
        with self.telling():
            self.planes = planes = LinkedPlanes(self.viewer)
            planes.closed.connect(self._planes_closed)
            self.viewer.window.add_dock_widget(planes, name="Three planes", area="right", tabify=False)
        self.three.setChecked(self.planes is not None)

    def _planes_closed(self) -> None:
        self.planes = None
        self.three.setChecked(False)

    def run(self) -> None:
        """The primary button: the greys with which the scan was opened."""
        layer = self._layer()
        if layer is not None:
            low, high = layer.contrast_limits = self._opened[str(layer.unique_id)]
            self.text.setText(f"{low:.4g} to {high:.4g}, as opened")
