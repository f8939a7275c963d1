"""The next batch is made while the network trains on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


@contextmanager
def one_ahead(make: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[Iterator[_R]]:
    """What ``make`` gives for each item, in order, the next one made on a thread of its own meanwhile.

    No more than that one waits. What ``make`` raises is raised in the place of what it should have given. It must be a
    function of its item alone, and draw from no generator that others draw from.

    Yields
    ------
    iterator
        To be used in the ``with`` block, whose end waits for what is being made, and makes no more.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:

        def begun(item: _T) -> Future[_R]:
            return thread.submit(copy_context().run, make, item)

        def each() -> Iterator[_R]:
            waiting: Future[_R] | None = None
            for item in items:
                following = begun(item)
                if waiting is not None:
                    yield waiting.result()
                waiting = following
            if waiting is not None:
                yield waiting.result()

        yield each()
