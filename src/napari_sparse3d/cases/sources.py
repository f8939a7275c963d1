"""Which cases a path holds: series of scans, tables, MedMNIST arrays, folders per class, label maps, packed shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.folders import class_folders, kind_of, label_maps
from napari_sparse3d.cases.labels import UNLABELLED, label_of
from napari_sparse3d.cases.packed import cases_in_arrays, has_table_beside
from napari_sparse3d.cases.record import NAMES, is_record
from napari_sparse3d.cases.splits import named_split
from napari_sparse3d.cases.tables import is_table, patient_column, rows_of_table, text_of
from napari_sparse3d.errors import InputError

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo
    from napari_sparse3d.io.scanning import PathLike

# --- scans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SeriesCases:
    """The series at a path.

    Attributes
    ----------
    cases : tuple of Case
        One for each series that can be meant, those that cannot be read among them: they fail with their reason.
    left_out : int
        Scouts, reports and the like that were passed over.
    """

    cases: tuple[Case, ...]
    left_out: int = 0


def series_at(path: Path) -> SeriesCases:
    """Every series that is meant at a path, each at its own place (see :func:`identity.places`); or a voxel set.

    Raises
    ------
    ReadError
        If there is none.
    """
    from napari_sparse3d.cases.identity import places
    from napari_sparse3d.io import scan

    if path.suffix == ".npz":
        return SeriesCases((Case.at(path),))
    series = scan(path)
    # scouts, reports and the like are passed over, unless there is nothing else; a broken file is not
    meant = [info for info in series if not (info.localizer or info.auxiliary) or _is_broken(info)] or series
    place_of = places(path, series)
    cases = tuple(_case_of(info, *place_of[info.index]) for info in meant)
    return SeriesCases(cases, len(series) - len(meant))


def one_case(path: Path, series: int | None = None) -> Case:
    """The one case that is meant at a path, at its own place; ``series`` as ``read_volume`` takes it.

    Raises
    ------
    ReadError, InputError
        If there is none, or several that could be meant.
    """
    if path.suffix == ".npz":
        return Case.at(path)
    from napari_sparse3d.cases.identity import places
    from napari_sparse3d.io import scan
    from napari_sparse3d.io.read import choose_series

    series_here = scan(path)
    info = choose_series(path, series, found=series_here)
    return _case_of(info, *places(path, series_here)[info.index])


def find_cases(source: Path) -> list[Case]:
    """The cases below a folder, in one file, or in a table with a column ``path``: what a cohort is made of.

    In a folder with one sub-folder a class, the sub-folder's name becomes the label. Scouts, reports and what no volume
    can be made of are left out.

    Raises
    ------
    InputError
        If there is none.
    """
    if is_table(source):
        return list(table_cases(source))
    if source.is_file():
        return [Case.at(source)]
    sets = [Case.at(path) for path in sorted(source.rglob("*.npz"))]
    scans: Sequence[Case] = []
    try:
        scans = series_at(source).cases
    except InputError:
        if not sets:
            raise
    readable = [case for case in scans if case.info is not None and _is_volume(case.info)]
    known: dict[str, frozenset[str]] = {}
    for case in readable:
        if (folder := _folder_below(case, source)) and case.info is not None:
            known[folder] = known.get(folder, frozenset()) | case.info.identity
    cases = [_labelled(case, source, known) for case in [*readable, *sets]]
    if not cases:
        raise InputError("there is no scan and no voxel set below the folder; choose the one that holds them")
    return [replace(case, number=number) for number, case in enumerate(cases)]


def _case_of(info: SeriesInfo, place: Path, series: int) -> Case:
    # at its own place it has its own number: errors of its reading then count as the table does
    return Case(place.name, place, series=series, patient=info.patient or None, info=info.at(series))


def _is_broken(info: SeriesInfo) -> bool:
    from napari_sparse3d.io import FaultKind

    return any(fault.kind is FaultKind.UNREADABLE for fault in info.faults)


def _is_volume(info: SeriesInfo) -> bool:
    return info.shape is not None and not (info.localizer or info.auxiliary)


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
    return replace(case, label=label) if label else case


# --- tables -----------------------------------------------------------------------------------------------------------


def table_cases(
    table: Path,
    *,
    label_column: str = "label",
    label_needed: bool = False,
    unlabelled: Sequence[str] = UNLABELLED,
    other_splits: bool = True,
) -> Iterator[Case]:
    """The cases of a table with a column ``path`` (relative to the table).

    Read are, where they are there: the label, the patient (``patient``, ``patient_id``, ``subject`` or
    ``participant_id``), ``split``, ``series``, ``mask`` with ``value``; all other columns are kept as ``about``. A
    table that ``predict`` or ``map`` wrote is understood: its paths are those that it was called with, its predictions
    are no labels.

    Raises
    ------
    InputError
        If there is no such column, or a row without a path.
    """
    rows = rows_of_table(table)
    columns = list(rows[0]) if rows else []
    for needed in ("path", *([label_column] if label_needed else [])):
        if rows and needed not in columns:
            raise InputError(
                f"the table has no column {needed!r}; its columns are {', '.join(map(str, columns))[:400]}"
            )
    if not rows:
        raise InputError("the table holds no rows; give it a column 'path', and a row for each file")
    ours = is_record(columns)
    patient_in = patient_column(columns)
    taken = {"path", "series", "mask", "value", "split", label_column, patient_in, *(NAMES if ours else ())}
    for number, row in enumerate(rows):
        if not row["path"] or not isinstance(row["path"], str) or "\0" in row["path"]:
            raise InputError(f"row {number} of the table has no path; give it one, or take the row out")
        place = file_of_row(table, row["path"], as_given=ours)
        mask = file_of_row(table, str(row["mask"]), as_given=ours) if row.get("mask") else None
        truth = None if ours and "prediction" not in columns else row.get(label_column)
        yield Case(
            row["path"],
            place,
            "mask" if mask else kind_of(place) or "scan",
            text_of(row.get("value")) if mask else "",
            label_of(text_of(truth), unlabelled),
            named_split(text_of(row.get("split")), other_splits),
            (text_of(row[patient_in]).strip() or None) if patient_in is not None else None,
            mask,
            number,
            _series_number(row.get("series"), number),
            {str(name): text_of(value) for name, value in row.items() if name not in taken and text_of(value)},
        )


def file_of_row(table: Path, text: str, *, as_given: bool) -> Path:
    """Where a row's file lies: beside the table; or, of a table of ours, where the command was called."""
    path = Path(text)
    beside = path if path.is_absolute() else table.parent / path
    return path if as_given and not beside.exists() and path.exists() else beside


