#!/usr/bin/env bash
# spconv 2.3.8 (CPU): indices that are not contiguous are read as if they were; torch.nonzero(mask).int() is such a tensor, since
# nonzero gives its columns one after the other and .int() keeps that order in memory.
# It surprises because this is the shortest way from a mask to sites, torch itself never minds, and what comes out has the right shape.
# So: indices are made contiguous, and checked, before any engine sees them.
set -euo pipefail
source "$(dirname "$0")/run"
use spconv==2.3.8 torch==2.13.0 numpy==2.4.6
python - <<'PYTHON'
import spconv
import spconv.pytorch
import torch

print("spconv", spconv.__version__, "and torch", torch.__version__)
torch.set_num_threads(1)
torch.manual_seed(0)
mask = torch.rand(1, 8, 8, 8) < 0.2
indices = torch.nonzero(mask).int()
print(f"strides of nonzero(mask).int(): {indices.stride()}, contiguous: {indices.is_contiguous()}")
layer = spconv.pytorch.SubMConv3d(1, 1, 3, bias=False, algo=spconv.pytorch.ConvAlgo.Native)
features = torch.ones(len(indices), 1)
with torch.no_grad():
    layer.weight.fill_(1)  # each site counts the active sites around it
    as_given, in_order = (
        layer(spconv.pytorch.SparseConvTensor(features, sites, [8, 8, 8], 1)).features[:, 0]
        for sites in (indices, indices.contiguous())
    )
counted = torch.nn.functional.conv3d(mask[None].float(), torch.ones(1, 1, 3, 3, 3), padding=1)[0][mask]
wrong = [int((answer != counted).sum()) for answer in (as_given, in_order)]
print(f"of {len(indices)} sites wrong: {wrong[0]} as given, {wrong[1]} contiguous")
assert not indices.is_contiguous()
assert wrong[0] > len(indices) // 2 and wrong[1] == 0
PYTHON
