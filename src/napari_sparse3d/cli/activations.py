"""``napari-sparse3d activations``: how many sites are active in each layer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_sparse3d.cli.common import JsonFlag, emit, say, show, status
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

if TYPE_CHECKING:
    from napari_sparse3d.models import Result


def activations(
    path: ScanPath,
    model: ModelOption = "deepc2",
    recipe: RecipeOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    series: SeriesOption = None,
    frame: FrameOption = None,
    repair: RepairOption = None,
    label_value: LabelValueOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what every layer of a network does with a scan: active sites, work, time.

    PATH may also be a voxel set that `voxelize` wrote. Example: napari-sparse3d activations head.nii.gz --model deepc2
    """
    check_engine(engine, device)
    say_idle_on_voxels(path, recipe=recipe, series=series, frame=frame, repair=repair, label_value=label_value)
    network = find_model(model)
    how = network.card.recipe if recipe is None else find_recipe(recipe)
    if path.suffix != ".npz":
        check_channels(network, how)
    with status("Reading the scan"):
        source = read_source(find_case(path, series, label_value), how, frame=frame, repair=repair)
    with status(f"Running {network.card.name}"):
        result, outside, _ = run_and_compare(network, source, how, engine, device, record=True)
    if as_json:
        emit(activity_record(result) | ({} if outside is None else {"outside_training": outside}))
        return
    show(activity_table(result))
    say(f"engine {result.choice.engine} on {result.choice.device} ({result.choice.reason}), {result.seconds:.3f} s")


def activity_record(result: Result) -> dict[str, Any]:
    """The per-layer table as the JSON object that ``--json`` prints."""
    sparse = result.input
    return {
        "input": {
            "side": max(sparse.spatial_shape),
            "active_sites": len(sparse.indices),
            "active_percent": sparse.active_percent,
        },
        "layers": [asdict(layer) for layer in result.layers],
        "engine": result.choice.engine,
        "device": result.choice.device,
        "embedding": result.embedding,
    }


def activity_table(result: Result) -> Any:
    """The per-layer table as a rich table."""
    from rich.table import Table

    record = activity_record(result)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("layer", "kind"):
        table.add_column(column, no_wrap=True)
    for column in ("side", "ch", "active", "% active", "% nonzero", "M MACs", "ms"):
        table.add_column(column, justify="right", no_wrap=True)
    first = record["input"]
    channels = str(result.input.features.shape[1])
    cells = (str(first["side"]), channels, f"{first['active_sites']:,}", f"{first['active_percent']:.2f}")
    table.add_row("input", "", *cells, "", "", "")
    for layer in result.layers:
        table.add_row(
            layer.name,
            layer.kind,
            str(layer.side),
            str(layer.channels),
            f"{layer.active_sites:,}",
            f"{layer.active_percent:.2f}",
            f"{layer.nonzero_percent:.1f}",
            f"{layer.macs / 1e6:,.1f}" if layer.macs else "",
            f"{layer.ms:.2f}",
        )
    return table
