"""What the demo finds and the folder it leaves: tables, pictures, the voxel set, the embedding, one HTML page."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sparse3d.cli.activations import activity_record
from napari_sparse3d.cli.common import plain, replacing

if TYPE_CHECKING:
    from napari_sparse3d.models import Result
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import VoxelSet

TOLERANCE = 0.05
"""How far, in percentage points, a figure may be from the reference."""

RECIPE, MODEL = "mri-110", "deepc2"
PUBLISHED, REFERENCE = "published, another head MRI", "independent computation, this scan"


@dataclass(frozen=True)
class Row:
    """Percent active after one layer: ours, published for another MRI, and computed independently for this one."""

    layer: str
    side: int
    active_sites: int
    active_percent: float
    published_percent: float
    difference: float
    reference_percent: float
    agrees: bool


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demo made."""

    volume: Volume
    voxels: VoxelSet
    result: Result
    rows: tuple[Row, ...]


def compare(result: Result) -> tuple[Row, ...]:
    """Each layer of deepC2 beside the published figures and the reference."""
    from napari_sparse3d.measure.published import DEEPC2_LAYERS, MNI152_REFERENCE, MRI_PUBLISHED

    record = activity_record(result)
    return tuple(
        Row(
            layer=name,
            side=ours["side"],
            active_sites=ours["active_sites"],
            active_percent=ours["active_percent"],
            published_percent=published,
            difference=ours["active_percent"] - published,
            reference_percent=reference,
            agrees=abs(ours["active_percent"] - reference) <= TOLERANCE,
        )
        for name, ours, published, reference in zip(
            DEEPC2_LAYERS, [record["input"], *record["layers"]], MRI_PUBLISHED, MNI152_REFERENCE, strict=True
        )
    )


COLUMNS = ("layer", "side", "active sites", "ours %", "published %", "difference", "reference %", "")


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table, in words."""
    return (
        row.layer,
        str(row.side),
        f"{row.active_sites:,}",
        f"{row.active_percent:.2f}",
        f"{row.published_percent:.2f}",
        f"{row.difference:+.2f}",
        f"{row.reference_percent:.2f}",
        "ok" if row.agrees else "off",
    )


def write_report(demo: Demo, folder: Path) -> list[Path]:
    """Everything that stays: report, pictures, voxel set, embedding, recipe and the per-layer record."""
    import numpy as np

    from napari_sparse3d.pictures import as_png, layers_figure, planes_figure
    from napari_sparse3d.voxels import Recipe

    planes = as_png(planes_figure(demo.volume, demo.voxels))
    rows = demo.rows
    layers = as_png(
        layers_figure(
            [row.layer for row in rows],
            [row.side for row in rows],
            [row.active_percent for row in rows],
            {
                PUBLISHED: [row.published_percent for row in rows],
                REFERENCE: [row.reference_percent for row in rows],
            },
            title="deepC2: how full each layer is",
        )
    )
    record = json.dumps(plain(activity_record(demo.result)), indent=1)
    texts = {"planes.png": planes, "layers.png": layers, "activations.json": record.encode()}
    texts["report.html"] = _report(demo, planes, layers).encode()
    for name, content in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    demo.voxels.save(folder / "voxels.npz")
    with replacing(folder / "embedding.npy") as temporary:
        np.save(temporary, demo.result.embedding, allow_pickle=False)
    Recipe.named(RECIPE).save(folder / "recipe.toml")
    return [folder / name for name in (*texts, "voxels.npz", "embedding.npy", "recipe.toml")]


def _report(demo: Demo, planes: bytes, layers: bytes) -> str:
    from napari_sparse3d.pictures import report

    voxels, result = demo.voxels, demo.result
    network_ms = 1000 * result.seconds
    macs = sum(layer.macs for layer in result.layers)
    parameters = sum(p.numel() for name, p in result.model.network.named_parameters() if "classifier" not in name)
    return report.page(
        "A head MRI through a sparse 3D network",
        "The MNI152 T1 average of 152 heads, from scan to voxel set to the inside of deepC2, on this machine.",
        report.figures(
            [
                (f"{voxels.n_active:,}", "active voxels"),
                (f"{demo.rows[0].active_percent:.2f} %", f"of the network's field of {demo.rows[0].side}³"),
                (f"{macs / 1e9:.2f} G", f"multiply-accumulates, {parameters:,} parameters"),
                (f"{network_ms:.0f} ms", f"network on engine {result.choice.engine}, {result.choice.device}"),
            ]
        ),
        report.picture(
            planes, "The scan in three planes with the active voxels over it, and all of them from the left."
        ),
        report.heading("How full each layer is"),
        report.paragraph(
            "A sparse network only works where something is active. Each convolution and pool spreads the active "
            "sites, until the last layers are full. The published figures are of another head MRI, so they differ a "
            "little; the reference is an independent computation on this very scan, met within "
            f"{TOLERANCE} points where it says ok."
        ),
        report.picture(layers, "Percent of each layer's grid that is active."),
        report.table(COLUMNS, [cells(row) for row in demo.rows]),
        report.heading("Again, on your own scan"),
        report.code(
            "napari-sparse3d info SCAN\n"
            f"napari-sparse3d voxelize SCAN --recipe {RECIPE} -o voxels.npz\n"
            f"napari-sparse3d activations SCAN --model {MODEL} --recipe {RECIPE}"
        ),
        report.code(
            "import napari_sparse3d as ns3\n\n"
            'volume = ns3.read_volume("SCAN")\n'
            f'voxels = ns3.voxelize(volume, ns3.Recipe.named("{RECIPE}"))\n'
            f'result = ns3.load_model("{MODEL}").run(voxels)\n'
            "result.layers, result.embedding"
        ),
        report.heading("What is in this folder"),
        report.table(
            ("file", "holds"),
            [
                ("voxels.npz", f"the voxel set: indices ({voxels.n_active}, 3), features, shape, affine"),
                ("embedding.npy", f"{result.embedding.size} numbers of unit length: what the classifier would see"),
                ("activations.json", "the per-layer table with work and time"),
                ("recipe.toml", "how the scan became voxels"),
                ("planes.png, layers.png", "the pictures above"),
            ],
            text_columns=2,
        ),
        footer=(
            f"napari-sparse3d {version('napari-sparse3d')}, torch {version('torch')}, "
            f"Python {platform.python_version()}. "
            f"{demo.result.model.card.description.capitalize()}. For research use only. "
            "Scan: ICBM 2009a nonlinear symmetric average, packaged with nilearn."
        ),
    )
