"""``napari-sparse3d predict``: classes, probabilities and embeddings of many scans, as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, finish, say, status, the_call, track
from napari_sparse3d.cli.options import (
    DeviceOption,
    EngineOption,
    ModelOption,
    RecipeOption,
    RepairOption,
    check_engine,
    check_output,
    find_model,
    find_recipe,
    read_voxels_for,
)
from napari_sparse3d.cli.parts import Parts, files_of, state_of
from napari_sparse3d.errors import failure_line

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo
    from napari_sparse3d.models import Model
    from napari_sparse3d.voxels import Recipe


@dataclass(frozen=True)
class Prediction:
    """One row of the table: one series. What a failed one lacks is None.

    ``active_percent`` is of the network's field; ``seconds`` runs from the file to the embedding.
    """

    path: str
    series: int | None
    status: str
    error: str | None
    label: str | None
    probability: float | None
    probabilities: list[float] | None
    embedding: list[float] | None
    n_active: int | None
    active_percent: float | None
    recipe: str
    model: str
    engine: str | None
    seconds: float


@dataclass(frozen=True)
class _Job:
    """What is the same for every series."""

    model: Model
    recipe: Recipe
    engine: str
    device: str
    repair: str | None


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATHS", help="Scans, folders of scans, or voxel sets (.npz).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.parquet", help="The table to write.")],
    model: ModelOption,
    recipe: RecipeOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    repair: RepairOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Classify and embed every series of the given scans; one row each. For research use only.

    A series that cannot be used gets a row with the reason, is named at the end by its row (from 0), and makes the
    exit code 1. The table's column `path` is the only place that repeats the names of the scans.

    Rows are kept in OUT.parquet.parts/ until the table is whole: ended at any moment, the same call goes on from there.

    Example: napari-sparse3d predict scans/ --model vessel -o predictions.parquet
    """
    check_output(output, ".parquet")
    check_engine(engine, device)
    network = find_model(model)
    job = _Job(network, network.card.recipe if recipe is None else find_recipe(recipe), engine, device, repair)
    if not network.card.trained:
        say(f"{network.card.name}: random weights, the classes mean nothing")

    columns = _columns()
    command = _identity(job, paths)
    with status(f"Trying {output.name}"), the_call():
        parts = Parts(output, columns, command)
    with parts:
        rows = list(_rows(job, paths, parts))
        parts.join(rows)
    failed = [row for row in rows if row["status"] == "failed"]
    if as_json:
        emit({"out": output, "done": len(rows) - len(failed), "failed": len(failed), "rows": rows})
    else:
        say(f"{output}: {len(rows) - len(failed)} of {len(rows)} series")
    finish(f"row {number} of the table: {row['error']}" for number, row in enumerate(rows) if row["status"] == "failed")


def _rows(job: _Job, paths: Sequence[Path], parts: Parts) -> Iterator[dict[str, Any]]:
    """A row for each series, kept as it is made; what an earlier start has kept is taken from there."""
    for number, path in enumerate(paths, start=1):
        which = f"scan {number} of {len(paths)}"  # its name may hold an identity
        with status(f"Looking at {which}"):
            found = _series(path)
        if isinstance(found, str):
            yield parts.keep(asdict(_failed(job, path, None, found, 0.0)), "")
            continue
        for info in track(found, which):
            place, index = _place(path, info)
            state = state_of(files_of(path, info))
            yield parts.kept(str(place), index, state) or parts.keep(asdict(_predict(job, place, index, info)), state)


def _identity(job: _Job, paths: Sequence[Path]) -> dict[str, str]:
    """What the rows of a call follow from, besides the scans; in words where it is said why they do not fit."""
    return {
        "model": job.model.digest(),
        "recipe": hashlib.sha256(job.recipe.to_json().encode()).hexdigest(),
        "engine": f"{job.engine} {job.device}",
        "repair": str(job.repair),
        "version": version("napari-sparse3d"),
        "scans": hashlib.sha256("\n".join(str(path.absolute()) for path in paths).encode()).hexdigest(),
    }


def _series(path: Path) -> Sequence[SeriesInfo | None] | str:
    """Every series that is meant at ``path`` (None: it is a voxel set), or why there is none."""
    from napari_sparse3d.io import scan

    if path.suffix == ".npz":
        return [None]
    try:
        found = scan(path)
    except Exception as error:  # whatever is wrong with one scan, the others have their rows
        return failure_line(error, path)
    # scouts, reports and the like are passed over, unless there is nothing else; a broken file is not
    return [info for info in found if not (info.localizer or info.auxiliary) or _is_broken(info)] or found


def _is_broken(info: SeriesInfo) -> bool:
    from napari_sparse3d.io import FaultKind

    return any(fault.kind is FaultKind.UNREADABLE for fault in info.faults)


def _place(path: Path, info: SeriesInfo | None) -> tuple[Path, int | None]:
    """Under which path and index `info` would find this series again: a file of its own, or its place in ``path``."""
    if info is None:
        return path, None
    if path.is_dir() and info.source != path and info.source.is_file() and info.source.is_relative_to(path):
        return info.source, 0
    return path, info.index


def _predict(job: _Job, path: Path, index: int | None, info: SeriesInfo | None) -> Prediction:
    from napari_sparse3d.engine.choice import choose

    started = perf_counter()
    try:
        place = choose(job.engine, job.device).device
        voxels = read_voxels_for(place, path if info is None else info, job.recipe, repair=job.repair)
        result = job.model.run(voxels, engine=job.engine, device=job.device)
        return Prediction(
            path=str(path),
            series=index,
            status="done",
            error=None,
            label=result.label,
            probability=float(result.probabilities.max()),
            probabilities=result.probabilities.tolist(),
            embedding=result.embedding.tolist(),
            n_active=len(result.input.indices),
            active_percent=result.input.active_percent,
            recipe=job.recipe.name,
            model=job.model.card.name,
            engine=result.choice.engine,
            seconds=perf_counter() - started,
        )
    except Exception as error:  # whatever is wrong with one series, the next one may be right, or smaller
        return _failed(job, path, index, failure_line(error, path), perf_counter() - started)


def _failed(job: _Job, path: Path, index: int | None, error: str, seconds: float) -> Prediction:
    unknown = (None,) * 6
    return Prediction(str(path), index, "failed", error, *unknown, job.recipe.name, job.model.card.name, None, seconds)


def _columns() -> Any:
    import pyarrow as pa

    return pa.schema(
        {
            "path": pa.string(),
            "series": pa.int32(),
            "status": pa.string(),
            "error": pa.string(),
            "label": pa.string(),
            "probability": pa.float32(),
            "probabilities": pa.list_(pa.float32()),
            "embedding": pa.list_(pa.float32()),
            "n_active": pa.int64(),
            "active_percent": pa.float64(),
            "recipe": pa.string(),
            "model": pa.string(),
            "engine": pa.string(),
            "seconds": pa.float64(),
        }
    )
