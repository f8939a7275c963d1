"""Names from files are text: they break no table, act on no terminal and lead out of no folder."""

from __future__ import annotations

import csv
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from dicom_files import series_of
from napari_sparse3d.cli import app
from napari_sparse3d.cli.common import say, show, status, track
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import Model, build_network, load_model
from napari_sparse3d.text import cell_text, one_file_name, printable, text_of_cell

HOSTILE = (
    "[red]", "[/]", "[/red]", "[link=http://x]y[/link]", "[bold", "\\[", ":smile:", "a\nerror: b", "a\r\nb",
    "a\tb", "\x1b[31mred", "\x1b]0;title\x07x", "\x1b]8;;http://x\x1b\\y", "\x9b31mred", "\x1b[2J\x1b[H",
    "\x1bP$q\x1b\\x", "\u202egnp.exe", "\u2066x\u2069", "a\u200bb", "\ufeffx", "\x00x", "\x7f", "\ud800x",
    "\u2028x\u2029y", "\x08\x08x", "$\\frac$", "<b>x</b>", "%s {0}", "\x1b", "\x1b[",
)  # fmt: skip


def shown_safely(text: str) -> None:
    for character in text.replace("\n", ""):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_printed_is_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("column", name, title=name, caption=name)
    table.add_row("a", name)
    table.add_row("b", Text(name))
    show(table)
    show(name)
    say(name)
    with status(name):
        pass
    list(track([1], name))
    captured = capsys.readouterr()
    shown_safely(captured.out + captured.err)
    visible = printable(name).strip()
    assert captured.out.count(visible) >= 5 or not visible
    assert captured.err.splitlines()[0].strip() == visible  # one line
    assert len(captured.err.splitlines()) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_a_terminal_is_not_moved(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where colours are on, rich's own are the only sequences."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    table = Table("column")
    table.add_row(Text(name, "red"))
    table.add_row(name)
    show(table)
    import re

    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    shown_safely(out)


@pytest.fixture
def hostile_model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    name: str = request.param
    arguments = {"field": 8, "channels": (4, 8), "embedding": 6, "classes": 2}
    card = load_model("residual").card.model_copy(
        update={
            "name": name,
            "arguments": arguments,
            "classes": (name, f"{name}2"),
            "trained": True,
            "description": name,
        }
    )
    Model(build_network("residual", **arguments), card).save(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


NO_SURROGATE = [name for name in HOSTILE if "\ud800" not in name]  # no file of UTF-8 holds one


@pytest.mark.parametrize(
    "hostile_model", ["[/red]\x1b[31m\u202e\n", "../../outside", "/outside", "C:\\x", "..", "CON"], indirect=True
)
def test_a_card_is_shown_and_its_model_is_written_here(
    hostile_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    # where it is written is asked here; what is written, in test_export.py
    monkeypatch.setattr("napari_sparse3d.models.export.export_model", lambda _, path, format: path.write_text(format))
    before = set(tmp_path.rglob("*"))
    for line in (
        ["models", hostile_model],
        ["models", hostile_model, "--json"],
        ["export", hostile_model, "--format", "torch"],
    ):
        done = CliRunner().invoke(app, [str(word) for word in line])
        assert done.exit_code == 0, done.output
        shown_safely(done.stdout + done.stderr)
    made = set(tmp_path.rglob("*")) - before
    assert len(made) == 1
    assert made.pop().parent == inside


@pytest.mark.parametrize(
    "name", ["../../outside", "/outside", "a/b", "..", "[/red]\x1b[31m", "x" * 500, "\u202e", "a\\b", "."]
)
def test_a_run_lies_in_its_folder(name: str, tmp_path: Path) -> None:
    from napari_sparse3d.training.runs import RunStore

    store = RunStore(tmp_path / "runs")
    run = store.new(name)
    assert Path(store.find(run)["folder"]).parent == tmp_path / "runs"
    assert {path.parent for path in tmp_path.rglob("*")} <= {tmp_path, tmp_path / "runs", tmp_path / "runs" / run}
    shown_safely(run)


def test_a_table_of_runs_made_elsewhere_leads_nowhere(tmp_path: Path) -> None:
    from napari_sparse3d.errors import InputError
    from napari_sparse3d.training.runs import RunStore

    store = RunStore(tmp_path)
    store.update("../outside", status="running", folder="/")
    with pytest.raises(InputError, match="whose name is none"):
        store.find("last")


def test_a_series_description_is_text(tmp_path: Path) -> None:
    for number, name in enumerate(name for name in NO_SURROGATE if "\\" not in name):
        series_of(
            tmp_path / str(number),
            3,
            series=f"1.2.{number}",
            SeriesDescription=name[:60],
            SpecificCharacterSet="ISO_IR 192",
        )
    done = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert done.exit_code == 0, done.output
    shown_safely(done.stdout + done.stderr)
    assert "[red]" in done.stdout
    done = CliRunner().invoke(app, ["convert", str(tmp_path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    shown_safely(done.stdout + done.stderr)
    assert all(path.parent == tmp_path / "out" for path in (tmp_path / "out").rglob("*"))


def test_columns_of_a_cohort_are_text(tmp_path: Path) -> None:
    from napari_sparse3d.cohort import write_rows
    from napari_sparse3d.voxels import VoxelSet

    grid = np.argwhere(np.ones((3, 3, 3))).astype(np.int32)
    VoxelSet(grid, np.ones((27, 1), np.float32), (8, 8, 8), np.eye(4)).save(tmp_path / "a.npz")
    rows: list[dict[str, Any]] = [
        {"path": name, "label": name, "prediction": name, "model": "deepc2", "embedding": np.eye(192)[n].tolist()}
        for n, name in enumerate(NO_SURROGATE)
    ]
    write_rows(rows, tmp_path / "t.parquet")
    line = ["similar", tmp_path / "a.npz", "--table", tmp_path / "t.parquet", "-m", "deepc2", "-k", "40"]
    done = CliRunner().invoke(app, [str(word) for word in line])
    assert done.exit_code == 0, done.output
    shown_safely(done.stdout)
    assert len(done.stdout.splitlines()) == len(rows) + 1
    done = CliRunner().invoke(app, [str(word) for word in [*line, "--json"]])
    assert {case["label"] for case in json.loads(done.stdout)["cases"]} == {row["label"] for row in rows}


@pytest.mark.parametrize(
    "name", [*HOSTILE, "", ".", "..", "a/../../b", "nul", "COM1.txt", "é" * 300, "  ", "-rf", ".hidden", "王.x"]
)
def test_one_file_name(name: str) -> None:
    found = one_file_name(name, "fallback")
    assert found == Path(found).name
    assert 0 < len(found) <= 81
    assert not found.startswith((".", "-"))
    assert found.upper().split(".")[0] not in ("CON", "NUL", "COM1")
    assert one_file_name(found, "fallback") in (found, f"{found}_")


def test_no_cell_is_a_formula() -> None:
    assert [cell_text(value) for value in ("=1+1", "+cmd|x", "-2", "@x", "ok", -2.5, None)] == [
        "'=1+1", "'+cmd|x", "'-2", "'@x", "ok", -2.5, None,
    ]  # fmt: skip


@given(st.text(alphabet="'=+-@\t\ra0 \"\n,"))
def test_a_cell_gives_its_text_back(text: str) -> None:
    written = cell_text(text)
    assert isinstance(written, str)
    assert not written.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert text_of_cell(written) == text


def test_a_table_gives_names_and_texts_back(tmp_path: Path) -> None:
    from napari_sparse3d.cases.tables import rows_of_table
    from napari_sparse3d.widgets.cohort.table_files import write_table

    rows = [{"path": "a", "=SUM(A1)": "-1", "'=SUM(A1)": "'+1"}, {"path": "@b", "=SUM(A1)": "''=x", "'=SUM(A1)": "'x"}]
    write_table(rows, tmp_path / "t.csv", {})
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert rows_of_table(tmp_path / "t.csv") == rows
    (tmp_path / "t.csv").write_text("path,=x,'=x\na,1,2\n")
    with pytest.raises(InputError, match="same name but for an apostrophe"):
        rows_of_table(tmp_path / "t.csv")


def test_names_with_dollars_are_drawn(tmp_path: Path) -> None:
    from napari_sparse3d.pictures.evaluation import evaluation_figure
    from napari_sparse3d.pictures.style import as_png

    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]], np.float32)
    figure = evaluation_figure(probabilities, np.array([0, 1, 0, 1]), ["$\\frac$", "a_$"], None, title="$x^{")
    assert as_png(figure)[:4] == b"\x89PNG"
