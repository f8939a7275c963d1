"""What the panel lets a worker do: cut out, run the network in the child process, compare. No Qt."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from uuid import uuid4

import numpy as np

from napari_sparse3d.cases.facts import facts_of
from napari_sparse3d.cases.finding import Cutting, Finding, cutting, finding_in_scan, finding_of_label
from napari_sparse3d.cases.identity import recipe_hash
from napari_sparse3d.cohort.comparable import Origin
from napari_sparse3d.cohort.pick import like
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.maps import project
from napari_sparse3d.voxels import voxelize
from napari_sparse3d.widgets.child.records import ModelInfo, Request
from napari_sparse3d.widgets.network.jobs import in_words
from napari_sparse3d.widgets.pick.state import Answer, Target, known_cases
from napari_sparse3d.widgets.toolbox.caller import Caller
from napari_sparse3d.widgets.toolbox.step import Step


def usable(infos: list[ModelInfo]) -> list[ModelInfo]:
    """The models that take a single thing that was cut out."""
    return [info for info in infos if info.trained and _takes_things(info)]


def classify(
    child: Caller, target: Target, model: str, files: list[str], k: int, engine: str
) -> Generator[Any, bool | None, Answer]:
    """Cut out what is pointed at, run the model on it, and find its like."""
    yield Step(0, 0, "Loading the model …")
    infos = yield from in_words(child.call("network.models", extra=files))
    info = next((each for each in infos if each.argument == model), None)
    if info is None:
        raise InputError("the chosen model is not there any more; choose another")
    yield Step(0, 0, "Cutting out what is there …")
    finding = _cut(target, _cutting(info))
    voxels = voxelize(finding.mask, info.recipe)
    request = Request(uuid4().hex, model, voxels, facts_of(finding.mask, with_content=False), engine)
    result = yield from in_words(child.call("network.run", request=request))
    yield Step(0, 0, "Comparing with the known ones …")
    known = known_cases(info.name)
    if known is None:
        return Answer(target, finding, result, None, [], None)
    origin = Origin(info.name, result.model_hash, recipe_hash(info.recipe))
    try:
        alike = like(result.embedding, known.cohort, origin, k)
    except InputError:  # another model of the same name: a file that was trained further
        return Answer(target, finding, result, None, [], None)
    here = project(np.asarray(result.embedding)[None], known.cohort.embeddings)[0]
    return Answer(target, finding, result, known, alike, here)


def _cut(target: Target, how: Cutting) -> Finding:
    pointed = target.pointed
    if pointed.label is not None:
        return finding_of_label(target.volume, pointed.label, how)
    assert pointed.at_mm is not None
    return finding_in_scan(target.volume, pointed.at_mm, how, box_mm=pointed.box_mm)


def _cutting(info: ModelInfo) -> Cutting:
    return cutting(info.name, info.recipe, info.field, spacing_seen=info.spacing_seen, values_seen=info.values_seen)


def _takes_things(info: ModelInfo) -> bool:
    try:
        _cutting(info)
    except InputError:
        return False
    return True
