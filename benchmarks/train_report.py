"""From the table of runs to the table and the curves of docs/training.md: mean and spread over seeds.

    python benchmarks/train_report.py results/runs [MORE/runs ...] --curves docs/images/training-curves.svg [--ship]

Finished runs with the same name and settings but the seed belong together. ``--ship`` copies, of each bundled model's
runs, the one with the largest validation AUC (of equal ones the first seed) to where the package carries it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from train_bundled import BUNDLED, MODELS

from napari_sparse3d.files import replacing
from napari_sparse3d.models.load import read_model
from napari_sparse3d.pictures.style import BLUE, ORANGE, PAPER, RULE, VERMILLION, style
from napari_sparse3d.training.runs import RunStore

MEASURES = ("auc", "accuracy", "balanced_accuracy", "map", "ece")
LOOKS = ((BLUE, "-"), (VERMILLION, "--"), (ORANGE, ":"))

Row = dict[str, Any]


def main() -> None:
    """Print the table as Markdown, draw the curves, ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders with a runs.sqlite")
    parser.add_argument("--curves", type=Path, metavar="OUT.svg")
    parser.add_argument("--ship", action="store_true")
    asked = parser.parse_args()
    groups = grouped([row for folder in asked.runs for row in RunStore(folder).rows(where={"status": "done"})])
    for name, rows in groups.items():
        print(f"\n{name}: {rows[0]['dataset']}, {rows[0]['epochs']} epochs\n\n{table(rows)}")
    if asked.curves:
        draw(groups, asked.curves)
    for name in MODELS if asked.ship else ():
        if name in groups:
            best = max(groups[name], key=lambda row: row["validation"]["auc"])
            read_model(best["model"]).save(BUNDLED / f"{name}.safetensors")
            print(f"{name}: seed {best['seed']} is shipped")


def grouped(rows: list[Row]) -> dict[str, list[Row]]:
    """Runs of one name, by seed, each with its model file and that model's measures; other settings get a number."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["started"]):
        model = Path(row["folder"]) / "model.safetensors"
        card = read_model(model).card
        settings = json.dumps({**row["config"], "seed": None}, sort_keys=True)
        found[card.name][settings].append({**row, "model": model, "validation": card.metrics["validation"]})
    return {
        name if not place else f"{name} ({place + 1})": sorted(alike, key=lambda row: row["seed"])
        for name, kinds in found.items()
        for place, alike in enumerate(kinds.values())
    }


def table(rows: list[Row]) -> str:
    """A line for each seed, with the interval of its AUC, and one for mean and standard deviation."""
    lines = [f"| seed | {' | '.join(MEASURES)} | processor seconds |", f"|{' --- |' * (len(MEASURES) + 2)}"]
    for row in rows:
        found = row["validation"]
        low, high = found["intervals"]["auc"]
        cells = [f"{found[name]:.3f}" for name in MEASURES]
        cells[0] += f" ({low:.3f} to {high:.3f})"
        lines.append(f"| {row['seed']} | {' | '.join(cells)} | {row['cpu_seconds']:.0f} |")
    if len(rows) > 1:
        columns = [[row["validation"][name] for row in rows] for name in MEASURES]
        cells = [f"{statistics.mean(column):.3f} ± {statistics.stdev(column):.3f}" for column in columns]
        seconds = statistics.mean(row["cpu_seconds"] for row in rows)
        lines.append(f"| mean ± sd | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines)


def draw(groups: dict[str, list[Row]], path: Path) -> None:
    """Validation after each epoch, one panel a group, one line a seed."""
    with style():
        figure = Figure(figsize=(3.3 * len(groups), 3.2), facecolor=PAPER, layout="constrained")
        for ax, (name, rows) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True):
            chosen = rows[0]["selected_by"]
            for (colour, dashes), row in zip(LOOKS * len(rows), rows, strict=False):
                epochs = [entry["epoch"] for entry in row["history"]]
                values = [entry[f"val_{chosen}"] for entry in row["history"]]
                ax.plot(epochs, values, color=colour, ls=dashes, label=f"seed {row['seed']}")
            ax.set_title(name, loc="left", fontsize=11)
            ax.set_xlabel("epoch")
            ax.set_ylabel(f"validation {chosen}, one view")
            ax.grid(color=RULE, linewidth=0.8)
            ax.legend(frameon=False, loc="lower right", fontsize=9)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata={"Date": None})


if __name__ == "__main__":
    main()
