"""t-SNE of a cohort while it converges: drawn live, held, stopped."""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from time import sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sparse3d.widgets.child.process import Child
from napari_sparse3d.widgets.toolbox.work import Work

PERPLEXITY = 30.0
_HOLD_S = 0.03


def tsne_missing() -> str:
    """Why there is no t-SNE, with the line that installs it; "" where there is. Imports nothing."""
    return "" if find_spec("openTSNE") else "openTSNE is not installed; pip install 'napari-sparse3d[train]'"


class MapMaker(QObject):
    """Runs t-SNE in a child process of its own, which needs no torch and is not kept waiting by networks."""

    moved = Signal(int, object)
    """Iteration (0: still looking for neighbours) and positions (N, 2)."""
    finished = Signal(float)
    """The trustworthiness of the map."""
    failed = Signal(object)
    """A :class:`Failure`."""
    ended = Signal()
    """After finished, failed or stopped."""

    def __init__(self, parent: QObject, child: Child) -> None:
        super().__init__(parent)
        self._child = child
        self._held = False
        self.work = Work(self, interrupt=child.stop)
        self.work.stepped.connect(self._stepped)
        self.work.finished.connect(self._finished)
        self.work.failed.connect(self.failed)
        self.work.ended.connect(self.ended)
        self._warming = Work(self)
        if not tsne_missing():
            self._warming.start(lambda: child.call("maps.hello"), "preparing maps")

    @property
    def running(self) -> bool:
        """Whether a map is being made."""
        return self.work.running

    @property
    def preparing(self) -> bool:
        """Whether the process is still importing what t-SNE needs; a map that is asked for waits for it."""
        return self._warming.running

    def start(self, embeddings: NDArray[np.float32]) -> None:
        """Make a map of these; one that is being made is let go."""
        self._held = False
        self.work.start(lambda: self._tsne(embeddings), "t-SNE")

    def hold(self, on: bool) -> None:
        """Wait after the next picture, or go on."""
        self._held = on

    def stop(self) -> None:
        """End at once; what is drawn stays. The process is free after its next picture."""
        self._held = False
        self.work.drop()

    def _stepped(self, step: object) -> None:
        if isinstance(step, tuple):
            self.moved.emit(*step)

    def _finished(self, result: tuple[NDArray[np.float32], float]) -> None:
        positions, trust = result
        self.moved.emit(-1, positions)
        self.finished.emit(trust)

    def _tsne(self, embeddings: NDArray[np.float32]) -> Generator[Any, Any, Any]:
        """In the worker's thread: pass the positions on, and wait while they are held."""
        call = self._child.call("maps.tsne", embeddings=embeddings, perplexity=PERPLEXITY)
        try:
            step = next(call)
            while True:
                yield step
                while self._held:
                    sleep(_HOLD_S)
                    yield None  # where a worker can be ended
                step = call.send(True)
        except StopIteration as done:
            return done.value
        finally:
            call.close()
