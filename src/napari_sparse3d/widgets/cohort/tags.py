"""Words of one's own for cases, in a column beside the truth; each step can be undone. No Qt."""

from __future__ import annotations

from collections.abc import Sequence

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.colours import TAG


class Tags:
    """What was done to the column ``tag`` of a cohort, so that it can be undone."""

    def __init__(self) -> None:
        self._steps: list[dict[int, str | None]] = []
        """For each step the tags that were there before, by the number of the case."""

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._steps)

    def forget(self) -> None:
        """Other cases are shown: their numbers are not those of the steps."""
        self._steps.clear()

    def put(self, cohort: Cohort, indices: Sequence[int], tag: str) -> Cohort:
        """The cohort with this tag on these cases; ``""`` takes theirs away. What changes nothing is no step."""
        tags, wanted = list(cohort.column(TAG)), tag.strip() or None
        before = {index: tags[index] for index in indices if (tags[index] or None) != wanted}
        if not before:
            return cohort
        self._steps.append(before)
        for index in before:
            tags[index] = wanted
        return cohort.with_column(TAG, tags)

    def undo(self, cohort: Cohort) -> Cohort:
        """The cohort as it was before the last step; the column stays, since the user's table may have had it."""
        tags = list(cohort.column(TAG))
        for index, tag in self._steps.pop().items():
            tags[index] = tag
        return cohort.with_column(TAG, tags)


def known_tags(cohort: Cohort) -> list[str]:
    """The tags that are there, by name."""
    return sorted({str(tag) for tag in cohort.column(TAG) if tag not in (None, "")})