def _series_number(value: object, row: int) -> int | None:
    try:
        return None if value in (None, "") else int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise InputError(f"row {row} of the table: series must be a number, as `info` gives it") from error


# --- labelled sets ----------------------------------------------------------------------------------------------------


def cases_of(
    path: PathLike,
    *,
    label_column: str = "label",
    unlabelled: Sequence[str] = UNLABELLED,
    other_splits: bool = False,
) -> list[Case]:
    """List the cases of a labelled set, without reading their voxels.

    Parameters
    ----------
    path : str or path
        * ``.npz`` of MedMNIST: ``train_images`` (n, z, y, x), ``train_labels`` (n, 1), the same for val and test;
        * ``.npz`` of sparse shapes: ``coords``, ``offsets``, ``size``, ``spacing``, with a ``.csv`` of the same name
          (columns ``patient``, ``split``, and the label; one row a shape);
        * ``.npz`` of packed shapes: ``X`` (n, bytes), ``y`` (n,);
        * ``.csv`` or ``.parquet``: columns ``path`` (relative to the table), ``label``, and where known ``patient``,
          ``split``, ``series``, ``mask``, see :func:`table_cases`;
        * a folder with ``images/`` and ``labels/``: each value of a label map is one case, labelled with that value;
        * a folder per class, of scans, voxel sets or meshes; below it, or above it, ``train``, ``val``, ``test``.
    label_column : str
        Column of the label, for sets with a table.
    unlabelled : sequence of str
        What stands for a missing label, in lower case; see :func:`labels.label_of`.
    other_splits : bool
        Whether a table may name splits that training does not know.

    Raises
    ------
    InputError
        If it is none of these.
    FileNotFoundError
        If there is nothing at ``path``.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(2, "no such file or folder", str(source))
    if is_table(source):
        cases = table_cases(
            source, label_column=label_column, label_needed=True, unlabelled=unlabelled, other_splits=other_splits
        )
    elif source.is_dir():
        cases = label_maps(source) if (source / "labels").is_dir() else class_folders(source)
    elif source.suffix == ".npz":
        cases = cases_in_arrays(source, label_column, unlabelled, other_splits)
    else:
        raise InputError("this is no labelled set; give a folder, a table (.csv, .parquet) or an .npz")
    if label_column != "label" and not has_label_column(source):
        raise InputError(
            f"the label column {label_column!r} is of a table, and this set has none: its labels are its folders, "
            "or in its file; leave --label out"
        )
    numbered = [replace(case, number=number) for number, case in enumerate(cases)]
    if source.is_dir() and not numbered:
        raise InputError("the folder holds no cases; expected a folder per class, with scans or meshes in it")
    return numbered


def has_label_column(path: PathLike) -> bool:
    """Whether the labels of the set at a path stand in a column of a table, which ``label_column`` names.

    Raises
    ------
    ReadError
        If it is an ``.npz`` that cannot be read.
    """
    source = Path(path)
    return is_table(source) or (source.is_file() and source.suffix == ".npz" and has_table_beside(source))
