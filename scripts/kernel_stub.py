"""Print the stub of the Python module of the C++ kernels, in the project's style.

    .venv/bin/python scripts/kernel_stub.py > src/napari_sparse3d/_kernels.pyi    (make stub)

A test compares what is committed with what this prints.
"""

from __future__ import annotations

import subprocess
import sys

from nanobind.stubgen import StubGen

from napari_sparse3d import _kernels


def stub() -> str:
    """What nanobind reads from the module, formatted as all Python files are."""
    generator = StubGen(_kernels, quiet=True)
    generator.put(_kernels)
    text = '"""Made by `make stub` from kernels/binding; not to be edited."""\n\n' + _without_docstring(generator.get())
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "_kernels.pyi", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def _without_docstring(text: str) -> str:
    """The module's own docstring is the one above."""
    start = text.lstrip()
    quotes = '"""'
    return start[start.index(quotes, len(quotes)) + len(quotes) :] if start.startswith(quotes) else text


if __name__ == "__main__":
    sys.stdout.write(stub())
