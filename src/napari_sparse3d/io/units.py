"""Units that a header names in free text."""

from __future__ import annotations

from collections.abc import Iterable

from napari_sparse3d.errors import ReadError

_MM_PER = {
    name: factor
    for factor, names in (
        (1000.0, "m meter meters metre metres"),
        (100.0, "dm decimeter decimeters decimetre decimetres"),
        (10.0, "cm centimeter centimeters centimetre centimetres"),
        (1.0, "mm millimeter millimeters millimetre millimetres"),
        # the two characters for micro that Unicode has
        (1e-3, "um \u00b5m \u03bcm micron microns micrometer micrometers micrometre micrometres"),
        (1e-6, "nm nanometer nanometers nanometre nanometres"),
        (25.4, "in inch inches"),
    )
    for name in names.split()
}
_SECONDS_PER = {
    name: factor
    for factor, names in (
        (3600.0, "h hr hour hours"),
        (60.0, "min minute minutes"),
        (1.0, "s sec secs second seconds"),
        (1e-3, "ms msec msecs millisecond milliseconds"),
        (1e-6, "us \u00b5s \u03bcs usec microsecond microseconds"),
        (1e-9, "ns nanosecond nanoseconds"),
    )
    for name in names.split()
}


def mm_per_unit(name: str) -> float:
    """Millimetres per unit of length.

    Raises
    ------
    ReadError
        If the name is no known unit of length; it says the name.
    """
    factor = _MM_PER.get(name.strip().lower())
    if factor is None:
        raise ReadError(
            f"the header gives lengths in {_shown(name)}, which is not a known unit of length; write the file in mm"
        )
    return factor


def one_mm_per_unit(names: Iterable[str]) -> list[float] | None:
    """Millimetres per unit, one for each axis; ``None`` where none of the axes names one.

    Raises
    ------
    ReadError
        If some axes name a unit and others do not, or a name is not a unit of length.
    """
    words = [name.strip() for name in names]
    if not any(words):
        return None
    if not all(words):
        raise ReadError("the header names the unit of some axes and leaves out others; name it for all, or write mm")
    return [mm_per_unit(word) for word in words]


def seconds_per_unit(name: str) -> float | None:
    """Seconds per unit of time; ``None`` if the name is no known unit of time."""
    return _SECONDS_PER.get(name.strip().lower())


def _shown(name: str) -> str:
    # a unit is a word; what is longer may be anybody's text
    return repr(name) if len(name) <= 20 and name.isalnum() else "a unit that is no word"
