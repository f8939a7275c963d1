"""``napari-sparse3d pick``: point at a nodule in a scan; its class, and the known ones that it is like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, say, show, status
from napari_sparse3d.cli.options import (
    DeviceOption,
    EngineOption,
    FrameOption,
    ModelOption,
    RepairOption,
    ScanPath,
    SeriesOption,
    check_engine,
    find_case,
    find_model,
    read_source,
    say_random_weights,
)

if TYPE_CHECKING:
    from napari_sparse3d.cohort.pick import Picked


def pick(
    path: ScanPath,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="R,A,S", help="A place inside it: mm toward the patient's right, front and head."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            "--box", metavar="R,A,S", help="Sides of a box about that place, in mm: the largest thing in it is taken."
        ),
    ] = None,
    label: Annotated[
        int | None,
        typer.Option("--label-value", metavar="N", help="PATH is a label map: take the voxels of this label."),
    ] = None,
    above: Annotated[
        float | None,
        typer.Option("--above", metavar="HU", help="From how many HU on a voxel is of it; else the model's own."),
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(
            "--spacing",
            metavar="MM",
            help="Side of a voxel; else as in training, or as in the scan if that had no mm.",
        ),
    ] = None,
    model: ModelOption = "nodule",
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="COHORT.parquet", help="Known cases; else those shipped with the model."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=0, help="How many known cases.")] = 5,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    series: SeriesOption = None,
    frame: FrameOption = None,
    repair: RepairOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Point at a nodule in a CT: it is cut out, classified, and the most similar known ones are listed.

    With `nodule` these are 2,043 nodules of LIDC-IDRI with their readers' ratings, which come with the package. For
    research use only.

    Example: napari-sparse3d pick chest.nii.gz --at=-12.5,40,-81.2
    """
    check_engine(engine, device)
    place, sides = _three("--at", at), _three("--box", box)
    if place is None and label is None:
        raise CallError("say where: --at R,A,S in mm, or --label-value N of a label map")
    if label is not None and (box is not None or above is not None):
        raise CallError("--label-value says which voxels are meant; leave --box and --above out")
    if box is not None and place is None:
        raise CallError("--box is a box about a place; give --at as well")
    network = find_model(model)
    from napari_sparse3d.cases.seen import warning
    from napari_sparse3d.cohort import read_cohort
    from napari_sparse3d.cohort.pick import pick as pick_at
    from napari_sparse3d.voxels import VoxelSet

    known = None if table is None else read_cohort(table)
    say_random_weights(network)
    with status("Reading the scan"):
        source = read_source(find_case(path, series), network.card.recipe, frame=frame, repair=repair)
    if isinstance(source, VoxelSet):
        raise CallError("a voxel set holds no scan to point at; give the scan, or a label map with --label-value")
    with status(f"Running {network.card.name}"):
        picked = pick_at(
            source,
            network,
            at_mm=place,
            box_mm=sides,
            label=label,
            above_hu=above,
            spacing_mm=spacing,
            k=k,
            cohort=known,
            engine=engine,
            device=device,
        )
    for note in picked.finding.notes:
        say(note)
    if said := warning(network.card.name, picked.outside_training):
        say(said)
    if as_json:
        emit(_record(picked))
    else:
        _show(picked)


def _three(option: str, text: str | None) -> tuple[float, float, float] | None:
    """R,A,S as they are typed, in the order (s, a, r) of everything inside."""
    if text is None:
        return None
    try:
        r, a, s = (float(part) for part in text.split(","))
    except ValueError as error:
        raise CallError(
            f"{option} takes three numbers, R,A,S in mm, such as -12.5,40,-81.2; got {text[:80]!r}"
        ) from error
    return s, a, r


def _record(picked: Picked) -> dict[str, Any]:
    finding, result = picked.finding, picked.result
    s, a, r = finding.centre_mm
    return {
        "prediction": result.label,
        "classes": list(result.model.card.classes),
        "probabilities": result.probabilities,
        "embedding": result.embedding,
        "centre_mm": {"R": r, "A": a, "S": s},
        "n_voxels": finding.n_voxels,
        "volume_mm3": finding.volume_mm3,
        "extent_mm": dict(zip("SAR", finding.extent_mm, strict=True)),
        "notes": list(finding.notes),
        "outside_training": picked.outside_training,
        "like": picked.like,
        "model": result.model.card.name,
        "engine": result.choice.engine,
    }


def _show(picked: Picked) -> None:
    from rich.table import Table

    finding, result = picked.finding, picked.result
    s, a, r = finding.centre_mm
    extent = " x ".join(f"{mm:.0f}" for mm in finding.extent_mm)
    shown = ", ".join(
        f"{name} {value:.3f}" for name, value in zip(result.model.card.classes, result.probabilities, strict=True)
    )
    show(f"{shown}\n{finding.volume_mm3:,.0f} mm3, {extent} mm (S, A, R), centre R {r:+.1f}  A {a:+.1f}  S {s:+.1f} mm")
    if not picked.like:
        return
    columns = [name for name in ("label", "malignancy", "extent_mm") if any(row.get(name) for row in picked.like)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("distance", "case", *columns):
        table.add_column(name, justify="left" if name in ("case", "label") else "right")
    for row in picked.like:
        case = str(row.get("name") or row.get("path") or row["index"])
        cells = (row.get(name) for name in columns)
        table.add_row(f"{row['distance']:.4f}", case, *("" if cell is None else _cell(cell) for cell in cells))
    show(table)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
