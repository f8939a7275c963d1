"""Which modules a chain applies at each site: each row by itself is the oracle. And norms of each volume, by torch."""

import inspect

import pytest
import torch
from torch import nn

from cases import CASES
from napari_sparse3d import sparse as sp
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.modules import takes_sparse

C = 6


def tensor(background=True, case="scattered"):
    case = CASES[case]
    ground = torch.linspace(-1, 2, C) if background else None
    return SparseTensor(case.features(C), case.indices, case.shape, case.batch_size, ground)


class Scaled(nn.ReLU):
    def forward(self, rows):
        return 3 * super().forward(rows)


class LowRank(nn.Linear):
    pass


class Gate(nn.Module):
    def forward(self, rows):
        return rows * rows.mean(1, keepdim=True).sigmoid()


POINTWISE = {
    "relu": nn.ReLU(),
    "elu": nn.ELU(),
    "gelu": nn.GELU(),
    "threshold": nn.Threshold(0.1, 2.0),
    "identity": nn.Identity(),
    "linear": nn.Linear(C, 4),
    "weight norm": nn.utils.parametrizations.weight_norm(nn.Linear(C, 4)),
    "layer norm": nn.LayerNorm(C),
    "rms norm": nn.RMSNorm(C),
    "prelu": nn.PReLU(C),
    "softmax": nn.Softmax(dim=1),
    "log softmax": nn.LogSoftmax(dim=-1),
    "glu": nn.GLU(),
    "own subclass": Scaled(),
    "own linear": LowRank(C, 3),
    "chain": nn.Sequential(nn.Linear(C, 8), nn.PReLU(8), nn.Sequential(nn.Linear(8, 2), nn.Tanh())),
    "own module": sp.Pointwise(Gate()),
}
NOT_POINTWISE = {
    "batch norm": (nn.BatchNorm1d(C), "use SparseBatchNorm"),
    "sync batch norm": (nn.SyncBatchNorm(C), "use SparseBatchNorm"),
    "instance norm": (nn.InstanceNorm1d(C), "use SparseInstanceNorm"),
    "group norm": (nn.GroupNorm(2, C), "use SparseGroupNorm"),
    "dropout": (nn.Dropout(), "use SparseDropout"),
    "alpha dropout": (nn.AlphaDropout(), "use SparseDropout"),
    "feature alpha dropout": (nn.FeatureAlphaDropout(), "use SparseDropout"),
    "dropout 1d": (nn.Dropout1d(), "use SparseDropout"),
    "dropout 3d": (nn.Dropout3d(), "use SparseDropout"),
    "softmax of no axis": (nn.Softmax(), "give it dim=1"),
    "softmax over sites": (nn.Softmax(dim=0), "give it dim=1"),
    "log softmax over sites": (nn.LogSoftmax(0), "give it dim=1"),
    "softmin": (nn.Softmin(), "give it dim=1"),
    "glu over sites": (nn.GLU(0), "give it dim=1"),
    "layer norm of a table": (nn.LayerNorm((5, C)), "channels alone"),
    "random slopes": (nn.RReLU(), "use LeakyReLU"),
    "local response": (nn.LocalResponseNorm(2), "Pointwise"),
    "channel shuffle": (nn.ChannelShuffle(2), "Pointwise"),
    "pool": (nn.MaxPool1d(2), "Pointwise"),
    "convolution of rows": (nn.Conv1d(C, C, 3), "Pointwise"),
    "flatten": (nn.Flatten(0), "Pointwise"),
    "deep in a chain": (nn.Sequential(nn.Linear(C, C), nn.Sequential(nn.BatchNorm1d(C))), "use SparseBatchNorm"),
    "subclass of a norm": (type("MyNorm", (nn.GroupNorm,), {})(2, C), "use SparseGroupNorm"),
    "own module of rows with a norm": (sp.Pointwise(nn.Sequential(Gate(), nn.BatchNorm1d(C))), "use SparseBatchNorm"),
    "sparse layers among rows": (nn.Sequential(sp.SubMConv3d(C, C, 3), nn.ReLU()), "SparseSequential"),
}


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("module", POINTWISE.values(), ids=POINTWISE)
def test_each_row_by_itself(module, background):
    x = tensor(background)
    of_rows = module.module if isinstance(module, sp.Pointwise) else module
    y = sp.SparseSequential(module)(x)
    expected = torch.cat([of_rows(row[None]) for row in x.features])
    torch.testing.assert_close(y.features, expected)
    assert y.indices is x.indices
    if background:
        torch.testing.assert_close(y.background, of_rows(x.background[None])[0])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("module", "cure"), NOT_POINTWISE.values(), ids=NOT_POINTWISE)
def test_what_looks_beyond_its_row_is_refused_with_the_cure(module, cure, training):
    with pytest.raises(InputError, match=cure) as refused:
        sp.SparseSequential(module).train(training)(tensor())
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore")  # of deprecated modules
def test_every_module_of_torch_that_is_not_refused_is_the_same_for_each_row():
    """The list is held against all that torch has, made with what its constructor asks for, by permuted rows."""
    torch.manual_seed(0)
    sites = torch.tensor([[0, 0, 0, i] for i in range(9)], dtype=torch.int32)
    rows, taken = torch.randn(9, C), 0
    for name, kind in vars(nn).items():
        if not (inspect.isclass(kind) and issubclass(kind, nn.Module)) or "Lazy" in name or "Parameter" in name:
            continue
        for arguments in ((), (C,), (2, C), (C, C), (1,), (0.1, 2.0)):
            try:
                module = kind(*arguments)
                y = sp.SparseSequential(module)(SparseTensor(rows, sites, (1, 1, 9), 1, rows[0]))
            except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, AssertionError):
                continue
            taken += 1
            alone = torch.cat([module(row[None]) for row in rows])
            torch.testing.assert_close(y.features, alone, msg=f"{name}{arguments}")
            torch.testing.assert_close(y.background, alone[0], msg=f"{name}{arguments}")
    assert taken >= 25


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = sp.SubMConv3d(C, C, 3)

    def forward(self, x):
        return x + self.conv(x)


