"""Make the pictures of the documentation anew: ``make screenshots`` (needs a display, real or virtual)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.io import sample_head_mri
from napari_sparse3d.voxels import Recipe, voxelize
from napari_sparse3d.widgets.viewer import show

IMAGES = Path(__file__).parent / "images"


def demo_pictures() -> None:
    """What ``napari-sparse3d demo`` draws."""
    with tempfile.TemporaryDirectory() as folder:
        result = CliRunner().invoke(app, ["demo", "--no-viewer", "-o", folder])
        if result.exit_code:
            raise RuntimeError(result.output)
        for name in ("planes", "layers"):
            (IMAGES / f"demo-{name}.png").write_bytes(Path(folder, f"{name}.png").read_bytes())


def demo_window() -> None:
    """The window that the demo opens."""
    volume = sample_head_mri()
    viewer = show(volume, voxelize(volume, Recipe.named("mri-110")))
    viewer.window.resize(1180, 760)
    save_window(viewer, "demo-napari.png")


def save_window(viewer: napari.Viewer, name: str) -> None:
    """Save a picture of the whole window, and close it."""
    for _ in range(50):  # layout, then the first frames
        QApplication.processEvents()
    viewer.screenshot(str(IMAGES / name), canvas_only=False, flash=False)
    viewer.close()


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    demo_pictures()
    demo_window()
