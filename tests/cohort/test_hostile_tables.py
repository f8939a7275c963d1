"""Tables of other shapes and types are one line each; a folder of tables is never taken for one table."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.cohort import find_cases, read_cohort
from napari_sparse3d.errors import InputError

GOOD = {"path": ["a", "b"], "embedding": [[1.0, 0.0], [0.0, 1.0]], "model": ["m", "m"]}


def table(path: Path, /, **columns: Any) -> Path:
    parquet.write_table(pa.table({**GOOD, **columns}), path)
    return path


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"embedding": [1.0, 2.0]}, "list of numbers"),
        ({"embedding": ["ab", "cd"]}, "list of numbers"),
        ({"embedding": [b"ab", b"cd"]}, "list of numbers"),
        ({"embedding": [["a"], ["b"]]}, "no number"),
        ({"embedding": [[[1.0]], [[2.0]]]}, "lists in lists"),
        ({"embedding": [[1.0, None], [1.0, 2.0]]}, "no number|not finite"),
        ({"embedding": [[float("nan")], [1.0]]}, "not finite"),
        ({"embedding": [[1e300], [1.0]]}, "not finite"),
        ({"embedding": [[], []]}, "list of numbers"),
        ({"embedding": [[1.0], [1.0, 2.0]]}, "lengths"),
        ({"embedding": [{"x": 1}, {"x": 2}]}, "list of numbers"),
        ({"embedding": pa.array([None, None], pa.list_(pa.float32())), "error": ["torn", None]}, "torn"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_embeddings_of_other_types(columns: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", **columns)
    with pytest.raises(InputError, match=said) as error:
        read_cohort(path)
    assert "\n" not in str(error.value)


def test_nested_columns_and_odd_thumbnails_are_no_obstacle(tmp_path: Path) -> None:
    nested = pa.array([{"a": [1, 2]}, {"a": []}])
    cohort = read_cohort(table(tmp_path / "t.parquet", label=nested, thumbnail=[b"abc", b""]))
    assert len(cohort) == 2
    assert cohort.thumbnails is None
    assert all(isinstance(value, str) for value in cohort.column("label"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1", b"path,label\n"])
def test_files_that_are_no_parquet(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Zebedee.parquet"
    path.write_bytes(content)
    for read in (read_cohort, find_cases):
        with pytest.raises(InputError) as error:
            read(path)
        assert "\n" not in str(error.value)
        assert "Zebedee" not in str(error.value)


def test_a_table_with_flipped_bytes_is_refused_or_read(tmp_path: Path) -> None:
    whole = bytearray(table(tmp_path / "t.parquet").read_bytes())
    for place in range(0, len(whole), 17):
        changed = whole.copy()
        changed[place] ^= 0xFF
        (tmp_path / "u.parquet").write_bytes(changed)
        with contextlib.suppress(InputError):  # anything else is a fault
            assert read_cohort(tmp_path / "u.parquet").embeddings.ndim == 2


@pytest.mark.parametrize(
    "columns",
    [{"path": [None, "b"]}, {"path": [1, 2]}, {"path": ["a\0", "b"]}, {"series": ["x", "y"]}, {"series": [[1], [2]]}],
)
def test_cases_of_other_types(columns: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 0"):
        find_cases(table(tmp_path / "t.parquet", **columns))


def test_a_map_of_a_folder_asks_which_table(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    table(folder / "one.parquet")
    table(folder / "two.parquet", embedding=[[1.0, 1.0], [0.5, 1.0]])
    table(folder / "other.parquet", model=["n", "n"])
    out = tmp_path / "map.parquet"

    def call(*words: Path) -> Any:
        return CliRunner().invoke(app, ["map", *map(str, words), "-o", str(out), "--method", "pca"])

    done = call(folder)
    assert done.exit_code == 1
    assert "3 tables: one.parquet, other.parquet, two.parquet; name one" in done.stderr
    assert not out.exists()
    assert call(folder / "one.parquet", folder / "two.parquet").exit_code == 0
    assert len(read_cohort(out)) == 4
    done = call(folder / "one.parquet", folder / "other.parquet")
    assert done.exit_code == 1
    assert "2 models" in done.stderr
