"""What the panel knows: what was pointed at, and what came of it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.finding import Finding
from napari_sparse3d.cases.identity import CaseIdentity
from napari_sparse3d.cohort.pick import shipped_cohort
from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.measure.maps import pca
from napari_sparse3d.volume import Volume
from napari_sparse3d.widgets.child.records import NetworkResult
from napari_sparse3d.widgets.repeat import Pointed
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels

K = 5
"""How many known cases are listed."""
KNOWN_RATINGS = ("malignancy", "spiculation", "lobulation", "calcification")
"""Of those that a known nodule has: what is said of it under the mouse."""


@dataclass(frozen=True, eq=False)
class Target:
    """What is pointed at.

    Attributes
    ----------
    volume : Volume
        The scan, or the label map.
    layer_id : str
        Of its layer.
    name : str
        Of that.
    frame : int
        The time point, where it has several.
    pointed : Pointed
    case : CaseIdentity
        Which case the layer is.
    own_mm : tuple of float or None
        The spacing (z, y, x); None where the layer's has no unit of length.
    in_patient : bool
        Whether it is known where the layer lies in the patient.
    """

    volume: Volume
    layer_id: str
    name: str
    frame: int
    pointed: Pointed
    case: CaseIdentity
    own_mm: tuple[float, float, float] | None
    in_patient: bool

    @property
    def title(self) -> str:
        """``"chest CT · R -12.0  A +40.0  S -81.2 mm"``, or which label."""
        if self.pointed.label is not None:
            return f"{self.name} · label {self.pointed.label}"
        assert self.pointed.at_mm is not None
        return f"{self.name} · {place_words(self.pointed.at_mm)}"


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of it.

    Attributes
    ----------
    target : Target
    finding : Finding
    made : ScanVoxels
        The thing as the voxel set on which the model was run.
    result : NetworkResult
    spacing_mm : float or None
        The size of a voxel that was asked for; None: the model's, or the scan's.
    known : Known or None
        The cases that are shipped with the model.
    unknown : str
        Why there are none to compare with.
    like : list of dict
        Those most like this one, the nearest first.
    here : ndarray or None
        (2,) where it lies on their map.
    """

    target: Target
    finding: Finding
    made: ScanVoxels
    result: NetworkResult
    spacing_mm: float | None
    known: Known | None = None
    like: list[dict[str, Any]] = field(default_factory=list)
    here: NDArray[np.float32] | None = None
    unknown: str = ""

    @property
    def title(self) -> str:
        """Whose result this is."""
        return f"{self.target.title} · {self.result.model.name}"

    def is_of(self, layer_id: str, frame: int, model: str, spacing_mm: float | None) -> bool:
        """Whether scan, time point, model and the size of its voxels are those that are chosen."""
        own = (self.target.layer_id, self.target.frame, self.result.request.model, self.spacing_mm)
        return own == (layer_id, frame, model, spacing_mm)


@dataclass(frozen=True, eq=False)
class Known:
    """The cases that are shipped with a model, and their map."""

    cohort: Cohort
    positions: NDArray[np.float32]


@lru_cache(maxsize=4)
def known_cases(model: str) -> Known | None:
    """Read and laid out once."""
    cohort = shipped_cohort(model)
    return None if cohort is None else Known(cohort, pca(cohort.embeddings))


def place_words(at_mm: tuple[float, float, float]) -> str:
    """``R +12.3  A -4.0  S +55.1 mm``, as the cursor's line has it."""
    s, a, r = at_mm
    return f"R {r:+.1f}  A {a:+.1f}  S {s:+.1f} mm"


def size_words(finding: Finding) -> str:
    """How large it is."""
    return f"{finding.volume_mm3:,.0f} mm³ · {words.spacing(finding.extent_mm)} (S, A, R)"


def case_words(row: dict[str, Any]) -> str:
    """What is said of a known case under the mouse."""
    shown = [str(row.get("name") or "")]
    shown += [f"rated {row['label']}" if row.get("label") else "not decided"]
    shown += [f"{name} {row[name]:.3g} of 5" for name in KNOWN_RATINGS if isinstance(row.get(name), float)]
    if isinstance(row.get("extent_mm"), float):
        shown.append(f"{row['extent_mm']:.0f} mm")
    if row.get("split") == "train":
        shown.append("was in the training")
    return "\n".join(filter(None, shown))
