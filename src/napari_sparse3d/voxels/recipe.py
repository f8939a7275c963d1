"""A recipe: how a volume becomes a voxel set.

One frozen pydantic model, the same object behind the widget, the command line, the TOML file and the model card::

    name = "knee"
    field = 126

    [resample]
    kind = "longest_side"
    voxels = 110

    [threshold]
    kind = "range"
    low = 226

    [region]
    kind = "body"

    [components]
    keep = 1
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

import tomli_w
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from napari_sparse3d.catalog import RECIPES, THRESHOLDS, RecipeInfo, ThresholdInfo
from napari_sparse3d.errors import CatalogError, InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.parse import parse_json, parse_toml
from napari_sparse3d.text import did_you_mean
from napari_sparse3d.voxels.name_in import NameIn
from napari_sparse3d.voxels.recipe_part import RecipePart, short

_LARGEST_FILE = 100_000

PositiveMm: TypeAlias = Annotated[float, Field(ge=1e-4, lt=1e4, allow_inf_nan=False)]
Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class NoResampling(RecipePart):
    """Keep the volume's own grid."""

    kind: Literal["none"] = "none"


class ToSpacing(RecipePart):
    """Resample to voxels of ``spacing_mm``: one number for isotropic voxels, or (z, y, x)."""

    kind: Literal["spacing_mm"] = "spacing_mm"
    spacing_mm: tuple[PositiveMm, PositiveMm, PositiveMm]

    @field_validator("spacing_mm", mode="before")
    @classmethod
    def _isotropic(cls, value: object) -> object:
        return (value, value, value) if isinstance(value, (int, float)) else value


class ToLongestSide(RecipePart):
    """Resample to isotropic voxels of which the longest side in mm takes ``voxels``."""

    kind: Literal["longest_side"] = "longest_side"
    voxels: int = Field(ge=1, le=4096)


Resample: TypeAlias = Annotated[NoResampling | ToSpacing | ToLongestSide, Field(discriminator="kind")]


class RangeThreshold(RecipePart):
    """Active where ``low <= value <= high``, in the volume's unit; without one of the two, open on that side.

    ``unit`` (``"HU"`` or ``"a.u."``), where given, is what the volume's unit must be.
    """

    kind: Literal["range"] = "range"
    low: Finite | None = None
    high: Finite | None = None
    unit: Literal["HU", "a.u."] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> RangeThreshold:
        if self.low is None and self.high is None:
            raise ValueError("a range needs low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}; swap them")
        return self


class OtsuThreshold(RecipePart):
    """Active above Otsu's threshold of the volume's own histogram."""

    kind: Literal["otsu"] = "otsu"


class PercentileThreshold(RecipePart):
    """Active where the value exceeds this percentile of the volume's values."""

    kind: Literal["percentile"] = "percentile"
    percentile: float = Field(ge=0, le=100)


class FractionOfMax(RecipePart):
    """Active where the value exceeds ``fraction`` of the largest value after resampling."""

    kind: Literal["fraction_of_max"] = "fraction_of_max"
    fraction: float = Field(gt=0, lt=1)


PresetName: TypeAlias = Annotated[str, NameIn(THRESHOLDS)]


class Preset(RecipePart):
    """A named threshold, see :data:`napari_sparse3d.catalog.THRESHOLDS`."""

    kind: Literal["preset"] = "preset"
    name: PresetName


Threshold: TypeAlias = Annotated[
    RangeThreshold | OtsuThreshold | PercentileThreshold | FractionOfMax | Preset, Field(discriminator="kind")
]
PlainThreshold: TypeAlias = RangeThreshold | OtsuThreshold | PercentileThreshold | FractionOfMax


def plain_threshold(**values: Any) -> PlainThreshold:
    """A threshold that is no preset, from its ``kind`` and what goes with it."""
    threshold = _Threshold(threshold=cast(Any, values)).threshold
    if isinstance(threshold, Preset):
        raise InputError("a preset cannot stand for another preset")
    return threshold


class _Threshold(RecipePart):
    threshold: Threshold


