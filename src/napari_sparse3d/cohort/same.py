"""Which cases of a cohort are the one that is asked about, or of its patient."""

from __future__ import annotations

from pathlib import Path

from napari_sparse3d.cases.identity import patient_key
from napari_sparse3d.cohort.tables import Cohort

SAME = "same"


def same_case(
    cohort: Cohort, path: Path | None, series: int | None, patient: str | None, content: str | None = None
) -> list[str]:
    """Mark what must not count as similar: the case itself, and all other cases of its patient.

    Parameters
    ----------
    cohort : Cohort
        Of which ``path``, ``series`` and ``patient`` are looked at, where there are such columns.
    path : Path, optional
        The own place of the case (see :mod:`napari_sparse3d.cases.identity`); without it only the patient counts.
    series : int, optional
        Which series of it; None is that of a path with only one.
    patient : str, optional
        As in the cohort, or what that is a hash of. Where the case itself is in the cohort, its patient is known from
        there.
    content : str, optional
        The hash of what it shows: by it a case is known that was moved since. A row whose file is still there is a case
        of its own, even with the same content: a copy is told by its distance, which is 0.

    Returns
    -------
    list of str
        ``"same"`` or ``""`` for each case: as ``groups`` of :func:`napari_sparse3d.measure.neighbours.similar`, with
        ``query_groups=["same"]``.
    """
    own = None if path is None else path.resolve()
    places = [_place(value) for value in cohort.column("path")]
    itself = [
        (own is not None and place == own and (series is None or number is None or number == series))
        or (content is not None and known == content and _may_be(place, own))
        for place, number, known in zip(places, cohort.column("series"), cohort.column("content"), strict=True)
    ]
    patients = {str(value) for value, same in zip(cohort.column("patient"), itself, strict=True) if same and value}
    if patient:
        patients |= {patient, patient_key(patient)}
    return [
        SAME if same or (value and str(value) in patients) else ""
        for value, same in zip(cohort.column("patient"), itself, strict=True)
    ]


def _may_be(place: Path | None, own: Path | None) -> bool:
    """Whether a row of the same content is the case itself: its file is gone, or lies in the folder that was given."""
    if place is None or not place.exists():
        return True
    return own is not None and (own in place.parents or place in own.parents)


def _place(value: object) -> Path | None:
    """Where a row's case lies; None where the table has no path there, or one that no system takes."""
    try:
        return None if value is None else Path(str(value)).resolve()
    except (ValueError, OSError):
        return None
