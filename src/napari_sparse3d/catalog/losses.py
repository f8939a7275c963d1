"""What a training makes small; ``training/losses/`` holds ours, one a file."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sparse3d.catalog.registry import Part, Registry


@dataclass(frozen=True, kw_only=True)
class LossInfo(Part):
    """A loss. ``home`` names the class of its settings, a ``training.losses.base.LossSettings`` of this ``kind``.

    Attributes
    ----------
    spelled : str
        How it is asked for on the command line, where that is not its name: it stands for many losses.
    """

    spelled: str = ""


LOSSES: Registry[LossInfo] = Registry(
    "loss",
    "napari_sparse3d.losses",
    LossInfo,
    [
        LossInfo(
            name="cross-entropy",
            title="cross entropy",
            description="how unlikely the true classes are",
            home="napari_sparse3d.training.losses.cross_entropy:CrossEntropy",
        ),
        LossInfo(
            name="triplet",
            title="triplet",
            description="cases of a class nearer than those of others, by a margin",
            home="napari_sparse3d.training.losses.triplet:Triplet",
        ),
        LossInfo(
            name="metric-learning",
            title="metric learning",
            description="a loss of pytorch-metric-learning, with a miner",
            home="napari_sparse3d.training.losses.metric_learning:MetricLearning",
            needs=("pytorch_metric_learning",),
            install="pip install 'napari-sparse3d[train]'",
            spelled="a class of pytorch-metric-learning",
        ),
        LossInfo(
            name="function",
            title="your own function",
            description="a function of your own, of (embedding, logits, label)",
            home="napari_sparse3d.training.losses.function:Function",
            spelled="module:function",
        ),
    ],
)

DEFAULT_LOSS = "cross-entropy"
"""What is made small where nothing else is asked for."""
