"""Objects that are stored beside images, and are none.

Makers export raw data, spectra and presentation states under the series identifier of the images that belong to them,
with Rows and Columns in their headers. What they lack are pixels; that does not make the images beside them truncated.
"""

from __future__ import annotations

from functools import lru_cache

_STORED_BESIDE = {
    "1.2.840.10008.5.1.4.1.1.4.2": "a spectrum",
    "1.2.840.10008.5.1.4.1.1.9": "a waveform",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.66.1": "a registration",
    "1.2.840.10008.5.1.4.1.1.66.2": "fiducials",
    "1.2.840.10008.5.1.4.1.1.66.3": "a registration",
    "1.2.840.10008.5.1.4.1.1.66.5": "a surface",
    "1.2.840.10008.5.1.4.1.1.66.6": "tracts",
    "1.2.840.10008.5.1.4.1.1.67": "a value mapping",
    "1.2.840.10008.5.1.4.1.1.77.1.5.3": "a stereometric relationship",
    "1.2.840.10008.5.1.4.1.1.78": "measurements of an eye",
    "1.2.840.10008.5.1.4.1.1.79": "macular grids",
    "1.2.840.10008.5.1.4.1.1.88": "a report",
    "1.2.840.10008.5.1.4.1.1.90": "an assessment",
    "1.2.840.10008.5.1.4.1.1.104": "a document",
    "1.2.840.10008.5.1.4.1.1.131": "a display",
    "1.2.840.10008.5.1.4.1.1.200": "a protocol",
    "1.2.840.10008.5.1.4.1.1.201": "a storage inventory",
    "1.2.840.10008.5.1.4.1.1.481.3": "a structure set",
    "1.2.840.10008.5.1.4.1.1.481.4": "a treatment record",
    "1.2.840.10008.5.1.4.1.1.481.5": "a treatment plan",
    "1.2.840.10008.5.1.4.1.1.481.6": "a treatment record",
    "1.2.840.10008.5.1.4.1.1.481.7": "a treatment record",
    "1.2.840.10008.5.1.4.1.1.481.8": "a treatment plan",
    "1.2.840.10008.5.1.4.1.1.481.9": "a treatment record",
    **{f"1.2.840.10008.5.1.4.1.1.481.{n}": "an object of radiotherapy" for n in (*range(10, 23), 25)},
    "1.2.840.10008.5.1.4.34": "a work item",
    "1.2.840.10008.5.1.4.38": "a hanging protocol",
    "1.2.840.10008.5.1.4.39": "a colour palette",
    "1.2.840.10008.5.1.4.43": "an implant template",
    "1.2.840.10008.5.1.4.44": "an implant template",
    "1.2.840.10008.5.1.4.45": "an implant template",
}
"""SOP classes without pixels (PS3.4 B.5, GG), each for all classes below it."""
_SEGMENTED = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.8")
_STANDARD = "1.2.840.10008."


@lru_cache(maxsize=256)
def no_image(sop_class: str, *, has_pixels: bool) -> str:
    """What an object is that is no image; ``""`` for an image, also one whose pixels are missing.

    Parameters
    ----------
    sop_class : str
        SOPClassUID; of a private class only the pixels tell.
    has_pixels : bool
        Whether the file goes on after its header.
    """
    if sop_class.startswith(_SEGMENTED):
        return ""
    known = [root for root in _STORED_BESIDE if sop_class == root or sop_class.startswith(root + ".")]
    if known:
        return _STORED_BESIDE[max(known, key=len)]
    private = bool(sop_class) and not sop_class.startswith(_STANDARD)
    return "a private object without pixels" if private and not has_pixels else ""
