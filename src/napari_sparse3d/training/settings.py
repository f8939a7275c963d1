"""The base of everything that is set by a file, the command line or a panel."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_sparse3d.errors import InputError

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Frozen; unknown keys are refused; what is wrong is said in one line, as an :class:`InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc'])) or 'training'}: {fault['msg']}" for fault in error.errors())
            raise InputError("; ".join(faults)) from error
