"""What the panel shows of a thing that was pointed at: class, size, its place on the map, the known ones like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGraphicsOpacityEffect,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sparse3d.cohort.classes import ClassNumbers
from napari_sparse3d.widgets.cohort.colours import colouring
from napari_sparse3d.widgets.cohort.map_section import legend_words
from napari_sparse3d.widgets.network.bars import ProbabilityBars
from napari_sparse3d.widgets.network.model_words import honest_words
from napari_sparse3d.widgets.pick.state import Answer, Known, case_words, size_words
from napari_sparse3d.widgets.toolbox.layout import fit_height, small_label, stacked, table_style
from napari_sparse3d.widgets.toolbox.plain_text import as_html
from napari_sparse3d.widgets.toolbox.theme import Colours

if TYPE_CHECKING:
    from napari_sparse3d.widgets.cohort.map_view import MapView

_DIM = 0.35
_COLUMNS = ("distance", "rated", "rating", "mm")
_TIPS = (
    "Cosine distance of the embeddings: 0 is the same direction",
    "By the readers: malignant, benign, or not decided",
    "Malignancy, the median of the readers' ratings: 1 (unlikely) to 5",
    "The largest extent of the nodule, in millimetres",
)
SOURCE = (
    "Reference: {n:,} nodules of LIDC-IDRI (TCIA), CC BY 3.0, with radiologists' ratings, not proven diagnoses. "
    "PCA of the embeddings; + is this one, rings are the most similar."
)


class PickResults(QWidget):
    """Builds and fills."""

    def __init__(self) -> None:
        super().__init__()
        self.title = small_label()
        self.looks = QWidget()
        self.bars = ProbabilityBars()
        self.honest, self.measured, self.notes = small_label(), small_label(), small_label()
        self.table = LikeTable()
        self.legend = small_label()
        self.legend.setTextFormat(Qt.TextFormat.RichText)  # its dots are coloured
        self.source = small_label()
        self.inside_button = QPushButton("Look inside ▸")
        self.inside_button.setToolTip(
            "Open the Network panel and run the same model there: its layers, and what drove the class"
        )
        self._map: MapView | None = None
        self._known: Known | None = None
        self._look: Colours | None = None
        whole = stacked(self)
        whole.addWidget(self.title)
        whole.addWidget(self.looks)
        self._column = stacked(self.looks)
        parts: tuple[QWidget, ...] = (self.bars, self.measured, self.notes, self.honest, self.inside_button)
        for part in (*parts, self.table, self.legend, self.source):
            self._column.addWidget(part)
        self._dimmed = QGraphicsOpacityEffect(self.looks)
        self._dimmed.setOpacity(_DIM)
        self._dimmed.setEnabled(False)
        self.looks.setGraphicsEffect(self._dimmed)
        self.table.itemSelectionChanged.connect(self._ring)

    @property
    def map(self) -> MapView:
        """The map of the known cases; the first call makes it, and imports pyqtgraph."""
        if self._map is None:
            from napari_sparse3d.widgets.cohort.map_view import MapView

            self._map = MapView()
            if self._look is not None:
                self._map.restyle(self._look)
            self._column.insertWidget(self._column.indexOf(self.table) + 1, self._map)
        return self._map

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self._look = look
        if self._map is not None:
            self._map.restyle(look)

    def show_answer(self, answer: Answer) -> None:
        """Show another answer."""
        model = answer.result.model
        self.bars.set_probabilities(model.classes, answer.result.probabilities.tolist(), trained=model.trained)
        self.honest.setText(honest_words(answer.result))
        self.measured.setText(size_words(answer.finding))
        self.notes.setText("\n".join(f"{note}." for note in answer.finding.notes))
        self.table.show_cases(answer.like)
        has = answer.known is not None
        for part in (self.table, self.legend):
            part.setVisible(has)
        if self._map is not None or has:
            self.map.setVisible(has)
        if answer.known is None:
            self.source.setText(answer.unknown)
        else:
            self._draw(answer.known, answer)

    def show_owner(self, title: str, *, stale: bool) -> None:
        """Say whose result it is; one that is not of what is chosen is dim."""
        self.title.setText(f"⚠ Not for the current selection: {title}" if stale else title)
        self._dimmed.setEnabled(stale)
        self.inside_button.setEnabled(not stale)

    def _draw(self, known: Known, answer: Answer) -> None:
        if self._known is not known:
            self._known = known
            self.map.set_positions(known.positions)
            colours = colouring(known.cohort, "label", ClassNumbers())
            self.map.set_colours(colours.codes, continuous=colours.continuous)
            self.map.set_words(lambda index: as_html(case_words(known.cohort.row(index))))
            self.legend.setText(legend_words(colours))
            self.source.setText(SOURCE.format(n=len(known.cohort)))
        self.map.show_here(answer.here)
        self._ring()

    def _ring(self) -> None:
        if self._map is not None:
            self._map.mark(self.table.chosen())


class LikeTable(QTableWidget):
    """The known cases most like this one, the nearest first."""

    def __init__(self) -> None:
        super().__init__(0, len(_COLUMNS))
        self.setHorizontalHeaderLabels(list(_COLUMNS))
        for column, tip in enumerate(_TIPS):
            item = self.horizontalHeaderItem(column)
            if item is not None:
                item.setToolTip(tip)
        self.setAccessibleName("The most similar known cases")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        side, header = self.verticalHeader(), self.horizontalHeader()
        if side is not None:
            side.hide()
            side.setDefaultSectionSize(22)
        if header is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self._rows: list[dict[str, Any]] = []

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self.setStyleSheet(table_style(look))

    def show_cases(self, rows: list[dict[str, Any]]) -> None:
        """List these."""
        self.clearSelection()
        self._rows = rows
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            cells = (
                f"{row['distance']:.4f}",
                str(row.get("label") or "not decided"),
                _number(row.get("malignancy")),
                _number(row.get("extent_mm")),
            )
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(as_html(case_words(row)))
                if column != 1:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(number, column, item)
        fit_height(self, max(len(rows), 1))

    def chosen(self) -> list[int]:
        """The numbers of the chosen cases in their cohort; of all that are listed where none is chosen."""
        selected = sorted({index.row() for index in self.selectedIndexes()})
        return [int(self._rows[number]["index"]) for number in selected or range(len(self._rows))]


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else ""
