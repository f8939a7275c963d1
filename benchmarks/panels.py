"""How quickly the panels answer: opening, the slider's preview and release at 512^3, t-SNE, and a map of 20,000 cases.

Run in a window: ``scripts/with-display .venv/bin/python benchmarks/panels.py`` (``open``, ``slider``, ``tsne`` or
``map`` for a part of it). What the panels themselves take is told apart from the picture, which a virtual display draws
in software.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PANELS = {
    "Sparse voxels": "voxels.view:VoxelsPanel",
    "Network": "network.view:NetworkPanel",
    "Cohort": "cohort.view:CohortPanel",
    "Train": "train.view:TrainPanel",
}
LIMIT_S = 120


def main() -> None:
    """Print the figures of this machine."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print("no display: run it by scripts/with-display")
        return
    if sys.argv[1:2] == ["--open"]:
        _open(sys.argv[2])
        return
    parts = {"open": _open_all, "slider": _slider, "tsne": _tsne, "map": _map}
    for name in sys.argv[1:] or parts:
        parts[name]()


def _open_all() -> None:
    for name in PANELS:  # each in a process of its own: the second would find the first one's imports done
        subprocess.run([sys.executable, __file__, "--open", name], check=True)


def _open(name: str) -> None:
    viewer, _ = _viewer(), _spin(0.5)
    started = time.perf_counter()
    module, _, cls = PANELS[name].partition(":")
    panel = getattr(__import__(f"napari_sparse3d.widgets.{module}", fromlist=[cls]), cls)(viewer)
    viewer.window.add_dock_widget(panel, name=name)
    panel.repaint()
    print(f"{name} opens: {1000 * (time.perf_counter() - started):.0f} ms")
    os._exit(0)  # its child process is still importing: not waited for here


def _slider() -> None:
    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import NoResampling
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    random = np.random.default_rng(0)
    data = np.empty((512, 512, 512), dtype=np.int16)
    for plane in data:
        plane[...] = random.normal(0, 200, plane.shape)
    viewer = _viewer()
    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    _until(lambda: not panel.warming.running and not panel.costing.running)
    layer, arguments, _ = layer_of(Volume(data, np.eye(4), "HU", "CT", "ct512"))
    viewer.add_image(layer, **arguments)
    previews: list[float] = []
    show = panel.show_preview

    def timed() -> None:
        started = time.perf_counter()
        show()
        previews.append(1000 * (time.perf_counter() - started))

    panel.show_preview = timed
    _until(lambda: bool(previews))
    print(f"512^3 int16, the first preview, made as soon as the values are counted: {previews[0]:.0f} ms")
    form = panel.form
    form.resample.setCurrentIndex(form.resample.findData(NoResampling().kind))
    _settled(panel)
    _until(lambda: not panel.costing.running)

    slider, top = form.histogram.slider, form.histogram.histogram.high
    painted, ours = [], []
    drawn: list[int] = []
    viewer.window._qt_viewer.canvas._scene_canvas.events.draw.connect(lambda _event: drawn.append(1))
    slider.setSliderDown(True)
    for low in np.linspace(250, 400, 40):
        drawn.clear()
        started = time.perf_counter()
        slider.setValue((float(low), top))
        ours.append(1000 * (time.perf_counter() - started))
        _until(lambda: bool(drawn), pause_s=0)
        painted.append(1000 * (time.perf_counter() - started))
    print(f"slider to preview, the first move: {ours[0]:.1f} ms, painted after {painted[0]:.0f} ms")
    print(f"slider to preview: median {statistics.median(ours):.1f} ms, worst {max(ours):.1f} ms")
    print(f"slider to painted preview: median {statistics.median(painted):.1f} ms, worst {max(painted):.1f} ms")

    made: list[float] = []
    panel.workbench.voxels_changed.connect(lambda _layer: made.append(time.perf_counter()))
    started = time.perf_counter()
    panel.run()
    _until(lambda: bool(made))
    print(f"Make voxel set to the first layer: {made[0] - started:.2f} s ({panel.numbers.text().splitlines()[0]})")
    _until(lambda: not panel.costing.running)
    times = []
    for low in (400.0, 410.0, 390.0):
        made.clear()
        slider.setSliderDown(True)
        slider.setValue((low, top))
        started = time.perf_counter()
        slider.setSliderDown(False)
        slider.sliderReleased.emit()
        _until(lambda: bool(made))
        times.append(made[0] - started)
        _until(lambda: not panel.costing.running)
    print(f"release to voxel layer: {', '.join(f'{each:.2f}' for each in times)} s, of which 0.12 s wait for the hand")
    viewer.close()


