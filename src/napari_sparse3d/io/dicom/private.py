"""Private elements, found by their creator's block.

PS3.5, 7.8.1: whoever writes private elements of a group reserves a block of it by a creator's name in an element
(gggg,0010) to (gggg,00FF); the elements of block ``bb`` are (gggg,bb00) to (gggg,bbFF). Which block it gets depends on
what else is in the file, so an element is known by its creator, its group and the last two digits of its number, and
the same number under another creator, or none, is something else. An anonymiser that takes the creators out leaves
elements that mean nothing.

The names are those of the makers' conformance statements, as pydicom's dictionary of private elements and dcm2niix
have them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.values import convert_SQ


@dataclass(frozen=True, slots=True)
class PrivateTag:
    """A private element, wherever its creator's block lies.

    Parameters
    ----------
    creator : str
        The name in (gggg,00bb), to the letter.
    group : int
        Odd.
    element : int
        The last two digits of the element's number, 0x00 to 0xFF.
    vr : str
        Its value representation by the maker's conformance statement: in implicit files, and where an archive made it
        UN, nothing else tells it.
    """

    creator: str
    group: int
    element: int
    vr: str


PHILIPS_SCALE_SLOPE = PrivateTag("Philips MR Imaging DD 001", 0x2005, 0x0E, "FL")
PHILIPS_FRAME = PrivateTag("Philips MR Imaging DD 005", 0x2005, 0x0F, "SQ")
"""In enhanced files: the classic header of each frame."""
SIEMENS_CSA_IMAGE = PrivateTag("SIEMENS CSA HEADER", 0x0029, 0x10, "OB")
SIEMENS_MOSAIC_COUNT = PrivateTag("SIEMENS MR HEADER", 0x0019, 0x0A, "US")
SIEMENS_B_VALUE = PrivateTag("SIEMENS MR HEADER", 0x0019, 0x0C, "IS")
SIEMENS_GRADIENT = PrivateTag("SIEMENS MR HEADER", 0x0019, 0x0E, "FD")
PHILIPS_B_VALUE = PrivateTag("Philips Imaging DD 001", 0x2001, 0x03, "FL")
PHILIPS_GRADIENT_KIND = PrivateTag("Philips Imaging DD 001", 0x2001, 0x04, "CS")
"""``I`` for an isotropic map."""
PHILIPS_GRADIENT = tuple(
    PrivateTag("Philips MR Imaging DD 001", 0x2005, element, "FL") for element in (0xB0, 0xB1, 0xB2)
)
PHILIPS_PHASE_NUMBER = PrivateTag("Philips Imaging DD 001", 0x2001, 0x08, "IS")
PHILIPS_DYNAMIC_BEGIN = PrivateTag("Philips MR Imaging DD 001", 0x2005, 0xA0, "FL")
"""Seconds from the begin of the series."""
PHILIPS_B_NUMBER = PrivateTag("Philips MR Imaging DD 005", 0x2005, 0x12, "IS")
PHILIPS_GRADIENT_NUMBER = PrivateTag("Philips MR Imaging DD 005", 0x2005, 0x13, "IS")
PHILIPS_LABEL = PrivateTag("Philips MR Imaging DD 005", 0x2005, 0x29, "CS")
"""Label or control of arterial spin labelling."""
GE_GRADIENT = tuple(PrivateTag("GEMS_ACQU_01", 0x0019, element, "DS") for element in (0xBB, 0xBC, 0xBD))
GE_SEQUENCE = PrivateTag("GEMS_ACQU_01", 0x0019, 0x9C, "LO")
GE_POLARITY = PrivateTag("GEMS_ACQU_01", 0x0019, 0xB3, "DS")
"""UserData12: of the sequence epi_pepolar, which volumes are stored with their rows reversed."""
GE_COMPONENT = PrivateTag("GEMS_PARM_01", 0x0043, 0x2F, "SS")
"""0 magnitude, 1 phase, 2 real, 3 imaginary."""
GE_B_VALUE = PrivateTag("GEMS_PARM_01", 0x0043, 0x39, "IS")
UIH_B_VALUE = PrivateTag("Image Private Header", 0x0065, 0x09, "FD")
UIH_GRADIENT = PrivateTag("Image Private Header", 0x0065, 0x37, "FD")
UIH_GRID_COUNT = PrivateTag("Image Private Header", 0x0065, 0x50, "DS")
UIH_GRID_SLICES = PrivateTag("Image Private Header", 0x0065, 0x51, "SQ")

WANTED = (
    PHILIPS_SCALE_SLOPE, PHILIPS_B_VALUE, PHILIPS_GRADIENT_KIND, *PHILIPS_GRADIENT, PHILIPS_PHASE_NUMBER,
    PHILIPS_DYNAMIC_BEGIN, PHILIPS_B_NUMBER, PHILIPS_GRADIENT_NUMBER, PHILIPS_LABEL, GE_SEQUENCE, GE_POLARITY,
    *GE_GRADIENT, SIEMENS_CSA_IMAGE, SIEMENS_MOSAIC_COUNT, SIEMENS_B_VALUE, SIEMENS_GRADIENT, GE_COMPONENT, GE_B_VALUE,
    UIH_B_VALUE, UIH_GRADIENT, UIH_GRID_COUNT, UIH_GRID_SLICES,
)  # fmt: skip
"""The private elements that are read of a header: all of them harmless, numbers and the geometry of mosaics."""

BY_CREATOR: Mapping[tuple[int, str], Mapping[int, PrivateTag]] = {
    (tag.group, tag.creator): {
        other.element: other for other in WANTED if (other.group, other.creator) == (tag.group, tag.creator)
    }
    for tag in WANTED
}
"""Group and creator to the wanted elements of the block."""

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_UNKNOWN = (None, "UN", "OB", "OW")
_TEXTS = ("DS", "IS", "CS", "LO", "SH")


def creator_name(content: Any) -> str:
    """The name in a creator's element, also where an archive made it UN (bytes)."""
    text = content.decode("latin-1") if isinstance(content, bytes) else str(content)
    return text.strip("\0 ")


