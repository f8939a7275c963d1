"""Writing files so that nothing half-written is ever seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from napari_sparse3d.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the same folder, which takes the place of ``path`` when the block ends well.

    The temporary name ends like the final one, so writers that choose a format by its ending work. Missing parent
    folders are made. If the block raises (or the user interrupts it), the temporary file is removed and whatever was
    at ``path`` before stays as it was.

    Raises
    ------
    InputError
        If ``path`` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target} is a folder; name the file to write, for example {target / 'out'}")
    target.parent.mkdir(parents=True, exist_ok=True)
    # not tempfile.mkstemp: the file must get the user's ordinary permissions, which the writer's own open() gives it
    temporary = target.with_name(f".{uuid4().hex[:12]}-{target.name}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
