"""The foot of a panel: a sentence, the primary button, and links below it.

While work goes on, the button is *Cancel* with a bar above it, and the sentence says what is being done. What it came
to is held back until it has ended, so that no panel can say "done" beside a button that cancels.
"""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import SPACE
from napari_sparse3d.widgets.toolbox.theme import Colours, link_style, primary_style

LINK = "sparse3d-link"
"""Object name of the quiet buttons."""
CANCEL = "Cancel"


class Foot(QWidget):
    """Shows them.

    Attributes
    ----------
    message : QLabel
    progress : QProgressBar
    primary : QPushButton
    """

    def __init__(self, primary_text: str, look: Colours) -> None:
        super().__init__()
        self._primary_text, self._look = primary_text, look
        self._at_work = False
        self._said = ("", False)
        self._waiting = False  # what is said is about the work that goes on
        self._held: tuple[str, bool] | None = None
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.message.hide()
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.progress.hide()
        self.primary = QPushButton(primary_text)
        self.primary.setDefault(True)
        self.primary.setMinimumHeight(30)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SPACE, SPACE // 2, SPACE, SPACE)
        layout.setSpacing(SPACE // 2)
        for widget in (self.message, self.progress, self.primary):
            layout.addWidget(widget)
        self._links = Row(spacing=SPACE // 2)
        layout.addLayout(self._links)

    # -- the sentence, as HTML -----------------------------------------------------------------------------------------

    def say(self, html: str, *, warning: bool = False) -> None:
        """Show a sentence now; ``""`` takes it away."""
        self._said, self._waiting = (html, warning), False
        colour = self._look.warning if warning else self._look.muted
        sign = "⚠ " if warning else ""
        self.message.setText(f'<span style="color:{colour}">{sign}{html}</span>' if html else "")
        self.message.setVisible(bool(html))

    def say_meanwhile(self, html: str) -> None:
        """Show a sentence about work that goes on; :meth:`hush` takes it away."""
        self.say(html)
        self._waiting = True

    def conclude(self, html: str, *, warning: bool = False) -> None:
        """Show what work came to: as soon as none goes on."""
        if self._at_work:
            self._held = (html, warning)
        else:
            self.say(html, warning=warning)

    def hush(self) -> None:
        """Take away what was said of work meanwhile; any other sentence stays."""
        if self._waiting:
            self.say("")

    # -- work ----------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Work goes on: the bar, and Cancel. What an earlier work came to is of no interest any more."""
        self._at_work, self._held = True, None
        self.progress.setRange(0, 0)
        self.progress.show()
        self.primary.setText(CANCEL)
        self.primary.setEnabled(True)

    def rest(self) -> None:
        """No work goes on; what it came to is said."""
        self._at_work = False
        self.progress.hide()
        self.primary.setText(self._primary_text)
        self.hush()
        if self._held is not None:
            held, self._held = self._held, None
            self.say(held[0], warning=held[1])

    def step(self, done: int, total: int) -> None:
        """How far it is; a ``total`` of 0: not known."""
        self.progress.setRange(0, total)
        self.progress.setValue(done)

    # -- links and looks -----------------------------------------------------------------------------------------------

    def add_link(self, text: str, tip: str) -> QPushButton:
        """A quiet button below the primary one, behind the others."""
        button = QPushButton(text)
        button.setFlat(True)
        button.setToolTip(tip)
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.setObjectName(LINK)
        button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._links.addWidget(button)
        return button

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self._look = look
        self.primary.setStyleSheet(primary_style(look))
        for button in self.findChildren(QPushButton, LINK):
            button.setStyleSheet(link_style(look))
        waiting = self._waiting
        self.say(self._said[0], warning=self._said[1])
        self._waiting = waiting
