"""The base of everything that is set by a file, the command line or a panel."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from napari_sparse3d.errors import InputError
from napari_sparse3d.text import did_you_mean

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Frozen; unknown keys are refused; what is wrong is said in one line, as an :class:`InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError("; ".join(self._said(fault) for fault in error.errors(include_url=False))) from error

    @classmethod
    def _names(cls) -> Iterable[str]:
        """What may have been meant by a name that is none."""
        return cls.model_fields

    @classmethod
    def _said(cls, fault: ErrorDetails) -> str:
        """One fault: which setting, what came, what was expected, and what may have been meant."""
        where, kind = ".".join(map(str, fault["loc"])), fault["type"]
        if kind == "extra_forbidden":
            near = did_you_mean(where, cls._names())
            return f"there is no setting {where!r}{near or '; there are ' + ', '.join(cls.model_fields)}"
        if kind == "value_error":  # of a part, or a validator: already a sentence
            what = str(fault["ctx"]["error"])
            return f"{where}: {what}" if where else what
        text = f"{where or 'settings'}: {fault['msg']}"
        if kind == "missing":
            return text
        came = fault["input"]
        near = ""
        if kind == "literal_error" and isinstance(came, str):
            near = did_you_mean(came, re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
        return f"{text}, got {came!r:.80}{near}"
