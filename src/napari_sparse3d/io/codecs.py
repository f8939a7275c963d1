"""Which compressed DICOM images can be decoded here."""

from __future__ import annotations

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

COMPRESSED = {
    "JPEG baseline": JPEGBaseline8Bit,
    "JPEG extended": JPEGExtended12Bit,
    "JPEG lossless": JPEGLossless,
    "JPEG lossless SV1": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG-LS near-lossless": JPEGLSNearLossless,
    "JPEG 2000": JPEG2000,
    "JPEG 2000 lossless": JPEG2000Lossless,
    "HTJ2K lossless": HTJ2KLossless,
    "RLE": RLELossless,
}
"""The compressed transfer syntaxes that CT and MR archives hold (DICOM PS3.5, annex A.4)."""


def decodable() -> dict[str, bool]:
    """For each of :data:`COMPRESSED`: whether an installed package decodes it."""
    return {name: get_decoder(uid).is_available for name, uid in COMPRESSED.items()}
