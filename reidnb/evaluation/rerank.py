"""k-reciprocal re-ranking (Zhong et al. 2017, CVPR), with sparse neighbour sets.

The published code holds several matrices of all images x all images, and sorts them. Here the distances are computed
in strips, of which only each image's nearest neighbours, its largest distance and the query x gallery part are kept;
the sets and the encoding V are sparse matrices. Images are numbered with the queries first: N = Q + G.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor

from .distances import BLOCK_BYTES, descriptors, full_precision, squared_norms
from .rerank_on_device import DEVICE_BLOCK_BYTES, ROUNDING, SPARE, neighbours, refined, rerank_on_device

TILE = 16
"""Images whose distances are processed together, so few that the distances fit a core's cache."""


def rerank(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    *,
    block_bytes: int | None = None,
) -> np.ndarray | Tensor:
    """Re-ranked distances (Q, G), float32: (1 - lambda) Jaccard distance + lambda original distance.

    query (Q, D) and gallery (G, D): descriptors as `metrics.evaluate` takes them, used as they are (not normalised);
    `k1` is the size of the neighbourhoods for the k-reciprocal sets, `k2` that for local query expansion. The original
    distance is *squared Euclidean*, as in the paper and its authors' code, divided by each image's largest distance.
    (torchreid squares its already squared distances again; to compare, pass their roots to its `re_ranking`.)

    The result is an array or, for a gallery on a GPU, a tensor there; only the sizes of blocks are read back.
    `block_bytes` bounds a block of distances and defaults to 128 MiB on the CPU and 1 GiB on a GPU. Of neighbours at
    equal distance the one with the lower number is nearer; distances that are equal within rounding are compared in
    float64, so that CPU and GPU agree. Raises ValueError for parameters out of range, and as `evaluate`.
    """
    query, gallery = descriptors(query, gallery)
    if not 1 <= k1 <= len(gallery):
        raise ValueError(f"k1 must be between 1 and the gallery's size, {len(gallery)}, found {k1}")
    if not 1 <= k2 <= k1:
        raise ValueError(f"k2 must be between 1 and k1 = {k1}, found {k2}")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value must be between 0 and 1, found {lambda_value}")
    if gallery.is_cuda:
        return rerank_on_device(query, gallery, k1, k2, lambda_value, block_bytes or DEVICE_BLOCK_BYTES)
    block_bytes = block_bytes or 2 * BLOCK_BYTES
    half = round(k1 / 2) + 1
    x, near, known, nearest, farthest, final = _nearest(query, gallery, (k1 + 1, half, k2), block_bytes)
    near = near.numpy()
    encoding = _encode(x, near, half, known, nearest, farthest)
    del x
    if k2 > 1:
        encoding = _indicator(near[:, :k2]).multiply(np.float32(1 / k2)).tocsr() @ encoding
    final *= lambda_value / farthest[: len(query), None]
    _add_jaccard(final, encoding, 1 - lambda_value)
    return final


def nearest_images(query: Tensor, gallery: Tensor, sizes: tuple[int, ...], block_bytes: int | None = None) -> Tensor:
    """The sizes[0] nearest of all images to each of them, itself first: (N, sizes[0]), on the gallery's device.

    For each of `sizes`, of which the first is the largest, the first `size` are exactly the nearest, whatever the
    rounding; of images at equal distance the one with the lower number is nearer.
    """
    if not gallery.is_cuda:
        return _nearest(query, gallery, sizes, block_bytes or 2 * BLOCK_BYTES)[1]
    block_bytes = block_bytes or DEVICE_BLOCK_BYTES
    uncentred = torch.cat([query.float(), gallery.float()])
    x = uncentred - uncentred.mean(0)
    with full_precision(x.device):
        near, nearest, *_ = neighbours(x, len(query), sizes[0] + SPARE, block_bytes)
        return refined(uncentred, x, near, nearest, sizes, block_bytes)


