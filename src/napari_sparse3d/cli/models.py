"""``napari-sparse3d models``: which models and architectures there are, and what is known of each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, say, show
from napari_sparse3d.cli.options import find_model
from napari_sparse3d.errors import failure_line
from napari_sparse3d.text import printable


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Show the card of this one: a name or a .safetensors file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the bundled models and the architectures, or show one model's card. For research use only.

    Example: napari-sparse3d models vessel
    """
    if name is not None:
        card = find_model(name).card.model_dump(mode="json")
        if as_json:
            emit(card)
        else:
            _show_card(card)
        return
    rows = _rows()
    if as_json:
        emit({"models": rows})
        return
    from rich.table import Table

    table = Table("name", "kind", "parameters", "classes", "validation", "what it is", "what it takes")
    for row in rows:
        auc = row["metrics"].get("validation", {}).get("auc")
        measured = "" if auc is None else f"AUC {auc:.3f}"
        table.add_row(
            row["name"],
            row["kind"],
            f"{row['parameters']:,}",
            ", ".join(row["classes"]),
            measured,
            row["description"],
            row["takes"],
        )
    show(table)


def _rows() -> list[dict[str, Any]]:
    from napari_sparse3d.cases.seen import takes
    from napari_sparse3d.catalog import ARCHITECTURES, TRAINED
    from napari_sparse3d.models import load_model

    rows = []
    for name in (*TRAINED, *ARCHITECTURES):
        try:
            model = load_model(name)
        except Exception as error:  # whatever is wrong with one package's, the others are listed
            say(f"{name} is not listed: {failure_line(error)}")
            continue
        trained = model.card.trained
        rows.append(
            {
                "name": name,
                "kind": "trained" if trained else "architecture",
                "parameters": sum(weight.numel() for weight in model.network.parameters()),
                "classes": list(model.card.classes) if trained else [],
                "metrics": model.card.metrics,
                "recipe": model.card.recipe.name,
                "takes": takes(model.card),
                "licence": model.card.licence,
                "description": model.card.description if trained else ARCHITECTURES[name].description,
            }
        )
    return rows


def _show_card(card: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    for field, value in card.items():
        if field == "split":  # hashes, which nobody reads
            counts = (f"{name}: {len(hashes)} cases" for name, hashes in (value or {}).items())
            table.add_row("split", Text(", ".join(counts) or "not known"))
        elif field in ("metrics", "training", "recipe", "arguments", "seen"):
            for key, inner in (value or {}).items():
                table.add_row(f"{field}.{key}", Text("\n".join(_lines(inner))))
        else:
            table.add_row(field, Text("\n".join(_lines(value))))
    show(table)


def _lines(value: Any) -> list[str]:
    """A value of the card; a mapping takes a line for each of its own."""
    if isinstance(value, dict):
        return [printable(f"{key} {_short(inner)}") for key, inner in value.items()]
    return [printable(_short(value))]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    return ", ".join(map(_short, value)) if isinstance(value, (list, tuple)) else str(value)
