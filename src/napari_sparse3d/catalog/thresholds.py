"""The thresholds that have a name: presets. ``voxels/threshold.py`` says what each kind does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sparse3d.catalog.registry import Part, Registry


@dataclass(frozen=True, kw_only=True)
class ThresholdInfo(Part):
    """A preset: a threshold with a name. It is data, which ``home`` makes an object of.

    Attributes
    ----------
    values : mapping
        ``kind`` and what goes with it, as in the ``[threshold]`` table of a recipe file.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    home: str = "napari_sparse3d.voxels.recipe:plain_threshold"

    def __post_init__(self) -> None:
        if self.values.get("kind") in (None, "preset"):
            raise ValueError(f"the preset {self.name!r} needs values with a kind, such as 'range', got {self.values!r}")

    @property
    def unit(self) -> str:
        """What a volume's unit must be: ``"HU"``, ``"a.u."``; ``""``: any."""
        return str(self.values.get("unit") or "")


def _range(name: str, title: str, description: str, low: float, high: float) -> ThresholdInfo:
    values = {"kind": "range", "low": low, "high": high, "unit": "HU"}
    return ThresholdInfo(name=name, title=title, description=description, values=values)


# CT windows in HU as segmentation tools use them for a first cut; fat and the lower end of soft tissue are those of
# body-composition studies. Contrast vessels overlap with spongy bone: no threshold can part the two.
THRESHOLDS: Registry[ThresholdInfo] = Registry(
    "preset",
    "napari_sparse3d.thresholds",
    ThresholdInfo,
    [
        _range("bone", "Bone (CT)", "bone, and contrast agent of its density", 226, 3071),
        _range("lung", "Lung (CT)", "lung, without its vessels", -950, -500),
        _range("soft-tissue", "Soft tissue (CT)", "muscle, organs and blood", -29, 225),
        _range("fat", "Fat (CT)", "fat", -190, -30),
        _range("contrast-vessel", "Contrast vessel (CT)", "vessels with contrast agent, and spongy bone", 150, 600),
        _range("skin", "Skin (CT)", "where air meets the body", -718, -177),
        ThresholdInfo(
            name="brain",
            title="Brain (MR), 30 % of max",
            description="what exceeds 30 % of the maximum",
            values={"kind": "fraction_of_max", "fraction": 0.3},
        ),
        ThresholdInfo(
            name="otsu",
            title="Otsu's threshold",
            description="what lies above Otsu's threshold of the volume's own histogram",
            values={"kind": "otsu"},
        ),
    ],
)
