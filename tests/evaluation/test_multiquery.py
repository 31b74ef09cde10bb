"""Pooling a person's images from one camera, against a loop, and the gain of multi-query evaluation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import in_order

from reidnb.evaluation import metrics
from reidnb.evaluation.multiquery import pool

evaluate = in_order(metrics.evaluate)
IMAGES = np.array([[1.0, 8], [3, 2], [5, 5], [0, 6]], np.float32)
PIDS, CAMIDS = [2, 2, 1, 2], [1, 1, 1, 3]


def test_by_hand():
    pooled, pids, camids = pool(IMAGES, PIDS, CAMIDS)
    assert pooled.tolist() == [[5, 5], [2, 5], [0, 6]]
    assert (pids.tolist(), camids.tolist()) == ([1, 2, 2], [1, 1, 3])
    assert pool(IMAGES, PIDS, CAMIDS, "max")[0].tolist() == [[5, 5], [3, 8], [0, 6]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), pooling=st.sampled_from(["mean", "max"]))
def test_equals_a_loop(seed, n, pooling):
    rng = np.random.default_rng(seed)
    images, pids, camids = rng.normal(size=(n, 3)), rng.integers(1, 4, n), rng.integers(2, size=n)
    pooled, *labels = pool(torch.from_numpy(images), pids, camids, pooling)
    expected = sorted(set(zip(pids.tolist(), camids.tolist(), strict=True)))
    assert list(zip(*(f.tolist() for f in labels), strict=True)) == expected
    for row, (pid, camid) in zip(pooled.numpy(), expected, strict=True):
        same = np.array([i for p, c, i in zip(pids, camids, images, strict=True) if (p, c) == (pid, camid)])
        np.testing.assert_allclose(row, getattr(same, pooling)(axis=0), rtol=1e-12)


def test_one_image_each_is_the_ordinary_evaluation():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(8, 4)), rng.normal(size=(40, 4))
    pids, camids = np.arange(8) // 2 + 1, np.arange(8) % 2
    ids = rng.integers(1, 5, 40), rng.integers(3, size=40)
    shuffled = rng.permutation(8)
    pooled, *labels = pool(query[shuffled], pids[shuffled], camids[shuffled])
    np.testing.assert_array_equal(
        evaluate(pooled, gallery, *labels, *ids).ap, evaluate(query, gallery, pids, camids, *ids).ap
    )


def test_pooling_takes_noise_away():
    """Thirty noisy images of each person form one query: their mean is nearer to the person than any of them."""
    rng = np.random.default_rng(0)
    people, pids = rng.normal(size=(20, 16)), np.repeat(np.arange(20), 30)
    images = people[pids] + 2 * rng.normal(size=(600, 16))
    gallery, ids = people + 0.5 * rng.normal(size=(20, 16)), (np.arange(1, 21), np.full(20, 2))
    one = evaluate(images, gallery, pids + 1, np.ones(600, int), *ids)
    pooled, *labels = pool(images, pids + 1, np.ones(600, int))
    many = evaluate(pooled, gallery, *labels, *ids)
    assert many.queries == 20
    assert many.rank(1) > one.rank(1) + 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES, PIDS, CAMIDS, "median"), 'pooling must be "mean" or "max", found \'median\''),
        ((IMAGES[:3], PIDS, CAMIDS), "3 query descriptors, but 4 query_pids"),
        ((IMAGES, PIDS, CAMIDS[:3]), r"query_pids have the shape \(4,\), query_camids \(3,\)"),
        ((IMAGES[:0], np.empty(0, int), np.empty(0, int)), "the query is empty"),
        ((np.full((4, 2), np.nan), PIDS, CAMIDS), "query descriptor 0 holds NaN"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        pool(*arguments)
