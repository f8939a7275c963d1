"""Small texts from users: what cannot be used is one line with the cure."""

import codecs

import pytest

from napari_sparse3d.environment import check_environment, folder_named_by
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


@pytest.mark.parametrize(
    ("variable", "wrong", "right"),
    [
        ("NAPARI_SPARSE3D_ISA", ["quantum", "AVX2", " "], ["", "baseline", "avx2"]),
        ("SPARSE3D_WINOGRAD_PAIRS", ["many", "", "-1", "0", "nan", "inf"], ["150", "1e9"]),
    ],
)
def test_variables_that_choose(monkeypatch, variable, wrong, right):
    for value in wrong:
        monkeypatch.setenv(variable, value)
        with pytest.raises(InputError, match=f"{variable} is .*; set it to .*, or unset it"):
            check_environment()
    for value in right:
        monkeypatch.setenv(variable, value)
        check_environment()
