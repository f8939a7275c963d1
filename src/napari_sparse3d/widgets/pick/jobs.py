"""What the panel lets a worker do: cut out, run the network in the child process, compare. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from napari_sparse3d.cases.finding import (
    Cutting,
    Finding,
    cutting,
    finding_in_scan,
    finding_of_label,
    takes_things,
)
from napari_sparse3d.cases.identity import recipe_hash
from napari_sparse3d.cohort.comparable import Origin
from napari_sparse3d.cohort.pick import like
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.maps import project
from napari_sparse3d.voxels import voxelize
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import ModelInfo, Request
from napari_sparse3d.widgets.network.jobs import in_words
from napari_sparse3d.widgets.pick.save import save_pick_session
from napari_sparse3d.widgets.pick.state import Answer, Target, known_cases
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.caller import Caller
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.step import Step


def usable(infos: list[ModelInfo]) -> list[ModelInfo]:
    """The models that take a single thing that was cut out."""
    return [info for info in infos if info.trained and takes_things(info.recipe, info.values_seen)]


def classify(
    child: Caller, target: Target, model: str, files: list[str], k: int, engine: str, spacing_mm: float | None = None
) -> Generator[Any, bool | None, Answer]:
    """Cut out what is pointed at, run the model on it, and find the known cases most like it.

    ``spacing_mm``: how large the model's voxels are, where that is chosen.
    """
    yield Step(0, 0, "Loading the model …")
    infos = yield from in_words(child.call("network.models", extra=files))
    info = next((each for each in infos if each.argument == model), None)
    if info is None:
        raise InputError("the chosen model is not there any more; choose another")
    yield Step(0, 0, "Cutting out what is there …")
    finding = _cut(target, _cutting(info, spacing_mm, target.own_mm))
    mask = replace(finding.mask, name=target.title)
    made = ScanVoxels(voxelize(mask, info.recipe), info.recipe, mask, target.frame, target.case)
    request = Request(uuid4().hex, model, made.voxels, made.facts, engine)
    result = yield from in_words(child.call("network.run", request=request))
    yield Step(0, 0, "Comparing with the known ones …")
    answer = Answer(target, finding, made, result, spacing_mm)
    known = known_cases(info.name)
    if known is None:
        return replace(answer, unknown=f"No known cases come with {info.name}; Cohort compares with your own.")
    origin = Origin(info.name, result.model_hash, recipe_hash(info.recipe))
    try:
        alike = like(result.embedding, known.cohort, origin, k)
    except InputError as error:  # another model of the same name: a file that was trained further
        return replace(answer, unknown=failure_of(error).sentence)
    here = project(np.asarray(result.embedding)[None], known.cohort.embeddings)[0]
    return replace(answer, known=known, like=alike, here=here)


def _cut(target: Target, how: Cutting) -> Finding:
    pointed = target.pointed
    if pointed.label is not None:
        return finding_of_label(target.volume, pointed.label, how)
    assert pointed.at_mm is not None
    return finding_in_scan(target.volume, pointed.at_mm, how, box_mm=pointed.box_mm)


def _cutting(info: ModelInfo, spacing_mm: float | None, own_mm: Sequence[float] | None) -> Cutting:
    return cutting(
        info.name,
        info.recipe,
        info.field,
        spacing_seen=info.spacing_seen,
        values_seen=info.values_seen,
        spacing_mm=spacing_mm,
        own_mm=own_mm,
    )


def save_session(folder: Path, answer: Answer, source: repeat.Source | None, lines: Lines) -> Callable[[], str]:
    """Draw the map and write the session."""

    def write() -> str:
        files = save_pick_session(folder, answer, source, lines)
        return f"Saved {words.count(len(files), 'files')} in {folder.name}."

    return write
