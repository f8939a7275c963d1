"""The windows in which a CT is looked at. They change what is seen, and no value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A range of greys, by its middle and its width in HU, as DICOM has it (0028,1050) and (0028,1051)."""

    name: str
    title: str
    level_hu: float
    width_hu: float

    @property
    def limits_hu(self) -> tuple[float, float]:
        """What is black, and what is white."""
        return self.level_hu - self.width_hu / 2, self.level_hu + self.width_hu / 2


WINDOWS: tuple[Window, ...] = (
    Window("bone", "Bone", 400, 1800),
    Window("lung", "Lung", -600, 1500),
    Window("brain", "Brain", 40, 80),
    Window("soft-tissue", "Soft tissue", 50, 400),
)
"""The usual ones, as Radiopaedia lists them (*Windowing (CT)*: bone, lungs, brain, abdominal soft tissues)."""
