"""One home for every choice: the parts of a kind, those of this package and those that others install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from napari_sparse3d.errors import CatalogError
from napari_sparse3d.text import did_you_mean

_OURS = "napari-sparse3d"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is known of a part before any of its code is imported. Subclasses say what is special to their kind.

    Attributes
    ----------
    name : str
        How it is called on the command line, in files and in Python.
    title : str
        How it is called in a panel.
    description : str
        One line for help and tables.
    home : str
        ``module:object``: where its code is.
    needs : tuple of str
        Modules that have to be installed for it.
    install : str
        The line that installs them.
    """

    name: str
    title: str
    description: str
    home: str
    needs: tuple[str, ...] = ()
    install: str = ""

    @property
    def absent(self) -> str:
        """What is not installed; "" where all is there. Imports nothing."""
        absent = [module for module in self.needs if not _is_there(module)]
        return f"{' and '.join(absent)} is not installed" if absent else ""

    @property
    def missing(self) -> str:
        """The same, with the line that installs it."""
        return f"{self.absent}; {self.install}" if self.absent else ""

    def load(self, home: str = "") -> Any:
        """What ``home`` names: the part's own, or another one that its descriptor has.

        Raises
        ------
        CatalogError
            In one line, if it, or what it needs, cannot be imported.
        """
        try:
            return resolve_name(home or self.home)
        except (ImportError, AttributeError) as error:
            why = self.missing or f"{error}; reinstall the package that it is part of"
            raise CatalogError(f"{self.name!r} cannot be loaded: {why}") from error


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a package that it would be in is not there; or a module without a spec
        return False


P = TypeVar("P", bound=Part)


class Registry(Mapping[str, P], Generic[P]):
    """The parts of one kind by name: first ours, in their order, then others' by name.

    A package adds one by an entry point of the group, which names a descriptor, or a list of them. Its module is
    imported as soon as the names are asked for: it should import neither torch nor Qt, as ``home`` is for.

    Parameters
    ----------
    kind : str
        What a part is, in messages: ``"engine"``.
    group : str
        The entry-point group.
    describes : type
        Of the descriptors.
    built_in : sequence
        Those of this package.
    """

    def __init__(self, kind: str, group: str, describes: type[P], built_in: Sequence[P]) -> None:
        self.kind, self.group = kind, group
        self._describes = describes
        self.built_in = tuple(built_in)
        """Those of this package: nobody else's part takes the place of one."""
        self._ours = {part.name: part for part in built_in}

    @property
    def broken(self) -> Mapping[str, str]:
        """Entry points that give no part, and why; nothing else is kept from working by them."""
        return self._found[1]

    def __getitem__(self, name: str) -> P:
        """The part of this name.

        Raises
        ------
        CatalogError
            If there is none: the message names those that there are. It is a ``KeyError`` as well.
        """
        if name in self._ours:  # without a look at what is installed
            return self._ours[name]
        parts, broken = self._found
        if name in parts:
            return parts[name]
        if name in broken:
            raise CatalogError(f"{self.kind} {name!r} cannot be used: {broken[name]}")
        raise CatalogError(
            f"there is no {self.kind} {name!r}; choose {', '.join(parts)}{did_you_mean(str(name), parts)}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._found[0])

    def __len__(self) -> int:
        return len(self._found[0])

    def forget(self) -> None:
        """Look for installed packages anew, when the names are next asked for."""
        _installed.cache_clear()
        self.__dict__.pop("_found", None)

    @cached_property
    def _found(self) -> tuple[Mapping[str, P], Mapping[str, str]]:
        parts = dict(self._ours)
        broken: dict[str, str] = {}
        for point in sorted(_installed().select(group=self.group), key=lambda point: point.name):
            if point.dist is not None and point.dist.name == _OURS:
                continue
            try:
                described = self._described(point)
            except Exception as error:  # whatever is wrong with one package, the others' parts work
                broken[point.name] = f"{type(error).__name__}: {error}"
                continue
            for part in described:
                if part.name in parts:
                    broken[point.name] = f"there is another {self.kind} called {part.name!r}"
                else:
                    parts[part.name] = part
        return MappingProxyType(parts), MappingProxyType(broken)

    def _described(self, point: EntryPoint) -> list[P]:
        target = point.load()
        described = list(target) if isinstance(target, (list, tuple)) else [target]
        for each in described:
            if not isinstance(each, self._describes):
                raise TypeError(f"the entry point must name a {self._describes.__name__}, it names {each!r:.80}")
        return described


@cache
def _installed() -> Any:  # of another type up to Python 3.11 than above; both have ``select``
    """The entry points of all packages: looking through them takes a tenth of a second, once for all kinds."""
    return entry_points()
