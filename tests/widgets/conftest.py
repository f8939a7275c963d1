"""Panels in a real window. One child process serves all tests: importing torch once is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.volume import Volume

WAIT_MS = 90_000
"""Other programs may hold the processor: long enough to tell slow from never."""


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SPARSE3D_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A widget, timer or thread that outlives its window fails the test."""
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")


@pytest.fixture(scope="session")
def shared_child() -> Iterator[Any]:
    from napari_sparse3d.widgets.child.process import Child

    child = Child()
    yield child
    child.stop()


@pytest.fixture
def one_child(shared_child: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Panels use the process of all tests, and leave it running."""

    class Borrowed:
        def __init__(self) -> None:
            self.call = shared_child.call

        def stop(self) -> None:
            pass

        close = reopen = stop

    monkeypatch.setattr("napari_sparse3d.widgets.workbench.Child", Borrowed)
    return shared_child


@pytest.fixture
def oblique() -> Volume:
    """An ellipsoid with a dent, so that no axis can be mistaken for another; oblique, anisotropic, in HU."""
    shape, spacing = (30, 44, 52), np.array([3.0, 1.2, 1.7])
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    inside = (z[:, None, None] / 0.8) ** 2 + (y[None, :, None] / 0.6) ** 2 + (x[None, None, :] / 0.9) ** 2 < 1
    inside[:12, :, :20] = False
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * spacing, (-31.0, 12.5, 80.0)
    return Volume(np.where(inside, 700, -50).astype(np.int16), affine, "HU", "CT", "dented ellipsoid")


@pytest.fixture
def add_volume() -> Callable[..., Any]:
    """Add a volume to a viewer as the reader does."""

    def add(viewer: Any, volume: Volume) -> Any:
        from napari_sparse3d.io.layers import layer_of

        data, arguments, _ = layer_of(volume)
        return viewer.add_image(data, **arguments)

    return add
