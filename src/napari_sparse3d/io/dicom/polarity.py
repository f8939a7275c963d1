"""GE's epi_pepolar: volumes of alternating phase-encoding polarity, half of them stored upside down.

The sequence takes both polarities in one series. Images of the reversed one are stored with their last row first, and
no standard element says so: position and orientation are those of the others. The maker's private elements do
(GEMS_ACQU_01: the sequence's name in (0019,xx9C), UserData12 in (0019,xxB3); rordenlab/dcm2niix issue 532, and the
public data of neurolabusc/dcm_qa_polar, whose volumes are equal to its references once these rows are turned).
"""

from __future__ import annotations

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.header import FileHeader, as_number
from napari_sparse3d.io.dicom.private import GE_POLARITY, GE_SEQUENCE

_SEQUENCE = "epi_pepolar"
_FORWARD, _REVERSED, _ODD_REVERSED, _EVEN_REVERSED = range(4)


def rows_reversed(header: FileHeader, volume: int | None) -> bool:
    """Whether an image is stored with its last row first.

    Parameters
    ----------
    header : FileHeader
    volume : int or None
        TemporalPositionIdentifier, from 1.

    Raises
    ------
    ReadError
        If the sequence is this one, and its header does not say which volumes are reversed.
    """
    if _SEQUENCE not in str(header.private(GE_SEQUENCE) or "").lower():
        return False
    scheme = as_number(header.private(GE_POLARITY))
    if scheme in (_FORWARD, _REVERSED):
        return scheme == _REVERSED
    if scheme not in (_ODD_REVERSED, _EVEN_REVERSED) or volume is None:
        raise ReadError(
            "a GE epi_pepolar image may be stored upside down, and its header does not say whether it is: "
            "export the polarities as series of their own"
        )
    return volume % 2 == (1 if scheme == _ODD_REVERSED else 0)
