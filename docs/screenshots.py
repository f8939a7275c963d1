"""The pictures of the documentation, taken in a real window with real data: ``make screenshots``.

Steps wait for what they need and not for a time, so that a slow machine takes the same pictures. Without the folder of
real scans (``NAPARI_SPARSE3D_DATA``, or ``../shared/data`` beside the checkout) the CT is the synthetic one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import cases  # noqa: E402

IMAGES = ROOT / "docs" / "images"
WIDTH = 320
"""Pixels of a panel: no text may be cut at this width."""
N_CASES, N_TRAINED, OPEN_CASE = 120, 80, 87
LIMIT_S = 400


def main() -> None:
    """Take all pictures, or those whose names are given; say each step and how long it took."""
    import napari

    wanted = set(sys.argv[1:])
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_SPARSE3D_HOME"] = home
        for take in (first_look, own_ct, cohort, training):
            if wanted and take.__name__ not in wanted:
                continue
            say(f"{take.__name__}: {take.__doc__}")
            viewer = napari.Viewer(show=True, show_welcome_screen=False)
            viewer.window.resize(1400, 900)
            take(viewer, Path(home))
            viewer.close()
            spin(0.2)
    say("done")


def first_look(viewer: Any, _home: Path) -> None:
    """The head MRI: voxels, network, a layer, attribution."""
    voxels, dock = panel(viewer, "Sparse voxels")
    save(viewer, "voxels-empty")
    voxels.sample_button.click()
    until("the sample's numbers", lambda: voxels.numbers.text() and not voxels.making.running)
    voxels.primary.click()
    until("voxels and their cost", lambda: made(viewer, "voxels") and "take" in voxels.cost.text())
    save(viewer, "voxels-head")
    both_themes(viewer, dock, "voxels")
    dock.hide()
    network, dock = panel(viewer, "Network")
    until("the list of models", lambda: network.model.count() > 0)
    grab(dock, "network-before")
    network.primary.click()
    until("a run", lambda: network.ran is not None)
    network.table.selectRow(3)
    until("a layer", lambda: any("conv2" in layer.name for layer in viewer.layers))
    save(viewer, "network-layer-2d")
    network.in_3d.click()
    save(viewer, "network-layer-3d")
    network.in_3d.click()
    network.attribute_button.click()
    until("an attribution", lambda: any("drove" in layer.name for layer in viewer.layers))
    network.area.ensureWidgetVisible(network.attribute_button)
    save(viewer, "network-attribution")
    network.area.verticalScrollBar().setValue(0)
    both_themes(viewer, dock, "network")
    tabs = network.chart.parent().parent()
    tabs.setCurrentWidget(network.chart)
    grab(dock, "network-chart")


def own_ct(viewer: Any, home: Path) -> None:
    """A CT with the preview under the slider, its bones in 3D, and the choice among series."""
    voxels, _ = panel(viewer, "Sparse voxels")
    scan = cases.DATA / "nifti" / "ct" / "ts_abdomen_pelvis_ct_3mm.nii.gz"
    if scan.is_file():
        viewer.open(str(scan), plugin="napari-sparse3d")
    else:
        viewer.open_sample("napari-sparse3d", "chest_ct")
    until("the scan's numbers", lambda: voxels.numbers.text() and not voxels.making.running)
    form = voxels.form
    form.histogram.slider.setSliderDown(True)
    form.histogram.slider.setValue((150.0, form.histogram.histogram.high))
    save(viewer, "voxels-preview")
    form.histogram.slider.setSliderDown(False)
    bone = next(i for i in range(form.recipe_box.count()) if "ct-bone" in form.recipe_box.itemText(i))
    form.recipe_box.setCurrentIndex(bone)
    form.recipe_box.activated.emit(bone)
    voxels.primary.click()
    until("bone voxels", lambda: made(viewer, "voxels") and not voxels.making.running)
    viewer.layers[0].visible = False
    viewer.dims.ndisplay = 3
    viewer.scene.camera.set_view_direction(view_direction=(0.2, 1.0, 0.4), up_direction=(-1.0, 0.0, 0.0))
    save(viewer, "voxels-ct-3d")
    disc = cases.disc(home / "disc")
    if disc is not None:
        _series(voxels, disc)


def _series(voxels: Any, disc: Path) -> None:
    from napari_sparse3d.io import scan
    from napari_sparse3d.widgets.opening.series_chooser import SeriesChooser

    chooser = SeriesChooser(scan(disc), voxels)
    chooser.show()
    until("pictures of the series", lambda: not chooser._waiting)
    spin(0.3)
    chooser.grab().save(str(IMAGES / "series.png"))
    chooser.reject()


def cohort(viewer: Any, home: Path) -> None:
    """Lung nodules (or shapes) on a map, and the ones most like one of them."""
    table = cases.nodule_table(home / "nodules", N_CASES)
    many, dock = panel(viewer, "Cohort")
    grab(dock, "cohort-empty")
    many.workbench.set_model("nodule")
    many.set_source(table)
    many.primary.click()
    until("a third of the cases", lambda: len(many.state.rows) >= N_CASES // 3)
    grab(dock, "cohort-embedding")
    until("all cases", lambda: not many.embedding.running)
    many.by.setCurrentText("t-SNE")
    many.draw_map()
    until("t-SNE", lambda: not many.mapping.running)
    many.open_case(OPEN_CASE)
    until("a case opened", lambda: len(viewer.layers) == 1)
    network, other = panel(viewer, "Network")
    until("the list of models", lambda: network.model.count() > 0)
    network.primary.click()
    until("a run", lambda: network.ran is not None)
    dock.hide()
    grab(other, "network-trained")
    other.hide()
    dock.show()
    many.find_similar()
    until("similar cases", lambda: not many.placing.running and many.map.here.data.size > 0)
    both_themes(viewer, dock, "cohort")
    many.open_case(many.similar.indices[0])
    until("the nearest beside it", lambda: len(viewer.layers) == 2)
    many.area.ensureWidgetVisible(many.similar)
    save(viewer, "cohort-similar")


def training(viewer: Any, home: Path) -> None:
    """A small network learns to tell nodules (or shapes) apart; two runs are compared."""
    train, dock = panel(viewer, "Train")
    grab(dock, "train-empty")
    train.set_data(cases.nodules_by_class(home / "classes", N_TRAINED))
    train.epochs.setValue(8)
    train.primary.click()
    until("three epochs", lambda: len(train.state.epochs) >= 3 or train.failure is not None)
    grab(dock, "train-running")
    until("a trained model", lambda: train.process is None)
    both_themes(viewer, dock, "train")
    train.loss.setCurrentIndex(train.loss.findData("triplet"))
    train.epochs.setValue(5)
    train.primary.click()
    until("a second one", lambda: train.process is None)
    train.runs.heading.click()
    train.runs.table.selectAll()
    spin(0.2)
    train.area.ensureWidgetVisible(train.runs.measure)
    grab(dock, "train-runs")


def both_themes(viewer: Any, dock: Any, name: str) -> None:
    """One panel in the dark and in the light theme."""
    for theme in ("light", "dark"):
        viewer.theme = theme
        grab(dock, f"{name}-{theme}")


def panel(viewer: Any, name: str) -> tuple[Any, Any]:
    """Open a panel as the menu does."""
    dock, made = viewer.window.add_plugin_dock_widget("napari-sparse3d", name)
    dock.setFixedWidth(WIDTH)
    spin(0.3)
    return made, dock


def made(viewer: Any, role: str) -> bool:
    """Whether there is a layer of ours with this role."""
    from napari_sparse3d.widgets.toolbox.layers import ours

    return any(True for _ in ours(viewer, role))


def save(viewer: Any, name: str) -> None:
    """The whole window."""
    spin(0.5)
    viewer.screenshot(str(IMAGES / f"{name}.png"), canvas_only=False, flash=False)


def grab(dock: Any, name: str) -> None:
    """One panel."""
    spin(0.4)
    dock.grab().save(str(IMAGES / f"{name}.png"))


def until(what: str, condition: Callable[[], Any]) -> None:
    """Let the window live until something has happened."""
    from qtpy.QtWidgets import QApplication

    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + LIMIT_S:
            raise TimeoutError(f"{what}: did not come within {LIMIT_S} s")
        QApplication.processEvents()
        time.sleep(0.01)
    say(f"  {what}: {time.monotonic() - begun:.1f} s")


def say(text: str) -> None:
    """On standard error, past the progress bars of napari."""
    print(text, file=sys.stderr, flush=True)


def spin(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
