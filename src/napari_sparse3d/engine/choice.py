"""Which engine on which device, and why."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import torch

from napari_sparse3d.errors import EngineError
from napari_sparse3d.sparse.engine import engine, engine_names


@dataclass(frozen=True)
class Choice:
    """What runs a network, with the reason in words for people."""

    engine: str
    device: str
    reason: str

    def __str__(self) -> str:
        return f"engine {self.engine} on {self.device}: {self.reason}"


def choose(engine_name: str = "auto", device: str = "auto") -> Choice:
    """Decide on an engine and a device.

    ``"auto"`` is spconv on CUDA where torch sees a card and spconv can be imported, else native on the CPU.

    Parameters
    ----------
    engine_name : str
        ``"auto"``, ``"native"``, ``"spconv"`` or ``"dense"``.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:0"``, ...

    Raises
    ------
    EngineError
        If what was asked for is not here; the message names the line that installs it.
    """
    _check_device(device)
    if engine_name == "auto":
        return _choose_both(device)
    if engine_name == "native":
        if device.startswith("cuda"):
            raise EngineError("engine 'native' runs on the CPU only; use --engine spconv for CUDA, or --device cpu")
        device = "cpu"
    engine(engine_name)  # says what is missing
    asked = f"engine {engine_name} was asked for"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        asked += "" if device == "cuda" else f"; {_no_card()}"
    if engine_name == "spconv" and device != "cpu" and (missing := _missing_spconv()):
        raise EngineError(missing)
    return Choice(engine_name, device, asked)


def _choose_both(device: str) -> Choice:
    if device == "cpu":
        return Choice("native", "cpu", "device cpu was asked for")
    if not torch.cuda.is_available():
        return Choice("native", "cpu", _no_card())
    missing = _missing_spconv()
    if not missing:
        name = torch.cuda.get_device_name("cuda" if device == "auto" else device)
        return Choice("spconv", "cuda" if device == "auto" else device, f"torch sees {name}, and spconv is installed")
    if device != "auto":
        raise EngineError(missing)
    return Choice("native", "cpu", f"torch sees a CUDA card, but {missing}")


def spconv_install_line() -> str:
    """The line that installs spconv for this Python; both builds need a driver for CUDA 12."""
    package = "spconv-cu120" if sys.version_info < (3, 12) else "spconv-cu126"
    return f"pip install {package}"


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise EngineError(f"there is no device {device!r}; choose auto, cpu or cuda (or cuda:0, cuda:1, ...)")
    if not device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise EngineError(f"device {device!r} was asked for, but {_no_card()}; {_cuda_advice()}, or use --device cpu")
    cards = torch.cuda.device_count()
    if device != "cuda" and int(device.removeprefix("cuda:")) >= cards:
        raise EngineError(f"there is no device {device!r}: torch sees {cards} card(s), cuda:0 to cuda:{cards - 1}")


def _no_card() -> str:
    return f"torch {torch.__version__} sees no CUDA card"


def _cuda_advice() -> str:
    if torch.version.cuda is None:
        return "this torch is built for the CPU: install its CUDA build (https://pytorch.org/get-started/locally)"
    return f"this torch is built for CUDA {torch.version.cuda}: update the driver until nvidia-smi lists the card"


def _missing_spconv() -> str:
    """Why spconv cannot run on a card here, or nothing."""
    if "spconv" not in engine_names():
        return f"spconv is not installed; {spconv_install_line()}"
    try:
        found = engine("spconv")
    except EngineError as error:
        return str(error)
    if not getattr(found, "has_cuda", True):
        return f"spconv here is its CPU build; pip uninstall --yes spconv && {spconv_install_line()}"
    return ""
