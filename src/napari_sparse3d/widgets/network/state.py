"""What the Network panel knows: the voxels that can be run, the models, the run that is shown. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.widgets.child.records import Attributed, ModelInfo, NetworkResult, Sites
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels


@dataclass(frozen=True, eq=False)
class NetworkRun:
    """What was run on what: the result, the voxel set, and the scan's layer."""

    result: NetworkResult
    made: ScanVoxels
    volume_id: str

    @property
    def title(self) -> str:
        """Of which case, which voxels and which model it is."""
        return " · ".join((self.made.volume.name, self.made.recipe.name, self.result.model.name))

    def is_of(self, chosen: Choice, model: str) -> bool:
        """Whether it is what a run of ``model`` on the chosen voxels would give."""
        same_scan = (chosen.volume_id, chosen.frame) == (self.volume_id, self.made.frame)
        if model != self.result.request.model or not same_scan:
            return False
        if chosen.made is not None:
            return chosen.made.same_as(self.made)
        return not self.made.saved and self.made.recipe == self.result.model.recipe


@dataclass(frozen=True, eq=False)
class Choice:
    """What a model can be run on.

    Attributes
    ----------
    volume_id : str
        The scan's layer.
    frame : int
        The time point; 0 where there is one alone.
    made : ScanVoxels or None
        A voxel set of it; None: the model's own recipe makes one.
    """

    volume_id: str
    frame: int
    made: ScanVoxels | None = None


@dataclass
class NetworkState:
    """What stands in the panel.

    Attributes
    ----------
    ran : NetworkRun or None
        What is shown.
    sites : Sites or None
        The layer of it that was fetched last.
    drove : Attributed or None
        The attribution of it that was asked for last.
    models : dict
        What can be run, by what ``load_model`` takes.
    edited : bool
        Whether the scan that was run has other voxels by now.
    """

    ran: NetworkRun | None = None
    edited: bool = False
    sites: Sites | None = None
    drove: Attributed | None = None
    models: dict[str, ModelInfo] = field(default_factory=dict)

    def show(self, ran: NetworkRun | None) -> None:
        """Another run, or none: nothing of the last one's layers is left."""
        self.ran, self.sites, self.drove, self.edited = ran, None, None, False


@dataclass(frozen=True, eq=False)
class Colouring:
    """One value a site, and what is said of it.

    Attributes
    ----------
    values : ndarray
        (N,) float32.
    signed : bool
        Whether the sign means something.
    text : str
        Under the picture.
    """

    values: NDArray[np.float32]
    signed: bool
    text: str


def colouring(sites: Sites, channel: int | None) -> Colouring:
    """The norm of what a layer gave at each site (``channel`` None), or one of its channels, from 0."""
    values = np.linalg.norm(sites.values, axis=1) if channel is None else sites.values[:, channel]
    values = values.astype(np.float32)
    colour = "norm" if channel is None else f"channel {channel + 1}"
    text = f"{sites.layer}: {words.count(len(values), 'sites')} by {colour}"
    if len(values):
        text += f", {values.min():.3g} to {values.max():.3g}"
    if sites.background is not None and len(values):
        rest = float(np.linalg.norm(sites.background) if channel is None else sites.background[channel])
        text += f"; every other site holds {rest:.3g} (background, not drawn)"
    return Colouring(values, channel is not None and bool((values < 0).any()), text)


def attributed(drove: Attributed, *, trained: bool) -> Colouring:
    """What drove a class: red for it and blue against it, and how many of each."""
    record = drove.record
    text = (
        f"{drove.method} for “{drove.class_name}” at {record['layer']}: "
        f"{words.count(record['n_for'], 'voxels')} for it, {words.count(record['n_against'])} against, in units of its "
        "logit"
    )
    said = [text, f"{drove.remark[:1].upper()}{drove.remark[1:]}", "" if trained else words.RANDOM_WEIGHTS]
    return Colouring(drove.values, True, ". ".join(filter(None, said)))


def engine_words(result: NetworkResult) -> str:
    """What ran it, where, why there, and how long it took."""
    return f"{result.engine} on {result.device} ({result.reason}) · {words.seconds(result.seconds)}"
