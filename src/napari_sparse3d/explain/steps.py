"""Work that says how far it is."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def result_of(work: Generator[tuple[int, int], None, T]) -> T:
    """Run it to its end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
