"""Jobs that draw maps of a cohort. No torch: the first picture does not wait for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.measure import maps


def hello() -> Generator[Any, bool, str]:
    """Import what t-SNE needs, while the user is still looking around."""
    yield "importing openTSNE"
    import openTSNE

    return str(openTSNE.__version__)


def tsne(embeddings: NDArray[np.float32], perplexity: float) -> Generator[Any, bool, tuple[NDArray[np.float32], float]]:
    """t-SNE; yields ``(iteration, positions)`` as it converges, and returns positions and their trustworthiness."""
    yield (0, maps.pca(embeddings))
    # the library calls back, a job yields: so it runs in a thread, and waits for an answer in its callback
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def watch(iteration: int, positions: NDArray[np.float32]) -> bool:
        told.put((iteration, positions))
        return not answers.get()

    def work() -> None:
        try:
            told.put(maps.tsne(embeddings, perplexity=perplexity, watch=watch))
        except Exception as error:  # raised again below, where it is seen
            told.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        said = told.get()
        if isinstance(said, Exception):
            raise said
        if not isinstance(said, tuple):
            return np.asarray(said), maps.trustworthiness(embeddings, said)
        answers.put((yield said))


def place(
    new: NDArray[np.float32], embeddings: NDArray[np.float32], positions: NDArray[np.float32], by: str
) -> Generator[Any, bool, NDArray[np.float32]]:
    """Place new cases into a map that stays as it is."""
    yield "placing"
    if by == "PCA" or len(embeddings) < 5:
        both = maps.pca(np.concatenate([embeddings, new])) if len(embeddings) < 2 else maps.project(new, embeddings)
        return both[-len(new) :]
    return maps.place(new, embeddings, positions)
