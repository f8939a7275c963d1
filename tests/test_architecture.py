"""Imports go one way, and each foreign library stays where it belongs. Read from the source: nothing is run."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "napari_sparse3d"

# Parts on one step do not import each other; every part may import those on lower steps.
ORDER = (
    "errors, activity, text, lazy, ending <- files, parse, environment, catalog <- volume <- io, voxels <- sparse"
    " <- engine <- models <- cases <- measure, explain <- pictures <- training <- cohort <- bench <- widgets, cli"
    " <- napari_reader, napari_writer"
)
STEP = {part.strip(): step for step, parts in enumerate(ORDER.split("<-")) for part in parts.split(",")}

ORDER_PRINTED = (
    "```\n" + "".join(f"{step.strip()}\n" for step in ORDER.replace(" <- ", "\n    <- ").split("\n")) + "```\n"
)
"""As docs/architecture.md has it."""

# The parts that may import a foreign module; a module that is not named here may be imported anywhere.
FROM_SPARSE_UP = {part for part in STEP if STEP[part] >= STEP["sparse"]}
QT = [
    "napari",
    "qtpy",
    "PyQt5",
    "PyQt6",
    "PySide2",
    "PySide6",
    "pyqtgraph",
    "vispy",
    "magicgui",
    "superqt",
    "app_model",
]
HOME = {
    **{module: {"io"} for module in ("pydicom", "highdicom", "nibabel", "gdcm", "openjpeg")},
    "SimpleITK": {"io", "voxels"},
    "torch": FROM_SPARSE_UP,
    **{module: {"engine"} for module in ("spconv", "cumm")},
    **{module: {"widgets"} for module in QT},
}
COMPILED = {"_kernels": {"engine", "voxels"}}  # built from kernels/, beside the parts

# Halves of one library, and modules of a package that is called otherwise (not installed on every Python).
BROUGHT_BY = {"pydantic_core": "pydantic", "spconv": "spconv-cu120"}

# Declared, and used without an import of ours.
USED_WITHOUT_IMPORT = {
    "pylibjpeg": "pydicom finds it by itself: JPEG in DICOM",
    "pylibjpeg-openjpeg": "pylibjpeg finds it by itself: JPEG 2000 in DICOM",
    "nilearn": "carries the sample head MRI, which is read without importing it (io/samples.py)",
    "npe2": "reads our napari.yaml where there is no napari: readers and writer without a window",
    "pyqt6": "the binding behind qtpy",
}


class Import(NamedTuple):
    """One import, wherever in a file: top level, function, ``if TYPE_CHECKING``, or ``import_module("...")``."""

    part: str  # "io", "sparse", ...; "" for the package's own __init__.py
    module: str  # absolute, as far as the statement names it: "torch.nn", "napari_sparse3d.io.dicom.scan"
    where: str  # "io/dicom.py:12"
    deferred: bool  # in a function or under TYPE_CHECKING: importing the file does not run it


def test_the_page_on_the_architecture_prints_the_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    printed = re.search("<!-- order -->\n(.*)<!-- /order -->", page, re.DOTALL)
    assert printed is not None
    assert printed[1] == ORDER_PRINTED


def test_the_page_on_the_architecture_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = page.partition("## Rooms")[2].partition("<!-- order -->")[0]
    assert [part for part in STEP if f"`{part}`" not in rooms and f"`{part}/`" not in rooms] == []


def test_the_package_keeps_to_the_order() -> None:
    imports = list(imports_of(ROOT / "src" / PACKAGE))
    assert {found.part for found in imports} >= {"volume", "sparse"}, (
        "the walk found no files: it would pass on anything"
    )
    assert not violations(imports), "\n".join(violations(imports))


def test_foreign_imports_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    faults = undeclared(imports_of(ROOT / "src" / PACKAGE), requirements)
    assert not faults, "\n".join(faults)


def test_what_is_declared_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(r for extra in ("gui", "train") for r in extras[extra])]
    faults = unused(imports_of(ROOT / "src" / PACKAGE), requirements)
    assert not faults, "\n".join(faults)


def test_a_base_install_brings_what_panels_need_but_no_window() -> None:
    """napari's plugin manager installs the base alone, into a napari that has a Qt binding."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {_normalised(re.split(r"[^\w.-]", requirement)[0]) for requirement in project["dependencies"]}
    assert base >= {"qtpy", "superqt", "magicgui", "pyqtgraph"}
    assert not base & {"napari", "pyqt5", "pyqt6", "pyside2", "pyside6", "vispy"}


def imports_of(package: Path) -> Iterator[Import]:
    """Every import of every file below ``package``."""
    for file in sorted(package.rglob("*.py")):
        inside = file.relative_to(package)
        names = [PACKAGE, *inside.with_suffix("").parts]
        parent = names[:-1]  # of a module and of a package's __init__.py alike: what a single leading dot means
        part = "" if inside == Path("__init__.py") else names[1]
        for node, deferred in _walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            for module in _imported(node, parent):
                yield Import(part, module, f"{inside.as_posix()}:{node.lineno}", deferred)


