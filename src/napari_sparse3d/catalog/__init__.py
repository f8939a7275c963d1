"""What there is to choose from. Each part describes itself once; help, panels, doctor, bench and docs read it here.

A part of a kind is added by a descriptor in the file of its kind, or from another package by an entry point (see
``docs/extending.md``). Nothing here imports the code of a part.
"""

from napari_sparse3d.catalog.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE, ArchitectureInfo
from napari_sparse3d.catalog.attributions import ATTRIBUTIONS, AttributionInfo
from napari_sparse3d.catalog.engines import ENGINES, EngineInfo
from napari_sparse3d.catalog.formats import FORMATS, FormatInfo
from napari_sparse3d.catalog.losses import DEFAULT_LOSS, LOSSES, LossInfo
from napari_sparse3d.catalog.models import TRAINED, TrainedInfo
from napari_sparse3d.catalog.own import is_own, load_own
from napari_sparse3d.catalog.panels import PANELS, PanelInfo
from napari_sparse3d.catalog.recipes import RECIPES, TRAINING_RECIPE, RecipeInfo
from napari_sparse3d.catalog.registry import Part, Registry
from napari_sparse3d.catalog.thresholds import THRESHOLDS, ThresholdInfo

__all__ = [
    "ARCHITECTURES",
    "ATTRIBUTIONS",
    "DEFAULT_ARCHITECTURE",
    "DEFAULT_LOSS",
    "ENGINES",
    "FORMATS",
    "LOSSES",
    "PANELS",
    "RECIPES",
    "THRESHOLDS",
    "TRAINED",
    "TRAINING_RECIPE",
    "ArchitectureInfo",
    "AttributionInfo",
    "EngineInfo",
    "FormatInfo",
    "LossInfo",
    "PanelInfo",
    "Part",
    "RecipeInfo",
    "Registry",
    "ThresholdInfo",
    "TrainedInfo",
    "is_own",
    "load_own",
]
