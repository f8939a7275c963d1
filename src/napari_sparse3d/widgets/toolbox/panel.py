"""A panel: a body that scrolls, and a foot with the state, the primary button and the links that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.widgets.toolbox.faults import Fault
from napari_sparse3d.widgets.toolbox.plain_text import as_html, plain_label
from napari_sparse3d.widgets.toolbox.theme import Colours, colours
from napari_sparse3d.widgets.toolbox.viewers import real_viewer
from napari_sparse3d.widgets.toolbox.work import Step, Work
from napari_sparse3d.widgets.workbench import Workbench

SPACE = 8
"""Pixels between things."""
LABEL_WIDTH = 64
"""Pixels of the widest label of a control: Resample."""


class Panel(QWidget):
    """Base of all panels.

    Subclasses fill ``self.body`` (a vertical layout), set what the primary button does, and call :meth:`say`.
    """

    primary_text = "Run"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer = real_viewer(viewer)
        self.workbench = Workbench.of(viewer)
        self._working: Work | None = None
        self._fault: Fault | None = None
        self._said = ("", False)
        self._waiting = False  # the message is about the work that runs
        self.setMinimumWidth(280)

        inside = QWidget()
        self.body = QVBoxLayout(inside)
        self.body.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        self.body.setSpacing(SPACE)
        self.area = QScrollArea()
        self.area.setWidget(inside)
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QScrollArea.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.message.linkActivated.connect(self._show_details)
        self.message.hide()
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.progress.hide()
        self.primary = QPushButton(self.primary_text)
        self.primary.setDefault(True)
        self.primary.setMinimumHeight(30)
        self.primary.clicked.connect(self._primary_clicked)
        self.foot = QVBoxLayout()
        self.foot.setContentsMargins(SPACE, SPACE // 2, SPACE, SPACE)
        self.foot.setSpacing(SPACE // 2)
        for widget in (self.message, self.progress, self.primary):
            self.foot.addWidget(widget)
        self.links = QGridLayout()
        self.links.setHorizontalSpacing(SPACE)
        self.links.setVerticalSpacing(0)
        self.foot.addLayout(self.links)

        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.area, 1)
        outer.addLayout(self.foot)

        viewer.events.theme.connect(self._restyle)
        self.destroyed.connect(self._disconnector())
        self._restyle()

    # -- what subclasses fill in ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """What the primary button starts."""

    def restyle(self, look: Colours) -> None:
        """Called with the colours of a new theme."""

    # -- what they use -------------------------------------------------------------------------------------------------

    def say(self, text: str, *, warning: bool = False) -> None:
        """Put one sentence above the primary button; ``""`` takes it away."""
        self._fault = None
        self._show_message(as_html(text), warning=warning)

    def fail(self, fault: Fault) -> None:
        """Say what went wrong, with the details behind a link."""
        self._fault = fault
        link = "" if fault.expected else f' <a href="details" style="color:{self._look.text}">Details</a>'
        self._show_message(as_html(fault.sentence) + link, warning=True)

    def follow(self, work: Work) -> None:
        """While this work runs, show its progress and turn the primary button into Cancel."""
        work.started.connect(lambda title: self._began(work, title))
        work.stepped.connect(self._stepped)
        work.failed.connect(self.fail)
        work.ended.connect(self._ended)

    def add_link(self, text: str, tip: str, action: Callable[[], None]) -> QPushButton:
        """A quiet button at the foot."""
        button = QPushButton(text)
        button.setFlat(True)
        button.setToolTip(tip)
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.clicked.connect(lambda: action())
        button.setObjectName("sparse3d-link")
        button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        number = self.links.count()
        self.links.addWidget(button, number // 2, number % 2)
        self._restyle()
        return button

    def press(self, name: str) -> None:
        """Press one of the panel's buttons, from the command palette; say so where it cannot be pressed yet."""
        button: QPushButton = getattr(self, name)
        if name == "primary" and self._working is not None:
            self.say("This is still at work; Cancel stops it.", warning=True)
        elif not (button.isVisibleTo(self) and button.isEnabled()):
            self.say(button.toolTip() or "There is nothing to do this with yet: begin at the top.", warning=True)
        else:
            button.click()

    def copy(self, text: str, what: str) -> None:
        """Put text on the clipboard and say so."""
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
        self.say(f"{what} copied: it repeats what is shown here.")

    # -- inside --------------------------------------------------------------------------------------------------------

    def _primary_clicked(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self.say("Cancelled; nothing was changed.")
        else:
            self.run()

    def _began(self, work: Work, title: str) -> None:
        self._working = work
        self.say(f"{title[:1].upper()}{title[1:]} …")
        self._waiting = True
        self.progress.setRange(0, 0)
        self.progress.show()
        self.primary.setText("Cancel")
        self.primary.setEnabled(True)

    def _stepped(self, step: object) -> None:
        if isinstance(step, Step):
            self.progress.setRange(0, step.total)
            self.progress.setValue(step.done)
            if step.text:
                self.say(step.text)
                self._waiting = True

    def _ended(self) -> None:
        self._working = None
        self.progress.hide()
        self.primary.setText(self.primary_text)
        if self._waiting:
            self.say("")

    def _show_message(self, text: str, *, warning: bool) -> None:
        """``text`` is HTML."""
        self._said, self._waiting = (text, warning), False
        colour = self._look.warning if warning else self._look.muted
        sign = "⚠ " if warning else ""
        self.message.setText(f'<span style="color:{colour}">{sign}{text}</span>' if text else "")
        self.message.setVisible(bool(text))

    def _show_details(self, _link: str) -> None:
        if self._fault is not None:
            box = QMessageBox(QMessageBox.Icon.Information, "Details", self._fault.sentence, parent=self)
            box.setTextFormat(Qt.TextFormat.PlainText)
            box.setDetailedText(self._fault.details)
            box.open()

    def _restyle(self, _event: object = None) -> None:
        self._look = colours(self.viewer)
        self.primary.setStyleSheet(
            f"QPushButton {{ background: {self._look.accent}; color: {self._look.accent_text}; font-weight: 600; }}"
            f"QPushButton:disabled {{ background: {self._look.line}; color: {self._look.muted}; }}"
            f"QPushButton:focus {{ border: 2px solid {self._look.text}; }}"
        )
        for button in self.findChildren(QPushButton, "sparse3d-link"):
            button.setStyleSheet(
                f"QPushButton {{ background: transparent; border: none; color: {self._look.text};"
                " text-decoration: underline; padding: 2px; }"
                f"QPushButton:disabled {{ color: {self._look.muted}; text-decoration: none; }}"
                f"QPushButton:focus {{ border: 1px solid {self._look.muted}; }}"
            )
        waiting = self._waiting
        self._show_message(self._said[0], warning=self._said[1])
        self._waiting = waiting
        self.restyle(self._look)

    def _disconnector(self) -> Callable[[], None]:
        # the viewer outlives the panel; after destruction `self` must not be reached, so the callback holds neither
        viewer, callback = self.viewer, self._restyle

        def disconnect() -> None:
            viewer.events.theme.disconnect(callback)

        return disconnect


class Form(QFormLayout):
    """Its labels are as wide as those of every other form, so that all controls of a panel begin in one line."""

    def addRow(self, *row: Any) -> None:
        """As Qt's: a label and a control, or one thing over the whole width."""
        if len(row) == 2 and isinstance(row[0], str):
            label = plain_label(row[0])
            label.setMinimumWidth(LABEL_WIDTH)
            if isinstance(row[1], QWidget):
                label.setBuddy(row[1])
            super().addRow(label, row[1])
        else:
            super().addRow(*row)


def form() -> Form:
    """Labels in one column, controls beside them that take the rest of the width."""
    layout = Form()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setHorizontalSpacing(SPACE)
    layout.setVerticalSpacing(SPACE)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


def combo(tip: str, minimum: int = 8) -> QComboBox:
    """A combo box that shrinks with its panel instead of widening it."""
    box = QComboBox()
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(minimum)
    return box


def small_label(text: str = "") -> QLabel:
    """A wrapping line of muted text."""
    label = plain_label(text)
    label.setWordWrap(True)
    label.setObjectName("sparse3d-small")
    return label


def later(milliseconds: int, parent: QWidget, action: Callable[[], None]) -> QTimer:
    """A timer that calls ``action`` once, that long after its last ``start()``."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(action)
    return timer


def fit_height(table: QTableWidget, rows: int) -> None:
    """As high as its rows, at most ``rows`` of them, with its header and the scroll bar that it needs."""
    header, side, bar = table.horizontalHeader(), table.verticalHeader(), table.horizontalScrollBar()
    if header is None or side is None or bar is None:
        return
    wide = header.length() > table.maximumViewportSize().width()
    height = header.sizeHint().height() + side.defaultSectionSize() * min(max(table.rowCount(), 1), rows)
    table.setFixedHeight(height + (bar.sizeHint().height() if wide else 0) + 2)


def table_style(look: Colours) -> str:
    """Tables in the colours of the theme, without a frame."""
    return (
        f"QTableWidget {{ background: {look.background}; color: {look.text}; border: none; }}"
        f"QTableWidget::item:selected {{ background: {look.accent}; color: {look.accent_text}; }}"
        f"QHeaderView {{ background: {look.background}; }}"
        f"QHeaderView::section {{ background: {look.foreground}; color: {look.text}; border: none; padding: 3px; }}"
        f"QTableCornerButton::section {{ background: {look.foreground}; border: none; }}"
    )
