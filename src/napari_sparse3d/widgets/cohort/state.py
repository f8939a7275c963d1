"""What the Cohort panel knows: the cases, which are selected, how they are coloured, which are alike. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.identity import CaseIdentity
from napari_sparse3d.cases.record import model_hashes
from napari_sparse3d.catalog import ARCHITECTURES, TRAINED
from napari_sparse3d.cohort.classes import ClassNumbers
from napari_sparse3d.cohort.comparable import Origin, check_comparable
from napari_sparse3d.cohort.same import SAME, same_case
from napari_sparse3d.cohort.tables import Cohort, rows_of
from napari_sparse3d.measure.neighbours import similar
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.cohort.colours import TAG, Colouring, class_orders, colouring, telling_columns
from napari_sparse3d.widgets.cohort.tags import Tags
from napari_sparse3d.widgets.network.state import NetworkRun
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case that was read.

    Attributes
    ----------
    data : LayerData
        See ``io.layers``.
    case : CaseIdentity
    made : ScanVoxels or None
        Its voxels, if it is a voxel set.
    changed : bool
        Its file has changed since it was embedded.
    file : Path or None
        What was read, where that is not the case's own place: the label map that draws a thing in a scan.
    """

    data: Any
    case: CaseIdentity
    made: ScanVoxels | None = None
    changed: bool = False
    file: Path | None = None


@dataclass(frozen=True)
class Nearest:
    """The cases most like the open one, the nearest first, and what has to be said of them."""

    indices: list[int]
    distances: list[float]
    text: str


def nothing() -> NDArray[np.int64]:
    """No case."""
    return np.empty(0, dtype=np.int64)


