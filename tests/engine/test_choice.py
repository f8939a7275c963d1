"""Which engine on which device, with cards and packages that this machine may not have."""

import sys
from types import SimpleNamespace

import pytest
import torch

from napari_sparse3d.engine import choice as module
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.engine.spconv import SpconvEngine
from napari_sparse3d.errors import DeviceMemoryError, EngineError
from napari_sparse3d.sparse import use_engine
from napari_sparse3d.sparse.engine import engine_name


@pytest.fixture
def machine(monkeypatch):
    """A machine with some cards, and spconv on it or not."""

    def build(cards=(), spconv="cuda", cuda="12.6"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: cards[0])
        monkeypatch.setattr(torch.version, "cuda", cuda)
        names = ["dense", "native", *(["spconv"] if spconv else [])]
        monkeypatch.setattr(module, "engine_names", lambda: names)

        def engine(name):
            if name not in names:
                raise EngineError(f"there is no engine {name!r}")
            if name == "spconv" and spconv == "broken":
                raise EngineError("spconv cannot be imported (no such file); pip install spconv-cu120")
            return SimpleNamespace(has_cuda=spconv == "cuda")

        monkeypatch.setattr(module, "engine", engine)

    return build


@pytest.mark.parametrize(
    ("cards", "spconv", "asked", "expected"),
    [
        (["L4"], "cuda", ("auto", "auto"), ("spconv", "cuda", "torch sees L4, and spconv is installed")),
        (["L4", "L4"], "cuda", ("auto", "cuda:1"), ("spconv", "cuda:1", "torch sees L4")),
        ([], "cuda", ("auto", "auto"), ("native", "cpu", "sees no CUDA card")),
        (["L4"], None, ("auto", "auto"), ("native", "cpu", "but spconv is not installed; pip install spconv-cu12")),
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
        (["L4"], None, ("auto", "cuda"), r"spconv is not installed; pip install spconv-cu12"),
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


@pytest.mark.parametrize(("version", "package"), [((3, 11), "spconv-cu120"), ((3, 12), "spconv-cu126")])
def test_the_install_line_fits_this_python(monkeypatch, version, package):
    monkeypatch.setattr(sys, "version_info", version)
    assert module.spconv_install_line() == f"pip install {package}"


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
