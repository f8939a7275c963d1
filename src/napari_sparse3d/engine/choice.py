"""Which engine on which device, and why."""

from __future__ import annotations

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


def choose(engine_name: str = "auto", device: str = "auto") -> Choice:
    """Decide on an engine and a device.

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
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise EngineError(f"there is no device {device!r}; choose auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineError(
            f"device {device!r} was asked for, but torch {torch.__version__} sees no CUDA card; "
            "install a CUDA build of torch and a driver, or use --device cpu"
        )
    if engine_name == "native" and device.startswith("cuda"):
        raise EngineError("engine 'native' runs on the CPU only; use --engine spconv for CUDA, or --device cpu")
    if engine_name != "auto":
        engine(engine_name)  # says what is missing
        card = (
            device if device != "auto" else "cuda" if engine_name != "native" and torch.cuda.is_available() else "cpu"
        )
        return Choice(engine_name, card, f"engine {engine_name} was asked for")
    if device == "cpu":
        return Choice("native", "cpu", "device cpu was asked for")
    if not torch.cuda.is_available():
        return Choice("native", "cpu", "torch sees no CUDA card")
    missing = _missing_spconv()
    if not missing:
        return Choice(
            "spconv", "cuda" if device == "auto" else device, "torch sees a CUDA card and spconv is installed"
        )
    if device != "auto":
        raise EngineError(missing)
    return Choice("native", "cpu", f"torch sees a CUDA card, but {missing}")


def spconv_install_line() -> str:
    """The line that installs spconv for this Python."""
    package = "spconv-cu120" if sys.version_info < (3, 12) else "spconv-cu126"
    return f"pip install {package}"


def _missing_spconv() -> str:
    if "spconv" not in engine_names():
        return f"spconv is not installed ({spconv_install_line()})"
    try:
        engine("spconv")
    except EngineError as error:
        return str(error)
    return ""