def named_threshold(name: str) -> PlainThreshold:
    """What a preset stands for.

    Raises
    ------
    InputError
        If there is none of this name in :data:`napari_sparse3d.catalog.THRESHOLDS`, or it is no threshold.
    """
    return PRESETS[name] if name in PRESETS else _threshold_of(THRESHOLDS[name])


def _threshold_of(info: ThresholdInfo) -> PlainThreshold:
    try:
        threshold: PlainThreshold = info.load()(**info.values)
    except InputError as error:
        raise CatalogError(f"preset {info.name!r} cannot be used: {error}") from error
    return threshold


PRESETS: dict[str, PlainThreshold] = {info.name: _threshold_of(info) for info in THRESHOLDS.built_in}
"""What the names of :class:`Preset` stand for: those of this package."""


class WholeScan(RecipePart):
    """Voxels may lie anywhere in the scan."""

    kind: Literal["all"] = "all"


class Body(RecipePart):
    """Keep what lies in the patient's body alone: no couch, no head holder. For CT, see ``voxels.body``.

    ``above_hu``: what is at most that dense is air. ``thinner_than_mm``: what is thinner can be a part of the couch.
    """

    kind: Literal["body"] = "body"
    above_hu: float = Field(default=-300.0, ge=-1000, le=0)
    thinner_than_mm: float = Field(default=12.0, ge=1, le=100)


Region: TypeAlias = Annotated[WholeScan | Body, Field(discriminator="kind")]


class Components(RecipePart):
    """Keep the ``keep`` largest connected parts, or all. Of equal parts the first in raster order goes first.

    ``connectivity``: 6 (faces), 18 (and edges) or 26 (and corners).
    """

    keep: Literal["all"] | int = "all"
    connectivity: Literal[6, 18, 26] = 26

    @field_validator("keep", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        if value != "all" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31):
            raise ValueError(f"must be 'all' or a number of parts from 1, not {short(value)}")
        return value


FeatureName: TypeAlias = Literal["occupancy", "intensity", "depth", "gradient"]
FEATURE_CHANNELS: dict[FeatureName, int] = {"occupancy": 1, "intensity": 1, "depth": 1, "gradient": 3}


