"""``napari-sparse3d runs``: the table of trainings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, replacing, say, show, the_call
from napari_sparse3d.cli.options import check_output
from napari_sparse3d.cli.settings import RunsOption, run_store
from napari_sparse3d.errors import InputError

if TYPE_CHECKING:
    from napari_sparse3d.training.runs import RunStore

SHOWN = (
    "run",
    "title",
    "status",
    "dataset",
    "architecture",
    "loss_name",
    "epoch",
    "epochs",
    "accuracy",
    "auc",
    "map",
    "best",
)


def runs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Compare these: every setting in which they differ.")
    ] = None,
    sort: Annotated[str, typer.Option("--sort", metavar="COLUMN", help="Sort by this column.")] = "started",
    ascending: Annotated[bool, typer.Option("--ascending", help="Smallest first.")] = False,
    where: Annotated[
        list[str] | None, typer.Option("--where", "-w", metavar="COLUMN=VALUE", help="Only such runs. Repeat it.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B,...", help="Which columns; `all` for every one.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="OUT.png", help="Draw the validation curves of these runs.")
    ] = None,
    rename: Annotated[
        str | None, typer.Option("--rename", metavar="NAME", help="Call one RUN so in every list; its folder stays.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", metavar="URI", help="Copy these runs to an MLflow server or folder.")
    ] = None,
    folder: RunsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show, sort, filter, compare and plot the trainings that were run.

    Examples: napari-sparse3d runs --sort auc -w dataset=vessels.npz; napari-sparse3d runs RUN1 RUN2 --plot curves.png
    """
    table = run_store(folder)
    conditions: dict[str, str] = {}
    for text in where or ():
        column, equals, value = text.partition("=")
        if not equals:
            raise CallError(f"--where takes COLUMN=VALUE, got {text!r}")
        if conditions.setdefault(column, value) != value:
            raise CallError(f"--where: no run has {column}={conditions[column]} and {column}={value}; give one of them")
    with the_call():
        if rename is not None:
            if len(names or ()) != 1:
                raise CallError("--rename is of one run: give RUN --rename NAME")
            table.rename(cast(list[str], names)[0], rename)
        rows = table.rows(sort_by=sort, descending=not ascending, where=conditions)
        if names:
            wanted = [table.find(name)["run"] for name in names]
            rows = [row for row in rows if row["run"] in wanted]
    if columns is not None and (as_json or len(names or ()) > 1):
        raise CallError("--columns is of the table alone: --json and a comparison have them all; leave it out")
    if (plot is not None or mlflow is not None) and not rows:
        raise CallError(f"there is no run to {'plot' if plot is not None else 'copy'}: {_none(table, conditions)}")
    if plot is not None:
        check_output(plot, ".png")
        _plot(plot, rows)
    if mlflow is not None:
        _to_mlflow(mlflow, rows)
    if as_json:
        emit({"runs": rows})
        return
    if not rows:
        say(_none(table, conditions))
    elif names and len(rows) > 1:
        show(_comparison(rows))
    else:
        show(_table(rows, columns))


def _none(table: RunStore, conditions: dict[str, str]) -> str:
    if conditions and table.rows():
        asked = " and ".join(f"{column}={value}" for column, value in conditions.items())
        return f"no run in {table.folder} has {asked}"
    return f"no runs in {table.folder}; `napari-sparse3d train` makes one"


def _table(rows: list[dict[str, Any]], columns: str | None) -> Any:
    from rich.table import Table

    from napari_sparse3d.training.runs import COLUMNS

    known = [name for name in COLUMNS if name not in ("config", "history")]
    usual = [name for name in SHOWN if name != "title" or any(row["title"] for row in rows)]
    chosen = usual if columns is None else known if columns == "all" else columns.split(",")
    for name in chosen:
        if name not in known:
            raise CallError(f"a run has no column {name!r}; choose of {', '.join(known)}")
    table = Table(*chosen)
    for row in rows:
        table.add_row(*(_text(row[name]) for name in chosen))
    return table


def _comparison(rows: list[dict[str, Any]]) -> Any:
    """One line for each setting or figure in which the runs differ."""
    from rich.table import Table

    flat = [{**row, **_flat("config", row["config"] or {})} for row in rows]
    table = Table("", *(row["run"] for row in rows))
    names = [name for name in dict.fromkeys(key for row in flat for key in row) if name not in ("config", "history")]
    for name in names:
        values = [row.get(name) for row in flat]
        if name != "run" and any(value != values[0] for value in values):
            table.add_row(name, *map(_text, values))
    return table


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else key
        found |= _flat(name, value) if isinstance(value, dict) else {name: value}
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plot(path: Path, rows: list[dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    from napari_sparse3d.pictures.style import as_png, style

    with style():
        figure = Figure(figsize=(9.2, 4.5), layout="constrained")
        ax = figure.subplots()
        for row in rows:
            history = row["history"] or []
            chosen = f"val_{row['selected_by']}"
            ax.plot(
                [e["epoch"] for e in history],
                [e.get(chosen, math.nan) for e in history],
                label=f"{row['run']} ({chosen[4:]})",
            )
        ax.set_xlabel("epoch")
        ax.set_ylabel("validation")
        ax.legend(fontsize=8, frameon=False)
    with replacing(path) as temporary:
        temporary.write_bytes(as_png(figure))


def _to_mlflow(uri: str, rows: list[dict[str, Any]]) -> None:
    try:
        import mlflow  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise CallError("--mlflow needs MLflow; pip install mlflow") from error
    try:
        _copy(mlflow, uri, rows)
    except mlflow.exceptions.MlflowException as error:
        raise InputError(
            f"MLflow takes nothing there ({' '.join(str(error).split())[:200]}); see that the server runs, or that the "
            "folder can be written, and give its URI: --mlflow http://host:5000, --mlflow file:runs"
        ) from error


def _copy(mlflow: Any, uri: str, rows: list[dict[str, Any]]) -> None:
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("napari-sparse3d")
    for row in rows:
        with mlflow.start_run(run_name=row["run"]):
            mlflow.log_params({key: str(value)[:250] for key, value in _flat("", row["config"] or {}).items()})
            for epoch in row["history"] or []:
                finite = {key: value for key, value in epoch.items() if isinstance(value, (int, float))}
                mlflow.log_metrics(finite, step=int(epoch["epoch"]))
