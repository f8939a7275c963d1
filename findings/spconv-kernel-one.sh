#!/usr/bin/env bash
# spconv 2.3.8 (CPU): a convolution with kernel 1 and stride 1 multiplies the features by weight.view(C_in, C_out), although the weight
# has the shape (C_out, 1, 1, 1, C_in) of every other kernel size, where it is the transpose that counts.
# It surprises because nothing differs in shape or type: with a symmetric weight, or one channel, both agree, and a checkpoint read by the
# documented layout gives other answers without an error.
# So: weights of such layers are reshaped, not transposed, when a spconv checkpoint is converted; asymmetric weights in every such test.
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
indices = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3], [0, 3, 0, 1]], dtype=torch.int32)  # batch, z, y, x
features = torch.randn(3, 2)
x = spconv.pytorch.SparseConvTensor(features, indices, [4, 4, 4], 1)


def multiplied_by(kernel: int, kind: type) -> tuple[bool, bool]:
    """Whether a lone site is multiplied by the centre's (C_out, C_in) transposed, or by the same numbers as (C_in, C_out)."""
    layer = kind(2, 3, kernel, padding=kernel // 2, bias=False, algo=spconv.pytorch.ConvAlgo.Native)
    with torch.no_grad():
        given = layer(x)
        where = {tuple(site): row for site, row in zip(given.indices.tolist(), given.features, strict=True)}
        answer = torch.stack([where[tuple(site)] for site in indices.tolist()])
        centre = layer.weight[:, kernel // 2, kernel // 2, kernel // 2]
        return torch.allclose(answer, features @ centre.T, atol=1e-6), torch.allclose(answer, features @ centre.reshape(2, 3), atol=1e-6)


seen = {
    f"{kind.__name__}, kernel {kernel}": multiplied_by(kernel, kind)
    for kind in (spconv.pytorch.SubMConv3d, spconv.pytorch.SparseConv3d)
    for kernel in (3, 1)
}
for name, (transposed, viewed) in seen.items():
    print(f"{name}: features @ W.T {transposed}, features @ W.view(in, out) {viewed}")
assert [seen[name] for name in seen if "kernel 3" in name] == [(True, False)] * 2
assert [seen[name] for name in seen if "kernel 1" in name] == [(False, True)] * 2
PYTHON
