"""What every test stands on: real scans where they are at hand, fixed seeds, and an honest reason for every skip."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import displays
from napari_sparse3d.environment import variable

# Workers of `pytest -n` share the processor; each would else start a thread for every core. Before torch is imported.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if displays.can_be_had():
        displays.take_one()

# A process that drew by software OpenGL cannot load triton any more, which torch's CUDA builds bring and its optimizers
# load: one test draws, another one trains, so it is loaded first.
if find_spec("triton"):
    import_module("triton")

# Other programs may hold the processor, so the time an example takes says nothing about the code.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", **_UNTIMED)
settings.register_profile("ci", derandomize=True, print_blob=True, database=None, **_UNTIMED)
settings.register_profile("thorough", max_examples=2000, **_UNTIMED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


class _TorchRandom:
    """Lets hypothesis seed torch for every example, without importing torch for the tests that do not use it."""

    def seed(self, seed: int) -> None:
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(seed)

    def getstate(self) -> Any:
        return sys.modules["torch"].get_rng_state() if "torch" in sys.modules else None

    def setstate(self, state: Any) -> None:
        if state is not None:
            sys.modules["torch"].set_rng_state(state)


_torch_random = _TorchRandom()
hypothesis.register_random(_torch_random)  # keeps a weak reference only


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(20170)
    np.random.seed(20170)  # noqa: NPY002 - libraries under test use the global generator
    _torch_random.seed(20170)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scans: ``NAPARI_SPARSE3D_DATA``, or ``../shared/data``. Without it the test is skipped."""
    named = variable("NAPARI_SPARSE3D_DATA")
    if named:
        if not Path(named).is_dir():
            pytest.fail(f"NAPARI_SPARSE3D_DATA={named} is no folder; set it to the scans, or unset it", pytrace=False)
        return Path(named)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not beside.is_dir():
        pytest.skip("no folder of real scans: set NAPARI_SPARSE3D_DATA, or put it at ../shared/data")
    return beside


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Gives disks of their own (``size=200k``, ``ro``, as mount takes it): a real full one, a real read-only one."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        call = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        if not sys.platform.startswith("linux") or subprocess.run(call, capture_output=True, check=False).returncode:
            pytest.skip("needs a small disk of its own, which only root may mount on Linux")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out the tests to the workers of ``pytest -n`` by file, so that what a file shares is made once.

    Where the workers share a display, all of tests/widgets goes to one of them: two windows would fight for the
    keyboard focus. The files come in the order of the collection, not by their number of tests.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "widgets" if "widgets" in file.split("/") and not displays.can_be_had() else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


LONGEST_FIRST = ("widgets", "faults", "extending", "training", "cli", "cohort", "models", "bench", "engine")
"""The folders whose tests open windows, start processes or train; thousands of quick ones then fill up the end."""


def _place(item: pytest.Item) -> int:
    folders = item.nodeid.partition("::")[0].split("/")
    return next((place for place, name in enumerate(LONGEST_FIRST) if name in folders), len(LONGEST_FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run; the longest folders first."""
    items.sort(key=_place)
    for item in items:
        if item.get_closest_marker("spconv") is None and _takes(item, "spconv"):
            item.add_marker(pytest.mark.spconv)
    if find_spec("spconv") is None:
        _skip(items, "spconv", _NO_SPCONV)
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        _skip(items, "gui", "opens a window and there is no display: install xvfb and call `make test`")
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            _skip(items, "gpu", "needs a CUDA card")


_NO_SPCONV = (
    f"needs the package spconv, which is not installed (Python {sys.version_info[0]}.{sys.version_info[1]}; the "
    "developers' lock has it up to Python 3.11): make PYTHON=/path/to/python3.11 test"
)


def _takes(item: pytest.Item, engine: str) -> bool:
    """Whether a parameter of the test, or of a fixture of it, is the name of this engine."""
    values = getattr(getattr(item, "callspec", None), "params", {}).values()
    return any(isinstance(value, str) and value == engine for value in values)


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))