def test_modules_of_the_users_own_take_the_sparse_tensor():
    block, x = Block(), tensor(background=False)
    assert takes_sparse(block)
    torch.testing.assert_close(sp.SparseSequential(block)(x).features, x.features + block.conv(x).features)
    chain = nn.Sequential(sp.SubMConv3d(C, C, 3), sp.SparseBatchNorm(C))
    assert torch.isfinite(sp.SparseSequential(chain)(x).features).all()


def full(batch=3, shape=(4, 3, 5), dtype=torch.float32, requires_grad=False):
    """Every site active, in an order of rows that is not that of the grid."""
    torch.manual_seed(2)
    grid = torch.randn(batch, C, *shape, dtype=dtype) * 3 + torch.arange(batch)[:, None, None, None, None] * 5
    indices = torch.ones(batch, *shape).nonzero().int()
    indices = indices[torch.randperm(len(indices))].contiguous()
    b, z, y, x = indices.long().unbind(1)
    features = grid[b, :, z, y, x].clone().requires_grad_(requires_grad)
    return grid.requires_grad_(requires_grad), SparseTensor(features, indices, shape, batch)


def norms():
    made = []
    for groups in (1, 2, 3, C):
        ours, theirs = sp.SparseGroupNorm(groups, C, eps=1e-3), nn.GroupNorm(groups, C, eps=1e-3)
        made.append((ours, theirs))
    made.append((sp.SparseInstanceNorm(C), nn.InstanceNorm3d(C)))
    made.append((sp.SparseInstanceNorm(C, affine=True), nn.InstanceNorm3d(C, affine=True)))
    made.append((sp.SparseGroupNorm(2, C, affine=False), nn.GroupNorm(2, C, affine=False)))
    for ours, theirs in made:
        if theirs.affine:
            for each in (ours, theirs):
                each.weight.data, each.bias.data = torch.linspace(-1, 2, C), torch.linspace(2, -3, C)
    return made


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("ours", "theirs"), norms())
def test_where_every_site_is_active_it_is_torchs(ours, theirs, training):
    grid, x = full(requires_grad=True)
    ours, theirs = ours.train(training), theirs.train(training)
    y, expected = ours(x), theirs(grid)
    torch.testing.assert_close(y.dense(), expected, rtol=1e-5, atol=1e-5)
    weights = torch.sin(torch.arange(expected.numel()).float()).view_as(expected)
    (expected * weights).sum().backward()
    (y.dense() * weights).sum().backward()
    b, z, i, j = x.indices.long().unbind(1)
    torch.testing.assert_close(x.features.grad, grid.grad[b, :, z, i, j], rtol=1e-4, atol=1e-5)
    if theirs.affine:
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_each_volume_is_normalised_by_its_own_sites():
    """A volume alone, in a batch and beside an empty one gives the same; other sites count nothing."""
    norm = sp.SparseGroupNorm(2, C)
    x = tensor(background=False, case="an empty volume in the batch")
    y = norm(x)
    assert torch.isfinite(y.features).all()
    for volume in range(x.batch_size):
        rows = x.indices[:, 0] == volume
        if rows.any():
            # (1, C, sites): torch's own over the sites of this volume alone
            expected = nn.GroupNorm(2, C)(x.features[rows].T[None])[0].T
            torch.testing.assert_close(y.features[rows], expected, rtol=1e-5, atol=1e-5)


def test_the_background_of_one_volume_follows_and_that_of_several_is_refused():
    _, x = full(batch=1)
    ground = x.features[7].detach()
    alone = SparseTensor(x.features, x.indices, x.spatial_shape, 1, ground)
    y = sp.SparseInstanceNorm(C)(alone)
    torch.testing.assert_close(y.background, y.features[7])
    with pytest.raises(InputError, match="another background for each of 2 volumes"):
        sp.SparseInstanceNorm(C)(SparseTensor(x.features, x.indices, x.spatial_shape, 2, ground))


def test_a_mean_far_from_zero_leaves_the_variance():
    _, x = full(batch=2, shape=(20, 20, 20), dtype=torch.float64)
    far = (x.features + 3e4).float()
    y = sp.SparseInstanceNorm(C, eps=0.0)(SparseTensor(far, x.indices, x.spatial_shape, 2))
    for volume in range(2):
        rows = far[x.indices[:, 0] == volume].double()
        expected = (rows - rows.mean(0)) / rows.std(0, correction=0)
        torch.testing.assert_close(y.features[x.indices[:, 0] == volume].double(), expected, rtol=1e-4, atol=1e-5)


def test_one_site_and_none():
    one = SparseTensor(torch.ones(1, C), torch.zeros(1, 4, dtype=torch.int32), 3, 1)
    assert torch.equal(sp.SparseInstanceNorm(C)(one).features, torch.zeros(1, C))
    none = SparseTensor(torch.ones(0, C), torch.zeros(0, 4, dtype=torch.int32), 3, 2)
    assert sp.SparseGroupNorm(3, C)(none).features.shape == (0, C)


def test_groups_and_channels_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="cannot be divided into 4 groups"):
        sp.SparseGroupNorm(4, C)
    with pytest.raises(InputError, match="expects 5 channels, got 6"):
        sp.SparseInstanceNorm(5)(tensor(background=False))
