"""What the panel knows: what was pointed at, and what came of it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.finding import Finding
from napari_sparse3d.cohort.pick import shipped_cohort
from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.measure.maps import pca
from napari_sparse3d.volume import Volume
from napari_sparse3d.widgets.child.records import NetworkResult
from napari_sparse3d.widgets.repeat import Pointed
from napari_sparse3d.widgets.toolbox import words

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
    """

    volume: Volume
    layer_id: str
    name: str
    frame: int
    pointed: Pointed

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
    result : NetworkResult
    known : Known or None
        The cases that are shipped with the model.
    like : list of dict
        Those most like this one, the nearest first.
    here : ndarray or None
        (2,) where it lies on their map.
    """

    target: Target
    finding: Finding
    result: NetworkResult
    known: Known | None
    like: list[dict[str, Any]]
    here: NDArray[np.float32] | None

    @property
    def title(self) -> str:
        """Whose result this is."""
        return f"{self.target.title} · {self.result.model.name}"

    def is_of(self, layer_id: str, model: str) -> bool:
        """Whether scan and model are those that are chosen."""
        return (self.target.layer_id, self.result.request.model) == (layer_id, model)


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
