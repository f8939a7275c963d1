"""What our libraries import only because it is installed: left out in the process of a command.

- nibabel imports pydicom, and with it gdcm, requests and its decoders, to parse DICOM that is packed into a NIfTI
  header's extension (``findings/nibabel-imports-pydicom.sh``). It takes longer than all else that a NIfTI file needs.
- pyarrow imports pandas at the first array, to see whether that is a Series of it. It takes a third of what torch does.

Nothing here reads such extensions or has such a Series. So each finds, at the moment when it asks, what it finds on a
machine without the other: a case that both provide for. Whoever else imports pydicom or pandas gets it. Python code and
napari, where others may want either, are left as they are.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def leave_out_what_is_optional() -> None:
    """From now on nibabel finds no pydicom, and pyarrow no pandas, unless either is imported already."""
    for user, unused, asks in (("nibabel", "pydicom", _at_its_import), ("pyarrow", "pandas", _at_its_first_array)):
        if user not in sys.modules and unused not in sys.modules:
            sys.meta_path.insert(0, _FinderOf(user, unused, asks))


def _at_its_import(_: ModuleType) -> None:
    return


def _at_its_first_array(pyarrow: Any) -> None:
    pyarrow.array([0])  # it asks once, and remembers


class _FinderOf(MetaPathFinder):
    """Finds one module, once, to import it without another."""

    def __init__(self, name: str, unused: str, asks: Callable[[ModuleType], None]) -> None:
        self._name, self._unused, self._asks = name, unused, asks

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None and self._unused not in sys.modules:
            spec.loader = _Without(spec.loader, self._unused, self._asks)
        return spec


class _Without(Loader):
    def __init__(self, loader: Loader, unused: str, asks: Callable[[ModuleType], None]) -> None:
        self._loader, self._unused, self._asks = loader, unused, asks

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader  # by which the package finds its own data
        with _absent(self._unused):
            self._loader.exec_module(module)
            self._asks(module)


@contextmanager
def _absent(name: str) -> Iterator[None]:
    # not by None in sys.modules: to compiled code (Cython's) that is the module
    finder = _Absent(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Absent(MetaPathFinder):
    """For this thread a module is not installed; another one may be importing it just now."""

    def __init__(self, name: str) -> None:
        self._name, self._thread = name, threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> None:
        if name == self._name and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
