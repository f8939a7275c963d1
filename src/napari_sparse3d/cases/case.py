"""A case: one series, file, item of a packed set or label of a label map, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo

Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes
    ----------
    name : str
        The file (and item) inside its set. It may hold an identity: messages call a case by ``number``.
    path : Path
        The file or folder that holds it.
    kind : str
        How it is read: ``voxels`` (a saved voxel set), or a key of ``read.READERS``.
    item : str
        Which item of the file; empty where the file is the case.
    label : str or None
        The truth. None: it is missing.
    split : str or None
        Of the set that it is from: ``train``, ``val``, ``test``, or whatever else a table calls one. None: not decided.
    patient : str or None
        As the set says; cases of one patient stay on one side of a split.
    mask : Path or None
        A label map whose voxels with value ``item`` are the case.
    number : int
        Its place in the set, from 0.
    series : int or None
        Which series of the path, as ``read_volume`` numbers them; None: the only one.
    about : mapping
        Further columns of its table, as text.
    info : SeriesInfo or None
        The series, where a scan found it: it is then read without another one.
    """

    name: str
    path: Path
    kind: str = "scan"
    item: str = ""
    label: str | None = None
    split: str | None = None
    patient: str | None = field(default=None, repr=False)
    mask: Path | None = None
    number: int = field(default=0, repr=False, compare=False)
    series: int | None = None
    about: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    info: SeriesInfo | None = field(default=None, repr=False, compare=False)

    @classmethod
    def at(cls, path: Path, series: int | None = None) -> Case:
        """The case at a path, of which nothing else is known: a saved voxel set by its ending, else a scan."""
        return cls(path.name, path, "voxels" if path.suffix == ".npz" else "scan", series=series)

    @property
    def title(self) -> str:
        """A short name without identity."""
        from napari_sparse3d.io.naming import safe_file_name

        base = safe_file_name(self.path, "case")
        # of a folder the series is told by its number; a file of one is told by its name
        return base if self.series is None or self.path.is_file() else f"{base} {self.series}"
