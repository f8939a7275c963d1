"""The cases of a cohort: every series of a folder, or the rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sparse3d.errors import InputError

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
    cases = [_labelled(case, source) for case in [*found, *sets]]
    if not cases:
        raise InputError("there is no scan and no voxel set below the folder; choose the one that holds them")
    return cases


def _labelled(case: Case, root: Path) -> Case:
    parts = case.path.relative_to(root).parts if case.path.is_relative_to(root) else ()
    if len(parts) < 2:
        return case
    return Case(case.path, case.series, {**case.about, "label": parts[0]}, case.info)


def _from_table(table: Path) -> list[Case]:
    rows = _rows(table)
    if not rows or "path" not in rows[0]:
        raise InputError("the table has no column 'path'; name the files to embed in one")
    cases = []
    for row in rows:
        path = Path(str(row["path"]))
        about = {key: str(value) for key, value in row.items() if key not in ("path", "series") and _is_plain(value)}
        series = row.get("series")
        number = int(series) if series not in (None, "") else None
        cases.append(Case(path if path.is_absolute() else table.parent / path, number, about))
    return cases


def _rows(table: Path) -> list[dict[str, Any]]:
    if table.suffix.lower() == ".csv":
        with table.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(table).to_pylist()
    return rows


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float, bool)) and value != ""
