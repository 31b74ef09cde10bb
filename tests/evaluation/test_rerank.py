"""k-reciprocal re-ranking against a plain, dense reading of the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.evaluation.rerank import _neighbours, rerank


def dense(query, gallery, k1, k2, weight):
    """Zhong et al. 2017, section 3, in float64; an image is its own first neighbour, and ties go to lower numbers."""
    x = np.concatenate([query, gallery]).astype(np.float64)
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    largest = squared.max(1, keepdims=True)
    n, original = len(x), squared / np.where(largest > 0, largest, 1)
    order = np.argsort(squared - np.eye(n), axis=1, kind="stable")

    def reciprocal(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    v = np.zeros((n, n))
    for i in range(n):
        base = reciprocal(i, k1)
        expanded = set(base)
        for j in base:
            other = reciprocal(j, round(k1 / 2))
            if 3 * len(other & base) > 2 * len(other):
                expanded |= other
        chosen = sorted(expanded)
        v[i, chosen] = np.exp(-original[i, chosen])
        v[i] /= v[i].sum()
    v = np.stack([v[order[i, :k2]].mean(0) for i in range(n)])
    q = len(query)
    jaccard = 1 - np.array([[np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in v[q:]] for a in v[:q]])
    return (1 - weight) * jaccard + weight * original[:q, q:]


def clustered(seed, queries, images, dimensions=8, spread=0.7):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, dimensions))
    x = centres[rng.integers(6, size=queries + images)] + spread * rng.normal(size=(queries + images, dimensions))
    return x[:queries].astype(np.float32), x[queries:].astype(np.float32)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (7, 3, 0.3), (5, 1, 0.0), (1, 1, 0.5), (60, 60, 1.0)])
def test_rerank_is_the_published_algorithm(k1, k2, weight):
    query, gallery = clustered(0, 25, 60)
    result = rerank(query, gallery, k1, k2, weight)
    assert result.dtype == np.float32
    assert result.shape == (25, 60)
    np.testing.assert_allclose(result, dense(query, gallery, k1, k2, weight), rtol=0, atol=1e-5)


@pytest.mark.parametrize("spread", [0.2, 0.7, 50], ids=["tight clusters", "clusters", "random"])
def test_the_ranking_is_the_published_one(spread):
    query, gallery = clustered(4, 20, 150, spread=spread)
    result, expected = rerank(query, gallery), dense(query, gallery, 20, 6, 0.3)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(np.argsort(result, axis=1), np.argsort(expected, axis=1))


# The same examples each time: two distances equal but for float32 rounding would be ordered either way.
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    images=st.integers(5, 40),
    k1=st.integers(1, 5),
    k2=st.integers(1, 3),
    spread=st.floats(0.1, 2),
    rows=st.integers(1, 60),
)
def test_rerank_equals_the_dense_reference(seed, queries, images, k1, k2, spread, rows):
    query, gallery = clustered(seed, queries, images, spread=spread)
    k2 = min(k1, k2)
    block_bytes = rows * 4 * (queries + images)
    result = rerank(query, gallery, k1, k2, block_bytes=block_bytes)
    np.testing.assert_allclose(result, dense(query, gallery, k1, k2, 0.3), rtol=0, atol=1e-5)


def test_input_kind_and_block_size_do_not_matter():
    query, gallery = clustered(1, 9, 40)
    result = rerank(query, gallery)
    for rows in (1, 2, 9, 10, 48, 49):
        blocked = rerank(query, gallery, block_bytes=rows * 4 * 49)
        np.testing.assert_allclose(blocked, result, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(rerank(torch.from_numpy(query), torch.from_numpy(gallery)), result)
    np.testing.assert_allclose(rerank(query.astype(np.float64), gallery), result, rtol=0, atol=1e-6)


def test_many_merges_keep_the_nearest():
    """Enough images for several merges of candidates, in an order in which ever nearer ones appear."""
    x = np.random.default_rng(0).normal(size=(900, 3)).astype(np.float32)
    x = x[np.argsort(-(x**2).sum(1))]
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    near, nearest, farthest, between = _neighbours(torch.from_numpy(x), 100, 7, 4 * 900 * 50)
    np.testing.assert_array_equal(near[:, 0], np.arange(900))
    np.testing.assert_allclose(nearest, np.sort(squared, axis=1)[:, :8], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(squared, near, 1), nearest, atol=1e-5)
    np.testing.assert_allclose(farthest, squared.max(1), rtol=1e-5)
    np.testing.assert_allclose(between, squared[:100, 100:], atol=1e-5)


def test_a_common_shift_does_not_matter():
    query, gallery = clustered(2, 9, 40)
    np.testing.assert_allclose(rerank(query + 100, gallery + 100), rerank(query, gallery), rtol=0, atol=1e-4)


def test_inputs_are_not_modified():
    query, gallery = clustered(3, 9, 40)
    before = query.copy(), gallery.copy()
    rerank(query, gallery)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(gallery, before[1])


def test_two_far_clusters_by_hand():
    """Two points each, k1 = 1: the sets are the pairs themselves, so Jaccard distance is 1 across, and 1 - m / (2 - m)
    within, with m from the two weights on one pair."""
    query, gallery = np.array([[0.0]]), np.array([[1.0], [10.0], [11.0]])
    a, b = np.exp(0), np.exp(-1 / 121)  # the query: itself, and its neighbour at 1 of at most 11² = 121
    c, d = np.exp(-1 / 100), np.exp(0)  # the first gallery image: at most 10² = 100
    overlap = min(a / (a + b), c / (c + d)) + min(b / (a + b), d / (c + d))
    within = 0.7 * (1 - overlap / (2 - overlap)) + 0.3 * 1 / 121
    expected = [[within, 0.7 + 0.3 * 100 / 121, 0.7 + 0.3]]
    np.testing.assert_allclose(rerank(query, gallery, k1=1, k2=1), expected, atol=1e-6)


def test_identical_images_give_finite_distances():
    result = rerank(np.ones((3, 4)), np.ones((6, 4)), k1=4, k2=2)
    assert np.isfinite(result).all()
    assert result.min() >= -1e-6
    assert result.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 41}, "k1 must be between 1 and the gallery's size, 40, found 41"),
        ({"k1": 0}, "k1 must be between 1 and the gallery's size, 40, found 0"),
        ({"k2": 21}, "k2 must be between 1 and k1 = 20, found 21"),
        ({"k2": 0}, "k2 must be between 1 and k1 = 20, found 0"),
        ({"lambda_value": 1.5}, "lambda_value must be between 0 and 1, found 1.5"),
    ],
)
def test_parameters_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        rerank(*clustered(0, 5, 40), **options)


def test_bad_descriptors():
    query, gallery = clustered(0, 5, 40)
    with pytest.raises(ValueError, match="query descriptors have 8 dimensions, gallery descriptors 7"):
        rerank(query, gallery[:, :7])
    with pytest.raises(ValueError, match="the query is empty"):
        rerank(query[:0], gallery)
    gallery[12, 3] = np.nan
    with pytest.raises(ValueError, match="gallery descriptor 12 holds NaN"):
        rerank(query, gallery)