def _nearest(query: Tensor, gallery: Tensor, sizes: tuple[int, ...], block_bytes: int) -> tuple:
    """On the CPU: the centred descriptors (N, D), `nearest_images`, and the result of `_neighbours`."""
    x = torch.cat([query.float(), gallery.float()])
    x -= x.mean(0)  # leaves distances unchanged, but reduces cancellation in |a|² + |b|² - 2 a.b
    known, nearest, farthest, between = _neighbours(x, len(query), min(sizes[0] - 1 + SPARE, len(x) - 1), block_bytes)
    uncentred = torch.cat([query.float(), gallery.float()])
    candidates = torch.from_numpy(known), torch.from_numpy(nearest)
    near = refined(uncentred, x, *candidates, sizes, block_bytes // 4)
    return x, near, known, nearest, farthest, between


def _neighbours(x: Tensor, queries: int, k: int, block_bytes: int) -> tuple[np.ndarray, ...]:
    """From x (N, D): each image and its k nearest neighbours (N, 1 + k), their squared distances (N, 1 + k), the
    largest distance of each image (N,), and all distances between query and gallery (Q, G).

    A strip holds the distances of some images to themselves and all later images; those to earlier images are in
    earlier strips, transposed, so each pair is computed once. A distance becomes a candidate only if it is below the
    k-th smallest so far of one of its two images; as candidates are few, no full row is ever sorted.
    """
    n, squares = len(x), squared_norms(x)
    near, nearest = np.zeros((n, k), np.int64), np.full((n, k), np.inf, np.float32)
    farthest = np.zeros(n, np.float32)
    between = np.empty((queries, n - queries), np.float32)
    candidates, count = [], 0
    step = min(n, max(1, block_bytes // (n * x.element_size())))
    memory = x.new_empty(step * n)  # allocating memory for each strip would take longer than processing it
    for start in range(0, n, step):
        stop = min(start + step, n)
        strip = memory[: (stop - start) * (n - start)].view(stop - start, n - start)
        torch.addmm(squares[start:], x[start:stop], x[start:].T, alpha=-2, out=strip)
        strip = strip.add_(squares[start:stop, None]).cpu().numpy()
        if start < queries:
            part = strip[: queries - start, max(queries - start, 0) :]
            np.maximum(part, 0, out=between[start : start + len(part)])
        for low in range(start, stop, TILE):
            high = min(low + TILE, stop)
            tile = strip[low - start : high - start, low - start :]
            np.maximum(farthest[low:], tile.max(0), out=farthest[low:])
            np.maximum(farthest[low:high], tile.max(1), out=farthest[low:high])
            np.fill_diagonal(tile, np.inf)
            candidates.append(_nearer(tile, low, nearest[:, -1]))
            count += len(candidates[-1][0])
            if count > n * k or high == n:  # merging as many candidates as are kept amortises its cost
                near, nearest = _merged(near, nearest, candidates)
                candidates, count = [], 0
    near, nearest = np.column_stack([np.arange(n), near]), np.column_stack([np.zeros(n, np.float32), nearest])
    # If all images coincide, the largest distance is 0 up to rounding; any positive number will do in its place.
    farthest[farthest <= ROUNDING * 2 * squares.cpu().numpy()] = 1
    return near, nearest, farthest, between


def _nearer(tile: np.ndarray, first: int, bound: np.ndarray) -> tuple[np.ndarray, ...]:
    """The distances of a tile (rows, columns), whose images start at `first`, that are below an image's bound (N,), as
    image, other image, distance; a distance below both images' bounds is returned for both."""
    rows, columns = tile.shape
    close = tile < bound[first : first + rows, None]
    close |= tile < bound[first:]
    row, column = np.divmod(np.flatnonzero(close), columns)
    distances = np.maximum(tile[row, column], 0)
    row, column = row + first, column + first
    forward = distances < bound[row]
    backward = (distances < bound[column]) & (column >= first + rows)  # the tile's square part holds each pair twice
    pairs = (
        (row[forward], column[backward]),
        (column[forward], row[backward]),
        (distances[forward], distances[backward]),
    )
    return tuple(np.concatenate(both) for both in pairs)


def _merged(near: np.ndarray, nearest: np.ndarray, candidates: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """The k nearest (N, k) and their distances, ascending, among the current ones and the candidates."""
    n, k = near.shape
    current = np.repeat(np.arange(n), k), near.ravel(), nearest.ravel()
    image, other, distances = (np.concatenate(parts) for parts in zip(current, *candidates, strict=True))
    # The bits of non-negative floats are ordered like the floats: one integer sort replaces two sorts.
    order = np.argsort((image << 32) | distances.view(np.int32))
    sizes = np.bincount(image, minlength=n)
    first = order[(np.cumsum(sizes) - sizes)[:, None] + np.arange(k)]
    return other[first], distances[first]


def _encode(
    x: Tensor, near: np.ndarray, half: int, known: np.ndarray, nearest: np.ndarray, farthest: np.ndarray
) -> sparse.csr_array:
    """V (N, N), section 3.3: for each image the weights exp(-distance) on its expanded k-reciprocal set, with sum 1.

    The sets come from the neighbours `near` (N, 1 + k1) and from the first `half` of them; `nearest` (N, K) are the
    distances to the images `known` (N, K).
    """
    n = len(near)
    reciprocal = _reciprocal(near)
    half = _reciprocal(near[:, :half])
    # The (half) set of a reciprocal neighbour is added when more than 2/3 of it is in the set already (eq. 3).
    added = reciprocal.multiply(reciprocal @ half.T).tocsr()
    sizes = np.diff(half.indptr)
    added.data = (3 * added.data > 2 * sizes[added.indices]).astype(np.int32)
    added.eliminate_zeros()
    expanded = (reciprocal + added @ half).tocsr()
    expanded.sort_indices()
    rows, columns = np.repeat(np.arange(n), np.diff(expanded.indptr)), expanded.indices
    distances = _look_up(x, known, nearest, rows, columns)
    weights = np.exp(-distances / farthest[rows])
    weights /= np.bincount(rows, weights, n).astype(np.float32)[rows]
    return sparse.csr_array((weights, columns, expanded.indptr), shape=(n, n))


def _reciprocal(near: np.ndarray) -> sparse.csr_array:
    """(N, N) of 0 and 1: which images are among each other's nearest neighbours (eq. 2)."""
    forward = _indicator(near)
    return forward.multiply(forward.T).tocsr()


def _indicator(near: np.ndarray) -> sparse.csr_array:
    """(N, N) with ones at the neighbours (N, k)."""
    n, k = near.shape
    ones = np.ones(n * k, np.int32)
    return sparse.csr_array((ones, near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def _look_up(x: Tensor, near: np.ndarray, nearest: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squared distances of the pairs, taken from the neighbours where possible and computed otherwise."""
    n = len(near)
    known = (np.arange(n)[:, None] * n + near).ravel()
    order = np.argsort(known)
    requested = rows.astype(np.int64) * n + columns
    index = order[np.minimum(np.searchsorted(known, requested, sorter=order), len(order) - 1)]
    distances = nearest.ravel()[index]
    unknown = np.flatnonzero(known[index] != requested)
    for chunk in np.array_split(unknown, len(unknown) // 4096 + 1):
        a, b = (torch.from_numpy(i[chunk].astype(np.int64)).to(x.device) for i in (rows, columns))
        distances[chunk] = (x[a] - x[b]).square_().sum(1).cpu().numpy()
    return distances


def _add_jaccard(final: np.ndarray, encoding: sparse.csr_array, weight: float) -> None:
    """Add weight x Jaccard distance (eq. 10) to the distances (Q, G).

    The rows of the encoding sum to 1, so the sum of maxima is 2 minus the sum of minima. A minimum is positive only
    where both images have a weight; the transposed encoding of the gallery lists these images for each weight.
    """
    queries, images = final.shape
    inverted = encoding[queries:].T.tocsr()  # (N, G)
    for start in range(0, queries, TILE):
        block = encoding[start : min(start + TILE, queries)]
        sizes = np.diff(inverted.indptr)[block.indices]
        shared = inverted[block.indices]  # for each weight of these queries, the gallery images that also have it
        minima = np.minimum(shared.data, np.repeat(block.data, sizes))
        row = np.repeat(np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)), sizes)
        overlap = np.bincount(row * images + shared.indices, minima, block.shape[0] * images)
        overlap = overlap.astype(np.float32).reshape(-1, images)
        final[start : start + TILE] += weight * (1 - overlap / (2 - overlap))
