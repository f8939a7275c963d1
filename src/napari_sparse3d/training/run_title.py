"""A name of the user's own for a run: what it is called where runs are listed, and nothing else.

It is a file of its own in the run's folder, so that a run can be renamed while a process writes its row. The folder
keeps the run's own name, by which it is found, resumed and loaded.
"""

from __future__ import annotations

from pathlib import Path

from napari_sparse3d.files import replacing
from napari_sparse3d.text import printable

TITLE = "title.txt"
LONGEST = 80
"""Characters; what is longer is cut."""


def title_of(run_folder: Path) -> str | None:
    """The run's name of the user's own, as one line that a table can show; None where it has none."""
    try:
        with (run_folder / TITLE).open(encoding="utf-8", errors="replace") as file:
            return one_line(file.read(4 * LONGEST)) or None
    except OSError:
        return None


def write_title(run_folder: Path, title: str) -> None:
    """Call a run so; ``""`` takes the name away."""
    line = one_line(title)
    if not line:
        (run_folder / TITLE).unlink(missing_ok=True)
        return
    with replacing(run_folder / TITLE) as temporary:
        temporary.write_text(line, encoding="utf-8")


def one_line(title: str) -> str:
    """As it is kept: without breaks and controls, blanks as one, at most :data:`LONGEST` characters."""
    return " ".join(printable(title).split())[:LONGEST].strip()
