"""Which images can lie on one grid, by what their headers say of themselves; and which are no slices of a volume."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sparse3d.io.dicom.grid import as_text
from napari_sparse3d.io.dicom.plane import Kind, Plane
from napari_sparse3d.io.faults import Fault, FaultKind

SECONDARY_CAPTURE = "a secondary capture (screenshot)"
SAME_DIRECTION = 1.5e-4
"""Direction cosines that differ by less are the same: headers round them to 4 to 6 digits."""
SAME_SPACING = 1e-4
"""Pixel spacings that differ by less (relative) are the same."""


def by_grid(planes: list[Plane]) -> list[list[Plane]]:
    """Planes by direction, pixel spacing, size and class: those of one list can lie on one grid."""
    parts: list[tuple[Kind, list[Plane]]] = []
    home: dict[int, list[Plane]] = {}
    for plane in planes:
        members = home.get(id(plane.kind))
        if members is None:
            members = next((others for kind, others in parts if _same_grid(kind, plane.kind)), None)
            if members is None:
                members = []
                parts.append((plane.kind, members))
            home[id(plane.kind)] = members
        members.append(plane)
    return [members for _, members in parts]


def _same_grid(a: Kind, b: Kind) -> bool:
    return (
        (a.rows, a.columns, a.samples, a.photometric, a.modality)
        == (b.rows, b.columns, b.samples, b.photometric, b.modality)
        and is_localizer(a) == is_localizer(b)
        and no_volume(a.sop_class) == no_volume(b.sop_class)
        and _close(a.orientation, b.orientation, SAME_DIRECTION)
        and _close(a.pixel_spacing, b.pixel_spacing, SAME_SPACING * min(a.pixel_spacing or (1.0,)))
    )


def _close(a: Sequence[float] | None, b: Sequence[float] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= tolerance


# SOP classes that hold pixels but no slices of a patient (PS3.4 B.5)
_NO_VOLUME = {
    "1.2.840.10008.5.1.4.1.1.7": SECONDARY_CAPTURE,
    "1.2.840.10008.5.1.4.1.1.1": "a projection radiograph",
    "1.2.840.10008.5.1.4.1.1.6": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.12": "an angiographic projection",
    "1.2.840.10008.5.1.4.1.1.77": "a photograph",
}


def no_volume(sop_class: str) -> str:
    """What an image of this class is, where it is no slice of a volume; ``""`` where it may be one."""
    for root, name in _NO_VOLUME.items():
        if sop_class == root or sop_class.startswith(root + "."):
            return name
    return ""


def is_localizer(kind: Kind) -> bool:
    """Whether the image type says that it is a scout."""
    return any(value.upper() in ("LOCALIZER", "SCOUT") for value in kind.image_type)


def mixed_grids(parts: list[list[Plane]]) -> list[Fault]:
    """What differs between the grids that share one series identifier."""
    kinds = [part[0].kind for part in parts]
    faults = []
    if len({(kind.rows, kind.columns) for kind in kinds}) > 1:
        sizes = ", ".join(sorted({f"{kind.rows} x {kind.columns}" for kind in kinds}))
        faults.append(
            Fault.of(FaultKind.MIXED_SIZE, f"one series identifier holds images of {sizes} pixels; each size is listed")
        )
    if any(not _close(kinds[0].orientation, kind.orientation, SAME_DIRECTION) for kind in kinds):
        faults.append(
            Fault.of(
                FaultKind.MIXED_ORIENTATION,
                f"one series identifier holds {len(parts)} groups of images in different directions; each is listed",
            )
        )
    if any(
        not _close(kinds[0].pixel_spacing, kind.pixel_spacing, SAME_SPACING * min(kinds[0].pixel_spacing or (1.0,)))
        for kind in kinds
    ):
        spacings = ", ".join(sorted({as_text(kind.pixel_spacing) for kind in kinds}))
        faults.append(
            Fault.of(
                FaultKind.MIXED_SPACING, f"one series identifier holds pixel spacings of {spacings} mm; each is listed"
            )
        )
    if len(parts) > 1 and not faults:
        faults.append(
            Fault.of(
                FaultKind.MIXED_CONTENT, f"one series identifier holds {len(parts)} kinds of image; each is listed"
            )
        )
    return faults
