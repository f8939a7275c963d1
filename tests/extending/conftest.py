"""Packages of strangers: installed beside this one for a test, found by their entry points alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent

COMMANDS = """
import json, sys
from typer.testing import CliRunner
from napari_sparse3d.cli import app

said = {}
for name, arguments in json.loads(sys.argv[1]).items():
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (arguments, done.output)
    said[name] = done.stdout
print(json.dumps(said))
"""


class Installed:
    """A Python in which some packages of this folder are installed as well."""

    def __init__(self, site: Path) -> None:
        self.site = site

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that finds them."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.site), os.environ.get("PYTHONPATH")])),
        }

    def python(self, code: str, *arguments: object) -> str:
        """What the code prints; fails with what it says if it ends otherwise than well."""
        return self._run([sys.executable, "-c", code, *map(str, arguments)])

    def commands(self, calls: dict[str, tuple[object, ...]]) -> dict[str, str]:
        """What each ``napari-sparse3d ARGUMENTS`` prints, by the names of the calls; all in one process."""
        words = {name: [str(argument) for argument in arguments] for name, arguments in calls.items()}
        return json.loads(self.python(COMMANDS, json.dumps(words)))

    def _run(self, call: list[str]) -> str:
        done = subprocess.run(call, capture_output=True, text=True, env=self.environment, cwd=self.site)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Installed]:
    """``install("stranger_engine", ...)``: what pip makes of these folders, written by hand, as pip needs a network.

    Each is a project: ``pyproject.toml`` (name, version, entry points) beside the package itself.
    """
    made: dict[tuple[str, ...], Installed] = {}

    def installed(*projects: str) -> Installed:
        if projects not in made:
            site = tmp_path_factory.mktemp("site")
            for project in projects:
                _write(HERE / project, site)
            made[projects] = Installed(site)
        return made[projects]

    return installed


def _write(project: Path, site: Path) -> None:
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package in project.iterdir():
        if (package / "__init__.py").exists():
            shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    (folder / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in about.get("entry-points", {}).items()
        )
    )
