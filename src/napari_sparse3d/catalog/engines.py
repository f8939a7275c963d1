"""What executes the operators; the contract is ``sparse/contract.py``."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from napari_sparse3d.catalog.registry import Part, Registry


@dataclass(frozen=True, kw_only=True)
class EngineInfo(Part):
    """An engine. ``home`` names a class without arguments that keeps the contract of ``sparse.contract.Engine``.

    Attributes
    ----------
    devices : tuple of str
        Device types that it computes on, the best first: ``"cuda"``, ``"cpu"``.
    rank : int
        ``auto`` takes, of the engines that are installed and compute on a device, the one with the highest; those
        below 0 are taken only when they are asked for.
    """

    devices: tuple[str, ...]
    rank: int = 0


def spconv_package(python: tuple[int, int] = sys.version_info[:2]) -> str:
    """The build of spconv with wheels for this Python; both need a driver for CUDA 12."""
    return "spconv-cu120" if python < (3, 12) else "spconv-cu126"


ENGINES: Registry[EngineInfo] = Registry(
    "engine",
    "napari_sparse3d.engines",
    EngineInfo,
    [
        EngineInfo(
            name="native",
            title="native (CPU)",
            description="C++ on the CPU",
            home="napari_sparse3d.engine.native:NativeEngine",
            devices=("cpu",),
            rank=10,
        ),
        EngineInfo(
            name="spconv",
            title="spconv (CUDA)",
            description="for CUDA cards",
            home="napari_sparse3d.engine.spconv:SpconvEngine",
            needs=("spconv",),
            install=f"pip install {spconv_package()}",
            devices=("cuda", "cpu"),
            rank=5,
        ),
        EngineInfo(
            name="dense",
            title="dense (torch)",
            description="torch, the reference",
            home="napari_sparse3d.engine.dense:DenseEngine",
            devices=("cuda", "cpu"),
            rank=-1,
        ),
    ],
)