def _walk(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.stmt | ast.expr, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield child, deferred
        yield from _walk(child, deferred or _defers(child))


def _defers(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _imported(node: ast.AST, parent: list[str]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = ".".join([*(parent[: len(parent) - level + 1] if level else []), *([module] if module else [])])
            return [f"{base}.{name.name}" for name in names]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(module)), *_]):
            return [module] if name in {"import_module", "__import__"} and not module.startswith(".") else []
        case ast.Call(
            func=ast.Name(id="import_module"),
            args=[ast.JoinedStr(values=[ast.Constant(value=str(module)), *_]), *_],
        ):
            return [module.rpartition(".")[0]] if "." in module else []
    return []


def violations(imports: list[Import]) -> list[str]:
    """One line for each import that breaks the order or leaves its home."""
    found = []
    for part, module, where, deferred in imports:
        top, *below = module.split(".")
        if part and part not in STEP:
            found.append(f"{where}: {part!r} has no place in ORDER; give it one")
        elif top != PACKAGE:
            home = HOME.get(top)
            if home is not None and part not in home:
                found.append(f"{where}: {top} belongs in {', '.join(sorted(home))}")
        elif part == "":
            # the public API: names are fetched from their part when they are first asked for
            if not deferred and below and STEP.get(below[0], 0) >= STEP["sparse"]:
                found.append(f"{where}: importing the package would import {below[0]}; defer it")
        elif below and below[0] in COMPILED:
            if part not in COMPILED[below[0]]:
                found.append(f"{where}: {below[0]} belongs in {', '.join(COMPILED[below[0]])}")
        elif not below or below[0] not in STEP:
            found.append(f"{where}: import {'.'.join(below) or PACKAGE} from the part that defines it")
        elif below[0] != part and not _allowed(part, below[0], deferred):
            found.append(f"{where}: {part} must not import {below[0]} ({ORDER})")
    return found


def _allowed(part: str, imported: str, deferred: bool) -> bool:
    # The demo command opens the plugin's window, when there is a display; widgets never import the command line.
    if (part, imported) == ("cli", "widgets"):
        return deferred
    return STEP[imported] < STEP[part]


