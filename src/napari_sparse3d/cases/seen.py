"""What a model was trained on: what those cases were like, and which they were; and whether another case is like them.

A network answers on whatever it is given. Trained on masks of vessels it calls a whole head healthy, with probability
1.000: so its card says what it has seen, and whatever lies outside is said beside the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.facts import Facts
    from napari_sparse3d.cases.store import VoxelStore
    from napari_sparse3d.models.card import ModelCard, Seen

DIGITS = 16
"""Of a content hash, in a card: enough to tell a million cases apart."""
_MOST_CASES = 150_000
"""Of which a card keeps the hashes; it would be larger than one that is read."""
_SAME_SIZE = 0.05
"""A voxel that differs by less than this part is of the same size."""
_NO_SIZE = ("medmnist", "packed")
"""Kinds whose files do not say how large a voxel is."""
_WORDS = {"mask": "masks", "scan": "scans"}


class _Grid(Protocol):
    """A voxel set, wherever it lies."""

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def affine(self) -> NDArray[np.float64]: ...


def seen_in(cases: Sequence[Case], store: VoxelStore, field: int) -> Seen:
    """What the training cases are like, in a field of this side."""
    from napari_sparse3d.models.card import Seen

    percents, sides, sizes_mm = [], [], []
    units: set[str] = set()
    values: set[Literal["mask", "scan"]] = set()
    for case in cases:
        voxels, facts = store.get(case), store.facts(case)
        percents.append(100.0 * voxels.n_active / field**3)
        sides.append(max(voxels.shape))
        if case.kind not in _NO_SIZE:
            sizes_mm += _spacing(voxels).tolist()
        units |= {facts.unit} - {""}
        if facts.values != "voxels":
            values.add(facts.values)
    return Seen(
        active_percent=(min(percents), max(percents)),
        longest_side=(min(sides), max(sides)),
        spacing_mm=(min(sizes_mm), max(sizes_mm)) if sizes_mm else None,
        units=tuple(sorted(units)),
        values=tuple(sorted(values)),
    )


def split_of(
    train: Iterable[Case], val: Iterable[Case], contents: Mapping[Case, str]
) -> dict[str, tuple[str, ...]] | None:
    """The content hashes of both sides, for a card; None of more than a card takes."""
    if len(contents) > _MOST_CASES:
        return None
    return {
        name: tuple(sorted({contents[case][:DIGITS] for case in side}))
        for name, side in (("train", train), ("val", val))
    }


def side_of(card: ModelCard, content: str) -> str | None:
    """On which side of its training a model has seen this content: ``train``, ``val``, or None."""
    digits = content[:DIGITS]
    return next((side for side in ("train", "val") if digits in (card.split or {}).get(side, ())), None)


def unlike_training(card: ModelCard, facts: Facts, voxels: _Grid, active_percent: float) -> str | None:
    """In what a case is unlike those that a model was trained on, in words; "" where in nothing.

    None where the card does not say what those were like.
    """
    seen = card.seen
    percents = _percents(card)
    if not card.trained or (seen is None and percents is None):
        return None
    said = []
    if percents is not None and not percents[0] <= active_percent <= percents[1]:
        low, high = percents
        said.append(f"{active_percent:.3g} % of the field is active, in training {low:.3g} to {high:.3g} %")
    if seen is not None:
        said += _other_kind(seen, facts)
        side, sizes = max(voxels.shape), _spacing(voxels)
        if seen.longest_side is not None and not seen.longest_side[0] <= side <= seen.longest_side[1]:
            low_side, high_side = seen.longest_side
            said.append(f"its longest side is {side} voxels, in training {low_side} to {high_side}")
        if seen.spacing_mm is not None:
            low, high = seen.spacing_mm
            if sizes.min() < low * (1 - _SAME_SIZE) or sizes.max() > high * (1 + _SAME_SIZE):
                said.append(
                    f"its voxels are {sizes.min():.3g} to {sizes.max():.3g} mm, in training {low:.3g} to {high:.3g}"
                )
    return "; ".join(said)


def warning(model: str, outside: str | None) -> str:
    """What stands beside an answer on such a case, in a sentence; "" where there is nothing to say."""
    return f"unlike what {model} was trained on, do not trust its answer: {outside}" if outside else ""


def warning_of_many(model: str, unlike: int, total: int, what: str) -> str:
    """The same of a table: how many of its ``what`` (series, cases) are such; "" where none is."""
    if not unlike:
        return ""
    return (
        f"{unlike} of {total} {what} are unlike what {model} was trained on, do not trust its answers there: "
        "see the column outside_training"
    )


def takes(card: ModelCard) -> str:
    """What a model takes, in a line: as it was trained; "" where that is not known."""
    seen, said = card.seen, []
    if not card.trained:
        return ""
    if seen is not None and seen.values:
        said.append(" and ".join(_WORDS[value] for value in seen.values))
    if seen is not None and seen.units and "scan" in seen.values:
        said.append(f"in {' or '.join(seen.units)}")
    if seen is not None and seen.longest_side is not None:
        said.append(f"of {_range(*seen.longest_side)} voxels")
    if seen is not None and seen.spacing_mm is not None:
        said.append(f"of {_range(*seen.spacing_mm)} mm")
    if (percents := _percents(card)) is not None:
        said.append(f"{_range(*percents)} % of the field active")
    return ", ".join(said)


def _percents(card: ModelCard) -> tuple[float, float] | None:
    """Lowest and highest percent active of the training cases; earlier cards have it in a field of its own."""
    seen = card.seen
    return seen.active_percent if seen is not None and seen.active_percent is not None else card.active_percent_seen


def _other_kind(seen: Seen, facts: Facts) -> list[str]:
    said = []
    if seen.values and facts.values in _WORDS and facts.values not in seen.values:
        said.append(f"it is a {facts.values}, in training were {' and '.join(_WORDS[each] for each in seen.values)}")
    if seen.units and facts.unit and facts.unit not in seen.units:
        said.append(f"its unit is {facts.unit}, in training {' or '.join(seen.units)}")
    return said


def _spacing(voxels: _Grid) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(voxels.affine[:3, :3], axis=0))


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if high - low <= _SAME_SIZE * abs(low) else f"{low:.3g} to {high:.3g}"
