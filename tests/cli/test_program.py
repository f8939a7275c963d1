"""The installed program, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import COMMANDS, app


def program(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-c", "from napari_sparse3d.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def test_help_is_light():
    code = (
        "import sys\n"
        "from napari_sparse3d.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'matplotlib', 'nibabel'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert "Usage" in result.stdout
    assert len(result.stdout.splitlines()) > 10


def test_one_object_on_stdout(scan_file):
    done = program("info", scan_file, "--json")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["series"]


def test_no_traceback(tmp_path):
    done = program("voxelize", tmp_path / "none.nii", "-r", "mri-110", "-o", tmp_path / "v.npz")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error:")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_keeps_its_traceback():
    code = (
        "from napari_sparse3d.cli import app\nfrom napari_sparse3d.cli.common import guarded\n"
        "def broken() -> None:\n    raise KeyError('a bug')\n"
        "app.command('broken')(guarded(broken))\napp(['broken'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "KeyError: 'a bug'" in done.stderr
    assert "Traceback" in done.stderr


def test_works_without_a_home_and_without_a_terminal(scan_file, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "none")}
    done = program("info", scan_file, "--json", env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
