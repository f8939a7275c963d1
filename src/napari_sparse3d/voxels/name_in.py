"""A text in a recipe that names a part of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from napari_sparse3d.catalog import Registry


@dataclass(frozen=True)
class NameIn:
    """Annotation of a text that must be a name of the catalogue: others are refused, and forms offer these."""

    parts: Registry[Any]

    @property
    def choices(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self.parts)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As pydantic asks for it."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, name: str) -> str:
        if name in self.parts:
            return name
        *most, last = map(repr, self.choices)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(most)} or {last}"})
