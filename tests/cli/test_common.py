"""What all commands share: streams, errors, JSON."""

import errno
import json

import numpy as np
import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

from napari_sparse3d.cli.common import JsonFlag, emit, finish, guarded, plain, say, show, the_call, track
from napari_sparse3d.errors import EngineError, InputError, ReadError


def invoke(body, *arguments):
    """Run a command that does ``body``."""
    app = typer.Typer()

    def command(as_json: JsonFlag = False) -> None:
        body()

    app.command()(guarded(command))
    return CliRunner().invoke(app, list(arguments))


def raises(error):
    def body():
        raise error

    return body


def in_the_call(error):
    def body():
        with the_call():
            raise error

    return body


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        (raises(InputError("a volume must be 3D")), 1, "error: a volume must be 3D"),
        (raises(ReadError("the file is no scan")), 1, "error: the file is no scan"),
        (raises(EngineError("there is no engine")), 2, "error: there is no engine"),
        (
            raises(FileNotFoundError(errno.ENOENT, "No such file", "a.nii")),
            1,
            "error: No such file: a file or folder that was given, or one in it",
        ),
        (raises(OSError("disk on fire")), 1, "error: disk on fire"),
        (in_the_call(InputError("no such recipe")), 2, "error: no such recipe"),
        (in_the_call(FileNotFoundError(errno.ENOENT, "No such file", "r.toml")), 2, "error: r.toml: No such file"),
        (raises(InputError("two\nlines  and [brackets]")), 1, "error: two lines and [brackets]"),
        (lambda: finish(["a: broken", "b: gone"]), 1, "error: a: broken\nerror: b: gone"),
        (lambda: finish([]), 0, ""),
    ],
)
def test_errors_are_lines(body, code, line):
    result = invoke(body)
    assert result.exit_code == code
    assert result.stderr.strip() == line
    assert result.stdout == ""


def test_long_lines_stay_one_line():
    result = invoke(raises(InputError("word " * 100)))
    assert len(result.stderr.splitlines()) == 1


def test_bugs_are_not_hidden():
    assert isinstance(invoke(raises(KeyError("a bug"))).exception, KeyError)


def test_json_owns_stdout():
    def body():
        print("a library says something")
        say("reading")
        emit({"n": np.int64(3), "row": np.arange(2.0), "nan": float("nan"), "text": "two\nlines"})

    result = invoke(body, "--json")
    assert json.loads(result.stdout) == {"n": 3, "row": [0, 1], "nan": None, "text": "two\nlines"}
    assert len(result.stdout.splitlines()) == 1
    assert "a library says something" in result.stderr
    assert "reading" in result.stderr


def test_a_table_is_not_cut_in_a_pipe(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)

    def body():
        table = Table(*(f"a long heading {number}" for number in range(20)))
        table.add_row(*(str(number) for number in range(20)))
        show(table)

    heading = invoke(body).stdout.splitlines()[1]
    assert all(f"a long heading {number}" in heading for number in range(20))


def test_json_says_errors_too():
    result = invoke(raises(InputError("a volume\nmust be 3D")), "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"error": "a volume must be 3D"})
    assert "error: a volume must be 3D" in result.stderr


def test_an_error_after_the_object_does_not_print_a_second_one():
    def body():
        emit({"done": 1})
        raise InputError("too late")

    result = invoke(body, "--json")
    assert json.loads(result.stdout) == {"done": 1}
    assert result.exit_code == 1


def test_emit_is_for_json_and_once():
    def twice():
        emit({})
        emit({})

    assert isinstance(invoke(lambda: emit({})).exception, RuntimeError)
    assert isinstance(invoke(twice, "--json").exception, RuntimeError)


def test_streams_of_people():
    def body():
        show("the table")
        for _ in track([1, 2], "working"):
            say("one")

    result = invoke(body)
    assert result.stdout == "the table\n"
    assert result.stderr.splitlines() == ["one", "one"]


def test_plain():
    from pathlib import Path

    value = {"a": (Path("x"), np.float32(0.5)), 3: [np.array([[1, np.inf]])], "none": None, "flag": True}
    assert plain(value) == {"a": ["x", 0.5], "3": [[[1.0, None]]], "none": None, "flag": True}
