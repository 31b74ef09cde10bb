"""Re-ranking over a graph of neighbours, against a dense computation written out image by image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reidnb.evaluation.rerank_by_graph as module
from reidnb.evaluation.rerank_by_graph import rerank_by_graph


def dense(query, gallery, k1, k2):
    """Zhang et al. 2020, algorithm 1, in float64; an image is its own first neighbour, and ties go to lower numbers."""
    x = np.concatenate([query, gallery]).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    n = len(x)
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    near = np.argsort(squared - np.eye(n), axis=1, kind="stable")
    h = np.zeros((n, n))
    for i in range(n):
        h[i, near[i, :k1]] = 1
    for _ in range(2 if k2 > 1 else 0):
        both = h + h.T
        h = np.stack([sum((x[i] @ x[j]) ** 2 * both[j] for j in near[i, :k2]) for i in range(n)])
        h /= np.linalg.norm(h, axis=1, keepdims=True)
    h /= np.linalg.norm(h, axis=1, keepdims=True)
    return 1 - h[: len(query)] @ h[len(query) :].T


def clustered(seed, queries, images, dimensions=8):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, dimensions))
    x = centres[rng.integers(6, size=queries + images)] + 0.5 * rng.normal(size=(queries + images, dimensions))
    return x[:queries].astype(np.float32), x[queries:].astype(np.float32)


@pytest.mark.parametrize(("k1", "k2"), [(26, 7), (7, 3), (5, 1), (1, 1), (85, 85)])
def test_rerank_by_graph_is_the_published_algorithm(k1, k2):
    query, gallery = clustered(0, 25, 60)
    result = rerank_by_graph(query, gallery, k1, k2)
    assert result.shape == (25, 60)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, dense(query, gallery, k1, k2), rtol=0, atol=1e-5)


@given(st.integers(0, 2**16), st.integers(1, 5), st.integers(6, 20), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_duplicates_are_ranked_by_number(seed, queries, images, k1, k2):
    k1, k2 = max(k1, k2), min(k1, k2)
    places = np.random.default_rng(seed).integers(3, size=queries + images)
    points = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]], np.float32)[places]
    result = rerank_by_graph(points[:queries], points[queries:], k1, k2)
    np.testing.assert_allclose(result, dense(points[:queries], points[queries:], k1, k2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cost", [0, 10**9], ids=["sparse", "dense"])
def test_both_products_are_the_same(cost, monkeypatch):
    monkeypatch.setattr(module, "SPARSE_COST", cost)
    query, gallery = clustered(3, 25, 60)
    result = rerank_by_graph(query, gallery, 10, 4, block_bytes=2000)  # five images in a block
    np.testing.assert_allclose(result, dense(query, gallery, 10, 4), rtol=0, atol=1e-5)


def test_descriptors_are_normalised_and_not_changed():
    query, gallery = clustered(1, 10, 40)
    before = query.copy(), gallery.copy()
    np.testing.assert_allclose(rerank_by_graph(3 * query, gallery), rerank_by_graph(query, gallery), atol=1e-5)
    np.testing.assert_array_equal(query, before[0])
    np.testing.assert_array_equal(gallery, before[1])


@pytest.mark.parametrize(
    ("k1", "k2", "message"),
    [
        (0, 1, "k1 must be between 1 and the number of images, 50, found 0"),
        (51, 1, "k1 must be between 1 and the number of images, 50, found 51"),
        (10, 11, "k2 must be between 1 and k1 = 10, found 11"),
    ],
)
def test_parameters_out_of_range(k1, k2, message):
    with pytest.raises(ValueError, match=message):
        rerank_by_graph(*clustered(2, 10, 40), k1, k2)
