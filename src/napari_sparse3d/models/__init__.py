"""Networks, and the files that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.catalog import ARCHITECTURES
from napari_sparse3d.lazy import on_first_use
from napari_sparse3d.models.architectures import build_network
from napari_sparse3d.models.densify import DenseNetwork, densify
from napari_sparse3d.models.heads import ClassHead, Head
from napari_sparse3d.models.load import bundled_models, load_model
from napari_sparse3d.models.model import Model, Result
from napari_sparse3d.models.network import DescribingNetwork, Network
from napari_sparse3d.models.networks.deepc2 import DeepC2
from napari_sparse3d.models.networks.residual import ResidualNet
from napari_sparse3d.models.spconv_weights import from_spconv
from napari_sparse3d.models.trace import recording

if TYPE_CHECKING:
    from napari_sparse3d.models.card import ModelCard

__all__ = [
    "ARCHITECTURES",
    "ClassHead",
    "DeepC2",
    "DenseNetwork",
    "DescribingNetwork",
    "Head",
    "LayerActivity",
    "Model",
    "ModelCard",
    "Network",
    "ResidualNet",
    "Result",
    "build_network",
    "bundled_models",
    "densify",
    "from_spconv",
    "load_model",
    "recording",
]

# a card needs pydantic, which a network does not
__getattr__ = on_first_use(__name__, {"ModelCard": "card"})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
