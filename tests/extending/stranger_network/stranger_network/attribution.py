"""What the network answers without each voxel."""

from __future__ import annotations

import torch
from torch import nn

from napari_sparse3d.explain.attribution import Attribution, at_input, baseline
from napari_sparse3d.sparse import SparseTensor


def one_left_out(network: nn.Module, x: SparseTensor, target: int) -> Attribution:
    with torch.no_grad():
        whole = network(x)[0, target]
        values = []
        for row in range(len(x.features)):
            features = x.features.clone()
            features[row] = baseline(x)
            values.append(whole - network(x.with_features(features, x.background))[0, target])
    return at_input(x, torch.stack(values))
