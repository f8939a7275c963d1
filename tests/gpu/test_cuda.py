"""What only a CUDA card can show: spconv's own kernels. Skipped, with the reason, where there is none.

The answers are those of the dense engine on the CPU in float64.
"""

import numpy as np
import pytest
import torch

from cases import CASES, scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.engine.dense import DenseEngine
from napari_sparse3d.engine.spconv import SpconvEngine
from napari_sparse3d.errors import DeviceMemoryError
from napari_sparse3d.io import sample_head_mri
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.sparse import SparseTensor, use_engine
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.voxelize import voxelize_for
from napari_sparse3d.sparse.window import Geometry, Window
from napari_sparse3d.voxels import OtsuThreshold, Recipe, ToSpacing, voxelize

pytestmark = pytest.mark.gpu

WINDOWS = {
    "conv 2": Window((2, 2, 2)),
    "conv 3, stride 2": Window((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    "conv, every axis its own": Window((1, 2, 3), (2, 1, 3), (0, 1, 2), (1, 2, 1)),
    "32 offsets": Window((2, 4, 4), (2, 2, 2), (0, 1, 1)),
    "125 offsets, by torch": Window((5, 5, 5), (1, 1, 1), (2, 2, 2)),
}
CHANNELS = {"1 to 32": (1, 32), "32 to 32": (32, 32), "33 to 47": (33, 47)}


@pytest.fixture
def exact():
    """Without TF32, which torch allows to convolutions (not to matrix products) unless told."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def arguments(case, window, channels, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    cin, cout = channels
    geometry = Geometry(window, case.batch_size, case.shape, window.output_shape(case.shape))
    sites = DenseEngine().output_sites(standing(case), geometry)
    weight = drawn(cout, *window.kernel, cin) / (window.volume * cin) ** 0.5
    return geometry, sites, case.features(cin, dtype=dtype), weight, drawn(cout), drawn(cin), drawn(len(sites), cout)


def standing(case, device="cpu"):
    return Sites(case.indices.to(device), case.shape, case.batch_size)


def close(ours, expected, tolerance):
    assert ours.is_cuda
    largest = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(ours.double().cpu(), expected, rtol=0, atol=tolerance * max(largest, 1e-3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_convolutions_and_their_gradients(window, channels, dtype, exact):
    geometry, sites, features, weight, bias, background, grad = arguments(CASES["scattered"], window, channels)
    ours, theirs = SpconvEngine(), DenseEngine()
    expected_plan = theirs.plan(standing(CASES["scattered"]), sites, geometry)
    card = [t.to("cuda", dtype) for t in (features, weight, bias, background, grad)]
    out = Sites(sites.indices.cuda(), sites.shape, sites.batch_size)
    plan = ours.plan(standing(CASES["scattered"], "cuda"), out, geometry)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    made = ours.convolution(*card[:4], plan)
    assert made.dtype == dtype
    close(made, theirs.convolution(features, weight, bias, background, expected_plan), tolerance)
    grads = ours.convolution_backward(card[4], card[0], card[1], card[3], plan)
    expected = theirs.convolution_backward(grad, features, weight, background, expected_plan)
    for one, other in zip(grads, expected):
        close(one, other, 10 * tolerance)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_site_sets_and_rulebooks_are_those_of_the_cpu(case):
    engine = SpconvEngine()
    for window in WINDOWS.values():
        geometry = Geometry(window, case.batch_size, case.shape, window.output_shape(case.shape))
        here, there = standing(case), standing(case, "cuda")
        sites, on_card = engine.output_sites(here, geometry), engine.output_sites(there, geometry)
        assert torch.equal(on_card.indices.cpu(), sites.indices)
        rules = engine.plan(here, sites, geometry).rules
        assert torch.equal(engine.plan(there, on_card, geometry).rules.table.cpu(), rules.table)


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("kind", [sp.SparseMaxPool3d, sp.SparseAvgPool3d])
def test_pools_and_their_gradients(kind, background):
    case = CASES["scattered"]
    found = []
    for device, engine in (("cpu", "dense"), ("cuda", "spconv")):
        features = case.features(4).to(device).requires_grad_()
        ground = torch.linspace(-1, 1.5, 4, device=device).requires_grad_() if background else None
        with use_engine(engine):
            y = kind(3, 2, 1)(SparseTensor(features, case.indices.to(device), case.shape, case.batch_size, ground))
        wanted = [features, *([ground] if background else [])]
        found.append([y.features, *torch.autograd.grad(y.features.square().sum(), wanted)])
    for expected, one in zip(*found):
        close(one, expected.double(), 1e-5)


def blob(batch_size=1):
    case = scattered((40, 40, 40), batch_size, 0.1)
    indices = case.indices + torch.tensor([0, 43, 43, 43], dtype=torch.int32)
    return indices.contiguous()


def on(device, engine, network, indices, batch_size=1):
    with use_engine(engine), torch.no_grad():
        x = SparseTensor(torch.ones(len(indices), 1), indices, 126, batch_size, torch.zeros(1)).to(device)
        return network.to(device).embed(x).cpu()


@pytest.mark.parametrize("name", ["deepc2", "residual"])
def test_whole_networks_give_the_cpu_embedding(name, exact):
    arguments = {} if name == "deepc2" else {"field": 126 + 2, "channels": (8, 16)}
    network = build_network(name, **arguments).eval()
    indices = blob(2)
    if name == "residual":
        with torch.no_grad():
            x = SparseTensor(torch.ones(len(indices), 1), indices, 128, 2, torch.zeros(1))
            expected = network.embed(x)
            with use_engine("spconv"):
                made = network.cuda().embed(x.to("cuda")).cpu()
    else:
        expected, made = on("cpu", "native", network, indices, 2), on("cuda", "spconv", network, indices, 2)
    assert (made - expected).abs().max() <= 1e-5
    assert torch.nn.functional.cosine_similarity(made, expected).min() > 0.999999


def test_a_training_step_gives_the_cpu_gradients(exact):
    grads = []
    for device, engine in (("cpu", "native"), ("cuda", "spconv")):
        network = build_network("deepc2", classes=3).to(device)
        indices = blob(2)
        with use_engine(engine):
            x = SparseTensor(torch.ones(len(indices), 1), indices, 126, 2, torch.zeros(1)).to(device)
            loss = torch.nn.functional.cross_entropy(network(x), torch.tensor([0, 2], device=device))
        grads.append(torch.autograd.grad(loss, list(network.parameters())))
    for expected, one in zip(*grads):
        close(one, expected.double(), 1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_trains_in_half(dtype):
    network, indices = build_network("deepc2").cuda(), blob(2)
    x = SparseTensor(torch.ones(len(indices), 1), indices, 126, 2, torch.zeros(1)).to("cuda")
    with use_engine("spconv"):
        full = network.describe(x)
        with torch.autocast("cuda", dtype=dtype):
            half = network.describe(x)
            loss = network.logits(half).float().square().mean()
    assert half.dtype == dtype
    close(half.float(), full.double().cpu(), 5e-2)
    for one in torch.autograd.grad(loss, list(network.parameters())):
        assert one.dtype == torch.float32
        assert torch.isfinite(one).all()


def test_tf32_is_used_where_torch_allows_it_and_not_elsewhere(exact):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this card has no TF32")
    geometry, sites, features, weight, *_ = arguments(
        CASES["scattered"], WINDOWS["conv 3, stride 2"], (32, 32), torch.float32
    )
    engine = SpconvEngine()
    out = Sites(sites.indices.cuda(), sites.shape, sites.batch_size)
    plan = engine.plan(standing(CASES["scattered"], "cuda"), out, geometry)
    made = []
    for allowed in (False, True, False):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        made.append(engine.convolution(features.cuda(), weight.cuda(), None, None, plan))
    assert torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("deterministic", [False, True], ids=["spconv", "torch.use_deterministic_algorithms"])
def test_repeated_steps_give_the_same_bits(deterministic, exact, monkeypatch):
    """Forward always; gradients where torch is told to be deterministic."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    network, indices = build_network("deepc2").cuda(), blob()
    x = SparseTensor(torch.ones(len(indices), 1), indices, 126, 1, torch.zeros(1)).to("cuda")
    torch.use_deterministic_algorithms(deterministic)
    try:
        found = []
        for _ in range(5):
            with use_engine("spconv"):
                y = network.describe(x)
            found.append([y.detach(), *(torch.autograd.grad(y.sum(), list(network.layers.parameters())))])
    finally:
        torch.use_deterministic_algorithms(False)
    for again in found[1:]:
        for one, other in zip(found[0][: None if deterministic else 1], again):
            assert torch.equal(one, other)


def test_voxels_made_on_the_card_are_those_of_the_cpu():
    head = sample_head_mri()
    for recipe in (
        Recipe.named("mri-110"),
        Recipe(
            resample=ToSpacing(spacing_mm=(1.7, 2.3, 0.9)),
            threshold=OtsuThreshold(),
            features=("gradient", "occupancy", "intensity"),
        ),
    ):
        made, expected = voxelize_for("cuda", head, recipe), voxelize(head, recipe)
        assert made.indices.is_cuda
        assert made.features.is_cuda
        np.testing.assert_array_equal(made.numpy().indices, expected.indices)
        np.testing.assert_array_equal(made.numpy().features, expected.features)


def test_a_model_runs_on_voxels_that_never_left_the_card():
    head, recipe, model = sample_head_mri(), Recipe.named("mri-110"), load_model("deepc2")
    result = model.run(voxelize_for("cuda", head, recipe), device="cuda")
    assert result.input.indices.is_cuda
    expected = model.run(voxelize(head, recipe), device="cpu")
    assert np.abs(result.embedding - expected.embedding).max() <= 1e-5


def test_out_of_memory_is_one_clear_error_and_the_card_works_on():
    with pytest.raises(DeviceMemoryError, match=r"GiB was asked for; use a smaller batch"), use_engine("spconv"):
        torch.empty(2**44, dtype=torch.uint8, device="cuda")
    indices = blob()
    assert torch.isfinite(on("cuda", "spconv", build_network("deepc2"), indices)).all()


def test_the_card_is_chosen():
    found = choose()
    assert (found.engine, found.device) == ("spconv", "cuda")
    assert torch.cuda.get_device_name() in found.reason


def test_a_batch_stays_on_the_card():
    network, indices = build_network("deepc2").cuda(), blob(3)
    with use_engine("spconv"), torch.no_grad():
        x = SparseTensor(torch.ones(len(indices), 1), indices, 126, 3, torch.zeros(1)).to("cuda")
        for layer in network.layers:
            x = layer(x) if isinstance(x, SparseTensor) and hasattr(layer, "window") else sp.pointwise(layer, x)
            assert x.features.is_cuda
            assert x.indices.is_cuda
            assert x.background.is_cuda
        assert network.embed(SparseTensor(torch.ones(9, 1), indices[:9], 126, 3, torch.zeros(1)).to("cuda")).is_cuda
