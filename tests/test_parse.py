"""Small texts from users: what cannot be used is one line with the cure."""

import codecs
import re
import sys
from pathlib import Path

import pytest

from napari_sparse3d.environment import (
    cache_folder,
    check_environment,
    config_folder,
    data_folder,
    folder_named_by,
    variable,
)
from napari_sparse3d.errors import InputError
from napari_sparse3d.parse import parse_json, parse_toml, read_csv

DEEP = 200_000


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_json, "[" * DEEP, "nested too deep"),
        (parse_json, '{"a":' * DEEP, "nested too deep"),
        (parse_toml, "a = " + "[" * DEEP, "nested too deep"),
        (parse_json, "1" * 10_000, "no JSON"),
        (parse_json, "{", "no JSON"),
        (parse_toml, "a = ", "no TOML"),
    ],
)
def test_texts_that_are_refused(parse, text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert len(str(caught.value)) < 300


TABLE = "path,label\nä.nii,größer\nb.nii,klein\n"


@pytest.mark.parametrize("content", [TABLE.encode(), TABLE.encode("utf-8-sig"), TABLE.replace("\n", "\r\n").encode()])
def test_tables_that_are_read(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    rows = read_csv(tmp_path / "t.csv")
    assert rows == [{"path": "ä.nii", "label": "größer"}, {"path": "b.nii", "label": "klein"}]


def test_values_at_the_end_may_be_missing_and_rows_empty(tmp_path):
    (tmp_path / "t.csv").write_text('path,label\n"a,b",\n\nc\n')
    assert read_csv(tmp_path / "t.csv") == [{"path": "a,b", "label": ""}, {"path": "c", "label": ""}]
    (tmp_path / "t.csv").write_text("")
    assert read_csv(tmp_path / "t.csv") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.encode("latin-1"), r"not UTF-8 \(line 2; .*save it as CSV UTF-8"),
        (codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le"), "UTF-16, or no text; save it as CSV UTF-8"),
        (codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"), "UTF-16, or no text; save it as CSV UTF-8"),
        (TABLE.encode("utf-16-le"), "UTF-16, or no text; save it as CSV UTF-8"),
        (TABLE.encode("utf-32"), "UTF-16, or no text; save it as CSV UTF-8"),
        (TABLE.replace(",", ";").encode(), "separated by semicolons; save it as CSV UTF-8, separated by commas"),
        (TABLE.replace(",", "\t").encode(), "separated by tabs; save it as CSV UTF-8, separated by commas"),
        (b"path,label\na,b,c\n", "row 2 of the table has 3 values under 2 columns; .*double quotes"),
        (b"path,path\na,b\n", "two columns 'path'"),
        (b'path,label\n"a', "no CSV table"),
        (b"path\n" + b"x" * 200_000, "no CSV table"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path / "t.csv")


@pytest.mark.parametrize("variable", ["NAPARI_SPARSE3D_RUNS", "NAPARI_SPARSE3D_CACHE", "NAPARI_SPARSE3D_HOME"])
def test_variables_that_name_folders(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(tmp_path / "not yet there"))
    check_environment()
    assert folder_named_by(variable, tmp_path) == tmp_path / "not yet there"
    (tmp_path / "file").touch()
    for wrong in (str(tmp_path / "file"), "", "  "):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(InputError, match=f"{variable} names .*; set it to a folder, or unset it"):
            check_environment()


@pytest.mark.parametrize("name", ["SALT", "WINOGRAD_PAIRS", "DATA", "CASES"])
def test_variables_of_earlier_versions_still_work(monkeypatch, name):
    new, old = f"NAPARI_SPARSE3D_{name}", f"SPARSE3D_{name}"
    monkeypatch.delenv(new, raising=False)
    monkeypatch.delenv(old, raising=False)
    assert variable(new) is None
    monkeypatch.setenv(old, "150")
    assert variable(new) == "150"
    monkeypatch.setenv(new, "200")
    assert variable(new) == "200"
    # no other name is read without its prefix
    monkeypatch.setenv("SPARSE3D_CACHE", "somewhere")
    monkeypatch.delenv("NAPARI_SPARSE3D_CACHE", raising=False)
    assert variable("NAPARI_SPARSE3D_CACHE") is None


def test_a_wrong_variable_is_called_as_it_was_set(monkeypatch):
    monkeypatch.delenv("NAPARI_SPARSE3D_WINOGRAD_PAIRS", raising=False)
    monkeypatch.setenv("SPARSE3D_WINOGRAD_PAIRS", "many")
    with pytest.raises(
        InputError, match=r"^SPARSE3D_WINOGRAD_PAIRS is 'many'; set it to a number above 0, or unset it"
    ):
        check_environment()


def test_every_variable_has_the_prefix():
    root = Path(__file__).resolve().parents[1]
    files = [*(root / "src").rglob("*.py"), *(root / "kernels" / "src").rglob("*.cpp")]
    ours = re.compile(r"""["'`](?:[A-Z]+_)*SPARSE3D_[A-Z0-9_]+["'`]""")
    found = {(file.name, name[1:-1]) for file in files for name in ours.findall(file.read_text(encoding="utf-8"))}
    assert ("environment.py", "NAPARI_SPARSE3D_CACHE") in found
    # the kernels read both names of theirs: they have no other way to it
    allowed = {("winograd.cpp", "SPARSE3D_WINOGRAD_PAIRS")}
    assert {pair for pair in found if not pair[1].startswith("NAPARI_")} == allowed


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG base directories are those of Linux")
@pytest.mark.parametrize("base", ["home", "xdg"])
def test_folders_are_where_earlier_versions_had_them(tmp_path, monkeypatch, base):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NAPARI_SPARSE3D_CACHE", "NAPARI_SPARSE3D_HOME"):
        monkeypatch.delenv(name, raising=False)
    usual = {"CONFIG": ".config", "CACHE": ".cache", "DATA": ".local/share"}
    for kind in usual:
        if base == "xdg":
            monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
        else:
            monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
    where = {kind: tmp_path / (kind if base == "xdg" else usual[kind]) / "napari-sparse3d" for kind in usual}
    assert {"CONFIG": config_folder(), "CACHE": cache_folder(), "DATA": data_folder()} == where
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "c"))
    monkeypatch.setenv("NAPARI_SPARSE3D_HOME", str(tmp_path / "d"))
    assert (cache_folder(), data_folder()) == (tmp_path / "c", tmp_path / "d")


@pytest.mark.parametrize(
    ("variable", "wrong", "right"),
    [
        ("NAPARI_SPARSE3D_ISA", ["quantum", "AVX2", " "], ["", "baseline", "avx2"]),
        ("NAPARI_SPARSE3D_WINOGRAD_PAIRS", ["many", "", "-1", "0", "nan", "inf"], ["150", "1e9"]),
    ],
)
def test_variables_that_choose(monkeypatch, variable, wrong, right):
    for value in wrong:
        monkeypatch.setenv(variable, value)
        with pytest.raises(InputError, match=f"{variable}.* is .*; (set it to|choose) .*, or unset it"):
            check_environment()
    for value in right:
        monkeypatch.setenv(variable, value)
        check_environment()
