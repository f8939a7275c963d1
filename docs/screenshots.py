"""The pictures of the documentation, taken in a real window with real data: ``make screenshots``.

Steps wait for what they need and not for a time, so that a slow machine takes the same pictures. Without the folder of
real scans (``SPARSE3D_DATA``, or ``../shared/data`` beside the checkout) the CT is the synthetic one.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH = 320
LIMIT_S = 400


def main() -> None:
    """Take all pictures, or those whose names are given."""
    import napari

    wanted = set(sys.argv[1:])
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_SPARSE3D_HOME"] = home
        for take in (first_look, own_ct, cohort, training):
            if wanted and take.__name__ not in wanted:
                continue
            viewer = napari.Viewer(show=True, show_welcome_screen=False)
            viewer.window.resize(1400, 900)
            print(take.__name__, flush=True)
            take(viewer, Path(home))
            viewer.close()
            spin(0.2)


def first_look(viewer: Any, _home: Path) -> None:
    """The head MRI: voxels, network, a layer, attribution."""
    voxels, dock = panel(viewer, "Sparse voxels")
    save(viewer, "voxels-empty")
    voxels.sample_button.click()
    until(lambda: voxels.numbers.text() and not voxels.making.running)
    voxels.primary.click()
    until(lambda: made(viewer, "voxels") and "take" in voxels.cost.text())
    save(viewer, "voxels-head")
    for theme in ("light", "dark"):
        viewer.theme = theme
        grab(dock, f"voxels-{theme}")
    dock.hide()
    network, dock = panel(viewer, "Network")
    grab(dock, "network-before")
    until(lambda: network.model.count() > 0)
    network.primary.click()
    until(lambda: network.ran is not None)
    network.table.selectRow(3)
    until(lambda: any("conv2" in layer.name for layer in viewer.layers))
    save(viewer, "network-layer-2d")
    network.in_3d.click()
    save(viewer, "network-layer-3d")
    network.in_3d.click()
    network.attribute_button.click()
    until(lambda: any("drove" in layer.name for layer in viewer.layers))
    save(viewer, "network-attribution")
    for theme in ("light", "dark"):
        viewer.theme = theme
        grab(dock, f"network-{theme}")


def own_ct(viewer: Any, _home: Path) -> None:
    """A CT with a preset and the preview under the slider."""
    voxels, _ = panel(viewer, "Sparse voxels")
    scans = Path(os.environ.get("SPARSE3D_DATA", ROOT.parent / "shared" / "data")) / "nifti" / "ct"
    scan = scans / "ts_abdomen_pelvis_ct_3mm.nii.gz"
    if scan.is_file():
        viewer.open(str(scan), plugin="napari-sparse3d")
    else:
        viewer.open_sample("napari-sparse3d", "chest_ct")
    until(lambda: voxels.numbers.text() and not voxels.making.running)
    form = voxels.form
    form.histogram.slider.setSliderDown(True)
    form.histogram.slider.setValue((150.0, form.histogram.histogram.high))
    save(viewer, "voxels-preview")
    form.histogram.slider.setSliderDown(False)
    bone = next(i for i in range(form.recipe_box.count()) if "ct-bone" in form.recipe_box.itemText(i))
    form.recipe_box.setCurrentIndex(bone)
    form.recipe_box.activated.emit(bone)
    voxels.primary.click()
    until(lambda: made(viewer, "voxels") and not voxels.making.running)
    viewer.layers[0].visible = False
    viewer.dims.ndisplay = 3
    viewer.camera.set_view_direction(view_direction=(0.2, 1.0, 0.4), up_direction=(-1.0, 0.0, 0.0))
    save(viewer, "voxels-ct-3d")


def cohort(viewer: Any, home: Path) -> None:
    """Lung nodules (or shapes) on a map, and the ones most like one of them."""
    table = _nodules(home)
    many, dock = panel(viewer, "Cohort")
    grab(dock, "cohort-empty")
    many.set_source(table)
    many.primary.click()
    until(lambda: len(many._rows) >= 12)
    grab(dock, "cohort-embedding")
    until(lambda: not many.embedding.running)
    many.by.setCurrentText("t-SNE")
    many.draw_map()
    until(lambda: not many.mapping.running)
    grab(dock, "cohort-map")
    many.open_case(2)
    until(lambda: len(viewer.layers) == 1)
    network, other = panel(viewer, "Network")
    until(lambda: network.model.count() > 0)
    network.primary.click()
    until(lambda: network.ran is not None)
    other.hide()
    many.find_similar()
    until(lambda: not many.placing.running and many.map.here.data.size > 0)
    many.open_case(many.similar.indices[1])
    until(lambda: len(viewer.layers) == 2)
    many.area.ensureWidgetVisible(many.similar)
    save(viewer, "cohort-similar")
    viewer.theme = "light"
    grab(dock, "cohort-light")
    viewer.theme = "dark"


def training(viewer: Any, home: Path) -> None:
    """A small network learns two kinds of shapes."""
    train, dock = panel(viewer, "Train")
    grab(dock, "train-empty")
    train.set_data(_shapes(home))
    train.recipe.setCurrentIndex(train.recipe.findData("shape-40"))
    train.epochs.setValue(6)
    train.primary.click()
    until(lambda: len(train._epochs) >= 3 or train._fault is not None)
    grab(dock, "train-running")
    until(lambda: train.process is None)
    grab(dock, "train-done")
    train.loss.setCurrentIndex(train.loss.findData("triplet"))
    train.primary.click()
    until(lambda: train.process is None)
    train.runs.heading.click()
    train.runs.table.selectAll()
    spin(0.2)
    train.area.ensureWidgetVisible(train.runs.measure)
    grab(dock, "train-runs")
    viewer.theme = "light"
    grab(dock, "train-light")
    viewer.theme = "dark"


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


def until(condition: Callable[[], Any]) -> None:
    """Let the window live until something has happened."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"this did not happen within {LIMIT_S} s: {condition.__code__}")
        QApplication.processEvents()
        time.sleep(0.01)


