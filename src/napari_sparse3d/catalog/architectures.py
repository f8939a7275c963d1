"""The networks that can be made by name; ``models/networks/`` holds ours, ``models/network.py`` the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sparse3d.catalog.registry import Part, Registry


@dataclass(frozen=True, kw_only=True)
class ArchitectureInfo(Part):
    """A network. ``home`` names what makes it: called with ``in_features``, ``classes`` and arguments of its own,
    which all have defaults.

    Attributes
    ----------
    recipe : str
        The built-in recipe that goes with it where no other is given and it is not trained.
    answers : str
        What its head gives: ``"classes"``.
    arguments : mapping
        What a training begins with, where the user gives no argument.
    loss : str
        What a training makes small, where the user names no loss.
    """

    recipe: str
    answers: str = "classes"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "cross-entropy"


ARCHITECTURES: Registry[ArchitectureInfo] = Registry(
    "architecture",
    "napari_sparse3d.architectures",
    ArchitectureInfo,
    [
        ArchitectureInfo(
            name="deepc2",
            title="deepC2",
            description="six 2^3 convolutions with max pools, field 126, embedding of 192",
            home="napari_sparse3d.models.networks.deepc2:DeepC2",
            recipe="mri-110",
        ),
        ArchitectureInfo(
            name="residual",
            title="residual, small",
            description="submanifold residual network, field 64, sized by arguments",
            home="napari_sparse3d.models.networks.residual:ResidualNet",
            recipe="shape-40",
            # good for vessels and glands in a grid of 64, with few cases of one class
            arguments={
                "field": 64,
                "stem_stride": 2,
                "channels": [16, 32, 64, 96],
                "blocks": [0, 1, 1, 1],
                "dropout": 0.3,
            },
        ),
        ArchitectureInfo(
            name="deepc2_wide",
            title="deepC2, wide",
            description="deepC2 with twice its channels, or any six",
            home="napari_sparse3d.models.networks.deepc2:DeepC2Wide",
            recipe="mri-110",
        ),
    ],
)

DEFAULT_ARCHITECTURE = "residual"
"""What is trained where nothing else is asked for."""
