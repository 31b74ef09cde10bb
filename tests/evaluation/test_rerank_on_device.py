"""Re-ranking in tensor code, against a dense reference implementation on the CPU and, if available, on a GPU."""

import numpy as np
import pytest
import torch
from evaluation.test_rerank import clustered, dense
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.evaluation import rerank_on_device as module
from reidnb.evaluation.rerank import rerank
from reidnb.evaluation.rerank_on_device import (
    DEVICE_BLOCK_BYTES,
    exact,
    neighbours,
    refined,
    rerank_on_device,
    smallest,
)

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def on_cpu(query, gallery, k1=20, k2=6, weight=0.3, block_bytes=DEVICE_BLOCK_BYTES):
    result = rerank_on_device(torch.from_numpy(query), torch.from_numpy(gallery), k1, k2, weight, block_bytes)
    assert result.dtype == torch.float32
    assert result.shape == (len(query), len(gallery))
    return result.numpy()


def with_ties(seed, queries, images, dimensions, values):
    """Descriptors of few distinct integers: many are equal, and many distances."""
    x = np.random.default_rng(seed).integers(values, size=(queries + images, dimensions)).astype(np.float32)
    return x[:queries], x[queries:]


@pytest.mark.parametrize("k1", [1, 2, 5, 20, 60])
@pytest.mark.parametrize("k2", [1, 3, 60])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_published_algorithm(k1, k2, weight):
    query, gallery = clustered(0, 12, 60)
    result = on_cpu(query, gallery, k1, min(k1, k2), weight)
    np.testing.assert_allclose(result, dense(query, gallery, k1, min(k1, k2), weight), rtol=0, atol=2e-6)


@pytest.mark.parametrize("spread", [0.2, 0.7, 50], ids=["tight clusters", "clusters", "random"])
def test_both_modules_agree(spread):
    query, gallery = clustered(4, 60, 400, spread=spread)
    result, expected = on_cpu(query, gallery), rerank(query, gallery)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(np.argsort(result, axis=1)[:, :10], np.argsort(expected, axis=1)[:, :10])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    images=st.integers(6, 50),
    dimensions=st.integers(1, 5),
    values=st.integers(1, 4),
    k1=st.integers(1, 6),
    k2=st.integers(1, 6),
    block_bytes=st.sampled_from([1, 3000, 1 << 20]),
)
def test_ties_go_to_lower_numbers(seed, queries, images, dimensions, values, k1, k2, block_bytes):
    query, gallery = with_ties(seed, queries, images, dimensions, values)
    k2 = min(k1, k2)
    expected = dense(query, gallery, k1, k2, 0.3)
    np.testing.assert_allclose(on_cpu(query, gallery, k1, k2, 0.3, block_bytes), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(rerank(query, gallery, k1, k2, block_bytes=block_bytes), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("make", [clustered, lambda *sizes: with_ties(*sizes, 3, 3)], ids=["clusters", "ties"])
def test_the_size_of_blocks_changes_rounding_only(make):
    query, gallery = make(1, 30, 120)
    result = on_cpu(query, gallery, 9, 4)
    for block_bytes in (1, 1000, 4 * 150 * 7, 50_000):
        np.testing.assert_allclose(on_cpu(query, gallery, 9, 4, 0.3, block_bytes), result, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [0, 1000])
def test_sets_are_exact_though_rounding_is_coarse(shift):
    """Distances that differ by much less than float32 resolves, since all images nearly coincide."""
    rng = np.random.default_rng(0)
    given = torch.from_numpy((rng.integers(50, size=(200, 6)) / 4096 + shift).astype(np.float32))
    given[0] += 100
    x, sizes = given - given.mean(0), (8, 5, 3)
    near, nearest, _, _ = neighbours(x, 20, 12, 1 << 20)
    result = refined(given, x, near, nearest, sizes, 1 << 16)
    squared = ((given[:, None].double() - given[None].double()) ** 2).sum(2) - torch.eye(200)
    expected = squared.sort(dim=1, stable=True).indices
    for size in sizes:
        assert torch.equal(result[:, :size].sort(1).values, expected[:, :size].sort(1).values)


@pytest.mark.parametrize("values", [3, 1 << 20], ids=["ties", "few ties"])
@pytest.mark.parametrize("k", [1, 7, 29, 96])
def test_the_smallest_are_those_of_a_full_sort(values, k):
    block = torch.randint(values, (20, 96 * 32), generator=torch.Generator().manual_seed(0)).float()
    result, columns = smallest(block, k)
    assert torch.equal(result, block.sort(1).values[:, :k])
    assert torch.equal(block.gather(1, columns), result)
    assert (columns.sort(1).values.diff() > 0).all()


def test_both_modules_agree_on_many_images():
    """Enough images for the search by groups, and a number that is not a multiple of the group size."""
    query, gallery = clustered(5, 100, 2511, dimensions=24)
    expected = rerank(query, gallery)
    for block_bytes in (1 << 20, DEVICE_BLOCK_BYTES):
        np.testing.assert_allclose(on_cpu(query, gallery, block_bytes=block_bytes), expected, rtol=0, atol=2e-6)


def test_duplicates_are_at_the_same_distance():
    x = torch.randn(40, 37, generator=torch.Generator().manual_seed(0))
    x[20:] = x[0]
    a, b = torch.full((40,), 5), torch.arange(40)
    result = exact(x, a, b, 5000)
    assert bool((result[20:] == result[0]).all())
    torch.testing.assert_close(result, ((x[5].double() - x.double()) ** 2).sum(1))


def test_identical_images():
    query, gallery = np.full((3, 4), 0.1, np.float32), np.full((30, 4), 0.1, np.float32)
    np.testing.assert_allclose(on_cpu(query, gallery, 4, 2), dense(query, gallery, 4, 2, 0.3), rtol=0, atol=2e-6)


def test_inputs_and_settings_are_not_modified():
    query, gallery = (torch.from_numpy(x) for x in clustered(3, 9, 40))
    before, precision = (query.clone(), gallery.clone()), torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with torch.autocast("cpu"):
            result = rerank_on_device(query, gallery, 20, 6, 0.3)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = precision
    assert torch.equal(query, before[0])
    assert torch.equal(gallery, before[1])
    assert torch.equal(result, rerank_on_device(query, gallery, 20, 6, 0.3))


@needs_gpu
@pytest.mark.parametrize("kind", ["clusters", "duplicates"])
def test_the_gpu_agrees_with_the_cpu(kind):
    query, gallery = (torch.from_numpy(x) for x in clustered(6, 200, 1500, 64))
    if kind == "duplicates":
        gallery[700:1400] = gallery[:700]
        gallery[1400:] = gallery[0]
    expected = rerank_on_device(query, gallery, 20, 6, 0.3)
    result = rerank(query.cuda(), gallery.cuda())
    assert result.is_cuda
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-5)
    # Where two images come out nearly equal, rounding decides; so the ranking is compared by the distances it meets.
    met = expected.gather(1, result.cpu().argsort(dim=1, stable=True))
    torch.testing.assert_close(met, expected.sort(1).values, rtol=0, atol=1e-5)
    assert torch.equal(result, rerank(query.cuda(), gallery.cuda()))
    torch.testing.assert_close(module.rerank_on_device(query.cuda(), gallery.cuda(), 20, 6, 0.3, 1 << 20), result)
