"""One of several classes: a linear layer, and softmax."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sparse3d.models.heads.calibration import Correction, fit, to_frequencies
from napari_sparse3d.models.heads.head import Head


class ClassHead(nn.Linear, Head):
    """(B, D) -> logits (B, classes), whose softmax are the probabilities. Calibration is folded into its weights."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax: each row sums to 1."""
        return torch.softmax(logits, 1)

    def calibrate(self, probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, Any]:
        """By one scale, and one bias for each class, see :func:`calibration.fit`."""
        return self._corrected(fit(probabilities, labels))

    def calibrate_to_frequencies(self, counts: NDArray[np.int64]) -> dict[str, Any]:
        """By one bias for each class, see :func:`calibration.to_frequencies`."""
        return self._corrected(to_frequencies(counts))

    def _corrected(self, correction: Correction) -> dict[str, Any]:
        correction.fold_into(self)
        return asdict(correction)
