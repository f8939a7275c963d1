"""``napari-sparse3d similar``: the most similar cases of a cohort."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, say, show, status
from napari_sparse3d.cli.options import (
    DeviceOption,
    EngineOption,
    FrameOption,
    LabelValueOption,
    ModelOption,
    RecipeOption,
    RepairOption,
    ScanPath,
    SeriesOption,
    check_channels,
    check_engine,
    find_case,
    find_model,
    find_recipe,
    read_source,
    run_and_compare,
    say_idle_on_voxels,
)


def similar(
    path: ScanPath,
    table: Annotated[Path, typer.Option("--table", metavar="T.parquet", help="A cohort, embedded by the same model.")],
    model: ModelOption,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 5,
    patient: Annotated[
        str | None,
        typer.Option("--not-patient", metavar="P", help="Leave out this patient's cases (as in the table)."),
    ] = None,
    recipe: RecipeOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    series: SeriesOption = None,
    frame: FrameOption = None,
    repair: RepairOption = None,
    label_value: LabelValueOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the cases of a cohort that are most like a scan, by the distance of their embeddings.

    Where the scan itself is in the cohort, it and the other cases of its patient are left out. Of cases at the same
    distance the first by path, then by series, comes first, whatever the order of the table. A table that another
    model, or another recipe, has embedded is refused.

    Example: napari-sparse3d similar head.nii.gz --table predictions.parquet --model deepc2 -k 5
    """
    check_engine(engine, device)
    say_idle_on_voxels(path, recipe=recipe, series=series, frame=frame, repair=repair, label_value=label_value)
    network = find_model(model)
    how = network.card.recipe if recipe is None else find_recipe(recipe)
    if path.suffix != ".npz":
        check_channels(network, how)
    from napari_sparse3d.cases.facts import facts_of
    from napari_sparse3d.cases.identity import recipe_hash
    from napari_sparse3d.cohort import read_cohort
    from napari_sparse3d.cohort.comparable import Origin, check_comparable
    from napari_sparse3d.cohort.same import SAME, same_case
    from napari_sparse3d.measure.neighbours import similar as nearest

    cohort = read_cohort(table)
    if patient is not None and not _knows_patient(cohort.column("patient"), patient):
        raise CallError(
            f"--not-patient: no case of the table has the patient {patient!r}; give one as its column patient has it, "
            "or leave it out"
        )
    if warning := check_comparable(cohort, Origin(network.card.name, network.digest(), recipe_hash(how))):
        say(warning)
    with status("Reading the scan"):
        case = find_case(path, series, label_value)
        source = read_source(case, how, frame=frame, repair=repair)
        content = facts_of(source).content
    result, outside, _ = run_and_compare(network, source, how, engine, device)
    groups = same_case(cohort, case.path, case.series, patient or case.patient, content)
    indices, distances = nearest(
        result.embedding[None], cohort.embeddings, k, groups=groups, query_groups=[SAME], keys=cohort.keys()
    )
    found = [
        {**cohort.row(int(index)), "distance": float(distance)}
        for index, distance in zip(indices[0], distances[0], strict=True)
        if index >= 0
    ]
    if len(found) < k:
        say(f"{len(found)} of {k}: all others of the table are the scan, or of its patient")
    if as_json:
        itself = {"path": case.path, "series": case.series, "content": content}
        emit(
            {
                "cases": found,
                "of": itself,
                "outside_training": outside,
                "model": network.card.name,
                "n_cohort": len(cohort),
            }
        )
        return
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("distance", "label", "prediction", "path"):
        shown.add_column(name, justify="right" if name == "distance" else "left")
    for row in found:
        words = (str(row.get(name) or "") for name in ("label", "prediction", "path"))
        shown.add_row(f"{row['distance']:.4f}", *words)
    show(shown)


def _knows_patient(known: Iterable[object], patient: str) -> bool:
    from napari_sparse3d.cases.identity import patient_key

    return not {patient, patient_key(patient)}.isdisjoint(map(str, known))
