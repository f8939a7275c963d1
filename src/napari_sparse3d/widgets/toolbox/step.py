"""How far a job is. No Qt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` (0: nobody knows), and what is being done."""

    done: int
    total: int
    text: str
