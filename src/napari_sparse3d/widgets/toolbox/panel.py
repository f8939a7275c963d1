"""A panel: a body that scrolls, and a foot with the state, the primary button and the links that does not.

The base builds that, restyles whatever stands in it, shows how far the work is, and turns errors into messages.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.patient_view import show_sides
from napari_sparse3d.widgets.show import show_panel
from napari_sparse3d.widgets.toolbox.docking import Docking
from napari_sparse3d.widgets.toolbox.failures import Failure, failure_of
from napari_sparse3d.widgets.toolbox.fit import Fit
from napari_sparse3d.widgets.toolbox.foot import LINK, Foot
from napari_sparse3d.widgets.toolbox.layout import SPACE
from napari_sparse3d.widgets.toolbox.more_panels import others_menu
from napari_sparse3d.widgets.toolbox.one_instance import OneInViewer
from napari_sparse3d.widgets.toolbox.plain_text import as_html
from napari_sparse3d.widgets.toolbox.step import Step
from napari_sparse3d.widgets.toolbox.styled import restyle_all
from napari_sparse3d.widgets.toolbox.theme import Colours, colours, link_style
from napari_sparse3d.widgets.workbench import Workbench

MINIMUM_WIDTH = 260
"""Pixels; a dock of napari's begins with 270, its frame among them."""


class Followed(Protocol):
    """Work that a panel shows the progress of: a :class:`Work`, or a process of its own.

    ``ended`` comes after each end; what it came to is said by :meth:`Panel.conclude`.
    """

    started: Any
    """Signal with a title."""
    stepped: Any
    """Signal with a :class:`Step`, or with what the panel understands."""
    failed: Any
    """Signal with a :class:`Failure`."""
    ended: Any

    @property
    def running(self) -> bool:
        """Whether it is at work."""

    def cancel(self) -> None:
        """End it now."""


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
        self._works: list[Followed] = []
        self.setMinimumWidth(MINIMUM_WIDTH)
        self.docking = Docking(self)
        self._build_shell()
        self.build()
        self._add_others()
        self.fit = Fit(self.area, self.foot)
        self.viewer.events.theme.connect(self._restyle)
        self.destroyed.connect(self._disconnector())
        self._restyle()

    # -- what subclasses fill in ---------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the body and connect it."""

    def run(self) -> None:
        """What the primary button starts."""

    def works_changed(self) -> None:
        """Work that is followed has begun or has ended: :attr:`busy` says whether any goes on."""

    def cancelled_text(self) -> str:
        """What is said after *Cancel*."""
        return "Cancelled; nothing was changed."

    # -- what they use -------------------------------------------------------------------------------------------------

    def say(self, text: str, *, warning: bool = False) -> None:
        """Put one sentence above the primary button, as an answer; ``""`` takes it away.

        What is said of work that has just ended waits, as in :meth:`conclude`, for other work that goes on.
        """
        if any(not work.running for work in self._works):
            self.conclude(text, warning=warning)
        else:
            self.failure = None
            self.foot.say(as_html(text), warning=warning)

    def say_meanwhile(self, text: str) -> None:
        """As :meth:`say`, of work that goes on: once it has ended, :meth:`hush` takes the sentence away."""
        self.failure = None
        self.foot.say_meanwhile(as_html(text))

    def conclude(self, text: str, *, warning: bool = False) -> None:
        """Say what work came to, as soon as none that is followed goes on: never beside *Cancel*."""
        if not self._works:
            self.failure = None
        self.foot.conclude(as_html(text), warning=warning)

    def hush(self) -> None:
        """Work has ended: take away what was said of it meanwhile; any other sentence stays."""
        self.foot.hush()

    def fail(self, failure: Failure) -> None:
        """Say what went wrong, with the details behind a link where it is not the input's fault."""
        self.failure = failure
        self.foot.say(self._failed_html(failure), warning=True)

    def conclude_failure(self, failure: Failure) -> None:
        """As :meth:`fail`, once no work that is followed goes on."""
        self.failure = failure
        self.foot.conclude(self._failed_html(failure), warning=True)

    def _failed_html(self, failure: Failure) -> str:
        link = "" if failure.expected else f' <a href="details" style="color:{self._look.text}">Details</a>'
        return as_html(failure.sentence) + link

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What goes wrong inside is said here: an input that cannot be used, a file that cannot be written."""
        try:
            yield
        except (InputError, OSError) as error:
            self.fail(failure_of(error))

    def follow(self, work: Followed) -> None:
        """While this work runs, show its progress and turn the primary button into Cancel."""
        work.started.connect(lambda title: self._began(work, title))
        work.stepped.connect(self._stepped)
        work.failed.connect(self.conclude_failure)
        work.ended.connect(lambda: self._ended(work))

    def add_link(self, text: str, tip: str, action: Callable[[], None]) -> QPushButton:
        """A quiet button at the foot."""
        button = self.foot.add_link(text, tip)
        button.clicked.connect(lambda: action())
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
        self.say(f"{what} copied: it reproduces what is shown here.")

    def press(self, name: str) -> None:
        """Press one of the panel's buttons, from the command palette; say so where it cannot be pressed yet."""
        button: QPushButton = getattr(self, name)
        if name == "primary" and self._working is not None:
            self.say("This is still running; Cancel stops it.", warning=True)
        elif not (button.isVisibleTo(self) and button.isEnabled()):
            self.say(
                button.toolTip() or "There is nothing to do this with yet; start at the top of the panel.", warning=True
            )
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
        self.foot = Foot(self.primary_text, self._look)
        self.message, self.progress, self.primary = self.foot.message, self.foot.progress, self.foot.primary
        self.message.linkActivated.connect(self._show_details)
        self.primary.clicked.connect(self._primary_clicked)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.area, 1)
        outer.addWidget(self.foot)

    def _add_others(self) -> None:
        def show(name: str) -> None:
            with self.telling():
                self.show_panel(name)

        menu = others_menu(self, show)
        if menu is not None:
            self.add_link("More panels", "Panels from other packages", lambda: None).setMenu(menu)

    @property
    def busy(self) -> bool:
        """Whether the primary button is *Cancel*."""
        return bool(self._works)

    @property
    def _working(self) -> Followed | None:
        """What is at work and followed; of several what began last."""
        return self._works[-1] if self._works else None

    def _primary_clicked(self) -> None:
        work = self._working
        if work is None:
            self.run()
        else:
            work.cancel()
            self.say(self.cancelled_text())

    def _began(self, work: Followed, title: str) -> None:
        self._works = [*(each for each in self._works if each is not work), work]
        self.say_meanwhile(f"{title[:1].upper()}{title[1:]} …")
        self.foot.begin()
        self.works_changed()

    def _stepped(self, step: object) -> None:
        if isinstance(step, Step):
            self.foot.step(step.done, step.total)
            if step.text:
                self.say_meanwhile(step.text)

    def _ended(self, work: Followed) -> None:
        self._works = [each for each in self._works if each is not work]
        if self._works:
            self.foot.step(0, 0)  # how far the other one is comes with its next step
        else:
            self.foot.rest()
        self.works_changed()

    def _show_details(self, _link: str) -> None:
        if self.failure is not None:
            box = QMessageBox(QMessageBox.Icon.Information, "Details", self.failure.sentence, parent=self)
            box.setTextFormat(Qt.TextFormat.PlainText)
            box.setDetailedText(self.failure.details)
            box.open()

    def _restyle(self, _event: object = None) -> None:
        self._look = colours(self.viewer)
        restyle_all(self, self._look)
        for button in self.findChildren(QPushButton, LINK):
            button.setStyleSheet(link_style(self._look))
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
