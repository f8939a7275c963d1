#!/usr/bin/env bash
# spconv 2.3.8 (CPU): SparseMaxPool3d starts from 0, so the largest of -3 and -1 is 0: it returns max(0, x).
# It surprises because no site with 0 is in the window (a sparse pool looks at active sites only), and because a network that pools
# before its activation, or that uses LeakyReLU, then gives other answers on the CPU without an error.
# So: on this build pool over shifted, positive features, and compare each engine with a dense reference.
set -euo pipefail
source "$(dirname "$0")/run"
use spconv==2.3.8 torch==2.13.0 numpy==2.4.6
python - <<'PYTHON'
import spconv
import spconv.pytorch
import torch

print("spconv", spconv.__version__, "and torch", torch.__version__)
indices = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 2, 2, 2]], dtype=torch.int32)  # batch, z, y, x
features = torch.tensor([[-3.0], [-1.0], [5.0]])
pooled = spconv.pytorch.SparseMaxPool3d(2, stride=2)(spconv.pytorch.SparseConvTensor(features, indices, [4, 4, 4], 1))
at = {tuple(site): value for site, (value,) in zip(pooled.indices.tolist(), pooled.features.tolist(), strict=True)}
print(f"window with -3 and -1: {at[0, 0, 0, 0]}; window with 5: {at[0, 1, 1, 1]}")
assert at == {(0, 0, 0, 0): 0.0, (0, 1, 1, 1): 5.0}
PYTHON