@dataclass
class CohortState:
    """What stands in the panel.

    Attributes
    ----------
    sources : list of Path
        Folders and tables that all cases are from.
    added : list of Path
        Those of them that have not been embedded yet.
    replaces : bool
        Whether they are of other cases than those shown, whose place they take.
    cohort : Cohort or None
        The cases that are shown; the next three are of them, and change with them alone.
    table : Path or None
        Where their embeddings are on disk.
    rows : list of dict
        As they were embedded, those that failed among them; empty where they are from a table.
    embedded : (tuple of Path, str) or None
        The folders and tables, and the model, that all of them were embedded from and by; None: they are from a table,
        or more are still to come.
    selected : ndarray
        (K,) int64, numbers of cases.
    shown : ndarray
        (N,) bool: the cases that the filter leaves.
    distances : list of float
        Of the similar cases that are listed.
    asked : bool
        Who is like the open case, before there were cases.
    colour_chosen : str
        A column, by the user; until then the most telling one.
    tags : Tags
        What the user has called cases.
    class_numbers : ClassNumbers
        Which colour each class has: for as long as the window is there, whatever cases are shown.
    hashes : dict
        Of the models that have run: what the workbench calls them, and their hash.
    """

    sources: list[Path] = field(default_factory=list)
    added: list[Path] = field(default_factory=list)
    replaces: bool = False
    cohort: Cohort | None = None
    table: Path | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    embedded: tuple[tuple[Path, ...], str] | None = None
    selected: NDArray[np.int64] = field(default_factory=nothing)
    shown: NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, dtype=bool))
    distances: list[float] = field(default_factory=list)
    asked: bool = False
    colour_chosen: str = ""
    tags: Tags = field(default_factory=Tags)
    class_numbers: ClassNumbers = field(default_factory=ClassNumbers)
    hashes: dict[str, str] = field(default_factory=dict)

    def take(self, source: Path, *, embedded: bool = False) -> None:
        """The cases of a folder or table, in place of those shown; ``embedded``: they are shown already."""
        self.sources, self.added, self.replaces = [source], [] if embedded else [source], not embedded

    def add(self, source: Path) -> None:
        """The cases of a folder or table, beside the others."""
        for sources in (self.sources, self.added):
            if source.resolve() not in {each.resolve() for each in sources}:
                sources.append(source)

    def taken(self) -> None:
        """All sources are embedded."""
        self.added, self.replaces = [], False

    def show(
        self,
        cohort: Cohort,
        *,
        table: Path | None = None,
        rows: Sequence[dict[str, Any]] = (),
        embedded: tuple[tuple[Path, ...], str] | None = None,
        grown: bool = False,
    ) -> None:
        """Other cases, with all that is known of where they are from: none of them is selected.

        ``grown``: those shown before are the first of them, and stay selected; what was done to them can be undone.
        """
        self.cohort, self.table, self.rows, self.embedded = cohort, table, list(rows), embedded
        self.replaces = False
        self.shown = np.ones(len(cohort), dtype=bool)
        if not grown:
            self.selected = nothing()
            self.tags.forget()
        hashes = {str(row["model_hash"]) for row in rows if row.get("model_hash")}
        if embedded is not None and len(hashes) == 1:
            self.hashes[embedded[1]] = hashes.pop()

    def show_only(self, shown: NDArray[np.bool_]) -> None:
        """Hide the other cases: nothing that is not seen is selected."""
        self.shown = shown
        self.selected = self.selected[shown[self.selected]]

    def origin(self) -> tuple[str, str] | None:
        """The hashes of the model and of the recipe that embedded the cases shown; None where they do not say."""
        if self.cohort is None:
            return None
        known = {*zip(self.cohort.column("model_hash"), self.cohort.column("recipe_hash"), strict=True)}
        return next(
            ((str(model), str(recipe)) for model, recipe in known if len(known) == 1 and model and recipe), None
        )

    def is_by(self, model: str) -> bool | None:
        """Whether the cases shown were embedded by the model that the workbench calls so; None: that is not known."""
        if self.cohort is None or not self.models():
            return None
        origin = self.origin()
        if origin is not None and model in self.hashes:
            return origin[0] == self.hashes[model]
        if self.embedded is not None and self.embedded[1] == model:
            return True
        names = {*TRAINED, *ARCHITECTURES}  # a file may have any name, what is bundled has its own
        return None if model not in names else model in self.models()

    def saved(self, table: Path) -> None:
        """The cases are in a table of the user's, which the lines read: to embed into it would undo the labels."""
        self.table, self.embedded = table, None

    def first_failure(self) -> str:
        """How many cases failed, and why the first did."""
        if self.cohort is None or not self.cohort.n_failed:
            return ""
        number, why = next((n, row["error"]) for n, row in enumerate(self.rows) if row["status"] == "failed")
        return f"{words.count(self.cohort.n_failed, 'cases')} failed, the first (row {number}) because: {why}"

    def columns(self) -> list[str]:
        """Those that can give the colour, the most telling first."""
        return [] if self.cohort is None else telling_columns(self.cohort)

    def colouring(self, name: str) -> Colouring | None:
        """A colour for each case, by a column; "": all alike."""
        return None if self.cohort is None else colouring(self.cohort, name, self.class_numbers)

    def class_orders(self) -> dict[str, list[str]]:
        """For columns of classes, the order of their colours, for a table to keep."""
        return {} if self.cohort is None else class_orders(self.cohort, self.class_numbers)

    def tag_selected(self, tag: str) -> None:
        """Give the selected cases a tag, or take it away (""); the table on disk changes when it is saved."""
        if self.cohort is not None:
            self._set_tags(self.tags.put(self.cohort, self.selected.tolist(), tag))

    def undo_tag(self) -> bool:
        """Take back what :meth:`tag_selected` did last; gives back whether there was anything."""
        if self.cohort is None or not self.tags.can_undo:
            return False
        self._set_tags(self.tags.undo(self.cohort))
        return True

    def _set_tags(self, cohort: Cohort) -> None:
        self.cohort = cohort
        embedded = (row for row in self.rows if row.get("embedding") is not None)  # in the order of the cohort
        for row, tag in zip(embedded, cohort.column(TAG), strict=False):
            row[TAG] = tag

    def chosen_rows(self) -> list[dict[str, Any]]:
        """The selected cases, or all if none is selected."""
        if self.cohort is None:
            return []
        rows = rows_of(self.cohort)
        return [rows[int(index)] for index in self.selected] if len(self.selected) else rows

    def models(self) -> list[str]:
        """By which models the cases were embedded."""
        return [] if self.cohort is None else sorted({str(value) for value in self.cohort.column("model") if value})

    def similar_rows(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The similar cases as a session has them."""
        if self.cohort is None:
            return []
        pairs = zip(indices, self.distances, strict=False)
        return [{"case": index, "distance": distance, **self.cohort.row(index)} for index, distance in pairs]


def nearest(cohort: Cohort, ran: NetworkRun, k: int) -> Nearest:
    """The ``k`` cases most like the open one, by the rules of the command ``similar``.

    Parameters
    ----------
    cohort : Cohort
    ran : NetworkRun
        What was run on the open case; it and its patient's cases are left out.
    k : int

    Raises
    ------
    InputError
        If another model or recipe has embedded the cohort.
    """
    made, result = ran.made, ran.result
    recipe_hash = made.recipe_hash(result.model.recipe)
    uncertain = check_comparable(cohort, Origin(result.model.name, result.model_hash, recipe_hash))
    case = made.case
    groups = same_case(cohort, case.path, case.series, case.patient or None, made.content)
    indices, distances = similar(
        np.asarray(result.embedding)[None], cohort.embeddings, k, groups=groups, query_groups=[SAME], keys=cohort.keys()
    )
    found = [int(index) for index in indices[0] if index >= 0]
    n_same = groups.count(SAME)
    said = [
        f"⚠ {uncertain[:1].upper()}{uncertain[1:]}. " if uncertain else "",
        f"{words.count(n_same, 'cases')} left out: the open case itself, or others of its patient. " if n_same else "",
        words.RESEARCH_ONLY,
    ]
    return Nearest(found, [float(each) for each in distances[0][: len(found)]], "".join(said))


def kept_tables() -> Path:
    """Where embedded cohorts are kept."""
    return repeat.recipe_folder().parent / "cohorts"


def last_kept(model_hash: str) -> Path | None:
    """The cohort that was embedded last by this model; by its hash, since two models may have one name."""
    newest_first = sorted(kept_tables().glob("*.parquet"), key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in newest_first if model_hashes(path) == {model_hash}), None)
