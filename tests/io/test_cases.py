"""Small scans that tools of this kind have read wrongly, each with its right answer (``shared/cases/readers``).

The checker that comes with them judges: it shares no code with the project and calls its public interface alone.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from napari_sparse3d.environment import variable

CASES = Path(variable("NAPARI_SPARSE3D_CASES") or Path(__file__).resolve().parents[3] / "shared" / "cases")
MANIFEST = CASES / "readers" / "manifest.json"
NAMES = sorted(json.loads(MANIFEST.read_text(encoding="utf-8"))) if MANIFEST.is_file() else []


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    path = CASES / "check_readers.py"
    specification = importlib.util.spec_from_file_location("check_readers", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.skipif(bool(NAMES), reason="the cases are there")
def test_cases_are_absent() -> None:
    pytest.skip("no cases beside the checkout (NAPARI_SPARSE3D_CASES names their folder)")


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, checker: ModuleType) -> None:
    entry = json.loads(MANIFEST.read_text(encoding="utf-8"))[name]
    outcome = checker.Outcome(CASES / "readers" / name / entry["open"])
    verdict, why = checker.judge(entry["expect"], outcome)
    assert not outcome.crash, outcome.crash
    assert verdict in (checker.RIGHT, checker.WELL), f"{verdict}: {why}"
