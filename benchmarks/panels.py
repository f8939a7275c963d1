"""How quickly the panels answer: the slider's preview at 512^3, release to layer, and the map of 20,000 cases.

Run in a window: ``scripts/with-display .venv/bin/python benchmarks/panels.py``.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def main() -> None:
    """Print the figures of this machine."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print("no display: run it by scripts/with-display")
        return
    import napari

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    opened = time.perf_counter()
    from napari_sparse3d.widgets.voxels_panel import VoxelsPanel

    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    print(f"Sparse voxels opens: {1000 * (time.perf_counter() - opened):.0f} ms")
    _slider(viewer, panel)
    _map()
    viewer.close()


def _slider(viewer: Any, panel: Any) -> None:
    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import NoResampling

    random = np.random.default_rng(0)
    data = random.normal(0, 200, (512, 512, 512)).astype(np.int16)
    layer, arguments, _ = layer_of(Volume(data, np.eye(4), "HU", "CT", "ct512"))
    viewer.add_image(layer, **arguments)
    _until(lambda: panel.histogram.histogram is not None)
    panel.resample.setCurrentIndex(panel.resample.findData(NoResampling().kind))
    _until(lambda: not panel.making.running)
    panel.histogram.slider.setSliderDown(True)
    times = []
    top = panel.histogram.histogram.high
    for low in np.linspace(250, 400, 22):
        started = time.perf_counter()
        panel.histogram.slider.setValue((float(low), top))
        times.append(1000 * (time.perf_counter() - started))
        _until(lambda: True)
    first, rest = times[0], sorted(times[1:])
    print(f"slider to preview, 512^3 int16: median {statistics.median(rest):.1f} ms, worst {rest[-1]:.1f} ms")
    print(f"the first, which makes the layer: {first:.0f} ms")
    panel.histogram.slider.setSliderDown(False)
    panel._settle.stop()
    started = time.perf_counter()
    panel.run()
    _until(lambda: any("voxels" in each.name for each in viewer.layers))
    seconds, said = time.perf_counter() - started, panel.numbers.text().splitlines()[0]
    print(f"release to voxel layer, 512^3: {seconds:.2f} s ({said})")


def _map() -> None:
    from qtpy.QtCore import QPointF
    from qtpy.QtWidgets import QApplication

    from napari_sparse3d.widgets.map_view import MapView

    random = np.random.default_rng(0)
    view = MapView()
    view.resize(600, 500)
    view.show()
    view.set_positions(random.normal(size=(20_000, 2)).astype(np.float32))
    view.set_colours(random.integers(0, 5, 20_000), continuous=False)
    box = view.box
    started = time.perf_counter()
    for _ in range(40):
        box.translateBy(x=0.01)
        view.plot.viewport().repaint()
        QApplication.processEvents()
    print(f"map of 20,000, pan: {40 / (time.perf_counter() - started):.0f} frames a second")
    started = time.perf_counter()
    for step in range(200):
        view.nearest(QPointF(100 + step, 200))
    print(f"map of 20,000, hover: {1000 * (time.perf_counter() - started) / 200:.2f} ms")
    view.close()


def _until(condition: Callable[[], bool]) -> None:
    from qtpy.QtWidgets import QApplication

    while True:
        QApplication.processEvents()
        if condition():
            return
        time.sleep(0.005)


if __name__ == "__main__":
    main()
