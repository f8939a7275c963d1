"""Whether Qt opens a window here and which OpenGL draws in it.

Asked in a child process (``python -m napari_sparse3d.widgets.opengl``), since Qt aborts the whole process where it
finds no display.
"""

from __future__ import annotations

import json
import subprocess
import sys

TIMEOUT_S = 60


def probe() -> dict[str, str]:
    """The Qt binding, its version and the OpenGL version and renderer; or why there is none, as ``error``."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"Qt did not answer within {TIMEOUT_S} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        found: dict[str, str] = json.loads(lines[-1])
        return found
    said = done.stderr.strip().splitlines()
    return {"error": said[0] if said else f"the process that asked Qt ended with code {done.returncode}"}


def _main() -> None:
    import qtpy
    from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

    application = QGuiApplication([])
    context = QOpenGLContext()
    surface = QOffscreenSurface()
    surface.create()
    found = {"binding": qtpy.API_NAME, "qt": str(qtpy.QT_VERSION), "platform": application.platformName()}
    if context.create() and context.makeCurrent(surface):
        from OpenGL import GL

        found["opengl"] = GL.glGetString(GL.GL_VERSION).decode()
        found["renderer"] = GL.glGetString(GL.GL_RENDERER).decode()
    print(json.dumps(found))


if __name__ == "__main__":
    _main()
