"""What a training makes small: one loss a file, named in ``catalog/losses.py``."""

from napari_sparse3d.training.losses.base import Criterion, LossSettings
from napari_sparse3d.training.losses.choice import AnyLoss, kind_of, loss_of, switched

__all__ = ["AnyLoss", "Criterion", "LossSettings", "kind_of", "loss_of", "switched"]
