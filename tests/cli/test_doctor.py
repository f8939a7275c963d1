"""doctor says what works, and how to mend what doesn't."""

import json

from typer.testing import CliRunner

from napari_sparse3d.cli import app


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_names_what_works():
    record = json.loads(run("doctor", "--json").stdout)
    found = {check["name"]: check["state"] for check in record["checks"]}
    assert found["engine native"] == found["engine dense"] == found["DICOM codecs"] == "ok"
    assert record["ok"] is True
    choice = next(check["found"] for check in record["checks"] if check["name"] == "networks run on")
    assert choice.startswith("engine ")
    assert ": torch" in choice  # the reason


def test_what_is_broken_comes_with_the_line_that_mends_it(monkeypatch):
    from napari_sparse3d.io import codecs

    monkeypatch.setattr(codecs, "decodable", lambda: {"JPEG 2000": False, "RLE": True})
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "cannot decode JPEG 2000" in result.stdout
    assert "pip install python-gdcm" in result.stdout


def test_a_check_that_breaks_does_not_hide_the_others(monkeypatch):
    from napari_sparse3d.io import codecs

    def broken():
        raise ImportError("libgdcm is gone")

    monkeypatch.setattr(codecs, "decodable", broken)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert checks["DICOM codecs"]["found"] == "ImportError: libgdcm is gone"
    assert checks["engine native"]["state"] == "ok"


def test_parts_of_every_kind_are_listed():
    from napari_sparse3d import catalog

    named = " ".join(
        f"{check['name']} {check['found']}" for check in json.loads(run("doctor", "--json").stdout)["checks"]
    )
    registries = [each for each in vars(catalog).values() if isinstance(each, catalog.Registry)]
    assert len(registries) >= 6
    for registry in registries:
        assert [name for name in registry if name not in named] == [], registry.kind


def test_a_broken_part_of_every_kind_is_said(monkeypatch):
    from napari_sparse3d import catalog

    registries = [each for each in vars(catalog).values() if isinstance(each, catalog.Registry)]
    for registry in registries:
        monkeypatch.setitem(registry.__dict__, "_found", (registry._found[0], {"theirs": "SyntaxError: no"}))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    broken = [check["name"] for check in json.loads(result.stdout)["checks"] if check["state"] == "broken"]
    assert sorted(broken) == sorted(f"{registry.kind} theirs" for registry in registries)
