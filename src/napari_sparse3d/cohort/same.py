"""Which cases of a cohort are the one that is asked about, or of its patient."""

from __future__ import annotations

from pathlib import Path

from napari_sparse3d.cohort.tables import Cohort

SAME = "same"


def same_case(cohort: Cohort, path: Path | None, series: int | None, patient: str | None) -> list[str]:
    """Mark what must not count as similar: the case itself, and all other cases of its patient.

    Parameters
    ----------
    cohort : Cohort
        Of which ``path``, ``series`` and ``patient`` are looked at, where there are such columns.
    path : Path, optional
        The file or folder of the case; without it only the patient counts.
    series : int, optional
        Which series of it; None is that of a path with only one.
    patient : str, optional
        As in the cohort. Where the case itself is in the cohort, its patient is known from there.

    Returns
    -------
    list of str
        ``"same"`` or ``""`` for each case: as ``groups`` of :func:`napari_sparse3d.measure.neighbours.similar`, with
        ``query_groups=["same"]``.
    """
    own = None if path is None else path.resolve()
    places = [None if own is None else _place(value) for value in cohort.column("path")]
    itself = [
        own is not None and place == own and (series is None or number is None or number == series)
        for place, number in zip(places, cohort.column("series"), strict=True)
    ]
    patients = {str(value) for value, same in zip(cohort.column("patient"), itself, strict=True) if same and value}
    if patient:
        patients.add(patient)
    return [
        SAME if same or (value and str(value) in patients) else ""
        for value, same in zip(cohort.column("patient"), itself, strict=True)
    ]


def _place(value: object) -> Path | None:
    """Where a row's case lies; None where the table has no path there, or one that no system takes."""
    try:
        return None if value is None else Path(str(value)).resolve()
    except (ValueError, OSError):
        return None
