"""The same bits, however many threads there are and however often it is asked."""

import pytest
import torch

from cases import scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.sparse import SparseTensor, use_engine

REPEATS = 32


class Everything(torch.nn.Module):
    """Every kind of layer, with enough sites that the work is shared among threads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = sp.SparseSequential(
            sp.SparseConv3d(3, 16, 3, padding=1),
            sp.SparseBatchNorm(16),
            torch.nn.LeakyReLU(1 / 3),
            sp.SparseMaxPool3d(3, 2),
        )
        self.block = sp.SparseSequential(sp.SubMConv3d(16, 16, 3), torch.nn.ReLU(), sp.SubMConv3d(16, 16, 3))
        self.strided = sp.SparseConv3d(16, 32, 2, stride=2)
        self.back = sp.SparseInverseConv3d(32, 16, 2, stride=2)
        self.mean = sp.SparseAvgPool3d(2)
        self.average, self.largest = sp.GlobalAvgPool(), sp.GlobalMaxPool()

    def forward(self, x):
        x = self.down(x)
        x = x + self.block(x)
        x = x.with_features(x.features, None)
        y = self.mean(self.back(self.strided(x), x))
        return torch.cat([self.average(y), self.largest(y)], 1)


def bits(threads):
    """Output and every gradient, as one vector."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        network = Everything()
        case = scattered((30, 30, 30), 2, 0.1)
        features = case.features(3).requires_grad_()
        background = torch.tensor([0.1, -0.2, 0.3], requires_grad=True)
        x = SparseTensor(features, case.indices.clone(), case.shape, case.batch_size, background)
        y = network(x)
        grads = torch.autograd.grad(y.square().sum(), [features, background, *network.parameters()])
        return torch.cat([y.detach().flatten(), *[g.flatten() for g in grads]])
    finally:
        torch.set_num_threads(before)


def test_one_and_many_threads_give_the_same_bits_again_and_again():
    with use_engine("native"):
        first = bits(1)
        assert torch.isfinite(first).all()
        assert first.abs().max() > 0
        for repeat in range(REPEATS):
            assert torch.equal(bits((1, 2, 3, 8)[repeat % 4]), first), f"repeat {repeat}"


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_inference_gives_the_same_bits(threads):
    network = Everything().eval()
    case = scattered((30, 30, 30), 2, 0.1)
    before = torch.get_num_threads()
    with use_engine("native"), torch.no_grad():
        results = []
        for count in (1, threads):
            torch.set_num_threads(count)
            try:
                x = SparseTensor(case.features(3), case.indices.clone(), case.shape, case.batch_size, torch.ones(3))
                results.append(network(x))
            finally:
                torch.set_num_threads(before)
        assert torch.equal(*results)