def _tsne() -> None:
    from napari_sparse3d.cohort import write_rows
    from napari_sparse3d.widgets.cohort.view import CohortPanel

    random = np.random.default_rng(0)
    embeddings = random.normal(size=(8, 192))[np.arange(2000) % 8] + 0.5 * random.normal(size=(2000, 192))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = [
        {"path": f"{n}.npz", "status": "done", "label": "abcdefgh"[n % 8], "embedding": row.tolist()}
        for n, row in enumerate(embeddings)
    ]
    viewer = _viewer()
    panel = CohortPanel(viewer)
    viewer.window.add_dock_widget(panel)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "cohort.parquet"
        write_rows(rows, table)
        started = time.perf_counter()
        panel.set_source(table)
        print(f"2,000 x 192: table to PCA {1000 * (time.perf_counter() - started):.0f} ms")
    _until(lambda: not panel.mapping.running)
    prepared = time.perf_counter()
    _until(lambda: not panel.maker.preparing)  # the user looks at the PCA while openTSNE is imported
    print(f"the process of the maps is ready: {time.perf_counter() - prepared:.1f} s after the table")
    pictures: list[tuple[int, float]] = []
    panel.maker.moved.connect(lambda iteration, _: pictures.append((iteration, time.perf_counter())))
    started = time.perf_counter()
    panel.by.setCurrentText("t-SNE")
    panel.draw_map()
    _until(lambda: any(iteration for iteration, _ in pictures))
    iteration, first = next((i, at) for i, at in pictures if i)
    print(f"t-SNE, the first picture: {first - started:.2f} s (iteration {iteration})")
    _until(lambda: pictures[-1][0] >= 100)
    print(f"t-SNE, iteration {pictures[-1][0]}: {pictures[-1][1] - started:.2f} s")
    stopped = time.perf_counter()
    panel.stop.click()
    _until(lambda: not panel.mapping.running)
    print(f"t-SNE, stop: {1000 * (time.perf_counter() - stopped):.0f} ms")
    viewer.close()


def _map() -> None:
    from qtpy.QtCore import QPointF
    from qtpy.QtWidgets import QApplication

    from napari_sparse3d.widgets.cohort.map_view import MapView

    viewer = _viewer()  # for its application
    random = np.random.default_rng(0)
    view = MapView()
    view.resize(340, 300)
    view.show()
    positions = random.normal(size=(20_000, 2)).astype(np.float32)
    view.set_positions(positions)
    view.set_colours(random.integers(0, 5, 20_000), continuous=False)
    _spin(0.3)

    def rate(move: Callable[[int], object]) -> float:
        started = time.perf_counter()
        for step in range(40):
            move(step)
            view.plot.viewport().repaint()
            QApplication.processEvents()
        return 40 / (time.perf_counter() - started)

    view.box.disableAutoRange()
    print(f"map of 20,000, pan: {rate(lambda _: view.box.translateBy(x=0.01)):.0f} frames a second")
    zoom = rate(lambda step: view.box.scaleBy((0.95, 0.95) if step < 20 else (1.05, 1.05)))
    print(f"map of 20,000, zoom: {zoom:.0f} frames a second")
    moved = rate(lambda step: view.set_positions(positions * (1 + step / 100)))
    print(f"map of 20,000, every point moves: {moved:.0f} frames a second")
    started = time.perf_counter()
    for step in range(200):
        view.nearest(QPointF(70 + step / 2, 120))
    print(f"map of 20,000, hover: {1000 * (time.perf_counter() - started) / 200:.2f} ms")
    view.close()
    viewer.close()


def _viewer() -> Any:
    import napari

    return napari.Viewer(show=True, show_welcome_screen=False)


def _settled(panel: Any) -> None:
    _until(lambda: not (panel.counting.running or panel.making.running or panel._settle.isActive()))


def _until(condition: Callable[[], bool], pause_s: float = 0.005) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"this did not happen within {LIMIT_S} s")
        QApplication.processEvents()
        time.sleep(pause_s)


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    _until(lambda: time.monotonic() > end)


if __name__ == "__main__":
    main()