class Recipe(RecipePart):
    """How a volume becomes a voxel set. It is saved inside every model.

    Parameters
    ----------
    name : str
        For tables and layer names.
    resample : NoResampling, ToSpacing or ToLongestSide
    threshold : RangeThreshold, OtsuThreshold, PercentileThreshold, FractionOfMax or Preset
    region : WholeScan or Body
        Where voxels may lie. A recipe for the whole scan is written without it, as it was before there was a choice:
        its files, models and hashes stay what they are.
    components : Components
    features : tuple of str
        Any of ``occupancy``, ``intensity``, ``depth``, ``gradient`` (see ``voxels.features``), in the order of the
        channels.
    field : int or None
        Side, in voxels, of the cubic grid in which the network sees the set, centred; None: any size.

    Raises
    ------
    InputError
        In one line, naming the part that is wrong, for anything that is no recipe.
    """

    name: str = Field(default="custom", max_length=200)
    resample: Resample = NoResampling()
    threshold: Threshold
    region: Region = WholeScan()
    components: Components = Components()
    features: tuple[FeatureName, ...] = Field(default=("occupancy",), min_length=1)
    field: int | None = Field(default=None, ge=1, le=4096)

    @field_validator("features")
    @classmethod
    def _unique(cls, features: tuple[FeatureName, ...]) -> tuple[FeatureName, ...]:
        if len(set(features)) != len(features):
            raise ValueError(f"a feature is named twice in {', '.join(features)}")
        return features

    @field_validator("threshold")
    @classmethod
    def _written_out(cls, threshold: Threshold) -> Threshold:
        # a recipe is saved in models: what another package calls so must mean the same where that is not installed
        if isinstance(threshold, Preset) and threshold.name not in PRESETS:
            return named_threshold(threshold.name)
        return threshold

    @model_serializer(mode="wrap")
    def _without_the_usual_region(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = written(self)
        if isinstance(self.region, WholeScan):
            values.pop("region", None)
        return values

    @property
    def n_channels(self) -> int:
        """Number of feature channels C."""
        return sum(FEATURE_CHANNELS[name] for name in self.features)

    @classmethod
    def named(cls, name: str) -> Recipe:
        """The recipe of this name, one of :data:`napari_sparse3d.catalog.RECIPES`.

        Raises
        ------
        InputError
            If there is none, or another package's is no recipe.
        """
        if name in BUILT_IN:
            return BUILT_IN[name]
        if name not in RECIPES and name not in RECIPES.broken:
            raise InputError(
                f"there is no recipe {name!r}; choose {', '.join(RECIPES)} or give a .toml or .json file"
                f"{did_you_mean(name, RECIPES)}"
            )
        return _recipe_of(RECIPES[name])

    @classmethod
    def find(cls, name_or_path: str) -> Recipe:
        """A name, or a ``.toml`` or ``.json`` file: what the command line's ``--recipe`` takes."""
        is_path = Path(name_or_path).suffix in {".toml", ".json"} or os.sep in name_or_path
        return cls.load(name_or_path) if is_path else cls.named(name_or_path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a ``.toml`` or ``.json`` file.

        Raises
        ------
        InputError
            If the file is neither, cannot be parsed, or does not hold a recipe.
        FileNotFoundError
            If there is no such file.
        """
        source = Path(path)
        parse = {".toml": cls.from_toml, ".json": cls.from_json}.get(source.suffix)
        if parse is None:
            raise InputError(f"a recipe is a .toml or .json file, got {source.name!r}")
        try:
            with source.open("rb") as file:
                content = file.read(_LARGEST_FILE + 1)
            if len(content) > _LARGEST_FILE:
                raise InputError(f"a recipe takes a few lines, this file more than {_LARGEST_FILE // 1000} kB")
            return parse(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(f"recipe {source.name} is not UTF-8; save it so") from error
        except InputError as error:
            raise InputError(f"recipe {source.name}: {error}") from error

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Parse TOML."""
        return cls(**parse_toml(text))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Parse JSON."""
        values = parse_json(text)
        if not isinstance(values, dict):
            raise InputError(f"a recipe is one JSON object, got a {type(values).__name__}")
        return cls(**values)

    def to_toml(self) -> str:
        """As TOML, with every choice written out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def to_json(self) -> str:
        """As one JSON object, with every choice written out."""
        return self.model_dump_json(exclude_none=True, indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a ``.toml`` or ``.json`` file; it appears whole or not at all."""
        write = {".toml": self.to_toml, ".json": self.to_json}.get(Path(path).suffix)
        if write is None:
            raise InputError(f"a recipe is written as .toml or .json, got {Path(path).name!r}")
        with replacing(path) as temporary:
            temporary.write_text(write(), encoding="utf-8")


def _recipe_of(info: RecipeInfo) -> Recipe:
    try:
        recipe: Recipe = info.load()(name=info.name, **info.values)
    except InputError as error:
        raise CatalogError(f"recipe {info.name!r} cannot be used: {error}") from error
    return recipe


BUILT_IN: dict[str, Recipe] = {info.name: _recipe_of(info) for info in RECIPES.built_in}
"""The recipes of this package, by name."""


def sees_values(recipe: Recipe) -> bool:
    """Whether the features say anything of the scan's values, so that sets with every voxel active differ."""
    return not {"intensity", "gradient"}.isdisjoint(recipe.features)


def without_effect(recipe: Recipe) -> list[str]:
    """What a recipe says that does nothing, or can do nothing, in words with what to do."""
    said = []
    if recipe.components.keep == "all" and recipe.components.connectivity != Components().connectivity:
        said.append(
            f"components.connectivity={recipe.components.connectivity} is without effect: all parts are kept; say how "
            "many with components.keep"
        )
    if (
        recipe.field is not None
        and isinstance(recipe.resample, ToLongestSide)
        and recipe.resample.voxels > recipe.field
    ):
        said.append(
            f"resample.voxels={recipe.resample.voxels} on the longest side does not fit the field of {recipe.field}; "
            "make it smaller, or the field larger"
        )
    if isinstance(recipe.threshold, PercentileThreshold) and recipe.threshold.percentile == 100:
        said.append("threshold.percentile=100 leaves no voxel: nothing exceeds the maximum; make it smaller")
    return said
