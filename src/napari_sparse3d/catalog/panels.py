"""The panels of the window; the contract is ``widgets/toolbox/panel.py``."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sparse3d.catalog.registry import Part, Registry

PLUGIN_TITLE = "Sparse 3D"
"""What the plugin is called in menus: ``display_name`` of ``napari.yaml``."""


@dataclass(frozen=True, kw_only=True)
class PanelInfo(Part):
    """A panel. ``home`` names a class of widgets that is made from the viewer: ``cls(napari_viewer)``.

    One that derives from ``widgets.toolbox.panel.Panel`` looks and speaks as ours do. ``title`` stands over it and in
    every menu; ``description`` is its tooltip there.
    """

    @property
    def dock_title(self) -> str:
        """The title of its dock, as napari's *Plugins* menu writes it: by this name the menu finds it again."""
        return f"{self.title} ({PLUGIN_TITLE})"


PANELS: Registry[PanelInfo] = Registry(
    "panel",
    "napari_sparse3d.panels",
    PanelInfo,
    [
        PanelInfo(
            name="voxels",
            title="Sparse voxels",
            description="Keep the voxels that matter",
            home="napari_sparse3d.widgets.voxels.view:VoxelsPanel",
        ),
        PanelInfo(
            name="network",
            title="Network",
            description="Run a model, see what every layer does and what drove the class",
            home="napari_sparse3d.widgets.network.view:NetworkPanel",
        ),
        PanelInfo(
            name="pick",
            title="Click a nodule",
            description="Point at a thing in a CT: its class, and which known ones it is like",
            home="napari_sparse3d.widgets.pick.view:PickPanel",
        ),
        PanelInfo(
            name="cohort",
            title="Cohort",
            description="Many cases on a map, and who is like the open one",
            home="napari_sparse3d.widgets.cohort.view:CohortPanel",
        ),
        PanelInfo(
            name="look",
            title="Window and planes",
            description="Greys in one click, three linked planes",
            home="napari_sparse3d.widgets.look.view:LookPanel",
        ),
        PanelInfo(
            name="train",
            title="Train",
            description="A labelled set becomes a model",
            home="napari_sparse3d.widgets.train.view:TrainPanel",
        ),
    ],
)
