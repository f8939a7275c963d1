"""A panel: a body that scrolls, and a foot with the state, the primary button and the links that does not.

The base builds that, restyles whatever stands in it, shows how far the work is, and turns errors into messages.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.patient_view import show_sides
from napari_sparse3d.widgets.show import show_panel
from napari_sparse3d.widgets.toolbox.failures import Failure, failure_of
from napari_sparse3d.widgets.toolbox.flow import Flow
from napari_sparse3d.widgets.toolbox.layout import SPACE
from napari_sparse3d.widgets.toolbox.more_panels import others_menu
from napari_sparse3d.widgets.toolbox.one_instance import OneInViewer
from napari_sparse3d.widgets.toolbox.plain_text import as_html
from napari_sparse3d.widgets.toolbox.step import Step
from napari_sparse3d.widgets.toolbox.styled import restyle_all
from napari_sparse3d.widgets.toolbox.theme import Colours, colours, link_style, primary_style
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.workbench import Workbench

MINIMUM_WIDTH = 260
"""Pixels; a dock of napari's begins with 270, its frame among them."""
LINK = "sparse3d-link"
"""Object name of the quiet buttons."""


class Panel(QWidget, metaclass=OneInViewer):
    """Base of all panels; there is one of each class in a viewer.

    Subclasses lay their controls into ``self.body`` in :meth:`build`, and say in :meth:`run` what the primary button
    does. What stands in the body and has a method ``restyle`` follows the theme.
    """

    primary_text = "Run"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.workbench = Workbench.of(napari_viewer)
        self.workbench.enter(self)
        show_sides(napari_viewer)
        self.failure: Failure | None = None
        """What went wrong last, while it is shown."""
        self._look = colours(napari_viewer)
        self._working: Work | None = None
        self._said = ("", False)
        self._waiting = False  # the message is about the work that runs
        self.setMinimumWidth(MINIMUM_WIDTH)
        self._build_shell()
        self.build()
        self._add_others()
        self.viewer.events.theme.connect(self._restyle)
        self.destroyed.connect(self._disconnector())
        self._restyle()

    # -- what subclasses fill in ---------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the body and connect it."""

    def run(self) -> None:
        """What the primary button starts."""

    # -- what they use -------------------------------------------------------------------------------------------------

    def say(self, text: str, *, warning: bool = False) -> None:
        """Put one sentence above the primary button; ``""`` takes it away."""
        self.failure = None
        self._show_message(as_html(text), warning=warning)

    def say_meanwhile(self, text: str) -> None:
        """As :meth:`say`, of work that goes on: once it has ended, :meth:`hush` takes the sentence away."""
        self.say(text)
        self._waiting = True

    def hush(self) -> None:
        """Work has ended: take away what was said of it meanwhile; any other sentence stays."""
        if self._waiting:
            self.say("")

    def fail(self, failure: Failure) -> None:
        """Say what went wrong, with the details behind a link."""
        self.failure = failure
        link = "" if failure.expected else f' <a href="details" style="color:{self._look.text}">Details</a>'
        self._show_message(as_html(failure.sentence) + link, warning=True)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What goes wrong inside is said here: an input that cannot be used, a file that cannot be written."""
        try:
            yield
        except (InputError, OSError) as error:
            self.fail(failure_of(error))

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
        button.setObjectName(LINK)
        button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self.links.addWidget(button)
        return button

    def add_copy_links(
        self, tip: str, command: Callable[[], str], python: Callable[[], str]
    ) -> tuple[QPushButton, QPushButton]:
        """The two links that repeat what is shown, elsewhere; the functions may raise what :meth:`telling` tells."""

        def copying(what: str, lines: Callable[[], str]) -> None:
            with self.telling():
                self.copy(lines(), what)

        return (
            self.add_link("Copy as command", tip, lambda: copying("Command", command)),
            self.add_link("Copy as Python", "The same in Python", lambda: copying("Python", python)),
        )

    def add_session_link(self, tip: str, save_to: Callable[[Path], None]) -> QPushButton:
        """The link that asks for a folder and saves what is shown there."""

        def ask() -> None:
            folder = QFileDialog.getExistingDirectory(self, "Save session into an empty folder")
            if folder:
                save_to(Path(folder))

        return self.add_link("Save session…", tip, ask)

    def copy(self, text: str, what: str) -> None:
        """Put text on the clipboard and say so."""
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
        self.say(f"{what} copied: it repeats what is shown here.")

    def press(self, name: str) -> None:
        """Press one of the panel's buttons, from the command palette; say so where it cannot be pressed yet."""
        button: QPushButton = getattr(self, name)
        if name == "primary" and self._working is not None:
            self.say("This is still at work; Cancel stops it.", warning=True)
        elif not (button.isVisibleTo(self) and button.isEnabled()):
            self.say(button.toolTip() or "There is nothing to do this with yet: begin at the top.", warning=True)
        else:
            button.click()

    def restyle(self, look: Colours) -> None:
        """Called with the colours of a new theme, after all that stands in the body."""

    def show_panel(self, name: str) -> Any:
        """Open another panel of this viewer, or bring it to the front."""
        return show_panel(name, self.viewer)

    # -- the shell -----------------------------------------------------------------------------------------------------

    def _build_shell(self) -> None:
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
        foot = QVBoxLayout()
        foot.setContentsMargins(SPACE, SPACE // 2, SPACE, SPACE)
        foot.setSpacing(SPACE // 2)
        for widget in (self.message, self.progress, self.primary):
            foot.addWidget(widget)
        self.links = Flow(spacing=SPACE // 2)
        foot.addLayout(self.links)

        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.area, 1)
        outer.addLayout(foot)

    def _add_others(self) -> None:
        def show(name: str) -> None:
            with self.telling():
                self.show_panel(name)

        menu = others_menu(self, show)
        if menu is not None:
            self.add_link("More panels", "Panels that other packages bring", lambda: None).setMenu(menu)

    def _primary_clicked(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self.say("Cancelled; nothing was changed.")
        else:
            self.run()

    def _began(self, work: Work, title: str) -> None:
        self._working = work
        self.say_meanwhile(f"{title[:1].upper()}{title[1:]} …")
        self.progress.setRange(0, 0)
        self.progress.show()
        self.primary.setText("Cancel")
        self.primary.setEnabled(True)

    def _stepped(self, step: object) -> None:
        if isinstance(step, Step):
            self.progress.setRange(0, step.total)
            self.progress.setValue(step.done)
            if step.text:
                self.say_meanwhile(step.text)

    def _ended(self) -> None:
        self._working = None
        self.progress.hide()
        self.primary.setText(self.primary_text)
        self.hush()

    def _show_message(self, text: str, *, warning: bool) -> None:
        """``text`` is HTML."""
        self._said, self._waiting = (text, warning), False
        colour = self._look.warning if warning else self._look.muted
        sign = "⚠ " if warning else ""
        self.message.setText(f'<span style="color:{colour}">{sign}{text}</span>' if text else "")
        self.message.setVisible(bool(text))

    def _show_details(self, _link: str) -> None:
        if self.failure is not None:
            box = QMessageBox(QMessageBox.Icon.Information, "Details", self.failure.sentence, parent=self)
            box.setTextFormat(Qt.TextFormat.PlainText)
            box.setDetailedText(self.failure.details)
            box.open()

    def _restyle(self, _event: object = None) -> None:
        self._look = colours(self.viewer)
        self.primary.setStyleSheet(primary_style(self._look))
        for button in self.findChildren(QPushButton, LINK):
            button.setStyleSheet(link_style(self._look))
        waiting = self._waiting
        self._show_message(self._said[0], warning=self._said[1])
        self._waiting = waiting
        restyle_all(self, self._look)
        self.restyle(self._look)

    def _disconnector(self) -> Callable[[], None]:
        # the viewer outlives the panel; after destruction `self` must not be reached, so the callback holds neither
        viewer, callback = self.viewer, self._restyle

        def disconnect() -> None:
            viewer.events.theme.disconnect(callback)

        return disconnect


def saving(text: str, write: Callable[[], str]) -> Callable[[], Generator[Any, None, str]]:
    """A job for a worker: say ``text``, write, and give back the sentence that ``write`` returns."""

    def job() -> Generator[Step, None, str]:
        yield Step(0, 0, text)
        return write()

    return job
