"""Whether validation cases bear out their labels, before probabilities are made to fit them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.measure.metrics import binary_auc


def below_chance(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> str:
    """What is to be said where the cases are ranked against their labels; "" where they are not, or none can tell.

    Parameters
    ----------
    probabilities : ndarray
        (n, classes).
    labels : ndarray
        (n,) class numbers. The AUC is that of one class against the rest, its mean where there are more than two.
    """
    classes = range(probabilities.shape[1]) if probabilities.shape[1] > 2 else range(1, 2)
    areas = [binary_auc(probabilities[:, number], labels == number) for number in classes]
    known = [area for area in areas if not np.isnan(area)]
    area = float(np.mean(known or [1.0]))
    return f"below chance on validation (AUC {area:.2f}): are the labels swapped?" if area < 0.5 else ""
