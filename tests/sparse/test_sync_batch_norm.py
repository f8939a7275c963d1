"""Batch normalisation over processes: as torch's over everything that all of them have."""

import subprocess
import sys

import pytest
import torch

from napari_sparse3d.sparse import SparseBatchNorm, SparseSequential, SparseSyncBatchNorm, SparseTensor, SubMConv3d

PROCESS = """
import sys, torch
from torch import distributed
from napari_sparse3d.sparse import SparseSequential, SparseSyncBatchNorm, SparseTensor, SubMConv3d
folder, rank, background = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "background"
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt", weights_only=True)
features, indices = given["parts"][rank]
features.requires_grad_()
norm = SparseSyncBatchNorm(3)
norm.load_state_dict(given["state"])
ground = given["background"].requires_grad_() if background else None
for _ in range(2):
    y = norm(SparseTensor(features, indices, 6, 1, ground))
loss = (y.features * given["pull"][rank]).sum()
loss.backward()
torch.save(
    {"features": y.features.detach(), "grad": features.grad, "weight": norm.weight.grad, "bias": norm.bias.grad,
     "state": norm.state_dict(), "background": None if y.background is None else y.background.detach()},
    f"{folder}/made{rank}.pt",
)
norm.eval()
y = norm(SparseTensor(features, indices, 6, 1, ground))  # asks nobody
distributed.barrier()  # or the one that ends first aborts the other now and then
distributed.destroy_process_group()
"""


def sites(density, seed):
    generator = torch.Generator().manual_seed(seed)
    indices = (torch.rand(1, 6, 6, 6, generator=generator) < density).nonzero().int()
    return torch.randn(len(indices), 3, generator=generator) * 3 + 5, indices


@pytest.mark.parametrize("background", ["background", "none"])
@pytest.mark.parametrize("densities", [(0.3, 0.7), (0.5, 0.0), (1.0, 1.0)], ids=["uneven", "one has none", "dense"])
def test_two_processes_are_as_torch_on_all_sites_together(densities, background, tmp_path):
    parts = [sites(density, seed) for seed, density in enumerate(densities)]
    generator = torch.Generator().manual_seed(9)
    pull = [torch.randn(len(features), 3, generator=generator) for features, _ in parts]
    reference = torch.nn.BatchNorm1d(3)
    with torch.no_grad():
        reference.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        reference.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    given = {"parts": parts, "pull": pull, "state": reference.state_dict(), "background": torch.tensor([1.0, 2.0, 3.0])}
    torch.save(given, tmp_path / "given.pt")
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, tmp_path, str(rank), background], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()[-2000:]
    made = [torch.load(tmp_path / f"made{rank}.pt", weights_only=True) for rank in range(2)]

    together = torch.cat([features for features, _ in parts]).requires_grad_()
    for _ in range(2):
        expected = reference(together)
    (expected * torch.cat(pull)).sum().backward()
    torch.testing.assert_close(torch.cat([one["features"] for one in made]), expected.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.cat([one["grad"] for one in made]), together.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(made[0]["weight"] + made[1]["weight"], reference.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made[0]["bias"] + made[1]["bias"], reference.bias.grad, rtol=1e-4, atol=1e-4)
    for name, value in reference.state_dict().items():
        assert torch.equal(made[0]["state"][name], made[1]["state"][name])
        torch.testing.assert_close(made[0]["state"][name], value, rtol=1e-5, atol=1e-5)
    if background == "background":
        mean, variance = together.detach().mean(0), together.detach().var(0, correction=0)
        ground = (given["background"] - mean) / (variance + 1e-5).sqrt() * reference.weight + reference.bias
        torch.testing.assert_close(made[1]["background"], ground.detach(), rtol=1e-4, atol=1e-4)


def test_one_process_is_a_batch_norm():
    features, indices = sites(0.4, 3)
    alone, plain = SparseSyncBatchNorm(3), SparseBatchNorm(3)
    for norm in (alone, plain):
        norm(SparseTensor(features, indices, 6))
    assert torch.equal(alone.running_var, plain.running_var)


def test_a_network_is_converted_with_its_weights():
    network = SparseSequential(SubMConv3d(3, 3, 3), SparseSequential(SparseBatchNorm(3, affine=False), torch.nn.ReLU()))
    features, indices = sites(0.4, 3)
    x = SparseTensor(features, indices, 6)
    network(x)
    expected = network.eval()(x).features
    made = SparseSyncBatchNorm.convert(network)
    assert type(made[1][0]) is SparseSyncBatchNorm
    assert made[1][0].weight is None
    assert torch.equal(made(x).features, expected)
