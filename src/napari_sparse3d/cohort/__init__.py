"""Many cases: found, embedded, kept as a table."""

from napari_sparse3d.cohort.cases import Case, find_cases
from napari_sparse3d.cohort.tables import Cohort, cohort_of, read_cohort, rows_of, write_rows

__all__ = ["Case", "Cohort", "cohort_of", "find_cases", "read_cohort", "rows_of", "write_rows"]
