"""Retrieval against scikit-learn's average precision and rankings counted by hand."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, precision_recall_curve

from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.neighbours import similar
from napari_sparse3d.measure.retrieval import few_of_each, retrieval


def embeddings(seed, n=60, classes=4, dimensions=5):
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    centres = random.normal(size=(classes, dimensions))
    return centres[labels] + random.normal(size=(n, dimensions)), labels


def ranking(vectors, labels, query):
    """By the definition: cosine to every other case."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    others = np.delete(np.arange(len(labels)), query)
    cosine = np.array([float(np.dot(unit[query], unit[other])) for other in others])
    return cosine, (labels[others] == labels[query]).astype(int)


@given(st.integers(0, 10_000))
def test_average_precision_equals_scikit_learn(seed):
    vectors, labels = embeddings(seed, n=30)
    ours = retrieval(vectors, labels).average_precision
    for query in range(len(labels)):
        cosine, right = ranking(vectors, labels, query)
        if right.any():
            assert ours[query] == pytest.approx(average_precision_score(right, cosine))
        else:
            assert np.isnan(ours[query])


def test_tiers_and_e_measure_by_their_definition():
    vectors, labels = embeddings(1, n=150)
    nn, ft, st_, e32 = [], [], [], []
    for query in range(len(labels)):
        cosine, right = ranking(vectors, labels, query)
        ranked = right[np.argsort(-cosine)]
        relevant = right.sum()
        nn.append(ranked[0])
        ft.append(ranked[:relevant].sum() / relevant)
        st_.append(ranked[: 2 * relevant].sum() / relevant)
        precision, recall = ranked[:32].sum() / 32, ranked[:32].sum() / relevant
        e32.append(2 / (1 / precision + 1 / recall) if ranked[:32].any() else 0)
    found = retrieval(vectors, labels)
    assert found.nn == pytest.approx(np.mean(nn))
    assert found.ft == pytest.approx(np.mean(ft))
    assert found.st == pytest.approx(np.mean(st_))
    assert found.e32 == pytest.approx(np.mean(e32))
    assert 0.3 < found.map < 0.95  # neither trivial nor perfect: the test says something


