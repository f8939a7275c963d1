"""Jobs that run networks: models, a run and its cost, a layer's sites, attribution, embedding a cohort."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from napari_sparse3d.cases.seen import takes, unlike_training
from napari_sparse3d.catalog import ARCHITECTURES, TRAINED
from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.grids import Grid, recording_grids
from napari_sparse3d.models import Model, Result, load_model
from napari_sparse3d.widgets.child.records import (
    Attributed,
    Cost,
    LayerRow,
    ModelInfo,
    NetworkResult,
    Request,
    Shown,
    Sites,
)


@dataclass(frozen=True)
class _Loaded:
    """A model, and when its file was changed last."""

    changed: float
    model: Model

    @cached_property
    def digest(self) -> str:
        return self.model.digest()


_models: dict[str, _Loaded] = {}
_last: dict[str, Result] = {}
"""The last result, by the key of its request: choosing a layer does not run the network from the start."""


def hello() -> Generator[Any, bool, str]:
    """Import what networks need."""
    yield "importing torch"
    import torch

    return str(torch.__version__)


def models(extra: list[str]) -> Generator[Any, bool, list[ModelInfo]]:
    """The cards of all bundled models, of model files, and of the architectures (random weights).

    Of other packages', those that cannot be loaded are passed over: ``load_model`` and ``doctor`` say why.
    """
    found = []
    ours = {part.name for registry in (TRAINED, ARCHITECTURES) for part in registry.built_in}
    for argument in [*TRAINED, *extra, *ARCHITECTURES]:
        yield argument
        try:
            found.append(info_of(argument, _model(argument)))
        except Exception:
            if argument in ours or argument in extra:
                raise
    return found


def run(request: Request) -> Generator[Any, bool, NetworkResult]:
    """Run a network and record its layers."""
    yield f"loading {Path(request.model).stem}"
    loaded = _loaded(request.model)
    model = loaded.model
    yield f"running {model.card.name}"
    with recording_grids(model.network) as grids:
        result = _result(request, again=True, record=True)
    sparse = result.input
    first = LayerRow(
        "input", "", sparse.features.shape[1], max(sparse.spatial_shape), len(sparse.indices), sparse.active_percent,
        100.0 * int(sparse.features.count_nonzero()) / max(sparse.features.numel(), 1), 0, 0.0,
    )  # fmt: skip
    rows = [first]
    for row in result.layers:
        grid = grids.get(row.name, Grid())
        rows.append(LayerRow(**asdict(row), step=grid.step, centre=grid.centre))
    return NetworkResult(
        request,
        info_of(request.model, model),
        result.probabilities,
        result.embedding,
        tuple(rows),
        result.choice.engine,
        result.choice.device,
        result.choice.reason,
        result.seconds,
        loaded.digest,
        _unlike_training(request, result),
    )


def cost(request: Request) -> Generator[Any, bool, Cost]:
    """What a model needs for a voxel set: run it twice, the second time warm."""
    yield request.model
    _result(request, again=True)
    result = _result(request, again=True)
    macs = sum(row.macs for row in result.layers)
    return Cost(result.model.card.name, macs, result.seconds, _unlike_training(request, result))


def layer(request: Request, name: str) -> Generator[Any, bool, Sites]:
    """What one layer gave, after the activation that follows it."""
    yield name
    result = _result(request)
    if name == "input":
        kept, grid = result.input, Grid()
    else:
        with recording_grids(result.model.network) as grids:
            kept = result.activations(name)
        grid = grids.get(name, Grid())
    return Sites(
        np.ascontiguousarray(kept.indices[:, 1:].cpu().numpy()),
        kept.features.detach().float().cpu().numpy(),
        kept.spatial_shape,
        grid.step,
        grid.centre,
        None if kept.background is None else kept.background.detach().float().cpu().numpy(),
        name,
    )


def attribution(request: Request, target: int, method: str) -> Generator[Any, bool, Attributed]:
    """Which voxels drove a class."""
    from napari_sparse3d.explain.explanation import explain_by_step

    yield method
    said = yield from _counted(explain_by_step(_result(request), request.voxels, target, method), method)
    return Attributed(said.values, said.record(), said.remark)


def _counted(work: Generator[tuple[int, int], None, Any], title: str) -> Generator[Any, bool, Any]:
    """Tell how far the work is after each step, and stop it when nobody waits for it any more."""
    try:
        while True:
            done, steps = next(work)
            if not (yield f"{title}: {done} of {steps}"):
                raise InputError("stopped")
    except StopIteration as end:
        return end.value


def info_of(argument: str, model: Model) -> ModelInfo:
    """The card as a plain record."""
    card, network = model.card, model.describer
    path = TRAINED[argument].path if argument in TRAINED else Path(argument)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return ModelInfo(
        argument,
        card.name,
        card.architecture,
        card.classes,
        card.trained,
        card.description,
        card.recipe,
        network.field,
        network.in_features,
        card.metrics,
        card.intended_use,
        card.limits,
        card.data,
        digest,
        takes(card),
        None if card.seen is None else card.seen.spacing_mm,
        () if card.seen is None else card.seen.values,
    )


def _unlike_training(request: Request, result: Result) -> str | None:
    return unlike_training(result.model.card, request.facts, request.voxels, result.input.active_percent)


def _model(argument: str) -> Model:
    return _loaded(argument).model


def _loaded(argument: str) -> _Loaded:
    """Loaded once, and again when its file has changed."""
    path = Path(argument)
    changed = path.stat().st_mtime if path.is_file() else 0.0
    if argument not in _models or _models[argument].changed != changed:
        _models[argument] = _Loaded(changed, load_model(argument))
    return _models[argument]


def _result(request: Request, *, again: bool = False, record: bool = False) -> Result:
    if again or request.key not in _last:
        model = _model(request.model)
        result = model.run(request.voxels, engine=request.engine, device=request.device, record=record)
        _last.clear()
        _last[request.key] = replace(result)
    return _last[request.key]


def embed(
    sources: list[str], model: str, engine: str = "auto", shown: Shown | None = None
) -> Generator[Any, bool, int]:
    """Embed every case of folders and tables; yields ``(done, total, row or None)``.

    Parameters
    ----------
    sources : list of str
        Of all cases.
    model : str
    engine : str
    shown : Shown, optional
        Cases that others come to: where this model has embedded them, only the others are embedded.

    Returns
    -------
    int
        How many cases were there already.
    """
    from napari_sparse3d.cases.identity import recipe_hash
    from napari_sparse3d.cohort.embed import embed_cases
    from napari_sparse3d.cohort.gather import gather

    yield (0, 0, None)
    loaded = _loaded(model)
    if shown is not None and shown.by == (loaded.digest, recipe_hash(loaded.model.card.recipe)):
        gathered = gather(map(Path, shown.added), shown.places)
    else:
        gathered = gather(map(Path, sources))
    cases = gathered.cases
    go_on = yield (0, len(cases), None)
    for done, row in enumerate(embed_cases(cases, loaded.model, engine=engine), start=1):
        if not go_on:
            break
        go_on = yield (done, len(cases), row)
    return gathered.n_known
