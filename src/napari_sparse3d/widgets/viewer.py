"""napari with a scan and its voxel set, in a process of its own: ``python -m napari_sparse3d.widgets.viewer``.

A process of its own, since Qt aborts the one it runs in where it finds no display, and since torch must not be imported
before Qt on some systems.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import VoxelSet


class NoWindow(RuntimeError):
    """napari could not be opened; the message says why."""


READY = "the window is open"
ORANGE = "#E69F00"


def open_window(scan: Path, voxels: Path, log: Path, *, timeout_s: float = 60) -> subprocess.Popen[bytes]:
    """Open napari with a scan and its voxel set, and leave it open when this process ends.

    Parameters
    ----------
    scan, voxels : Path
        A file that ``read_volume`` takes, and a ``.npz`` that ``VoxelSet.save`` wrote.
    log : Path
        Where the new process writes what it has to say.
    timeout_s : float
        How long to wait for the window.

    Returns
    -------
    subprocess.Popen
        The process that holds the window.

    Raises
    ------
    NoWindow
        If the process ended, or shows no window in time; it is then killed.
    """
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(scan), str(voxels)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if READY in log.read_text(errors="replace"):
            return process
        if process.poll() is not None:
            raise NoWindow(f"napari ended with code {process.returncode}; see {log}")
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise NoWindow(f"napari opened no window within {timeout_s:.0f} s; see {log}")


def show(volume: Volume, voxels: VoxelSet, *, name: str = "", viewer: napari.Viewer | None = None) -> napari.Viewer:
    """Show a scan, and the active voxels over it as a labels layer.

    Parameters
    ----------
    volume : Volume
    voxels : VoxelSet
        Of that scan.
    name : str
        Of the scan's layer, such as ``SeriesInfo.title``; unless given, the volume's.
    viewer : napari.Viewer, optional
        A new one unless given.
    """
    import napari
    from napari.utils.colormaps import DirectLabelColormap

    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.widgets.patient_view import show_sides

    data, about, kind = layer_of(volume, name)
    name = about["name"]
    viewer = viewer or napari.Viewer(title=f"{name} - napari-sparse3d")
    viewer.add_layer(napari.layers.Layer.create(data, about, kind))
    mask = Volume(voxels.mask().view("u1"), voxels.affine, meta={"labels": True})
    data, about, _ = layer_of(mask, f"{name} · active voxels")
    colours = DirectLabelColormap(color_dict={None: "transparent", 1: ORANGE})
    viewer.add_labels(data, **about, colormap=colours, opacity=0.35)
    show_sides(viewer)
    return viewer


def _main(scan: str, voxels: str) -> None:
    import napari

    from napari_sparse3d.io.read import choose_series, read_volume
    from napari_sparse3d.voxels import VoxelSet

    info = choose_series(Path(scan))
    show(read_volume(info), VoxelSet.load(voxels), name=info.title)
    print(READY, flush=True)
    napari.run()


if __name__ == "__main__":
    _main(*sys.argv[1:])
