"""Many cases: found, embedded, kept as a table."""

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.cases.sources import find_cases
from napari_sparse3d.cohort.gather import gather
from napari_sparse3d.cohort.tables import Cohort, cohort_of, read_cohort, rows_of

__all__ = ["Cohort", "cohort_of", "find_cases", "gather", "read_cohort", "rows_of", "write_rows"]
