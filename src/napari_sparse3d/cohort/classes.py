"""Which number a class of a column has, and so which colour: it keeps that, whatever cases and classes come later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class ClassNumbers:
    """The classes of each column in the order in which they were first seen.

    Classes that share none with those that were seen before are of another kind of case, and begin at 0 again: ten
    colours are soon used up.
    """

    def __init__(self) -> None:
        self._orders: dict[str, list[list[str]]] = {}

    def of(self, column: str, classes: Iterable[str], saved: Sequence[str] = ()) -> dict[str, int]:
        """The number of each class; those seen for the first time come after the others, by name.

        Parameters
        ----------
        column : str
        classes : iterable of str
            That the column has.
        saved : sequence of str
            The order that the cases' table has kept; it counts where none of the classes was seen here before.
        """
        names = set(classes)
        order = self._order(column, names)
        if order is None:
            order = list(dict.fromkeys(saved)) if names.intersection(saved) else []
            self._orders.setdefault(column, []).append(order)
        order += sorted(names.difference(order))
        return {name: number for number, name in enumerate(order) if name in names}

    def order(self, column: str, classes: Iterable[str]) -> list[str]:
        """The order that these classes are numbered by, for the table to keep; empty where none was numbered."""
        return list(self._order(column, set(classes)) or [])

    def _order(self, column: str, names: set[str]) -> list[str] | None:
        return next((order for order in self._orders.get(column, []) if names.intersection(order)), None)


def checked_orders(stored: object) -> dict[str, tuple[str, ...]]:
    """What a table says of its classes' order; whatever is no list of different texts is passed over."""
    if not isinstance(stored, Mapping):
        return {}
    return {
        str(column): tuple(order)
        for column, order in stored.items()
        if isinstance(order, list) and all(isinstance(each, str) for each in order) and len(set(order)) == len(order)
    }
