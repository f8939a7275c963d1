"""A package of somebody else's that brings an engine. This file is read whenever engines are listed: no torch here."""

from napari_sparse3d.catalog import EngineInfo

STRANGER = EngineInfo(
    name="stranger",
    title="stranger (numpy)",
    description="gather, multiply, scatter by numpy",
    home="stranger_engine.engine:StrangerEngine",
    needs=("numpy",),
    install="pip install numpy",
    devices=("cpu",),
    rank=-1,  # never taken by `auto`
)
