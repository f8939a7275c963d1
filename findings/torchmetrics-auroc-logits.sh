#!/usr/bin/env bash
# torchmetrics 1.9.0: the area under the curve of logits is that of their sigmoids in float32, where everything above about 17 is
# 1. Confident cases tie: four logits in perfect order give 0.5 instead of 1, the same divided by 100 give 1.
# It surprises because the measure depends on the order alone, which no monotone step should change; that a sigmoid is applied is
# documented, that it loses the order is not.
# So: take the area from ranks of the scores as they are, ties counted half.
set -euo pipefail
source "$(dirname "$0")/run"
use torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
python - <<'PYTHON'
import itertools

import torch
import torchmetrics
from torchmetrics.functional.classification import binary_auroc

print("torchmetrics", torchmetrics.__version__, "and torch", torch.__version__)
logits, target = torch.tensor([18.0, 20.0, 22.0, 24.0]), torch.tensor([0, 0, 1, 1])
pairs = [float(b > a) for a, b in itertools.product(logits[target == 0], logits[target == 1])]
seen, scaled = float(binary_auroc(logits, target)), float(binary_auroc(logits / 100, target))
print(f"logits {logits.tolist()}, classes {target.tolist()}: {seen}; divided by 100: {scaled}; by pairs: {sum(pairs) / len(pairs)}")
assert (seen, scaled, sum(pairs) / len(pairs)) == (0.5, 1.0, 1.0)
PYTHON
