"""The cases of several folders and tables as one cohort, each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.sources import file_of_row, find_cases


@dataclass(frozen=True)
class Gathered:
    """The cases of some sources.

    Attributes
    ----------
    cases : tuple of Case
        Numbered from 0.
    n_known : int
        How many more there are that were known before.
    """

    cases: tuple[Case, ...]
    n_known: int = 0


@dataclass
class Places:
    """Where cases lie: by that they are told apart, whatever way led to them; a copy elsewhere is a case of its own."""

    _series: dict[tuple[Path, Path | None, str], set[int | None]] = field(default_factory=dict)

    def take(self, path: Path, series: int | None, mask: Path | None = None, item: str = "") -> bool:
        """Take note of a place; gives back whether it is a new one. No number of a series: it is the only one."""
        numbers = self._series.setdefault((path.resolve(), mask and mask.resolve(), item), set())
        is_new = not numbers or (series is not None and None not in numbers and series not in numbers)
        numbers.add(series)
        return is_new


Place: TypeAlias = tuple[str, int | None, str, str]
"""Path, series, and of a thing in a label map that map's path and its label; the last two are "" of a whole scan."""


def gather(sources: Iterable[Path], known: Iterable[Place] = ()) -> Gathered:
    """Look for the cases of folders, files and tables, in order; of one that is found twice, the first counts.

    Parameters
    ----------
    sources : iterable of Path
        Each as for :func:`~napari_sparse3d.cases.sources.find_cases`.
    known : iterable of (path, series, mask, value)
        Cases that are there already, as rows of a table name them.

    Raises
    ------
    InputError
        If there is none in one of the sources.
    """
    places, n_known = Places(), 0
    for path, series, mask, value in known:
        places.take(Path(path), series, Path(mask) if mask else None, value)
    cases: list[Case] = []
    for source in sources:
        for case in find_cases(source):
            if places.take(case.path, case.series, case.mask, case.item):
                cases.append(replace(case, number=len(cases)))
            else:
                n_known += 1
    return Gathered(tuple(cases), n_known)


def places_of(rows: Sequence[Mapping[str, Any]], table: Path | None) -> list[Place]:
    """Where the cases of a table's rows lie; those that say no path are left out.

    Parameters
    ----------
    rows : sequence of mapping
    table : Path or None
        Where they are from; paths may be relative to it.
    """

    def place(text: object) -> str:
        return str(file_of_row(table or Path(), str(text), as_given=True)) if text else ""

    def whole(series: object) -> int | None:
        return series if isinstance(series, int) else None

    return [
        (place(row["path"]), whole(row.get("series")), place(row.get("mask")), str(row.get("value") or ""))
        for row in rows
        if row.get("path") and "\0" not in f"{row['path']}{row.get('mask')}"
    ]