def test_one_ranking_counted_by_hand():
    """The query at angle 0 finds right, wrong, right: AP (1 + 2/3) / 2, DCG (1 + 1/log2 3) / (1 + 1)."""
    angles = np.radians([0, 10, 20, 30])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    labels = np.array([7, 7, 1, 7])
    found = retrieval(vectors, labels)
    assert found.average_precision[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(found.average_precision[2])
    assert found.n_queries == 3
    # queries 10 (0 or 20 first, a tie in angle) and 30 (20 wrong, then 10, then 0) by hand
    assert found.average_precision[3] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_dcg_is_that_of_the_shape_benchmark():
    """The first two results count in full; the textbook's discount, log2(place + 1), would give something else."""
    vectors, labels = embeddings(3, n=40)
    each, textbook = [], []
    for query in range(40):
        cosine, right = ranking(vectors, labels, query)
        ranked = right[np.argsort(-cosine)]
        discount = np.array([1, *(1 / np.log2(np.arange(2, len(ranked) + 1)))])
        each.append((ranked * discount).sum() / discount[: ranked.sum()].sum())
        textbook.append(ndcg_score([right], [cosine]))
    assert retrieval(vectors, labels).dcg == pytest.approx(np.mean(each))
    assert np.mean(each) != pytest.approx(np.mean(textbook), abs=1e-3)


def test_the_precision_recall_curve_is_interpolated():
    vectors, labels = embeddings(4, n=25, classes=2)
    found = retrieval(vectors, labels)
    expected = []
    for query in range(25):
        cosine, right = ranking(vectors, labels, query)
        precision, recall, _ = precision_recall_curve(right, cosine)
        expected.append([precision[recall >= level - 1e-9].max() for level in found.recall])
    # scikit-learn ends with an artificial (recall 0, precision 1), which only matters at recall 0
    np.testing.assert_allclose(found.precision[1:], np.mean(expected, axis=0)[1:])
    assert (np.diff(found.precision) <= 1e-12).all()


def test_the_order_of_the_cases_does_not_matter():
    vectors, labels = embeddings(5)
    order = np.random.default_rng(0).permutation(len(labels))
    one, other = retrieval(vectors, labels).figures(), retrieval(vectors[order], labels[order]).figures()
    assert one == pytest.approx(other)


def test_a_patients_own_cases_are_taken_out():
    """Two cases a patient, the same vector: with patients known, the twin is no result."""
    random = np.random.default_rng(6)
    vectors, labels = random.normal(size=(40, 8)), random.integers(2, size=40)
    twice, both = np.concatenate([vectors, vectors]), np.concatenate([labels, labels])
    patients = [str(i) for i in range(40)] * 2
    assert retrieval(twice, both).nn == 1
    assert retrieval(twice, both, groups=patients).nn == pytest.approx(retrieval(vectors, labels).nn)


def test_at_most_so_many_of_each_class():
    labels = np.repeat([0, 1, 2], [50, 5, 20])
    chosen = few_of_each(labels, 20)
    assert np.bincount(labels[chosen]).tolist() == [20, 5, 20]
    vectors = np.random.default_rng(7).normal(size=(75, 4))
    assert retrieval(vectors, labels, at_most_per_class=20).n_queries == 45
    assert retrieval(vectors, labels).n_queries == 75


@pytest.mark.parametrize(
    ("vectors", "labels", "hint"),
    [
        (np.ones((3, 2)), np.array([0, 1, 2]), "two cases"),
        (np.ones((3, 2)), np.array([0, 1]), "n labels"),
        (np.full((2, 2), np.nan), np.array([0, 0]), "finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(vectors, labels, hint):
    with pytest.raises(InputError, match=hint):
        retrieval(vectors, labels)


def test_vectors_of_length_zero_do_no_harm():
    found = retrieval(np.array([[0.0, 0], [1, 0], [1, 0.1]]), np.array([0, 0, 0]))
    assert found.map == 1


def of_one_order(right):
    """All figures of one ranking, counted: the oracle, which knows no ties."""
    right = np.asarray(right)
    relevant = right.sum()
    precisions = [right[: at + 1].mean() for at in np.flatnonzero(right)]
    first = right[:32]
    p, r = first.sum() / len(first), first.sum() / relevant
    discount = [1 if place < 2 else 1 / np.log2(place) for place in range(1, len(right) + 1)]
    return {
        "map": np.mean(precisions),
        "nn": right[0],
        "ft": right[:relevant].sum() / relevant,
        "st": right[: 2 * relevant].sum() / relevant,
        "dcg": (right * discount).sum() / np.sum(discount[:relevant]),
        "e32": 2 * p * r / (p + r) if p else 0.0,
    }


def over_all_orders(cosine, right):
    """The mean over all permutations that leave the scores sorted."""
    allowed = [order for order in permutations(range(len(right))) if (np.diff(cosine[list(order)]) <= 0).all()]
    each = [of_one_order(right[list(order)]) for order in allowed]
    return {name: np.mean([one[name] for one in each]) for name in each[0]}


@pytest.mark.parametrize("seed", range(12))
def test_ties_give_the_mean_over_all_orders(seed):
    """Few directions, so that most results are tied; all 7! orders are tried."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(random.integers(1, 4), 3)).round(1)
    which = random.integers(len(directions), size=7)
    vectors, labels = directions[which], random.integers(2, size=7)
    labels[:2] = 1
    means = []
    for query in range(7):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        others = np.delete(np.arange(7), query)
        cosine = (unit[others] * unit[query]).sum(1).round(9)
        right = (labels[others] == labels[query]).astype(int)
        if right.any():
            means.append(over_all_orders(cosine, right))
    expected = {name: np.mean([one[name] for one in means]) for name in means[0]}
    assert retrieval(vectors, labels).figures() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 3.0, 1e-4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_of_ties_in_the_table_does_not_matter(scale, dtype):
    """Copies, and copies of other length: one direction."""
    vectors, labels = embeddings(8, n=20, dimensions=64)
    vectors, labels = np.concatenate([vectors, scale * vectors]).astype(dtype), np.concatenate([labels, labels[::-1]])
    if dtype is np.float32:
        vectors = vectors.round(0) * np.float32(scale)  # exact in float32
    expected = retrieval(vectors, labels)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(labels))
        found = retrieval(vectors[order], labels[order])
        assert found.figures() == pytest.approx(expected.figures(), abs=1e-12)
        np.testing.assert_allclose(found.precision, expected.precision, atol=1e-12)


def test_a_collapsed_embedding_is_worth_what_chance_is():
    """All the same: sorted by label in the table it looked like a ranking."""
    labels = np.repeat([0, 1], [4, 4])
    found = retrieval(np.ones((8, 3)), labels)
    right = np.array([1, 1, 1, 0, 0, 0, 0])
    expected = over_all_orders(np.zeros(7), right)
    assert found.figures() == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(found.precision, 3 / 7)


@pytest.mark.parametrize("size", [1e-38, 1e-25, 1.0, 1e25, 1e38])
def test_neighbours_do_not_depend_on_the_length_of_vectors(size):
    """Against cosines in long double; squares of such numbers are infinite, or nothing, in float32."""
    random = np.random.default_rng(3)
    embeddings = random.normal(size=(40, 6)).astype(np.float32)
    embeddings *= np.float32(size) / np.abs(embeddings).max(axis=1, keepdims=True)
    queries = random.normal(size=(5, 6)).astype(np.float32)
    indices, distances = similar(queries, embeddings, 3)
    exact, asked = embeddings.astype(np.longdouble), queries.astype(np.longdouble)
    exact /= np.sqrt((exact**2).sum(1, keepdims=True))
    asked /= np.sqrt((asked**2).sum(1, keepdims=True))
    apart = 1 - asked @ exact.T
    np.testing.assert_array_equal(indices, np.argsort(apart, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(apart, axis=1)[:, :3].astype(float), atol=1e-6)
