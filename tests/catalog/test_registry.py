"""Parts are found by name, ours and others'; a package that is broken breaks nothing else."""

import importlib
import subprocess
import sys
from dataclasses import dataclass

import pytest

from napari_sparse3d.catalog import ENGINES, EngineInfo, Part, Registry
from napari_sparse3d.errors import CatalogError, InputError


@dataclass(frozen=True, kw_only=True)
class Animal(Part):
    legs: int = 4


def animal(name, **more):
    return Animal(name=name, title=name.title(), description="", home=f"no_such_module:{name}", **more)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry of one built-in part, and a function that installs a package with entry points for it."""
    made = Registry("animal", "test.animals", Animal, [animal("cat")])

    def install(source, **points):
        (tmp_path / "menagerie.py").write_text(source)
        folder = tmp_path / "menagerie-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: menagerie\nVersion: 1\n")
        lines = "".join(f"{name} = menagerie:{target}\n" for name, target in points.items())
        (folder / "entry_points.txt").write_text(f"[test.animals]\n{lines}")
        importlib.invalidate_caches()
        made.forget()

    monkeypatch.syspath_prepend(tmp_path)
    yield made, install
    sys.modules.pop("menagerie", None)


SOURCE = """
from tests_animals import Animal
dog = Animal(name="dog", title="Dog", description="", home="os.path:join")
many = [Animal(name="ant", title="Ant", description="", home="os:sep", legs=6)]
cat = Animal(name="cat", title="Cat", description="", home="os:sep")
wrong = 3
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "tests_animals", sys.modules[__name__])


def test_ours_come_first_and_others_are_added(registry):
    animals, install = registry
    assert list(animals) == ["cat"]
    install(SOURCE, zoo="many", dog="dog")
    assert list(animals) == ["cat", "dog", "ant"]
    assert animals["ant"].legs == 6
    assert animals["dog"].load() is __import__("os").path.join
    assert animals.broken == {}


def test_what_is_broken_is_named_and_harms_nobody(registry):
    animals, install = registry
    install(SOURCE, a="missing", b="wrong", c="cat", dog="dog")
    assert list(animals) == ["cat", "dog"]
    assert "menagerie" in animals.broken["a"] or "missing" in animals.broken["a"]
    assert "must name a Animal, it names 3" in animals.broken["b"]
    assert "another animal called 'cat'" in animals.broken["c"]
    assert animals["cat"].home == "no_such_module:cat"
    with pytest.raises(CatalogError, match="animal 'b' cannot be used"):
        animals["b"]


def test_a_module_that_fails_on_import_is_named(registry):
    animals, install = registry
    install("raise RuntimeError('no luck')", dog="dog")
    assert animals.broken == {"dog": "RuntimeError: no luck"}


def test_no_part_of_a_name(registry):
    animals, _ = registry
    with pytest.raises(InputError, match=r"^there is no animal 'cow'; choose cat$"):
        animals["cow"]
    assert animals.get("cow") is None
    assert "cow" not in animals
    with pytest.raises(CatalogError, match="'cat' cannot be loaded: No module named 'no_such_module'"):
        animals["cat"].load()


def test_what_is_missing_is_said_with_its_line():
    part = animal("bee", needs=("os", "no_such_module"), install="pip install bees")
    assert part.missing == "no_such_module is not installed; pip install bees"
    assert animal("bee", needs=("os",)).missing == ""


def test_the_engines_of_this_package():
    assert list(ENGINES)[:3] == ["native", "spconv", "dense"]
    assert all(isinstance(engine, EngineInfo) and engine.title and engine.description for engine in ENGINES.values())
    assert ENGINES["native"].load().__name__ == "NativeEngine"


def test_the_catalogue_imports_none_of_its_parts():
    code = "import napari_sparse3d.catalog, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pydantic", "qtpy", "napari", "nibabel"} & set(loaded)
