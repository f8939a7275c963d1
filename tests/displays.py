"""A virtual display for each worker of ``pytest -n``: windows of two workers do not meet, nor do their clipboards."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def can_be_had() -> bool:
    """Whether this machine has the program that is a display without a screen."""
    return sys.platform == "linux" and shutil.which("Xvfb") is not None


def take_one() -> None:
    """Start a display for this process and its children, with settings of napari of their own; both end with it."""
    ready, says = os.pipe()
    call = ["Xvfb", "-displayfd", str(says), "-screen", "0", "1600x1200x24", "+extension", "GLX", "-nolisten", "tcp"]
    server = subprocess.Popen(call, pass_fds=[says], stderr=subprocess.DEVNULL)
    os.close(says)
    with os.fdopen(ready) as told:
        number = told.readline().strip()
    if not number:
        raise RuntimeError(f"Xvfb ended with code {server.wait()} and gave no display; `make test` needs one")
    settings = tempfile.mkdtemp(prefix="napari-")
    atexit.register(_end, server, settings)
    os.environ.pop("WAYLAND_DISPLAY", None)
    os.environ |= {
        "DISPLAY": f":{number}",
        "QT_QPA_PLATFORM": "xcb",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "NAPARI_CONFIG": str(Path(settings) / "settings.yaml"),
    }


def _end(server: subprocess.Popen[bytes], settings: str) -> None:
    server.terminate()
    server.wait()
    shutil.rmtree(settings, ignore_errors=True)
