#!/usr/bin/env bash
# safetensors 0.8.0: safetensors.numpy writes the memory of an array as it lies under the shape it has: one in Fortran order, as a
# transposed weight is, comes back shuffled. No error, no warning.
# It surprises because shape, type and the set of values are right, and because safetensors.torch refuses the same tensor.
# So: np.ascontiguousarray before every save, and read back what was written.
set -euo pipefail
source "$(dirname "$0")/run"
use safetensors==0.8.0 numpy==2.4.6
python - <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import load, save

print("safetensors", safetensors.__version__)
weight = np.arange(6.0).reshape(3, 2).T
loaded = load(save({"weight": weight}))["weight"]
print(f"saved {weight.tolist()}, loaded {loaded.tolist()}")
assert loaded.shape == weight.shape and loaded.tolist() == [[0, 1, 2], [3, 4, 5]] != weight.tolist()
assert np.array_equal(load(save({"weight": np.ascontiguousarray(weight)}))["weight"], weight)
PYTHON
