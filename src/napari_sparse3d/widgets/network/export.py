"""The table of a network's layers, for people and for files. No Qt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_sparse3d.files import replacing
from napari_sparse3d.measure.published import DEEPC2_LAYERS, MRI_PUBLISHED
from napari_sparse3d.widgets.child.records import NetworkResult
from napari_sparse3d.widgets.toolbox.session_folder import save_csv


def published_percent(result: NetworkResult) -> dict[str, float]:
    """The published percentages by layer; empty for any other network than deepC2."""
    if result.model.architecture != "deepc2":
        return {}
    return dict(zip(DEEPC2_LAYERS, MRI_PUBLISHED, strict=True))


def table_records(result: NetworkResult) -> list[dict[str, Any]]:
    """The table as plain records, with the units in the names."""
    published = published_percent(result)
    return [
        {
            "layer": row.name,
            "kind": row.kind,
            "channels": row.channels,
            "side": row.side,
            "active_sites": row.active_sites,
            "active_percent": row.active_percent,
            "published_percent": published.get(row.name, ""),
            "nonzero_percent": row.nonzero_percent,
            "macs": row.macs,
            "ms": row.ms,
        }
        for row in result.rows
    ]


def write_table(result: NetworkResult, path: Path) -> None:
    """Write the table as CSV."""
    save_csv(table_records(result), path)


def write_chart(result: NetworkResult, path: Path) -> None:
    """Write the chart of percent active as SVG or PNG."""
    from napari_sparse3d.pictures import layers_figure

    published = published_percent(result)
    names = [row.name for row in result.rows]
    others = {"published, head MRI": [published[name] for name in names]} if set(names) <= set(published) else {}
    figure = layers_figure(
        names,
        [row.side for row in result.rows],
        [row.active_percent for row in result.rows],
        others,
        title=f"{result.model.name}: active sites after each layer",
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=160)
