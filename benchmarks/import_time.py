"""How long `import napari_sparse3d` takes in a fresh process, beside an interpreter that imports nothing.

The goal is under 0.3 s. Printed, not asserted: tests/test_import.py watches what is loaded instead.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
STATEMENTS = {
    "nothing (floor)": "pass",
    "numpy": "import numpy",
    "napari_sparse3d": "import napari_sparse3d",
    "napari_sparse3d.io": "import napari_sparse3d.io",
    "napari_sparse3d.cli": "import napari_sparse3d.cli",
}


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs this statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the median and the least of interleaved rounds."""
    rounds = [{name: seconds(statement) for name, statement in STATEMENTS.items()} for _ in range(ROUNDS)]
    print(f"{'import':<22}{'median, s':>10}{'least, s':>10}")
    for name in STATEMENTS:
        times = [one[name] for one in rounds]
        print(f"{name:<22}{statistics.median(times):>10.3f}{min(times):>10.3f}")


if __name__ == "__main__":
    main()
