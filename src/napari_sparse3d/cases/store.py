"""Voxel sets are made once: a cache on disk, keyed by file content and recipe, and a bounded one in memory."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.facts import Facts, facts_of
from napari_sparse3d.cases.identity import SHORT
from napari_sparse3d.cases.read import read_source, voxels_of
from napari_sparse3d.ending import end_if_asked
from napari_sparse3d.environment import cache_folder
from napari_sparse3d.errors import InputError, failure_line
from napari_sparse3d.files import replacing
from napari_sparse3d.io.naming import named_as_labels
from napari_sparse3d.io.sources import files_behind
from napari_sparse3d.voxels import VOXELS_VERSION, Recipe, VoxelSet


class VoxelStore:
    """Voxel sets of cases, read from their files once.

    Parameters
    ----------
    recipe : Recipe
    folder : Path, optional
        Where they are kept between runs; None: :func:`napari_sparse3d.environment.cache_folder`.
    memory_mb : float
        How much is kept in memory; what does not fit is read from disk again, so a set may be larger than memory.
    """

    def __init__(self, recipe: Recipe, folder: Path | None = None, *, memory_mb: float = 1024) -> None:
        self.recipe = recipe
        cache = cache_folder() if folder is None else folder
        self.folder, self._facts_folder = cache / "voxels", cache / "facts"
        self._memory_bytes = int(memory_mb * 1e6)
        self._held: OrderedDict[str, VoxelSet] = OrderedDict()
        self._held_bytes = 0
        self._full = False
        # only what decides the voxels: neither the recipe's name nor the network's field
        self._recipe_key = recipe.model_dump_json(exclude={"name", "field"})

    def get(self, case: Case) -> VoxelSet:
        """The voxel set of a case; may be empty.

        Raises
        ------
        InputError
            If the file cannot be read, or the recipe cannot be used on it.
        OSError
            If there is no such file.
        """
        end_if_asked()
        key = self.key(case)
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            return held
        file = self.folder / key[:2] / f"{key}.npz"
        voxels = self._from_disk(file)
        if voxels is None:
            voxels = self._make(case)
            self._to_disk(voxels, file)
        self._hold(key, voxels)
        return voxels

    def facts(self, case: Case) -> Facts:
        """What is known of a case's volume; kept beside the voxels, so that the volume is read once for both."""
        file = self._facts_at(case)
        try:
            return Facts.from_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):  # not made yet, or damaged: it is made anew
            facts = facts_of(read_source(case, self.recipe))
            self._keep_facts(facts, file)
            return facts

    def _make(self, case: Case) -> VoxelSet:
        source = read_source(case, self.recipe)
        if isinstance(source, VoxelSet) and (n := source.features.shape[1]) != self.recipe.n_channels:
            raise InputError(f"the set holds {n} feature(s) a voxel, the recipe makes {self.recipe.n_channels}")
        self._keep_facts(facts_of(source), self._facts_at(case))
        voxels = voxels_of(source, self.recipe)
        assert isinstance(voxels, VoxelSet)  # made on the CPU
        return voxels

    def _facts_at(self, case: Case) -> Path:
        parts = self._parts(case) + ([self._recipe_key] if case.kind == "mesh" else [])  # which is drawn as it says
        key = hashlib.sha256("\n".join(["facts", *parts]).encode()).hexdigest()
        return self._facts_folder / key[:2] / f"{key}.json"

    def _keep_facts(self, facts: Facts, file: Path) -> None:
        if self._full:
            return
        try:
            with replacing(file, durable=False) as temporary:
                temporary.write_text(facts.to_json(), encoding="utf-8")
        except OSError as error:
            self._say_full(error)

    def _from_disk(self, file: Path) -> VoxelSet | None:
        try:
            return VoxelSet.load(file)
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever happened to the file, it can be made anew
            why = failure_line(error)
            warnings.warn(f"the cached voxel set {file.name[:8]} is damaged and made anew ({why})", stacklevel=4)
            return None

    def _to_disk(self, voxels: VoxelSet, file: Path) -> None:
        """Keep it, if that can be done: a cache that takes nothing costs time, and is no fault of the data."""
        if self._full:
            return
        try:
            # not flushed: after power loss it is made anew, if need be
            voxels.save(file, durable=False)
        except OSError as error:
            self._say_full(error)

    def _say_full(self, error: OSError) -> None:
        self._full = True
        why = error.strerror or type(error).__name__
        warnings.warn(
            f"the cache of voxel sets cannot be written ({why}): they are made anew in every run; "
            "free some space, or set NAPARI_SPARSE3D_CACHE to a folder that can be written",
            stacklevel=5,
        )

    def key(self, case: Case) -> str:
        """Hash of all that the case's voxels follow from: its files' content, the recipe, the way they are made."""
        parts = [f"voxels {VOXELS_VERSION}", self._recipe_key, *self._parts(case)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @staticmethod
    def _parts(case: Case) -> list[str]:
        """What the case's volume follows from."""
        parts = [case.kind, case.item]
        for path in (case.path, case.mask):
            # of the name counts only what decides how the content is read: a moved case is the same one
            parts += [] if path is None else [f"labels {named_as_labels(path)}", content_hash(path)]
        return parts if case.series is None else [*parts, f"series {case.series}"]

    def _hold(self, key: str, voxels: VoxelSet) -> None:
        self._held[key] = voxels
        self._held_bytes += _size(voxels)
        while self._held_bytes > self._memory_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._held_bytes -= _size(oldest)


def case_title(case: Case) -> str:
    """A case in a message: its number in the set, and how its file's content begins."""
    digits = short_hash(case)
    return f"case {case.number} ({digits})" if digits else f"case {case.number}"


def short_hash(case: Case) -> str:
    """The first digits of :func:`content_hash` of a case's file or folder; "" of one of many in a file, and of none."""
    if case.item and case.kind != "mask":
        return ""
    try:
        return content_hash(case.path)[:SHORT]
    except (OSError, InputError):
        return ""


def content_hash(path: Path) -> str:
    """SHA-256 of a file, with all others that its reading depends on, or of all files of a folder with their names."""
    files = files_behind(path)
    if files == (path,):
        return _file_hash(path)
    if path.is_dir():
        parts = [f"{os.fspath(file.relative_to(path))!a} {_file_hash(file)}" for file in files]
    else:
        parts = [_file_hash(file) for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    status = path.stat()
    return _hash_of(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=100_000)
def _hash_of(path: Path, _size: int, _modified: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(voxels: VoxelSet) -> int:
    return voxels.indices.nbytes + voxels.features.nbytes
