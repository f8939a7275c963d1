"""What a model file says about itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from napari_sparse3d.voxels.recipe import Recipe


class ModelCard(BaseModel):
    """Everything that is needed to use a model, and to judge it. Stored as JSON in the header of the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe
    classes: tuple[str, ...]
    trained: bool
    description: str = ""
    data: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    active_percent_seen: tuple[float, float] | None = None
    """Lowest and highest percent active among the training inputs."""
    intended_use: str = "research use only"
    limits: str = ""
    licence: str = ""
