"""Which engine on which device, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from napari_sparse3d.catalog import ENGINES, EngineInfo
from napari_sparse3d.errors import EngineError
from napari_sparse3d.sparse.engine import engine, engines_for, why_not


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

    ``"auto"`` is the engine of the highest rank that can be used: on a CUDA card where torch sees one and an engine for
    it is installed, else on the CPU.

    Parameters
    ----------
    engine_name : str
        ``"auto"``, or a name in :data:`napari_sparse3d.catalog.ENGINES`.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:0"``, ...

    Raises
    ------
    EngineError
        If what was asked for is not here; the message names the line that installs it.
    """
    _check_device(device)
    return _choose_both(device) if engine_name == "auto" else _choose_device(engine_name, device)


def _choose_device(name: str, device: str) -> Choice:
    engine(name)  # says what is missing
    info, reason = ENGINES[name], f"engine {name} was asked for"
    if device == "auto":
        device = next((kind for kind in info.devices if kind != "cuda" or torch.cuda.is_available()), "")
        if not device:
            raise EngineError(f"engine {name!r} runs on CUDA only, and {_no_card()}; {_cuda_advice()}")
        if device == "cpu" and "cuda" in info.devices:
            reason += f"; {_no_card()}"
    kind = device.partition(":")[0]
    if kind not in info.devices:
        raise EngineError(_elsewhere(info, kind))
    if why := why_not(info, kind):
        raise EngineError(why)
    return Choice(name, device, reason)


def _elsewhere(info: EngineInfo, kind: str) -> str:
    """That an engine does not compute on a kind of device, and what does."""
    titles = {"cpu": "the CPU", "cuda": "CUDA"}
    others = [other.name for other in engines_for(kind)]
    use = f"use --engine {others[0]} for {titles[kind]}, or " if others else ""
    places = " and ".join(titles.get(place, place) for place in info.devices)
    return f"engine {info.name!r} runs on {places} only; {use}--device {info.devices[0]}"


def _choose_both(device: str) -> Choice:
    if device == "cpu":
        return Choice(_best("cpu"), "cpu", "device cpu was asked for")
    if not torch.cuda.is_available():
        return Choice(_best("cpu"), "cpu", _no_card())
    missing = {info.name: why_not(info, "cuda") for info in engines_for("cuda")}
    for name, why in missing.items():
        if not why:
            place = "cuda" if device == "auto" else device
            return Choice(name, place, f"torch sees {torch.cuda.get_device_name(place)}, and {name} is installed")
    why = next(iter(missing.values()), "there is no engine for it")
    if device != "auto":
        raise EngineError(why)
    return Choice(_best("cpu"), "cpu", f"torch sees a CUDA card, but {why}")


def _best(kind: str) -> str:
    """The best engine for a kind of device; the first of those that cannot be used where none can."""
    # the next one is asked only where one cannot be used: to ask an engine is to import it, which takes spconv seconds
    usable = (info.name for info in engines_for(kind) if not why_not(info, kind))
    return next(usable, engines_for(kind)[0].name)


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
