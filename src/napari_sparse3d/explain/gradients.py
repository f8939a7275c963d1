"""Which voxels drove a class: from the gradient of its logit at the input."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.attribution import Attribution, at_input, baseline, check_one_volume
from napari_sparse3d.explain.steps import result_of
from napari_sparse3d.sparse import SparseTensor


def gradient_times_input(network: nn.Module, x: SparseTensor, target: int) -> Attribution:
    """Gradient of the logit at each voxel, times how much the voxel differs from the background.

    Parameters
    ----------
    network : nn.Module
        ``SparseTensor`` in, logits (B, classes) out; in evaluation mode.
    x : SparseTensor
        One volume (batch of 1).
    target : int
        Class, from 0.

    References
    ----------
    Shrikumar, Greenside, Shcherbina, Kundaje. Not Just a Black Box. 2016.
    """
    check_one_volume(x)
    gradient, _ = _gradient(network, x, x.features, target)
    return at_input(x, ((x.features - baseline(x)) * gradient).sum(1))


def integrated_gradients(network: nn.Module, x: SparseTensor, target: int, steps: int = 16) -> Attribution:
    """The gradient, averaged on the way from background to the voxels as they are, times the difference.

    The values sum to the logit minus the logit of the same sites holding the background (completeness), up to the error
    of the midpoint rule with this number of steps.

    Parameters
    ----------
    network, x, target
        As in :func:`gradient_times_input`.
    steps : int
        Points on the way.

    References
    ----------
    Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017, equation 1.
    """
    return result_of(integrated_gradients_by_step(network, x, target, steps))


def integrated_gradients_by_step(
    network: nn.Module, x: SparseTensor, target: int, steps: int = 16
) -> Generator[tuple[int, int], None, Attribution]:
    """As :func:`integrated_gradients`; yields how many points are done, of how many, so that the caller can stop."""
    check_one_volume(x)
    base = baseline(x)
    difference = x.features - base
    total = torch.zeros_like(x.features)
    for step in range(steps):
        gradient, _ = _gradient(network, x, base + (step + 0.5) / steps * difference, target)
        total += gradient
        yield step + 1, steps
    return at_input(x, (difference * total / steps).sum(1))


def _gradient(network: nn.Module, x: SparseTensor, features: Tensor, target: int) -> tuple[Tensor, float]:
    with torch.enable_grad():
        rows = features.detach().clone().requires_grad_()
        logits = network(x.with_features(rows, x.background))
        if not 0 <= target < logits.shape[1]:
            raise InputError(f"the network has {logits.shape[1]} classes, numbered from 0; got {target}")
        (gradient,) = torch.autograd.grad(logits[0, target], rows)
    return gradient, float(logits[0, target].detach())
