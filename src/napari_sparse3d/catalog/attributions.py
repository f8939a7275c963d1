"""Which voxels or sites drove a class: the methods; ``explain/`` holds ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_sparse3d.catalog.registry import Part, Registry


@dataclass(frozen=True, kw_only=True)
class AttributionInfo(Part):
    """A method. ``home`` names a function of (network, x, target) that gives an ``explain.attribution.Attribution``.

    Attributes
    ----------
    by_step : str
        ``module:function`` of the same as a generator of (steps done, steps in all), for who shows progress or stops
        it; "" where it is done in one go.
    per_layer : bool
        Whether it also takes ``layer``, the name of the layer whose sites are looked at.
    """

    by_step: str = ""
    per_layer: bool = False

    @property
    def spelled(self) -> str:
        """Its name as one word without signs that no keyboard has, for the command line."""
        return "-".join(self.name.replace("×", "x").split())

    def load_by_step(self) -> Any:
        """What ``by_step`` names, or None; for errors see :meth:`load`."""
        return self.load(self.by_step) if self.by_step else None


ATTRIBUTIONS: Registry[AttributionInfo] = Registry(
    "method",
    "napari_sparse3d.attributions",
    AttributionInfo,
    [
        AttributionInfo(
            name="class-activation map",
            title="class-activation map",
            description="a layer's channels, weighted by their mean gradient",
            home="napari_sparse3d.explain.activation_map:class_activation_map",
            per_layer=True,
        ),
        AttributionInfo(
            name="integrated gradients",
            title="integrated gradients",
            description="gradients on the way from background to the voxels, adding up to the logit's difference",
            home="napari_sparse3d.explain.gradients:integrated_gradients",
            by_step="napari_sparse3d.explain.gradients:integrated_gradients_by_step",
        ),
        AttributionInfo(
            name="gradient × input",
            title="gradient × input",
            description="what a small change of each voxel would do",
            home="napari_sparse3d.explain.gradients:gradient_times_input",
        ),
        AttributionInfo(
            name="regions left out",
            title="regions left out",
            description="what the network answers without a region",
            home="napari_sparse3d.explain.regions:regions_left_out",
            needs=("captum",),
            install="pip install captum",
        ),
    ],
)
