"""What a job in a worker needs of a child process. No Qt."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol


class Caller(Protocol):
    """A child process, see :class:`napari_sparse3d.widgets.child.process.Child`."""

    def call(self, job: str, **arguments: Any) -> Generator[Any, bool | None, Any]:
        """Run a job of the child's."""
