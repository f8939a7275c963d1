"""The package's front door: everything public is within reach, and imported when it is first used."""

import ast
from pathlib import Path

import pytest

import napari_sparse3d


@pytest.mark.parametrize("name", [*napari_sparse3d.__all__, "__version__"])
def test_every_name_is_there(name):
    assert getattr(napari_sparse3d, name) is not None
    assert name in dir(napari_sparse3d)


def test_star_import():
    namespace = {}
    exec("from napari_sparse3d import *", namespace)
    assert set(napari_sparse3d.__all__) <= set(namespace)


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = napari_sparse3d.nothing


def test_type_checkers_see_the_same_names():
    source = ast.parse(Path(napari_sparse3d.__file__).read_text())
    (block,) = (node for node in source.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    lazily = {name: f"napari_sparse3d.{home}" for name, home in napari_sparse3d._HOME.items()}
    assert seen == lazily
    assert sorted(seen) == sorted(napari_sparse3d.__all__)
