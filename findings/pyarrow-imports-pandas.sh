#!/usr/bin/env bash
# pyarrow 26.0.1: the first pyarrow.array, of whatever values, imports pandas wherever it is installed.
# It surprises because a list of integers needs no pandas: pyarrow asks whether the list is a Series, and imports pandas to ask, although
# nothing can be a Series before pandas is imported by somebody. A None in sys.modules does not say "not installed" there, but breaks it.
# So: a command makes its first array while pandas is not to be found (src/napari_sparse3d/cli/optional_imports.py).
set -euo pipefail
source "$(dirname "$0")/run"
use pyarrow==26.0.1 pandas numpy==2.4.6
python - <<'PYTHON'
import sys

import pyarrow

print(f"pyarrow {pyarrow.__version__}; pandas imported with it: {'pandas' in sys.modules}")
assert "pandas" not in sys.modules
pyarrow.array([0])
print(f"after pyarrow.array([0]): {'pandas' in sys.modules}")
assert "pandas" in sys.modules
PYTHON
