"""The boundary to the kernels holds whatever it is given: refused in words, or right; no crash, no garbage.

The calls are made by a program of their own (``wrong_arguments.py``), so that one that reads foreign memory is seen.
``make test-address`` runs it with the kernels under the address sanitizer.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import SparseConv3d, SparseTensor, SubMConv3d, engine_names, operators, use_engine
from napari_sparse3d.sparse.contract import Epilogue, Filters, Rows
from napari_sparse3d.sparse.engine import engine
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Window

ENGINES = [name for name in ("native", "dense", "spconv") if name in engine_names()]


def test_everything_wrong_is_refused():
    """By every engine, in one process; what it prints names the engine."""
    program = Path(__file__).with_name("wrong_arguments.py")
    more = {"OMP_NUM_THREADS": "2"}
    examples = os.environ.get("NAPARI_SPARSE3D_WRONG_SCENES", "2")
    done = subprocess.run(
        [sys.executable, program, examples, *ENGINES], capture_output=True, text=True, env={**os.environ, **more}
    )
    last = done.stderr.strip().splitlines()[-1:]
    assert done.returncode >= 0, f"{signal.Signals(-done.returncode).name} at {last}"
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[:-1] == []
    calls = re.fullmatch(r"(\d+) calls, 0 problems", done.stdout.splitlines()[-1])
    assert calls, done.stdout
    assert int(calls[1]) > 1000 * len(ENGINES)


# -- grids of more sites than there are numbers ------------------------------------------------------

TOO_LARGE = [
    (2**30 + 1, 1, 1), (1, 2**31 - 1, 1), (1, 1, 2**31 - 1), (2**31, 1, 1), (1, 1, 2**31), (1, 1, 2**32 + 1),
    (2**40, 1, 1), (2**63, 1, 1), (2**70, 1, 1), (2**30, 2**30, 2**30), (2**21, 2**21, 2**21 + 1),
]  # fmt: skip


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("shape", TOO_LARGE)
def test_a_grid_of_too_many_sites_is_refused_with_the_figure(shape, name):
    site = torch.zeros(1, 4, dtype=torch.int32)
    with use_engine(name), pytest.raises(InputError, match=str(max(shape))):
        SparseTensor(torch.ones(1, 1), site, shape)
    with pytest.raises(InputError, match=str(max(shape))):
        Geometry(Window((1, 1, 1)), 1, shape, shape)
    packed = [1] * 6 + [0] * 3 + [1] * 3 + [*shape, *shape, 1, 0]
    with pytest.raises((InputError, RuntimeError, TypeError)):  # torch itself refuses what has more than 64 bits
        torch.ops.sparse3d.output_sites(site, packed, name)


@pytest.mark.parametrize("batch", [2**30 + 1, 2**31, 2**63])
def test_a_batch_of_too_many_grids_is_refused_with_the_figure(batch):
    with pytest.raises(InputError, match=str(batch)):
        SparseTensor(torch.ones(1, 1), torch.zeros(1, 4, dtype=torch.int32), 8, batch)


def test_a_layer_that_leads_to_too_large_a_grid_is_refused():
    from napari_sparse3d.sparse import SparseConvTranspose3d

    x = SparseTensor(torch.ones(1, 1), torch.zeros(1, 4, dtype=torch.int32), (2**20, 1, 1))
    with torch.no_grad(), pytest.raises(InputError, match=str((2**20 - 1) * 2048 + 1)):
        SparseConvTranspose3d(1, 1, 1, stride=2048)(x)


@pytest.mark.parametrize("axis", range(3))
def test_the_longest_axis_there_may_be_is_computed_rightly(axis):
    """Sites at both ends, against the same sites in a small grid."""
    side = (2**26, 2**26, 2**30)[axis]  # before x, the kernels have a bit for each line
    shape = [1, 1, 1]
    shape[axis] = side
    sites = torch.zeros(4, 4, dtype=torch.int32)
    sites[:, 1 + axis] = torch.tensor([0, 1, side - 2, side - 1])
    features = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    kernel = [1, 1, 1]
    kernel[axis] = 3
    conv = SubMConv3d(1, 1, kernel, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 10.0, 100.0]).view_as(conv.weight))
        made = conv(SparseTensor(features, sites, shape)).features[:, 0]
    assert made.tolist() == [210.0, 21.0, 840.0, 84.0]


@pytest.mark.parametrize("padding", [2**30, 2**31, 2**62])
def test_a_padding_that_leads_out_of_all_grids_is_refused(padding):
    x = SparseTensor(torch.ones(1, 1), torch.zeros(1, 4, dtype=torch.int32), 4)
    with torch.no_grad(), pytest.raises(ValueError, match="2\\^30"):
        SparseConv3d(1, 1, 1, padding=padding)(x)


def test_a_stride_that_leads_out_of_32_bits_is_refused():
    """o * stride would wrap around to a site that is there."""
    native = engine("native")
    window = Window((1, 1, 1), (1, 1, 512))
    sites = torch.tensor([[0, 0, 0, 0]], dtype=torch.int32)
    far = torch.tensor([[0, 0, 0, 2**23]], dtype=torch.int32)  # 2^23 * 512 = 2^32
    with pytest.raises(InputError, match="out of 32 bits"):
        native.plan(
            Sites(sites, (1, 1, 8), 1), Sites(far, (1, 1, 2**24), 1), Geometry(window, 1, (1, 1, 8), (1, 1, 2**24))
        )


def test_the_same_sites_in_another_order_are_not_the_convolution_s():
    sites = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32)
    native = engine("native")
    same = Window.submanifold((1, 1, 1)).within((2, 2, 2), 1)
    pool = Window((2, 2, 2)).over((2, 2, 2), 1)
    other = Sites(sites.flip(0).contiguous(), (2, 2, 2), 1)
    sites = Sites(sites, (2, 2, 2), 1)
    pooled = native.output_sites(sites, pool)
    plan = native.plan(sites, sites, same)
    inputs, filters = Rows(torch.tensor([[1.0], [2.0]]), None), Filters(torch.ones(1, 1, 1, 1, 1))
    made = native.fused_convolution(inputs, filters, plan, Epilogue(pool=native.plan(sites, pooled, pool)))
    assert made.values.tolist() == [[2.0]]
    with pytest.raises(InputError, match="other sites"):
        native.fused_convolution(inputs, filters, plan, Epilogue(pool=native.plan(other, pooled, pool)))


def test_what_fits_is_taken():
    sites = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32)
    geometry = Window.submanifold((1, 1, 1)).within((2, 2, 2), 1)
    stand = Sites(sites, (2, 2, 2), 1)
    inputs, filters = Rows(torch.tensor([[1.0], [2.0]]), None), Filters(torch.full((1, 1, 1, 1, 1), 3.0))
    made = operators.convolution(inputs, filters, stand, stand, geometry)
    assert made.features.tolist() == [[3.0], [6.0]]
