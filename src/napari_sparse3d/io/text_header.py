"""A header of fields in text, as NRRD and MetaImage begin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from napari_sparse3d.errors import ReadError

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""No header of text, with all keys that its writer added, is larger than this."""

MAX_AXES = 16


@dataclass(frozen=True)
class TextHeader:
    """What a header says, field by field, before any of it is understood."""

    kind: ClassVar[str]
    """``"NRRD"`` or ``"MetaImage"``."""

    path: Path
    fields: Mapping[str, str]
    """By name, as the format compares names."""
    listed: tuple[str, ...]
    """The lines after the word that announces a list of data files."""
    end: int
    """Bytes of the header, with what parts it from the voxels."""

    @staticmethod
    def key(name: str) -> str:
        """How ``fields`` has the name."""
        return name

    def get(self, name: str) -> str | None:
        """A field; ``None`` where it is absent."""
        return self.fields.get(self.key(name))

    def text(self, name: str, default: str = "") -> str:
        """A field; ``default`` where it is absent."""
        return self.fields.get(self.key(name), default)

    def required(self, name: str) -> str:
        """A field.

        Raises
        ------
        ReadError
            If it is absent.
        """
        value = self.get(name)
        if value is None:
            raise ReadError(f"the {self.kind} header has no {name}: it is damaged")
        return value

    def sizes(self, name: str, dimension: int) -> tuple[int, ...]:
        """The sizes of the axes.

        Raises
        ------
        ReadError
            If one is no positive whole number, or there are more or fewer than axes.
        """
        words = self.required(name).split()
        if (
            not words
            or len(words) > MAX_AXES
            or not all(re.fullmatch(r"\d{1,12}", word) and int(word) for word in words)
        ):
            raise ReadError(f"the header's {name} are not positive whole numbers, one for each axis; repair the header")
        if len(words) != dimension:
            raise ReadError(f"the header has {len(words)} {name} for {dimension} axes; repair the header")
        return tuple(int(word) for word in words)

    def numbers(self, name: str, count: int) -> list[float] | None:
        """The numbers of a field, separated by blanks; ``None`` where it is absent.

        Raises
        ------
        ReadError
            If a word is no number, or there are more or fewer than ``count``.
        """
        value = self.get(name)
        if value is None:
            return None
        numbers = [number_of(word, what=name) for word in value.split()]
        if len(numbers) != count:
            raise ReadError(
                f"the {self.kind} header's {name} has {len(numbers)} numbers, not {count}; repair the header"
            )
        return numbers

    def check_shares(self, n_items: int, files: Sequence[Path]) -> None:
        """Refuse data files that cannot each hold an equal share of the values."""
        if n_items % len(files):
            raise ReadError(
                f"the header's {n_items} values do not fit evenly into the {len(files)} data files it names"
            )


def number_of(word: str, *, what: str) -> float:
    """A number of a header.

    Raises
    ------
    ReadError
        If it is none.
    """
    try:
        return float(word)
    except ValueError as error:
        raise ReadError(f"the header's {what} holds something else than numbers; repair the header") from error
