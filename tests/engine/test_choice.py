"""Which engine on which device, with cards and packages that this machine may not have."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from napari_sparse3d.catalog import ENGINES, EngineInfo
from napari_sparse3d.catalog.engines import spconv_package
from napari_sparse3d.engine import choice as module
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.engine.spconv import SpconvEngine
from napari_sparse3d.errors import DeviceMemoryError, EngineError
from napari_sparse3d.sparse import engine as lookup
from napari_sparse3d.sparse import use_engine
from napari_sparse3d.sparse.engine import engine_name


def part(name, **changes):
    made = EngineInfo(name=name, title=name, description="", home="nowhere:Nothing", devices=("cpu",))
    return replace(ENGINES.get(name, made), **changes)


@pytest.fixture
def machine(monkeypatch):
    """A machine with some cards, spconv on it or not, and engines of other packages."""

    def build(cards=(), spconv="cuda", cuda="12.6", others=()):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: cards[0])
        monkeypatch.setattr(torch.version, "cuda", cuda)
        known = [
            part("native"),
            part("spconv", needs=() if spconv else ("no_such_module",)),
            part("dense"),
            *others,
        ]
        known[1] = replace(known[1], install=f"pip install {spconv_package()}")
        parts = {info.name: info for info in known}

        def engine(name):
            if name not in parts:
                raise EngineError(f"there is no engine {name!r}")
            if name == "spconv" and spconv == "broken":
                raise EngineError("spconv cannot be imported (no such file); pip install spconv-cu120")
            if name == "spconv" and not spconv:
                raise EngineError(parts[name].missing)
            lacking = "spconv here is its CPU build; pip uninstall --yes spconv && pip install spconv-cu120"
            return SimpleNamespace(
                lacks=lambda kind: lacking if (spconv, kind, name) == ("cpu", "cuda", "spconv") else ""
            )

        for where in (module, lookup):
            monkeypatch.setattr(where, "ENGINES", parts)
            monkeypatch.setattr(where, "engine", engine)

    return build


@pytest.mark.parametrize(
    ("cards", "spconv", "asked", "expected"),
    [
        (["L4"], "cuda", ("auto", "auto"), ("spconv", "cuda", "torch sees L4, and spconv is installed")),
        (["L4", "L4"], "cuda", ("auto", "cuda:1"), ("spconv", "cuda:1", "torch sees L4")),
        ([], "cuda", ("auto", "auto"), ("native", "cpu", "sees no CUDA card")),
        (
            ["L4"],
            None,
            ("auto", "auto"),
            ("native", "cpu", "but no_such_module is not installed; pip install spconv-cu12"),
        ),
        (["L4"], "broken", ("auto", "auto"), ("native", "cpu", "pip install spconv-cu12")),
        (["L4"], "cpu", ("auto", "auto"), ("native", "cpu", "pip uninstall --yes spconv && pip install spconv-cu12")),
        (["L4"], "cuda", ("auto", "cpu"), ("native", "cpu", "device cpu was asked for")),
        (["L4"], "cuda", ("native", "auto"), ("native", "cpu", "engine native was asked for")),
        (["L4"], "cuda", ("dense", "auto"), ("dense", "cuda", "engine dense was asked for")),
        (["L4"], "cpu", ("spconv", "cpu"), ("spconv", "cpu", "engine spconv was asked for")),
        ([], "cuda", ("spconv", "auto"), ("spconv", "cpu", "engine spconv was asked for; torch")),
    ],
)
def test_what_is_chosen_and_why(machine, cards, spconv, asked, expected):
    machine(cards, spconv)
    found = choose(*asked)
    assert (found.engine, found.device) == expected[:2]
    assert expected[2] in found.reason
    assert str(found) == f"engine {found.engine} on {found.device}: {found.reason}"


@pytest.mark.parametrize(
    ("cards", "spconv", "asked", "message"),
    [
        (["L4"], None, ("auto", "cuda"), r"no_such_module is not installed; pip install spconv-cu12"),
        (["L4"], "cpu", ("spconv", "cuda"), r"CPU build; pip uninstall --yes spconv && pip install spconv-cu12"),
        (["L4"], "broken", ("spconv", "auto"), r"pip install spconv-cu12"),
        (["L4"], "cuda", ("native", "cuda"), r"runs on the CPU only; use --engine spconv"),
        (["L4"], "cuda", ("auto", "cuda:3"), r"torch sees 1 card\(s\), cuda:0 to cuda:0"),
        ([], "cuda", ("auto", "cuda"), r"sees no CUDA card; .* built for CUDA 12.6: update the driver"),
        ([], "cuda", ("auto", "tpu"), r"no device 'tpu'; choose auto, cpu or cuda"),
        ([], "cuda", ("auto", "cuda:"), r"no device 'cuda:'"),
        ([], "cuda", ("fast", "auto"), r"no engine 'fast'"),
    ],
)
def test_what_cannot_be_met_is_refused_with_the_cure(machine, cards, spconv, asked, message):
    machine(cards, spconv)
    with pytest.raises(EngineError, match=message):
        choose(*asked)


def test_a_torch_for_the_cpu_is_told_apart_from_an_old_driver(machine):
    machine([], cuda=None)
    with pytest.raises(EngineError, match="built for the CPU: install its CUDA build"):
        choose("auto", "cuda")


@pytest.mark.parametrize(
    ("cards", "others", "asked", "expected"),
    [
        ([], [part("fast", rank=20)], ("auto", "auto"), ("fast", "cpu")),
        (["L4"], [part("fast", rank=20)], ("auto", "auto"), ("spconv", "cuda")),
        (["L4"], [part("fast", rank=20, devices=("cuda",))], ("auto", "auto"), ("fast", "cuda")),
        ([], [part("fast", rank=20, devices=("cuda",))], ("auto", "auto"), ("native", "cpu")),
        ([], [part("slow", rank=1)], ("auto", "auto"), ("native", "cpu")),
        ([], [part("shy", rank=-5)], ("shy", "auto"), ("shy", "cpu")),
        ([], [part("gone", rank=20, needs=("no_such_module",))], ("auto", "cpu"), ("native", "cpu")),
        (["L4"], [part("late", rank=20, devices=("cpu", "cuda"))], ("late", "auto"), ("late", "cpu")),
    ],
)
def test_an_engine_of_another_package_is_chosen_by_its_rank_and_devices(machine, cards, others, asked, expected):
    machine(cards, others=others)
    found = choose(*asked)
    assert (found.engine, found.device) == expected


def test_an_engine_for_cards_alone_is_refused_without_one(machine):
    machine([], others=[part("fast", devices=("cuda",))])
    with pytest.raises(EngineError, match=r"engine 'fast' runs on CUDA only, and torch .* sees no CUDA card"):
        choose("fast")
    with pytest.raises(EngineError, match="'fast' runs on CUDA only; use --engine native for the CPU"):
        choose("fast", "cpu")


@pytest.mark.parametrize(("version", "package"), [((3, 11), "spconv-cu120"), ((3, 12), "spconv-cu126")])
def test_the_install_line_fits_this_python(version, package):
    assert spconv_package(version) == package
    assert ENGINES["spconv"].install == f"pip install {spconv_package()}"


def test_out_of_memory_names_the_size_and_three_ways_out():
    text = (
        "CUDA out of memory. Tried to allocate 3.27 GiB. GPU 0 has a total capacity of 11.76 GiB of which 1.02 GiB is "
        "free. Process 4711 has 10.00 GiB memory in use."
    )
    with pytest.raises(DeviceMemoryError) as caught, use_engine("dense"):
        raise torch.OutOfMemoryError(text)
    message = str(caught.value)
    assert message.startswith("the card has no memory left: 3.27 GiB was asked for; ")
    assert "\n" not in message
    for way in ("a smaller batch", "fewer voxels", "--device cpu"):
        assert way in message
    assert isinstance(caught.value, EngineError)


def test_other_errors_pass_and_the_engine_is_given_back():
    with pytest.raises(ZeroDivisionError), use_engine("dense"):
        1 / (engine_name("cpu") != "dense")
    assert engine_name("cpu") == "native"


def test_without_spconv_the_error_names_the_line_that_installs_it(monkeypatch):
    for name in [name for name in sys.modules if name == "spconv" or name.startswith("spconv.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "spconv", None)
    with pytest.raises(EngineError, match=r"spconv cannot be imported .*; pip install spconv-cu12"):
        SpconvEngine()
