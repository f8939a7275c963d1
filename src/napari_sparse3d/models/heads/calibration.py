"""Probabilities that can be read as frequencies: one scale and one bias, folded into the finished classifier.

Balanced sampling, label smoothing and dropout all leave a classifier whose probabilities fit no set of cases.
Multiplying its logits by one positive number and adding one number for each class mends most of that and changes
neither the embedding nor, with two classes, the order of the cases: AUC stays what it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_sparse3d.errors import InputError

SCALES = (0.1, 20.0)
"""Between these a scale is fitted. Below, all probabilities would become equal, where a network ranks cases wrongly;
above, all would become 0 or 1. Either way the order of the cases, which is worth something, would be lost."""


@dataclass(frozen=True)
class Correction:
    """``logits * scale + bias``.

    Attributes
    ----------
    scale : float
        Positive; 1 / temperature.
    bias : tuple of float
        One for each class; with sum 0 where it was fitted.
    """

    scale: float
    bias: tuple[float, ...]

    def applied(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
        """What (n, classes) probabilities become."""
        logits = _logits(probabilities) * self.scale + torch.tensor(self.bias, dtype=torch.float64)
        return torch.softmax(logits, 1).float().numpy()

    @torch.no_grad()
    def fold_into(self, classifier: nn.Linear) -> None:
        """Change a linear classifier so that its logits come out corrected.

        Raises
        ------
        InputError
            If the correction is not finite.
        """
        if not np.isfinite([self.scale, *self.bias]).all():
            raise InputError(f"a correction by {self.scale} and {self.bias} is not finite; fit it on other cases")
        classifier.weight.mul_(self.scale)
        classifier.bias.mul_(self.scale).add_(torch.tensor(self.bias).to(classifier.bias))


def fit(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> Correction:
    """The scale, within :data:`SCALES`, and the bias under which the labels are most likely.

    Parameters
    ----------
    probabilities : ndarray
        (n, classes), as they are.
    labels : ndarray
        (n,) class numbers.

    Raises
    ------
    InputError
        If the probabilities are not all finite.

    Notes
    -----
    The target of a case of a class with m cases is (m + 1) / (m + classes) for that class, and the rest shared by the
    others, so that few cases which are all right do not drive the scale to infinity.

    References
    ----------
    Platt. Probabilistic Outputs for Support Vector Machines. 1999, section 2.2 (two classes, and the targets).
    Alexandari, Kundaje, Shrikumar. Maximum Likelihood with Bias-Corrected Calibration is Hard-to-Beat at Label Shift
    Adaptation. ICML 2020 (one temperature, one bias for each class).
    """
    logits = _logits(probabilities)
    classes = logits.shape[1]
    counts = np.bincount(labels, minlength=classes)[labels]
    other = 1 / (counts + classes)
    targets = torch.from_numpy(np.repeat(other[:, None], classes, axis=1))
    targets[torch.arange(len(labels)), torch.from_numpy(labels)] = torch.from_numpy(1 - (classes - 1) * other)
    scale, bias = _most_likely(logits, targets, None)
    if not SCALES[0] <= scale <= SCALES[1]:  # also where the search has left the numbers
        nearest = SCALES[1] if scale > SCALES[1] else SCALES[0]
        scale, bias = _most_likely(logits, targets, nearest)
    return Correction(scale, tuple((bias - bias.mean()).tolist()))


def _most_likely(logits: torch.Tensor, targets: torch.Tensor, scale: float | None) -> tuple[float, torch.Tensor]:
    """The scale, unless it is given, and the biases (classes,) of the least cross entropy."""
    log_scale = torch.tensor(math.log(scale or 1.0), dtype=torch.float64, requires_grad=scale is None)
    bias = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    free = [log_scale, bias] if scale is None else [bias]
    optimizer = torch.optim.LBFGS(free, max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = -(targets * torch.log_softmax(logits * log_scale.exp() + bias, 1)).sum(1).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return float(log_scale.detach().exp()), bias.detach()


def to_frequencies(counts: NDArray[np.int64]) -> Correction:
    """The correction for a classifier that saw every class equally often, where cases come as ``counts`` (classes,) do.

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the Outputs of a Classifier to New a Priori Probabilities. Neural
    Computation 2002, equation 2.4.
    """
    if not counts.sum() > 0:
        raise InputError(f"the frequencies of {len(counts)} classes are those of no case; give counts above 0")
    share = counts / counts.sum() * (counts > 0).sum()
    return Correction(1.0, tuple(np.log(np.maximum(share, 1e-6)).tolist()))


def _logits(probabilities: NDArray[np.floating]) -> torch.Tensor:
    """Logits up to a constant for each case, which no probability depends on."""
    values = np.asarray(probabilities, dtype=np.float64)
    if bad := values.size - int(np.isfinite(values).sum()):
        raise InputError(f"probabilities are not finite ({bad} of {values.size}), so nothing can be calibrated on them")
    return torch.from_numpy(values).clamp_min(1e-12).log()
