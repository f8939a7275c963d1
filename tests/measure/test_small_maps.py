"""Maps of few cases: they keep an extent, they say how far to trust them, and a collapse is no result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import manifold
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure import maps


def drawn(kind: str, n: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    if kind == "scattered":
        return random.normal(size=(n, 24))
    if kind == "line":
        return np.outer(np.linspace(0, 1, n), random.normal(size=24)) + random.normal(size=24)
    if kind == "twins":  # every case is there twice
        return np.repeat(random.normal(size=((n + 1) // 2, 24)), 2, axis=0)[:n]
    groups = random.normal(size=(3, 24))[np.arange(n) % 3]
    return np.asarray(groups + 0.15 * random.normal(size=(n, 24)))


@pytest.mark.parametrize("kind", ["scattered", "groups", "line", "twins"])
@pytest.mark.parametrize("n", [5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60])
def test_few_cases_stay_apart_and_near_their_neighbours(n: int, kind: str) -> None:
    for seed in range(3):
        embeddings = drawn(kind, n, seed)
        positions = maps.tsne(embeddings).astype(np.float64)
        extent = np.ptp(positions, axis=0).max()
        assert 1 < extent < 2000
        apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        differ = np.linalg.norm(unit[:, None] - unit[None], axis=-1) > 1e-6
        assert apart[differ].min() > 1e-6 * extent
        if kind != "twins":
            k = min(5, (n - 1) // 2)
            assert manifold.trustworthiness(unit, positions, n_neighbors=k) > (0.6 if n > 8 else 0.3)


@pytest.mark.parametrize("n", [3, 4])
def test_fewer_than_five_are_refused_with_another_way(n: int) -> None:
    with pytest.raises(InputError, match=r"at least 5.*pca"):
        maps.tsne(drawn("scattered", n, 0))


@pytest.mark.parametrize("n", [3, 4, 5, 6, 9, 10, 11, 12, 37, 300])
def test_trustworthiness_is_scikit_learns(n: int) -> None:
    random = np.random.default_rng(n)
    embeddings = random.normal(size=(n, 7))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for positions in (random.normal(size=(n, 2)), maps.pca(embeddings)):
        expected = manifold.trustworthiness(unit, positions, n_neighbors=min(5, (n - 1) // 2))
        assert maps.trustworthiness(embeddings, positions) == pytest.approx(expected, abs=1e-9)


def test_of_many_cases_some_stand_for_all() -> None:
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(900, 5))
    positions = maps.pca(embeddings)
    whole = maps.trustworthiness(embeddings, positions)
    assert maps.trustworthiness(embeddings, positions, rows=300) == pytest.approx(whole, abs=0.03)
    assert np.isnan(maps.trustworthiness(embeddings[:2], positions[:2]))


@pytest.mark.parametrize(
    "positions",
    [
        np.zeros((12, 2)),
        np.random.default_rng(0).normal(size=(12, 2)) * 1e-43,
        np.concatenate([np.ones((11, 2)), [[5.0, 5.0]]]),
        np.full((12, 2), np.nan),
    ],
    ids=["a point", "a tiny map", "one aside", "not finite"],
)
def test_a_collapse_is_refused(positions: np.ndarray) -> None:  # type: ignore[type-arg]
    embeddings = drawn("scattered", 12, 0)
    with pytest.raises(InputError, match=r"collapsed.*PCA"):
        maps.check_drawn(embeddings, positions, least_extent=0.01)
    maps.check_drawn(embeddings, maps.pca(embeddings))


def test_equal_embeddings_are_nothing_to_map() -> None:
    with pytest.raises(InputError, match="all 9 cases are equal"):
        maps.tsne(np.ones((9, 4)) * 0.3)


def test_cases_that_are_the_same_may_lie_at_one_point() -> None:
    embeddings = np.repeat(np.eye(3), 5, axis=0)
    maps.check_drawn(embeddings, maps.pca(embeddings))


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_command_says_how_far_to_trust_its_map(method: str, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    embeddings = drawn("groups", 10, 1)

    def mapped(values: np.ndarray) -> list[str]:  # type: ignore[type-arg]
        rows = [{"path": f"{i}.nii", "status": "done", "embedding": row.tolist()} for i, row in enumerate(values)]
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
        return ["map", str(tmp_path / "t.parquet"), "-o", str(tmp_path / "m.parquet"), "--method", method, "--json"]

    result = CliRunner().invoke(app, mapped(embeddings))
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = manifold.trustworthiness(unit, np.array(told["positions"]), n_neighbors=4)
    assert told["trustworthiness"] == pytest.approx(expected, abs=1e-3)
    (tmp_path / "m.parquet").unlink()
    assert CliRunner().invoke(app, mapped(np.ones((10, 24)))).exit_code != 0
    assert not (tmp_path / "m.parquet").exists()
