"""The cases of a cohort: every series of a folder, or the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sparse3d.errors import InputError, line_of
from napari_sparse3d.parse import read_csv

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo

TABLE_ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class Case:
    """One series, or one voxel set (``.npz``), and what is known of it.

    Attributes
    ----------
    path : Path
        What ``read_volume`` takes, or a voxel set.
    series : int or None
        Which series of the path, where it holds several.
    about : mapping
        Columns such as ``label``, ``patient`` (a hash), ``split``; values as text.
    info : SeriesInfo or None
        The series, where it was found by a scan: it is then read without another one.
    """

    path: Path
    series: int | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    info: SeriesInfo | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """A short name without identity."""
        from napari_sparse3d.io.naming import safe_file_name

        base = safe_file_name(self.path, "case")
        return base if self.series is None else f"{base} {self.series}"


def find_cases(source: Path) -> list[Case]:
    """The cases below a folder, in one file, or in a table with a column ``path``.

    In a folder with one sub-folder a class, the sub-folder's name becomes the label. Scouts and reports are left out.

    Raises
    ------
    InputError
        If there is none.
    """
    if source.suffix.lower() in TABLE_ENDINGS:
        return _from_table(source)
    if source.is_file():
        return [Case(source)]
    from napari_sparse3d.io import scan  # half a second of import, which a table does not need

    sets = [Case(path) for path in sorted(source.rglob("*.npz"))]
    found: list[Case] = []
    try:
        series = scan(source)
    except InputError:
        if not sets:
            raise
        series = []
    for info in series:
        if info.localizer or info.auxiliary or info.shape is None:
            continue
        path = info.source
        about = {"patient": info.patient} if info.patient else {}
        found.append(Case(path, info.index if path.is_dir() else None, about, info))
    known: dict[str, frozenset[str]] = {}
    for case in found:
        if (folder := _folder_below(case, source)) and case.info is not None:
            known[folder] = known.get(folder, frozenset()) | case.info.identity
    cases = [_labelled(case, source, known) for case in [*found, *sets]]
    if not cases:
        raise InputError("there is no scan and no voxel set below the folder; choose the one that holds them")
    return cases


def _folder_below(case: Case, root: Path) -> str:
    """The folder of ``root`` in which a case lies; ``""`` where it lies in none."""
    parts = case.path.relative_to(root).parts if case.path.is_relative_to(root) else ()
    return parts[0] if len(parts) > 1 else ""


def _labelled(case: Case, root: Path, known: Mapping[str, frozenset[str]]) -> Case:
    """With its folder's name for a label, without what identifies the patients in that folder."""
    from napari_sparse3d.io.naming import without_identity

    label = _folder_below(case, root)
    if known.get(label):
        label = without_identity(label, known[label])
    return Case(case.path, case.series, {**case.about, "label": label}, case.info) if label else case


def _from_table(table: Path) -> list[Case]:
    rows = _rows(table)
    if not rows or "path" not in rows[0]:
        raise InputError("the table has no column 'path'; name the files to embed in one")
    cases: list[Case] = []
    for row in rows:
        if not row["path"] or not isinstance(row["path"], str) or "\0" in row["path"]:
            raise InputError(f"row {len(cases)} of the table has no path; give it one, or take the row out")
        path = Path(row["path"])
        about = {
            str(key): str(value)
            for key, value in row.items()
            if key not in ("path", "series", None) and _is_plain(value)
        }
        series = row.get("series")
        try:
            number = int(series) if series not in (None, "") else None
        except (TypeError, ValueError) as error:
            raise InputError(f"row {len(cases)} of the table: series must be a number, as `info` gives it") from error
        cases.append(Case(path if path.is_absolute() else table.parent / path, number, about))
    return cases


def _rows(table: Path) -> list[dict[str, Any]]:
    if table.is_dir():
        raise InputError("a folder is no table; name the table in it")
    try:
        if table.suffix.lower() == ".csv":
            return [dict(row) for row in read_csv(table)]
        from pyarrow import parquet

        with parquet.ParquetFile(table) as stored:
            rows: list[dict[str, Any]] = stored.read().to_pylist()
    except (FileNotFoundError, InputError):
        raise
    # pyarrow's errors are ValueErrors, NotImplementedErrors and OSErrors
    except (ValueError, NotImplementedError, MemoryError, OverflowError, OSError) as error:
        raise InputError(f"the table cannot be read: {line_of(error, table)[:160]}") from error
    return rows


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float, bool)) and value != ""