def undeclared(imports: Iterator[Import], requirements: list[str]) -> list[str]:
    """One line for each foreign import that no requirement of the project brings by name."""
    declared = {_normalised(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}
    providers = packages_distributions()
    return [
        f"{where}: {top} is imported but not declared in pyproject.toml"
        for _, module, where, _ in imports
        if (top := module.partition(".")[0]) not in {PACKAGE, "__future__", *sys.stdlib_module_names}
        and not declared & {_normalised(name) for name in [BROUGHT_BY.get(top, top), *providers.get(top, [])]}
    ]


def unused(imports: Iterator[Import], requirements: list[str]) -> list[str]:
    """One line for each requirement that no file imports, and for each exemption that is none."""
    imported = {module.partition(".")[0] for _, module, _, _ in imports}
    providers = packages_distributions()
    declared = {_normalised(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}

    def is_imported(name: str) -> bool:
        # what is not installed here (for another Python) is called as it is imported, as far as one can know
        modules = {top for top, names in providers.items() if name in map(_normalised, names)}
        return bool(imported & (modules or {name.replace("-", "_")}))

    return [
        *(
            f"pyproject.toml declares {name}, which nothing imports; drop it, or say why in USED_WITHOUT_IMPORT"
            for name in sorted(declared - USED_WITHOUT_IMPORT.keys())
            if not is_imported(name)
        ),
        *(
            f"{name} is in USED_WITHOUT_IMPORT, but it is {'imported' if name in declared else 'not declared'}"
            for name in sorted(USED_WITHOUT_IMPORT)
            if name not in declared or is_imported(name)
        ),
    ]


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- the rules can fail: planted trees -------------------------------------------------------------------------------


@pytest.fixture
def plant(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write one file of a package otherwise empty, and return what the rules say about it."""

    def planted(file: str, source: str) -> list[str]:
        path = tmp_path / PACKAGE / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return violations(list(imports_of(tmp_path / PACKAGE)))

    return planted


@pytest.mark.parametrize(("part", "imported"), list(product(STEP, STEP)))
def test_order_of_every_pair(plant, part: str, imported: str) -> None:  # type: ignore[no-untyped-def]
    _, _, after = ORDER.partition(imported)
    one_way = part == imported or re.search(rf"<-.*\b{part}\b", after) is not None
    exempt = (part, imported) == ("cli", "widgets")
    for source in (f"import {PACKAGE}.{imported}", f"from {PACKAGE}.{imported} import x", f"from .. import {imported}"):
        assert (plant(f"{part}/module.py", source) == []) == one_way, source
        assert (plant(f"{part}/module.py", f"def f():\n    {source}") == []) == (one_way or exempt), source


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("volume.py", "def f():\n    from napari_sparse3d import voxels"),
        ("volume.py", "def f():\n    from . import voxels"),
        ("volume.py", "from .voxels.recipe import Recipe"),
        ("io/__init__.py", "from ..voxels import Recipe"),
        ("io/deep/nifti.py", "from ...voxels import Recipe"),
        ("sparse/tensor.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import napari_sparse3d.engine"),
        ("sparse/tensor.py", "import importlib\nimportlib.import_module('napari_sparse3d.engine.native')"),
        ("sparse/tensor.py", "class A:\n    def f(self):\n        return __import__('napari_sparse3d.engine')"),
        ("cli/demo.py", "from napari_sparse3d import read_volume"),
        ("cli/demo.py", "import napari_sparse3d as ns3"),
        ("helpers.py", "import os"),
        ("__init__.py", "from napari_sparse3d.models import deepc2"),
        ("__init__.py", "import torch"),
        ("io/nifti.py", "def f():\n    import torch"),
        ("voxels/resample.py", "import torch.nn.functional as F"),
        ("voxels/resample.py", "import nibabel"),
        ("models/deepc2.py", "from spconv.pytorch import SubMConv3d"),
        ("measure/maps.py", "async def f():\n    import pyqtgraph"),
        ("cli/demo.py", "def f():\n    import napari"),
        ("training/loop.py", "from qtpy.QtCore import QThread"),
        ("cohort/table.py", "import SimpleITK as sitk"),
        ("sparse/operators.py", "def f():\n    from napari_sparse3d import _kernels"),
        ("widgets/panel.py", "from napari_sparse3d.cli.output import emit"),
    ],
)
def test_a_planted_fault_is_found(plant, file: str, source: str) -> None:  # type: ignore[no-untyped-def]
    (fault,) = plant(file, source)
    assert fault.startswith(f"{file}:")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("__init__.py", "def __getattr__(name):\n    from napari_sparse3d.models import load_model"),
        ("__init__.py", "if TYPE_CHECKING:\n    from napari_sparse3d.models import load_model"),
        ("io/nifti.py", "import nibabel, numpy\nfrom .series import scan\nfrom napari_sparse3d.volume import Volume"),
        ("engine/spconv.py", "def f():\n    import spconv.pytorch, torch"),
        ("engine/native.py", "from napari_sparse3d import _kernels"),
        ("widgets/panel.py", "import napari, qtpy.QtWidgets\nfrom ..measure import maps"),
        ("cli/demo.py", "def f():\n    from napari_sparse3d.widgets import show"),
        ("sparse/tensor.py", "x = 'import napari'  # import napari"),
    ],
)
def test_a_planted_good_file_passes(plant, file: str, source: str) -> None:  # type: ignore[no-untyped-def]
    assert plant(file, source) == []


def test_an_undeclared_import_is_found() -> None:
    imports = [
        Import("io", "numpy.linalg", "io/a.py:1", False),
        Import("io", "cc3d", "io/a.py:2", False),
        Import("io", "os.path", "io/a.py:3", False),
        Import("io", "yaml", "io/a.py:4", True),
    ]
    faults = undeclared(iter(imports), ["numpy>=1.26", "connected-components-3d>=3.12", "tomli-w>=1"])
    assert faults == ["io/a.py:4: yaml is imported but not declared in pyproject.toml"]


def test_an_unused_requirement_is_found(tmp_path: Path) -> None:
    path = tmp_path / PACKAGE / "io" / "a.py"
    path.parent.mkdir(parents=True)
    path.write_text('import numpy, cc3d\nimport_module(f"pytorch_metric_learning.{part}")\nimport tomli_w\n')
    exempt = [f"{name}>=1" for name in USED_WITHOUT_IMPORT]
    used = [
        "numpy>=1.26",
        "connected-components-3d>=3.12",
        "pytorch-metric-learning>=2",
        "tomli-w>=1; python_version < '3'",
    ]
    assert unused(imports_of(tmp_path / PACKAGE), [*exempt, *used]) == []
    (fault,) = unused(imports_of(tmp_path / PACKAGE), [*exempt, *used, "scikit-learn>=1.4"])
    assert fault.startswith("pyproject.toml declares scikit-learn, which nothing imports")
    path.write_text(path.read_text() + "import PyQt6.QtCore\n")
    (fault,) = unused(imports_of(tmp_path / PACKAGE), [*exempt, *used])
    assert fault == "pyqt6 is in USED_WITHOUT_IMPORT, but it is imported"
    assert unused(imports_of(tmp_path / PACKAGE), [*exempt[:-1], *used]) == [
        "pyqt6 is in USED_WITHOUT_IMPORT, but it is not declared"
    ]
