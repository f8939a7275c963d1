"""The bench measures what it says: equal work for all contenders, and figures that follow from what was timed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_sparse3d.bench import contenders, timing
from napari_sparse3d.bench.timing import MODES, _floor, _known_rates, machine, measure
from napari_sparse3d.bench.workloads import WORKLOADS, NetworkWorkload, VolumeWorkload, Work
from napari_sparse3d.cli import app
from napari_sparse3d.engine.plain_spconv import PlainSpconv
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseSequential, SparseTensor, SubMConv3d, use_engine

SIDE = 12


def sites(density=0.2):
    active = torch.rand(1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) < density
    return active.nonzero().int().contiguous()


def small_network():
    torch.manual_seed(0)
    layers = SparseSequential(SparseConv3d(2, 8, 2, bias=False), torch.nn.ReLU(), SparseMaxPool3d(3, 2))
    return NetworkWorkload("small", layers, sites(), torch.rand(len(sites()), 2), (SIDE,) * 3)


def small_submanifold():
    torch.manual_seed(0)
    layers = SparseSequential(SubMConv3d(2, 8, 3, bias=False))
    return NetworkWorkload("sub", layers, sites(), torch.rand(len(sites()), 2), (SIDE,) * 3)


def small_volume():
    data = np.random.default_rng(0).integers(-100, 100, (9, 8, 7)).astype(np.int16)
    return VolumeWorkload("volume", data, 60)


@pytest.fixture
def small_workloads(monkeypatch):
    for name in list(WORKLOADS):
        monkeypatch.delitem(WORKLOADS, name)
    monkeypatch.setitem(WORKLOADS, "small", small_network)
    monkeypatch.setitem(WORKLOADS, "volume", small_volume)


CONTENDERS = ("native", "spconv", "torch gather", "dense", "dense channels-last", "dense cropped")
OF_SPCONV = ("spconv", "torch gather")


def test_contenders_of_a_forward_pass():
    assert set(contenders.names(small_submanifold(), "forward", "cpu")) == set(CONTENDERS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.spconv] * (n in OF_SPCONV)) for n in CONTENDERS])
def test_contenders_do_the_same_work(name):
    work = small_submanifold()
    expected, made = (contenders.make(each, work, "forward", "cpu")() for each in ("native", name))
    if name == "spconv":
        made = made.features
    elif name.startswith("dense"):
        start = work.indices[:, 1:].amin(0) if name == "dense cropped" else 0
        z, y, x = (work.indices[:, 1:] - start).long().T
        made = made[0, :, z, y, x].T
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


@pytest.mark.spconv
def test_gradients_are_taken_by_all_but_spconv_on_the_cpu():
    work = small_network()
    names = contenders.names(work, "forward+backward", "cpu")
    assert names == ["native", "torch gather", "dense", "dense channels-last"]
    for given in (work, replace(work, of_features=True)):
        grads = {name: contenders.make(name, given, "forward+backward", "cpu")() for name in names}
        assert {len(found) for found in grads.values()} == {len(list(work.layers.parameters())) + given.of_features}
        of_weight = int(given.of_features)
        expected = grads["native"][of_weight]
        torch.testing.assert_close(grads["torch gather"][of_weight], expected, rtol=0, atol=1e-3)
        # dense sees every site, also those that no active input reaches: after ReLU they add nothing
        torch.testing.assert_close(grads["dense"][of_weight].permute(0, 2, 3, 4, 1), expected, rtol=0, atol=1e-3)


def test_contenders_that_list_voxels_find_the_same():
    work = small_volume()
    found = {name: contenders.make(name, work, "forward", "cpu")() for name in ("native", "numpy", "torch")}
    indices, values = found["numpy"]
    assert (indices == found["native"].indices).all()
    # as a feature, a value is scaled; the order stays
    assert (np.argsort(values, kind="stable") == np.argsort(found["native"].features[:, 0], kind="stable")).all()
    assert (indices == found["torch"][0].numpy()).all()
    assert (values == found["torch"][1].numpy()).all()


@pytest.mark.spconv
def test_plain_spconv_says_what_our_layers_say_without_a_background():
    work = small_network()
    made = PlainSpconv(work.layers, on_cpu=True)(work.features, work.indices, work.shape, 1)
    with torch.no_grad(), use_engine("native"):
        ours = work.layers(SparseTensor(work.features, work.indices, SIDE, 1, None))
    torch.testing.assert_close(made.dense(), ours.dense(), rtol=0, atol=1e-5)


def test_the_least_work_counts_active_pairs_and_every_layer_once():
    full = torch.ones(1, 4, 4, 4).nonzero().int().contiguous()
    layers = SparseSequential(SparseConv3d(2, 8, 2, bias=False), torch.nn.ReLU(), SparseMaxPool3d(3, 2))
    work = NetworkWorkload("full", layers, full, torch.ones(64, 2), (4, 4, 4)).work()
    assert work.operations == 2 * 27 * 8 * 2 * 8  # outputs, offsets, channels in and out
    assert work.moved_bytes == 4 * (8 * 8 * 2 + 64 * 2 + 27 * 8 + 27 * 8 + 1 * 8)
    assert work.both_ways == (
        2 * work.operations,
        3 * work.moved_bytes,
    )  # nobody asks for the scan
    one = replace(small_network(), indices=full[:1], features=torch.ones(1, 2), layers=layers).work()
    assert one.operations == 2 * 1 * 2 * 8  # the site in the corner meets one output


def test_the_floor_is_operations_and_bytes_at_the_measured_rates(monkeypatch):
    monkeypatch.setitem(_known_rates, ("cpu", "fp32"), (1e9, 1e8))
    assert _floor(Work(2e9, 3e8), "forward", "native", "cpu") == pytest.approx(5)
    assert _floor(Work(2e9, 3e8), "forward+backward", "dense", "cpu") == pytest.approx(15)
    monkeypatch.setitem(_known_rates, ("cuda", "fp16"), (1e12, 1e12))
    assert _floor(Work(2e12, 0), "forward", "spconv cuda fp16", "cuda") == pytest.approx(2)


def test_rows_hold_medians_of_paired_ratios(small_workloads, monkeypatch):
    # each round: native alone, native and numpy, native and torch
    clock = iter([1, 1, 4, 2, 9, 2, 2, 9, 3, 6, 3, 3, 6, 1, 5])
    monkeypatch.setattr("napari_sparse3d.bench.timing._timed", lambda *_, **__: next(clock))
    monkeypatch.setattr("napari_sparse3d.bench.timing._calls", lambda *_, **__: 1)
    monkeypatch.setitem(_known_rates, ("cpu", "fp32"), (1e9, 1e9))
    rows = list(measure("volume", rounds=3, memory=False))
    assert [(row.engine, row.ms, row.ratio) for row in rows] == [
        ("native", 2000, 1.0),
        ("numpy", 6000, 4.0),  # of 4, 4.5 and 2: not 6000 / 2000
        ("torch", 6000, 4.5),  # of 4.5, 2 and 5
    ]


def test_short_calls_are_repeated_until_the_clock_has_something_to_tell(monkeypatch):
    done, slept, now = [], [], [0.0]

    def work():
        done.append(now[0])
        now[0] += 0.004

    monkeypatch.setattr(timing, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing, "sleep", slept.append)
    calls = timing._calls(work, on_card=False)
    assert calls == 13  # 52 ms
    done.clear()
    assert timing._timed(work, calls, on_card=False) == pytest.approx(0.004)
    assert len(done) == 13
    assert slept == [timing.REST_S] * 2


def test_what_cannot_run_is_said_and_left_out(small_workloads, monkeypatch):
    def broken(*_, **__):
        raise ImportError("No module named 'spconv'")

    monkeypatch.setattr(contenders, "PlainSpconv", broken)
    said = []
    rows = list(measure("small", engines=("spconv",), rounds=1, memory=False, say=said.append))
    assert {row.engine for row in rows} == {"native"}
    assert said == ["small, forward: spconv left out, No module named 'spconv'"]


def test_memory_is_taken_in_a_process_of_its_own():
    """One dense float32 grid of the field is 8 MB; its convolution to 32 channels 250 MB."""
    row = next(iter(measure("object40", engines=("native",), rounds=1)))
    assert row.engine == "native"
    assert row.peak_mb is None or 0 < row.peak_mb < 1000


def test_the_command_prints_the_format_that_others_read(small_workloads):
    done = CliRunner().invoke(app, ["bench", "--rounds", "1", "--no-memory", "--json", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert {"processor", "cores", "threads", "torch", "spconv", "gemm_gflops", "copy_gb_s"} <= set(record["machine"])
    assert {(row["name"], row["pass"]) for row in record["workloads"]} == {
        *(("small", mode) for mode in MODES),
        ("volume", "forward"),
    }
    for row in record["workloads"]:
        assert set(row) == {"name", "engine", "pass", "ms", "peak_mb", "ratio", "floor_ms"}
        assert row["ms"] > 0
        assert row["floor_ms"] > 0
        assert row["engine"] != "native" or row["ratio"] == 1
    assert CliRunner().invoke(app, ["bench", "--workload", "mri"]).exit_code == 2


def test_the_machine_is_described():
    found = machine()
    assert found["gemm_gflops"] > 0.1
    assert found["copy_gb_s"] > 0.1
    assert found["instruction_set"] in ("baseline", "avx2", "avx512", "avx512_bf16", "neon")
