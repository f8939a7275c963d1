"""The engine: one product a kernel offset, by numpy. Sites, backgrounds and pools come with the rulebook."""

import numpy as np
import torch

from napari_sparse3d.engine.rulebook_engine import RulebookEngine, RulebookPlan


class StrangerEngine(RulebookEngine[RulebookPlan]):
    """Multiplies in float64 and gives back what came in."""

    name = "stranger"

    def planned(self, rules, kernel):
        """The rulebook as it is."""
        return RulebookPlan(rules, kernel)

    def products(self, features, weight, plan):
        """(N, C_in), (C_out, kz, ky, kx, C_in) -> (M, C_out)."""
        x, w = _double(features), _by_offset(weight)
        total = np.zeros((plan.outputs, w.shape[1]))
        for (rows_in, rows_out), of_offset in zip(_pairs(plan), w, strict=True):
            total[rows_out] += x[rows_in] @ of_offset.T  # no row stands twice in one list
        return torch.from_numpy(total).to(features.dtype)

    def products_backward(self, grad, features, weight, plan):
        """Gradients for features and weight."""
        g, x, w = _double(grad), _double(features), _by_offset(weight)
        of_x, of_w = np.zeros_like(x), np.zeros_like(w)
        for offset, (rows_in, rows_out) in enumerate(_pairs(plan)):
            of_x[rows_in] += g[rows_out] @ w[offset]
            of_w[offset] = g[rows_out].T @ x[rows_in]
        of_weight = torch.from_numpy(of_w.transpose(1, 0, 2).copy()).view(weight.shape)
        return torch.from_numpy(of_x).to(features.dtype), of_weight.to(weight.dtype)


def _double(tensor):
    return tensor.detach().double().numpy()


def _by_offset(weight):
    """(C_out, kz, ky, kx, C_in) -> (K, C_out, C_in)."""
    return _double(weight.flatten(1, 3)).transpose(1, 0, 2)


def _pairs(plan):
    return [(rows_in.numpy(), rows_out.numpy()) for rows_in, rows_out in plan.rules.pairs]
