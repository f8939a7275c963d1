"""A card or a recipe from elsewhere is looked at before memory is asked for; what is wrong is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from napari_sparse3d.errors import InputError
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.voxels import Recipe

ARGUMENTS = {"field": 8, "channels": [4, 8], "embedding": 6, "classes": 2}


def card(**changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(load_model("residual").card.model_dump_json())
    return {**made, "arguments": ARGUMENTS, "classes": ["a", "b"], **changed}


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_model(path)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 600
    return text


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.safetensors"
    save_file(build_network("residual", **ARGUMENTS).state_dict(), path, metadata={"card": text})
    return path


def test_a_sound_card_is_read(tmp_path: Path) -> None:
    assert load_model(saved(tmp_path, json.dumps(card()))).card.classes == ("a", "b")


@pytest.mark.parametrize(
    "changed",
    [
        {"classes": ["a"]},
        {"classes": ["a", "b", "c"]},
        {"classes": [str(n) for n in range(100_000)]},
        {"classes": ["a" * 5000, "b"]},
        {"arguments": {**ARGUMENTS, "channels": [100_000, 100_000]}},
        {"arguments": {**ARGUMENTS, "channels": [65536, 65536]}},
        {"arguments": {**ARGUMENTS, "channels": [1] * 65}},
        {"arguments": {**ARGUMENTS, "blocks": 10**9}},
        {"arguments": {**ARGUMENTS, "blocks": [60_000, 60_000]}},
        {"arguments": {**ARGUMENTS, "embedding": 60_000, "classes": 60_000}},
        {"arguments": {**ARGUMENTS, "in_features": 3}},
        {"arguments": {**ARGUMENTS, "field": 10**30}},
        {"arguments": {**ARGUMENTS, "field": "8"}},
        {"arguments": {**ARGUMENTS, "nobody": 1}},
        {"arguments": {**ARGUMENTS, "dropout": {"a": {}}}},
        {"arguments": {f"a{n}": 1 for n in range(100)}},
        {"architecture": "../deepc2"},
        {"architecture": "x" * 10_000},
        {"name": "x" * 10_000},
        {"name": 3},
        {"recipe": {"threshold": {"kind": "range", "low": 1}, "features": ["occupancy", "depth"]}},
        {"recipe": {"threshold": {"kind": "range", "low": 1}, "field": 10**9}},
        {"recipe": None},
        {"extra": 1},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_cards_that_do_not_fit(tmp_path: Path, changed: dict[str, Any]) -> None:
    refused(saved(tmp_path, json.dumps(card(**changed))))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 5000, "[]", "null", "3", "NaN", '"x"', "{" * 30, '{"name": ' + "9" * 10_000 + "}",
     "x" * 5_000_000,
     '{"self": 1}'],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_text_that_is_no_card(tmp_path: Path, text: str) -> None:
    assert "card" in refused(saved(tmp_path, text))


def test_weights_of_another_shape_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    weights = build_network("residual", **ARGUMENTS).state_dict()
    weights["classifier.weight"] = torch.zeros(3, 6)
    save_file(weights, path, metadata={"card": json.dumps(card())})
    assert "do not fit" in refused(path)


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".json", "[" * 100_000),
        (".json", '{"field": ' + "9" * 5000 + "}"),
        (".json", '{"self": 1}'),
        (".json", '{"threshold": {"kind": "otsu"}, "name": "' + "x" * 1000 + '"}'),
        (".json", '{"threshold": {"kind": "' + "x" * 5000 + '"}}'),
        (".json", '{"threshold": {"kind": "otsu"}, "components": {"keep": 1e400}}'),
        (".json", '{"threshold": {"kind": "otsu"}, "components": {"keep": ' + "9" * 4000 + "}}"),
        (".json", '{"threshold": {"kind": "otsu"}, "resample": {"kind": "spacing_mm", "spacing_mm": 1e-300}}'),
        (".json", '{"threshold": {"kind": "otsu"}, ' + ", ".join(f'"k{n}": 1' for n in range(3000)) + "}"),
        (".toml", "a = " + "[" * 20_000),
        (".toml", "field = " + "9" * 5000),
        (".toml", "x" * 2_000_000),
        (".toml", "a." * 3000 + "b = 1"),
    ],
)
def test_recipes_from_elsewhere(tmp_path: Path, ending: str, text: str) -> None:
    path = tmp_path / f"r{ending}"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Recipe.load(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 3000
