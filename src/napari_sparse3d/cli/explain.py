"""``napari-sparse3d explain``: what drove a class, as a volume over the scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, say, status, the_call
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
    check_not_the_input,
    check_output,
    find_case,
    find_model,
    find_recipe,
    read_source,
    run_and_compare,
    say_idle_on_voxels,
    say_random_weights,
)

if TYPE_CHECKING:
    from napari_sparse3d.cases.read import Source
    from napari_sparse3d.explain.explanation import Explanation

VOXEL_SET_ENDING = ".npz"


def explain(
    path: ScanPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The file to write: {written}, or .npz.")
    ],
    model: ModelOption,
    method: Annotated[str, typer.Option("--method", metavar="WORD", help="{attributions}.")] = "class-activation-map",
    of_class: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="C", help="Name of the class, or its number from 0. Unless given, the most probable."
        ),
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
    """Show which voxels of a scan drove a class: those that speak for it above 0, those against it below.

    OUT is a volume on the scan's own grid, in units of the logit, 0 wherever nothing is active; each voxel of the scan
    has the value of the nearest voxel that the network saw. As .npz it is the voxel set itself, with the value as its
    feature. PATH may also be a voxel set that `voxelize` wrote. For research use only.

    Example: napari-sparse3d explain head.nii.gz --model vessel -o attribution.nii.gz
    """
    from napari_sparse3d.catalog import FORMATS

    check_output(output, *FORMATS.by_written_ending, VOXEL_SET_ENDING)
    check_not_the_input(path, output)

    from napari_sparse3d.explain.explanation import class_number
    from napari_sparse3d.explain.explanation import explain as explain_result
    from napari_sparse3d.explain.methods import method_of

    check_engine(engine, device)
    with the_call():
        by = method_of(method)
    say_idle_on_voxels(path, recipe=recipe, series=series, frame=frame, repair=repair, label_value=label_value)
    network = find_model(model)
    with the_call():
        target = None if of_class is None else class_number(network.card.classes, of_class)
    how = network.card.recipe if recipe is None else find_recipe(recipe)
    if path.suffix != VOXEL_SET_ENDING:
        check_channels(network, how)
    say_random_weights(network)
    with status("Reading the scan"):
        source = read_source(find_case(path, series, label_value), how, frame=frame, repair=repair)
    with status(f"Running {network.card.name}"):
        result, outside, voxels = run_and_compare(network, source, how, engine, device)
    with status(f"{by.title[:1].upper()}{by.title[1:]}"):
        explanation = explain_result(result, voxels, target, by.name)
    if explanation.remark:
        say(explanation.remark)
    write_explanation(explanation, source, output)
    record = explanation.record()
    if as_json:
        about = {"model": network.card.name, "trained": network.card.trained, "recipe": how.name}
        ran = {"engine": result.choice.engine, "device": result.choice.device, "outside_training": outside}
        probability = result.probabilities[explanation.target]
        emit({"out": output, **record, "probability": probability, **about, **ran})
        return
    say(f"{output}: {words_of(record)}")


def write_explanation(explanation: Explanation, source: Source, output: Path) -> None:
    """Write it over the scan that it is of; as ``.npz`` on the grid of the voxel set."""
    from napari_sparse3d.io import write_volume

    if output.name.lower().endswith(VOXEL_SET_ENDING):
        explanation.as_voxels().save(output)
    else:
        write_volume(explanation.over(source.shape, source.affine), output)


def words_of(record: dict[str, Any]) -> str:
    """An explanation in a line."""
    layer = "" if record["layer"] == "input" else f" at {record['layer']}"
    return (
        f"{record['method']}{layer} for class {record['class']!r}, {record['lowest']:.3g} to {record['highest']:.3g} "
        f"(logit); {record['n_for']:,} voxels for it, {record['n_against']:,} against, of {record['n_active']:,}"
    )
