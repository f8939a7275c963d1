"""Maps, neighbours and histograms, against scikit-learn, against loops, and against what must be true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from napari_sparse3d.errors import InputError
from napari_sparse3d.measure import maps
from napari_sparse3d.measure.histogram import histogram
from napari_sparse3d.measure.neighbours import similar


@pytest.fixture
def three_groups():  # type: ignore[no-untyped-def]
    random = np.random.default_rng(1)
    centres = random.normal(size=(3, 24))
    group = np.repeat([0, 1, 2], 40)
    return (centres[group] + 0.15 * random.normal(size=(120, 24))).astype(np.float32), group


def test_pca_is_that_of_scikit_learn(three_groups) -> None:  # type: ignore[no-untyped-def]
    embeddings, _ = three_groups
    ours, theirs = maps.pca(embeddings), PCA(2).fit_transform(embeddings)
    for axis in range(2):
        sign = np.sign((ours[:, axis] * theirs[:, axis]).sum())
        np.testing.assert_allclose(ours[:, axis], sign * theirs[:, axis], atol=1e-4)
    assert maps.pca(embeddings[:1]).tolist() == [[0, 0]]


def test_tsne_keeps_neighbours_and_can_be_watched_and_stopped(three_groups) -> None:  # type: ignore[no-untyped-def]
    embeddings, _ = three_groups
    seen: list[int] = []

    def watch(iteration: int, positions: np.ndarray) -> bool:  # type: ignore[type-arg]
        assert positions.shape == (120, 2)
        seen.append(iteration)
        return False

    positions = maps.tsne(embeddings, watch=watch, every=50)
    assert len(seen) == (maps.EARLY_ITERATIONS + maps.ITERATIONS) // 50
    assert trustworthiness(embeddings, positions, n_neighbors=10) > 0.85
    stopped: list[int] = []
    early = maps.tsne(embeddings, watch=lambda iteration, _: bool(stopped.append(iteration)) or len(stopped) == 2)
    assert len(stopped) == 2
    assert np.isfinite(early).all()


def test_a_new_case_is_placed_among_its_own_and_the_map_stays(three_groups) -> None:  # type: ignore[no-untyped-def]
    embeddings, group = three_groups
    positions = maps.tsne(embeddings)
    before = positions.copy()
    placed = maps.place(embeddings[[5, 50, 100]] + 0.01, embeddings, positions)
    np.testing.assert_array_equal(positions, before)
    for place, expected in zip(placed, group[[5, 50, 100]], strict=True):
        nearest = np.linalg.norm(positions - place, axis=1).argsort()[:5]
        assert (group[nearest] == expected).all()


def test_similar_is_the_loop_that_anybody_would_write(three_groups) -> None:  # type: ignore[no-untyped-def]
    embeddings, _ = three_groups
    patients = [str(i % 7) for i in range(len(embeddings))]
    indices, distances = similar(embeddings[:9], embeddings, 4, groups=patients, query_groups=patients[:9])
    for query in range(9):
        a = embeddings[query].astype(float)
        apart = []
        for other, b in enumerate(embeddings.astype(float)):
            if patients[other] != patients[query]:
                apart.append((1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), other))
        apart.sort()
        assert indices[query].tolist() == [other for _, other in apart[:4]]
        np.testing.assert_allclose(distances[query], [away for away, _ in apart[:4]], atol=1e-5)


def test_who_has_no_patient_is_not_left_out_and_too_few_are_marked() -> None:
    table = np.eye(3, dtype=np.float32)
    indices, distances = similar(table[:1], table, 5, groups=["", None, "p"], query_groups=[""])
    assert indices[0, :3].tolist() == [0, 1, 2]
    assert indices[0, 3:].tolist() == [-1, -1]
    assert np.isinf(distances[0, 3:]).all()


@pytest.mark.parametrize("dimensions", [3, 64, 200])
def test_equals_come_in_the_order_of_their_keys_whatever_the_table(dimensions: int) -> None:
    """40 directions, 5 cases of each (some of other length): the answer is the same cases in the same order."""
    random = np.random.default_rng(dimensions)
    base = random.normal(size=(40, dimensions)).astype(np.float32)
    table = np.concatenate([base, base, 2 * base, base / 4, base])
    keys = [f"{number:03}" for number in random.permutation(len(table))]
    queries = random.normal(size=(6, dimensions)).astype(np.float32)
    queries[0] = base[3]
    first = None
    for _ in range(8):
        order = random.permutation(len(table))
        indices, distances = similar(queries, table[order], 12, keys=[keys[i] for i in order])
        answer = [[keys[order[i]] for i in row] for row in indices]
        for names in answer:
            direction = [keys.index(name) % 40 for name in names]
            assert direction == sorted(direction, key=direction.index)  # equals stand together
            for one in set(direction[:10]):
                members = sorted(keys[one::40])
                assert [name for name in names if keys.index(name) % 40 == one] == members[: direction.count(one)]
        assert first is None or answer == first
        first = answer
        assert (np.diff(distances, axis=1) >= 0).all()


def test_keys_must_be_one_for_each_embedding() -> None:
    with pytest.raises(InputError, match="one for each of 3"):
        similar(np.eye(3), np.eye(3), 1, keys=["a"])


def test_lengths_that_differ_are_said() -> None:
    with pytest.raises(InputError, match="same model"):
        similar(np.zeros((1, 3)), np.zeros((4, 5)), 1)
    with pytest.raises(InputError, match="at least 5"):
        maps.tsne(np.zeros((3, 4)))


@given(
    hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(-2000, 2000)),
    st.integers(-2100, 2100),
    st.integers(-2100, 2100),
)
def test_counts_of_whole_numbers_are_exact(data, low: int, high: int) -> None:  # type: ignore[no-untyped-def]
    made = histogram(data)
    assert made.counts.sum() == data.size
    assert made.low == data.min()
    assert made.count_between(low, high) == int(((data >= low) & (data <= high)).sum())


def test_counts_of_fractions_are_near_and_say_what_is_not_finite() -> None:
    data = np.random.default_rng(0).normal(size=(20, 30, 40)).astype(np.float32)
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    made = histogram(data)
    assert made.not_finite == 3
    assert made.counts.sum() == data.size - 3
    assert made.count_between(-1, 1) == pytest.approx(int((np.abs(data) <= 1).sum()), rel=0.01)
    with pytest.raises(InputError, match="finite"):
        histogram(np.full((2, 2, 2), np.nan))
    constant = histogram(np.full((2, 2, 2), 5.0))
    assert constant.counts.sum() == 8
