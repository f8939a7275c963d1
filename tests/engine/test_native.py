"""The native engine against the dense reference, and what is its own: dtypes, threads, instruction sets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sparse3d.engine.dense import DenseEngine
from napari_sparse3d.engine.native import NativeEngine
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Window

native, dense = NativeEngine(), DenseEngine()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def random_sites(
    shape: tuple[int, int, int], batch: int, density: float, seed: int, *, shuffled: bool = False
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    sites = (torch.rand(batch, *shape, generator=generator) < density).nonzero().int().contiguous()
    return sites[torch.randperm(len(sites), generator=generator)].contiguous() if shuffled else sites


def results(
    engine: NativeEngine | DenseEngine, sites: torch.Tensor, geometry: Geometry, seed: int, background: bool
) -> list[torch.Tensor]:
    """Everything that an engine computes for one random layer."""
    generator = torch.Generator().manual_seed(seed)
    c_in, c_out = (int(torch.randint(1, 40, (), generator=generator)) for _ in range(2))
    stand = Sites(sites, geometry.in_shape, geometry.batch_size)
    out = engine.output_sites(stand, geometry)
    plan = engine.plan(stand, out, geometry)

    def values(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).float()

    features, bias = values(len(sites), c_in), values(c_out)
    weight = values(c_out, *geometry.window.kernel, c_in) / (geometry.window.volume * c_in) ** 0.5
    ground = values(c_in) if background else None
    grad, pool_grad = values(len(out), c_out), values(len(out), c_in)
    found = [out.indices.float(), engine.convolution(features, weight, bias, ground, plan)]
    found += [g for g in engine.convolution_backward(grad, features, weight, ground, plan) if g is not None]
    if not geometry.transposed:
        maximum, rows = engine.max_pool(features, ground, plan)
        found += [maximum, rows.float()]
        found += engine.max_pool_backward(pool_grad, rows, plan)[: 1 + background]
        found += [engine.avg_pool(features, ground, plan)]
        found += engine.avg_pool_backward(pool_grad, plan, over_active=not background)[: 1 + background]
    return found


def assert_equal_engines(sites: torch.Tensor, geometry: Geometry, seed: int, background: bool) -> None:
    ours, theirs = (results(engine, sites, geometry, seed, background) for engine in (native, dense))
    assert len(ours) == len(theirs)
    for got, expected in zip(ours, theirs, strict=True):
        assert got.shape == expected.shape
        if expected.numel():
            torch.testing.assert_close(got, expected, rtol=0, atol=2e-5 * max(1.0, expected.abs().max().item()))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_agrees_with_the_dense_engine(data: st.DataObject) -> None:
    def triples(low: int, high: int) -> st.SearchStrategy[tuple[int, int, int]]:
        return st.tuples(*[st.integers(low, high)] * 3)

    kernel, stride, dilation = data.draw(triples(1, 4)), data.draw(triples(1, 3)), data.draw(triples(1, 2))
    padding, shape = data.draw(triples(0, 2)), data.draw(triples(3, 9))
    if data.draw(st.booleans()):
        shape = (*shape[:2], data.draw(st.integers(60, 70)))
    transposed, batch = data.draw(st.booleans()), data.draw(st.integers(1, 3))
    window = Window(kernel, stride, padding, dilation)
    try:
        out_shape = window.transposed_output_shape(shape) if transposed else window.output_shape(shape)
    except ValueError:
        return
    density = data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    sites = random_sites(shape, batch, density, data.draw(st.integers(0, 99)), shuffled=data.draw(st.booleans()))
    geometry = Geometry(window, batch, shape, out_shape, transposed)
    assert_equal_engines(sites, geometry, data.draw(st.integers(0, 99)), data.draw(st.booleans()))


@pytest.mark.parametrize("shuffled", [False, True])
def test_submanifold_rows_keep_their_order(shuffled: bool) -> None:
    shape = (12, 12, 12)
    sites = random_sites(shape, 2, 0.4, 3, shuffled=shuffled)
    geometry = Geometry(Window.submanifold((3, 3, 3)), 2, shape, shape)
    weight, features = torch.randn(7, 3, 3, 3, 5), torch.randn(len(sites), 5)
    stand = Sites(sites, shape, 2)
    got = native.convolution(features, weight, None, None, native.plan(stand, stand, geometry))
    expected = dense.convolution(features, weight, None, None, dense.plan(stand, stand, geometry))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_same_bits_for_any_number_of_threads(threads: None) -> None:
    shape = (30, 30, 30)
    sites = random_sites(shape, 2, 0.3, 5)
    geometry = Geometry(Window((3, 3, 3), stride=(2, 2, 2)), 2, shape, (14, 14, 14))
    torch.set_num_threads(1)
    first = results(native, sites, geometry, 1, background=True)
    for repeat in range(20):
        torch.set_num_threads((2, 3, 8)[repeat % 3])
        again = results(native, sites, geometry, 1, background=True)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_gradients_in_double_precision() -> None:
    shape, geometry = (4, 4, 4), Geometry(Window((2, 2, 2), (2, 2, 2), (1, 1, 1)), 1, (4, 4, 4), (3, 3, 3))
    sites = random_sites(shape, 1, 0.4, 7)
    stand = Sites(sites, shape, 1)
    plan = native.plan(stand, native.output_sites(stand, geometry), geometry)

    class Convolve(torch.autograd.Function):
        @staticmethod
        def forward(ctx, features, weight, bias, background):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(features, weight, background)
            return native.convolution(features, weight, bias, background, plan)

        @staticmethod
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            return native.convolution_backward(grad.contiguous(), *ctx.saved_tensors, plan)

    inputs = [
        torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((len(sites), 3), (5, 2, 2, 2, 3), (5,), (3,))
    ]
    assert torch.autograd.gradcheck(Convolve.apply, inputs)


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ([[0, 0, 0, 5]], "outside"),
        ([[1, 0, 0, 0]], "outside"),
        ([[0, 0, -1, 0]], "outside"),
        ([[0, 1, 1, 1], [0, 1, 1, 1]], "twice"),
    ],
)
def test_refuses_sites_that_cannot_be(sites: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.check_sites(Sites(torch.tensor(sites, dtype=torch.int32), (5, 5, 5), 1))


def test_index_follows_what_is_written_to_the_indices() -> None:
    sites = Sites(torch.tensor([[0, 0, 0, 0]], dtype=torch.int32), (5, 5, 5), 1)
    geometry = Geometry(Window((1, 1, 1)), 1, (5, 5, 5), (5, 5, 5))
    assert native.output_sites(sites, geometry).indices.tolist() == [[0, 0, 0, 0]]
    sites.indices[0, 3] = 4
    assert native.output_sites(sites, geometry).indices.tolist() == [[0, 0, 0, 4]]


def test_half_precision_is_refused_by_name() -> None:
    sites = Sites(torch.zeros((1, 4), dtype=torch.int32), (5, 5, 5), 1)
    geometry = Geometry(Window((1, 1, 1)), 1, (5, 5, 5), (5, 5, 5))
    with pytest.raises(TypeError, match=r"float32 or float64, got torch\.float16"):
        native.avg_pool(torch.zeros(1, 2, dtype=torch.float16), None, native.plan(sites, sites, geometry))


def with_instruction_set(isa: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NAPARI_SPARSE3D_ISA": isa}
    call = [sys.executable, "-c", code, *arguments]
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)


ASK = "from napari_sparse3d.voxels.instruction_set import instruction_set; print(instruction_set())"
"""Without torch, which takes seconds."""


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "avx512_bf16", "neon"])
def test_every_instruction_set_agrees(isa: str) -> None:
    asked = with_instruction_set(isa, ASK)
    if "lacks it" in asked.stderr or "is no instruction set of this build" in asked.stderr:
        pytest.skip(f"this processor lacks {isa}")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_native as t\n"
        "from napari_sparse3d.sparse.window import Geometry, Window\n"
        "g = Geometry(Window((3, 3, 3), (2, 2, 2), (1, 1, 1)), 2, (9, 9, 70), (5, 5, 35))\n"
        "for seed in range(4):\n"
        "    for background in (False, True):\n"
        "        t.assert_equal_engines(t.random_sites((9, 9, 70), 2, 0.3, seed), g, seed, background)\n"
        "print(t.native.instruction_set)"
    )
    run = with_instruction_set(isa, code, str(Path(__file__).parent))
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == isa


def test_an_unknown_instruction_set_fails_loudly() -> None:
    run = with_instruction_set("quantum", ASK)
    assert run.returncode == 1
    assert "quantum is no instruction set of this build; choose " in run.stderr