def private_value(dataset: Dataset, tag: PrivateTag) -> Any:
    """The value of a private element of a data set, ``None`` where its creator or itself is absent.

    Parameters
    ----------
    dataset : Dataset
        Of a file or of a sequence's item: each reserves its blocks for itself.
    tag : PrivateTag
    """
    item = find_private(dataset, tag)
    if item is None:
        return None
    return known_value(dataset, item, tag.vr)


def find_private(dataset: Dataset, tag: PrivateTag) -> int | None:
    """Where a private element stands in a data set."""
    first = tag.group << 16
    tags = list(dataset.keys())  # not the data set itself, which would convert every element on the way
    for place in [int(tag) for tag in tags if first | 0x10 <= tag <= first | 0xFF]:
        item = dataset.get_item(Tag(place))
        place_of_tag = first | (place & 0xFF) << 8 | tag.element
        if item is not None and creator_name(item.value) == tag.creator and place_of_tag in dataset:
            return place_of_tag
    return None


def known_value(dataset: Dataset, tag: int, vr: str) -> Any:
    """The value of an element whose value representation is known better than its file says (UN, implicit private).

    An element of VR UN that is a sequence holds implicit little-endian elements whatever the encoding of its file is
    (PS3.5, 6.2.2, note 2).
    """
    item = dataset.get_item(Tag(tag))
    if item is None:
        return None
    little = dataset.original_encoding[1] is not False
    if isinstance(item.value, bytes) and item.VR in _UNKNOWN and vr not in _UNKNOWN:
        if vr == "SQ":
            return convert_SQ(item.value, True, little or item.VR == "UN") if item.value else None
        return of_bytes(vr, item.value, little=little)
    return dataset[tag].value


def of_bytes(vr: str, content: bytes, *, little: bool) -> Any:
    """A number or text that came as bytes, since its file or an archive did not know the element; ``None`` for none."""
    if vr in _NUMBERS:
        code = ("<" if little else ">") + _NUMBERS[vr]
        size = struct.calcsize(code)
        if not content or len(content) % size:
            return None
        numbers = [struct.unpack_from(code, content, place)[0] for place in range(0, len(content), size)]
        return numbers[0] if len(numbers) == 1 else numbers
    if vr in _TEXTS:
        parts = [part.strip(" ") for part in content.decode("latin-1").rstrip("\0 ").split("\\")]
        return (parts[0] or None) if len(parts) == 1 else parts
    return content or None
