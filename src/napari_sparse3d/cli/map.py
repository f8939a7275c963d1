"""``napari-sparse3d map``: a flat map of a cohort."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, say, status
from napari_sparse3d.cli.options import check_output


def map(
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLE.parquet...", help="A table with embeddings, from `predict`; several are taken as one."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.parquet", help="The table, with x and y.")],
    method: Annotated[str, typer.Option("--method", metavar="M", help="tsne or pca.")] = "tsne",
    perplexity: Annotated[
        float | None,
        typer.Option(
            "--perplexity", min=1, help="t-SNE: about how many neighbours. Unless given, 30, fewer of few cases."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="t-SNE: of the search for neighbours in large cohorts. Unless given, 0."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Place every case of a cohort on a flat map: similar cases lie together.

    Example: napari-sparse3d map predictions.parquet -o map.parquet
    """
    check_output(output, ".parquet")
    if method not in ("tsne", "pca"):
        raise CallError(f"--method must be tsne or pca, got {method!r}")
    if method == "pca" and (perplexity is not None or seed is not None):
        raise CallError("--perplexity and --seed are of t-SNE, and --method is pca; leave them out, or take tsne")
    if perplexity is not None and not math.isfinite(perplexity):
        raise CallError(f"--perplexity must be a number from 1, got {perplexity}")
    from napari_sparse3d.cohort import read_cohort, rows_of, write_rows
    from napari_sparse3d.measure import maps

    cohort = read_cohort(tables)
    if perplexity is not None and perplexity > (most := maps.largest_perplexity(len(cohort))):
        say(f"--perplexity {perplexity:g} is too much for {len(cohort)} cases: {most:g} is taken")
    with status(f"Mapping {len(cohort)} cases by {method}"):
        if method == "pca":
            positions = maps.pca(cohort.embeddings)
            maps.check_drawn(cohort.embeddings, positions)
        else:
            positions = maps.tsne(cohort.embeddings, perplexity=perplexity or 30, seed=seed or 0)
    trust = maps.trustworthiness(cohort.embeddings, positions)
    known = None if math.isnan(trust) else round(trust, 4)
    rows = [{**row, "x": float(x), "y": float(y)} for row, (x, y) in zip(rows_of(cohort), positions, strict=True)]
    write_rows(rows, output, classes=cohort.classes)
    if as_json:
        emit(
            {
                "out": output,
                "n": len(rows),
                "left_out": cohort.n_failed,
                "method": method,
                "trustworthiness": known,
                "positions": positions,
            }
        )
    else:
        say(f"{output}: {len(rows)} cases by {method}, {cohort.n_failed} without an embedding left out")
        how = "it needs 3 cases" if known is None else "1: neighbours on the map are neighbours; 0.5: chance"
        say(f"trustworthiness {'unknown' if known is None else f'{known:.3f}'} ({how})")