def spin(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def _nodules(home: Path) -> Path:
    """A table of voxel sets: LIDC-IDRI nodules where they are at hand, otherwise balls and boxes."""
    folder = home / "nodules"
    folder.mkdir()
    data = Path(os.environ.get("SPARSE3D_DATA", ROOT.parent / "shared" / "data")) / "labelled" / "lidc_nodules"
    rows: list[tuple[str, str, str, str]] = []
    if (data / "lidc_nodules_open.npz").is_file():
        arrays = np.load(data / "lidc_nodules_open.npz")
        about = list(csv.DictReader((data / "lidc_nodules_open.csv").open()))
        picked = [i for i, row in enumerate(about) if row["label_malignant"] in "01" and int(row["n_vox_1mm"]) > 150]
        for i in picked[:24]:
            indices = arrays["coords"][arrays["offsets"][i] : arrays["offsets"][i + 1]].astype(np.int32)
            label = "malignant" if about[i]["label_malignant"] == "1" else "benign"
            rows.append((_write(folder, i, indices), label, about[i]["patient"], about[i]["split"]))
    else:
        for i, (label, mask) in enumerate(_random_shapes(80)):
            rows.append((_write(folder, i, np.argwhere(mask).astype(np.int32)), label, str(i), "train"))
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "patient", "split"])
        writer.writerows(rows)
    return folder / "cases.csv"


def _write(folder: Path, number: int, indices: np.ndarray[Any, Any]) -> str:
    from napari_sparse3d.voxels import VoxelSet

    order = np.lexsort((indices[:, 2], indices[:, 1], indices[:, 0]))
    rows = np.ascontiguousarray(indices[order])
    name = f"nodule_{number:04d}.npz"
    VoxelSet(rows, np.ones((len(rows), 1), np.float32), (64, 64, 64), np.eye(4)).save(folder / name)
    return name


def _shapes(home: Path) -> Path:
    """A folder per class: balls and boxes as NIfTI."""
    from napari_sparse3d.io.write import write_volume
    from napari_sparse3d.volume import Volume

    folder = home / "shapes"
    for number, (label, mask) in enumerate(_random_shapes(40)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        write_volume(Volume(mask.astype(np.uint8), np.eye(4)), folder / label / f"case{number:02d}.nii.gz")
    return folder


def _random_shapes(count: int) -> list[tuple[str, np.ndarray[Any, Any]]]:
    random = np.random.default_rng(7)
    grid = np.stack(np.meshgrid(*[np.arange(64) - 31.5] * 3, indexing="ij"))
    found = []
    for number in range(count):
        radii = random.uniform(9, 22, 3)[:, None, None, None]
        if number % 2:
            found.append(("ball", ((grid / radii) ** 2).sum(axis=0) < 1))
        else:
            found.append(("box", (np.abs(grid) < 0.8 * radii).all(axis=0)))
    return found


if __name__ == "__main__":
    main()
