"""The line that repeats what a panel shows: for a terminal, and for Python. No Qt."""

from napari_sparse3d.widgets.repeat.cohort import (
    Query,
    embed_python,
    map_command,
    map_python,
    similar_command,
    similar_python,
)
from napari_sparse3d.widgets.repeat.line import line, recipe_argument, recipe_folder
from napari_sparse3d.widgets.repeat.network import (
    Ran,
    activations_command,
    activations_python,
    explain_command,
    network_command,
    network_python,
    voxelize_command,
    voxelize_python,
)
from napari_sparse3d.widgets.repeat.pick import Asked, Pointed, pick_command, pick_python
from napari_sparse3d.widgets.repeat.source import (
    DATA,
    SCAN,
    TABLE,
    Source,
    explained,
    model_without_name,
    require_source,
    without_name,
)
from napari_sparse3d.widgets.repeat.training import resume_python, train_python

__all__ = [
    "DATA",
    "SCAN",
    "TABLE",
    "Asked",
    "Pointed",
    "Query",
    "Ran",
    "Source",
    "activations_command",
    "activations_python",
    "embed_python",
    "explain_command",
    "explained",
    "line",
    "map_command",
    "map_python",
    "model_without_name",
    "network_command",
    "network_python",
    "pick_command",
    "pick_python",
    "recipe_argument",
    "recipe_folder",
    "require_source",
    "resume_python",
    "similar_command",
    "similar_python",
    "train_python",
    "voxelize_command",
    "voxelize_python",
    "without_name",
]
