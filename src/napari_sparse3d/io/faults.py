"""What can be wrong with a series: one typed list, used by the scan, the readers, the tables and the panels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a fault means for reading the series as a volume."""

    NOTE = "note"
    """The series is read as it is; the reader says what to know about it."""
    CHOICE = "choice"
    """The series is read once the caller has chosen (one volume of several in time)."""
    REPAIR = "repair"
    """The series is refused, and read when a repair is asked for; the repair is recorded in ``Volume.meta``."""
    REFUSE = "refuse"
    """The series is refused: no volume can be made of it without a guess."""


class FaultKind(StrEnum):
    """The kinds of fault. The value is the name used in tables and in JSON."""

    GAP = "gap"
    TILT = "tilt"
    DUPLICATE_IDENTICAL = "duplicate identical"
    DUPLICATE_DIFFERENT = "duplicate different"
    MIXED_ORIENTATION = "mixed orientation"
    MIXED_SPACING = "mixed spacing"
    MIXED_SIZE = "mixed size"
    MIXED_CONTENT = "mixed content"
    MISSING_POSITION = "missing position"
    MISSING_SPACING = "missing spacing"
    LOCALIZER = "localizer"
    NOT_A_VOLUME = "not a volume"
    UNSUPPORTED_CODEC = "unsupported codec"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    FOUR_D = "4D"
    COLOUR = "colour"
    COMPLEX = "complex"
    SINGLE_SLICE = "single slice"
    SHEARED = "sheared"
    UNKNOWN_ORIENTATION = "unknown orientation"
    FORMS_DISAGREE = "sform and qform disagree"
    UNKNOWN_UNIT = "unknown unit"
    NOT_CALIBRATED = "not calibrated"
    PADDING = "padding"
    ORDER_IN_TIME = "order in time"
    MOVED = "moved"
    VALUES = "values"


SEVERITY: dict[FaultKind, Severity] = {
    FaultKind.GAP: Severity.REPAIR,
    FaultKind.TILT: Severity.REPAIR,
    FaultKind.DUPLICATE_IDENTICAL: Severity.NOTE,
    FaultKind.DUPLICATE_DIFFERENT: Severity.REFUSE,
    FaultKind.MIXED_ORIENTATION: Severity.NOTE,
    FaultKind.MIXED_SPACING: Severity.NOTE,
    FaultKind.MIXED_SIZE: Severity.NOTE,
    FaultKind.MIXED_CONTENT: Severity.NOTE,
    FaultKind.MISSING_POSITION: Severity.REFUSE,
    FaultKind.MISSING_SPACING: Severity.REFUSE,
    FaultKind.LOCALIZER: Severity.NOTE,
    FaultKind.NOT_A_VOLUME: Severity.REFUSE,
    FaultKind.UNSUPPORTED_CODEC: Severity.REFUSE,
    FaultKind.TRUNCATED: Severity.REFUSE,
    FaultKind.UNREADABLE: Severity.REFUSE,
    FaultKind.FOUR_D: Severity.CHOICE,
    FaultKind.COLOUR: Severity.REFUSE,
    FaultKind.COMPLEX: Severity.REPAIR,
    FaultKind.SINGLE_SLICE: Severity.NOTE,
    FaultKind.SHEARED: Severity.NOTE,
    FaultKind.UNKNOWN_ORIENTATION: Severity.NOTE,
    FaultKind.FORMS_DISAGREE: Severity.NOTE,
    FaultKind.UNKNOWN_UNIT: Severity.NOTE,
    FaultKind.NOT_CALIBRATED: Severity.NOTE,
    FaultKind.PADDING: Severity.NOTE,
    FaultKind.ORDER_IN_TIME: Severity.NOTE,
    FaultKind.MOVED: Severity.NOTE,
    FaultKind.VALUES: Severity.NOTE,
}


@dataclass(frozen=True)
class Fault:
    """One thing to know about a series.

    Parameters
    ----------
    kind : FaultKind
        Which of the typed list.
    detail : str
        One sentence with the figures; holds no file name and no patient identity.
    severity : Severity, optional
        The usual one of the kind unless told.
    """

    kind: FaultKind
    detail: str
    severity: Severity = Severity.NOTE

    @classmethod
    def of(cls, kind: FaultKind, detail: str, severity: Severity | None = None) -> Fault:
        """A fault with the usual severity of its kind, or with ``severity``."""
        return cls(kind, detail, SEVERITY[kind] if severity is None else severity)

    @property
    def refuses(self) -> bool:
        """Whether the series is not read as it is."""
        return self.severity in (Severity.REPAIR, Severity.REFUSE)

    def as_dict(self) -> dict[str, str]:
        """Plain strings, for tables and JSON."""
        return {"kind": self.kind.value, "severity": self.severity.value, "detail": self.detail}
