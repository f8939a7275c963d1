"""What three answers to one set say of ours: right, refused or wrong, each with its reason in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from scoreboard.compare import Difference, differences, matching_volumes, same, same_grid
from scoreboard.images import Image
from scoreboard.reviewed import review_of
from scoreboard.sources import Answer

# how far apart two images are by what differs: what is nearest is named
_GRAVITY = {"step": 1, "order": 2, "mirrored": 3, "volumes": 4, "values": 5, "place": 6, "shape": 20}


@dataclass
class Expected:
    """One image that a set should give: as it is published, as dcm2niix makes it, or both where they disagree."""

    name: str
    versions: dict[str, Image]

    def met_by(self, image: Image) -> bool:
        """Whether an image equals one of the versions."""
        return any(same(image, version) for version in self.versions.values())

    @property
    def image(self) -> Image:
        """The version that counts first: the published one."""
        return next(iter(self.versions.values()))

    @property
    def series(self) -> set[str]:
        """What its versions say of their series."""
        return {version.series for version in self.versions.values()} - {""}


@dataclass
class Verdict:
    """The score of one set."""

    name: str
    counts: tuple[int, int, int]
    """Images of ours, of dcm2niix, and published."""
    right: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    only_ours: dict[str, str] = field(default_factory=dict)
    """What no reference holds: neither right nor wrong until somebody has looked."""
    ours_right: dict[str, str] = field(default_factory=dict)
    """What differed and was found to be right, by review."""
    refused_rightly: dict[str, str] = field(default_factory=dict)
    """What the references make of a set and should not, by review."""
    notes: list[str] = field(default_factory=list)


def judge(name: str, ours: Answer, dcm2niix: Answer | None, published: Answer) -> Verdict:
    """Compare what we made of a set with what it should give."""
    theirs = dcm2niix or Answer()
    verdict = Verdict(name, (len(ours.images), len(theirs.images), len(published.images)))
    expected = _expected(published.images, theirs.images, verdict)
    for source, answer in (("published", published), ("dcm2niix", theirs)):
        verdict.notes += [f"{source} {item} is not compared: {why}" for item, why in answer.refused.items()]
    left_ours, left = _alike(ours.images, expected, verdict)
    left_ours, left = _grouped_otherwise(left_ours, left, verdict)
    for image in left_ours:
        left = _explain(image, left, expected, verdict)
    for item in left:
        _not_read(item, ours, verdict)
    _review(verdict)
    return verdict


def _review(verdict: Verdict) -> None:
    """Take out what a person has looked at and found to speak for us."""
    for causes, kept in (
        (verdict.wrong, verdict.ours_right),
        (verdict.only_ours, verdict.ours_right),
        (verdict.refused, verdict.refused_rightly),
    ):
        for image, cause in list(causes.items()):
            why = review_of(verdict.name, image, cause)
            if why:
                del causes[image]
                kept[image] = f"{cause} ({why})"


def _expected(published: Sequence[Image], dcm2niix: Sequence[Image], verdict: Verdict) -> list[Expected]:
    """Published images, each with what dcm2niix makes of it, and what it makes beyond them."""
    left = list(dcm2niix)
    found = [Expected(image.name, {"published": image}) for image in published]
    for item in found:
        equal = next((image for image in left if item.met_by(image)), None)
        if equal is not None:
            left.remove(equal)
            item.versions["dcm2niix"] = equal
    for item in found:
        if "dcm2niix" in item.versions or not left:
            continue
        near, apart = nearest(item.versions["published"], left)
        if near is not None and apart[0].kind not in ("shape", "place"):
            left.remove(near)
            item.versions["dcm2niix"] = near
            verdict.notes.append(f"dcm2niix differs from the published {item.name}: {_words(apart)}")
    return found + [Expected(image.name, {"dcm2niix": image}) for image in left]


def _alike(
    images: Sequence[Image], expected: Sequence[Expected], verdict: Verdict
) -> tuple[list[Image], list[Expected]]:
    left, left_ours, unsaid = list(expected), [], 0
    for image in images:
        match = next((item for item in left if item.met_by(image)), None)
        if match is not None:
            left.remove(match)
            verdict.right.append(match.name)
            unsaid += image.step_s is None and match.image.step_s is not None
            _say_which(image, match, verdict)
        elif any(item.met_by(image) for item in expected):
            verdict.notes.append(f"{image.name} is the same image again")
        else:
            left_ours.append(image)
    if unsaid:
        verdict.notes.append(f"no time step of ours where the reference has one: {unsaid}")
    return left_ours, left


def _say_which(image: Image, item: Expected, verdict: Verdict) -> None:
    unlike = [source for source, version in item.versions.items() if not same(image, version)]
    verdict.notes += [f"{image.name} is equal to the other, not to {source}" for source in unlike]


def _grouped_otherwise(
    images: list[Image], expected: list[Expected], verdict: Verdict
) -> tuple[list[Image], list[Expected]]:
    """Images of ours that join several expected ones, and the other way round, volume for volume and in their order."""
    for image in list(images):
        parts = [item for item in expected if _holds(image, item.image)]
        if sum(item.image.data.shape[3] for item in parts) == image.data.shape[3] and parts:
            images.remove(image)
            expected = [item for item in expected if item not in parts]
            verdict.right += [item.name for item in parts]
            verdict.notes.append(f"{image.name} joins {', '.join(item.name for item in parts)}")
    for item in list(expected):
        whole = item.image
        pieces = [image for image in images if _holds(whole, image)]
        if sum(image.data.shape[3] for image in pieces) == whole.data.shape[3] and pieces:
            images = [image for image in images if image not in pieces]
            expected.remove(item)
            verdict.right.append(item.name)
            verdict.notes.append(f"{item.name} is split into {', '.join(image.name for image in pieces)}")
    return images, expected


def _holds(whole: Image, part: Image) -> bool:
    places = matching_volumes(part, whole)
    return len(places) == part.data.shape[3] and list(places.values()) == sorted(places.values())


def _explain(image: Image, left: list[Expected], expected: Sequence[Expected], verdict: Verdict) -> list[Expected]:
    """Name what an image that equals none differs in, and take the one it was to be from those that are left."""
    # an image of another series is no reference, however alike its grid
    near_by = [item for item in (left or expected) if not item.series or any(_names(image, of) for of in item.series)]
    owner = {id(version): item for item in near_by for version in item.versions.values()}
    near, apart = nearest(image, [version for item in near_by for version in item.versions.values()])
    if near is None or apart[0].kind == "shape":
        verdict.only_ours[image.name] = f"{image.size}, which no reference holds"
        return left
    item = owner[id(near)]
    # several expected images that ours mixes into one are one fault
    mixed = [other for other in left if other is item or (other.series & item.series and same_grid(image, other.image))]
    if len(mixed) < 2 or apart[0].kind != "volumes":
        mixed = [item]
    verdict.wrong[image.name] = "; ".join(
        f"against {other.name}: {_words(apart if other is item else differences(image, other.image))}"
        for other in mixed
    )
    return [other for other in left if other not in mixed]


def nearest(image: Image, others: Sequence[Image]) -> tuple[Image | None, tuple[Difference, ...]]:
    """The image that differs least, those of the same series first, and in what."""
    alike = [other for other in others if other.data.shape[:3] == image.data.shape[:3]] or list(others)
    named = [other for other in alike if _names(image, other.series)] or alike
    apart = {id(other): differences(image, other) for other in named}

    def distance(other: Image) -> tuple[int, int]:
        return sum(_GRAVITY[item.kind] for item in apart[id(other)]), -len(matching_volumes(image, other))

    best = min(named, key=distance, default=None)
    return best, apart[id(best)] if best is not None else ()


def _names(image: Image, series: str) -> bool:
    """Whether an image says that it is of a series; dcm2niix writes ``_`` for other characters."""
    said, wanted = (re.sub(r"[\W_]+", "", text).lower() for text in (image.name, series))
    return bool(wanted) and wanted in said


def _not_read(item: Expected, ours: Answer, verdict: Verdict) -> None:
    same_name = {name: why for name, why in ours.refused.items() if any(text in name for text in item.series)}
    reasons = sorted(set((same_name or ours.refused).values()))
    if not reasons:
        verdict.wrong[item.name] = "not read, and nothing says why"
    elif len(reasons) == 1:
        verdict.refused[item.name] = reasons[0]
    else:  # which of them cannot be told: their kinds
        verdict.refused[item.name] = " or ".join(sorted({why.split(":")[0] for why in reasons}))


def _words(apart: Sequence[Difference]) -> str:
    return "; ".join(map(str, apart))
