"""k-reciprocal re-ranking (Zhong et al. 2017, CVPR), with sparse neighbour sets.

The published code holds several matrices of all images x all images, and sorts them. Here the distances are computed
in strips, of which only each image's nearest neighbours, its farthest distance and the query x gallery part are kept;
the sets and the encoding V are sparse matrices. Images are numbered queries first, then the gallery: N = Q + G.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor

from .distances import BLOCK_BYTES, descriptors, squared_norms
from .rerank_on_device import DEVICE_BLOCK_BYTES, ROUNDING, SPARE, refined, rerank_on_device

TILE = 16
"""Images whose distances to all others are looked at together: they should stay in a core's cache."""


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
    `k1` neighbours make the k-reciprocal sets, `k2` the local query expansion. The original distance is the *squared
    Euclidean* one, as in the paper and its authors' code, divided by each image's largest. (torchreid squares its
    already squared distances once more; to compare, give its `re_ranking` the roots.)

    The result is an array, or for a gallery on a GPU a tensor there: nothing but sizes of blocks leaves the device.
    `block_bytes` bounds a block of distances: 128 MiB on the CPU and 1 GiB on a GPU unless given. Of neighbours at
    equal distance those numbered lower are nearer; distances equal within rounding are compared in float64, so that
    CPU and GPU agree. Raises ValueError for parameters out of range, and as `evaluate`.
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
    x = torch.cat([query.float(), gallery.float()])
    x -= x.mean(0)  # moves no distance, and keeps digits that |a|² + |b|² - 2 a.b would lose
    known, nearest, farthest, final = _neighbours(x, len(query), min(k1 + SPARE, len(x) - 1), block_bytes)
    given, half = torch.cat([query.float(), gallery.float()]), round(k1 / 2) + 1
    candidates = torch.from_numpy(known), torch.from_numpy(nearest)
    near = refined(given, x, *candidates, (k1 + 1, half, k2), block_bytes // 4).numpy()
    del given
    encoding = _encode(x, near, half, known, nearest, farthest)
    del x
    if k2 > 1:
        encoding = _indicator(near[:, :k2]).multiply(np.float32(1 / k2)).tocsr() @ encoding
    final *= lambda_value / farthest[: len(query), None]
    _add_jaccard(final, encoding, 1 - lambda_value)
    return final


def _neighbours(x: Tensor, queries: int, k: int, block_bytes: int) -> tuple[np.ndarray, ...]:
    """From x (N, D): each image itself and its k nearest (N, 1 + k), their squared distances (N, 1 + k), the largest
    distance of each (N,), and all between query and gallery (Q, G).

    A strip holds the distances of some images to themselves and all after them; those to the images before are in
    earlier strips, transposed. So each product of two descriptors is computed once. A distance is looked at only if
    it is below the k-th smallest that one of its two images has so far; these are few, and nothing is sorted whole.
    """
    n, squares = len(x), squared_norms(x)
    near, nearest = np.zeros((n, k), np.int64), np.full((n, k), np.inf, np.float32)
    farthest = np.zeros(n, np.float32)
    between = np.empty((queries, n - queries), np.float32)
    found, count = [], 0
    step = min(n, max(1, block_bytes // (n * x.element_size())))
    memory = x.new_empty(step * n)  # new memory for each strip would take longer than all that is done with it
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
            found.append(_nearer(tile, low, nearest[:, -1]))
            count += len(found[-1][0])
            if count > n * k or high == n:  # as many as are kept: then merging costs little for each
                near, nearest = _merged(near, nearest, found)
                found, count = [], 0
    near, nearest = np.column_stack([np.arange(n), near]), np.column_stack([np.zeros(n, np.float32), nearest])
    # Where all images are one point, the largest distance is 0 but for rounding: any other number does as well.
    farthest[farthest <= ROUNDING * 2 * squares.cpu().numpy()] = 1
    return near, nearest, farthest, between


def _nearer(tile: np.ndarray, first: int, bound: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the distances (rows, columns) between images from `first` on, those below one's bound (N,), as
    image, other image, distance; a distance below both bounds comes both ways."""
    rows, columns = tile.shape
    close = tile < bound[first : first + rows, None]
    close |= tile < bound[first:]
    row, column = np.divmod(np.flatnonzero(close), columns)
    distances = np.maximum(tile[row, column], 0)
    row, column = row + first, column + first
    there = distances < bound[row]
    back = (distances < bound[column]) & (column >= first + rows)  # before that the tile holds each pair twice
    pairs = (row[there], column[back]), (column[there], row[back]), (distances[there], distances[back])
    return tuple(np.concatenate(both) for both in pairs)


def _merged(near: np.ndarray, nearest: np.ndarray, found: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """The k nearest (N, k) and their distances, ascending, of those known and those found."""
    n, k = near.shape
    known = np.repeat(np.arange(n), k), near.ravel(), nearest.ravel()
    image, other, distances = (np.concatenate(parts) for parts in zip(known, *found, strict=True))
    # Distances are not negative, so their bits order as they do: one sort of whole numbers instead of two.
    order = np.argsort((image << 32) | distances.view(np.int32))
    sizes = np.bincount(image, minlength=n)
    first = order[(np.cumsum(sizes) - sizes)[:, None] + np.arange(k)]
    return other[first], distances[first]


def _encode(
    x: Tensor, near: np.ndarray, half: int, known: np.ndarray, nearest: np.ndarray, farthest: np.ndarray
) -> sparse.csr_array:
    """V (N, N), section 3.3: for each image the weights exp(-distance) on its expanded k-reciprocal set, sum 1.

    Sets are of the neighbours `near` (N, 1 + k1), and of the first `half`; distances to `known` (N, K) are `nearest`.
    """
    n = len(near)
    reciprocal = _reciprocal(near)
    half = _reciprocal(near[:, :half])
    # A reciprocal neighbour brings its own (half) set along when more than 2/3 of that is in the set already (eq. 3).
    brings = reciprocal.multiply(reciprocal @ half.T).tocsr()
    sizes = np.diff(half.indptr)
    brings.data = (3 * brings.data > 2 * sizes[brings.indices]).astype(np.int32)
    brings.eliminate_zeros()
    expanded = (reciprocal + brings @ half).tocsr()
    expanded.sort_indices()
    rows, columns = np.repeat(np.arange(n), np.diff(expanded.indptr)), expanded.indices
    distances = _look_up(x, known, nearest, rows, columns)
    weights = np.exp(-distances / farthest[rows])
    weights /= np.bincount(rows, weights, n).astype(np.float32)[rows]
    return sparse.csr_array((weights, columns, expanded.indptr), shape=(n, n))


def _reciprocal(near: np.ndarray) -> sparse.csr_array:
    """(N, N) of 0 and 1: which images are among each other's nearest (eq. 2)."""
    forward = _indicator(near)
    return forward.multiply(forward.T).tocsr()


def _indicator(near: np.ndarray) -> sparse.csr_array:
    """(N, N) with a one for each of the neighbours (N, k)."""
    n, k = near.shape
    ones = np.ones(n * k, np.int32)
    return sparse.csr_array((ones, near.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def _look_up(x: Tensor, near: np.ndarray, nearest: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Squared distances of the pairs: known ones from the neighbours, the others computed."""
    n = len(near)
    known = (np.arange(n)[:, None] * n + near).ravel()
    order = np.argsort(known)
    wanted = rows.astype(np.int64) * n + columns
    at = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(order) - 1)]
    distances = nearest.ravel()[at]
    new = np.flatnonzero(known[at] != wanted)
    for some in np.array_split(new, len(new) // 4096 + 1):
        a, b = (torch.from_numpy(i[some].astype(np.int64)).to(x.device) for i in (rows, columns))
        distances[some] = (x[a] - x[b]).square_().sum(1).cpu().numpy()
    return distances


def _add_jaccard(final: np.ndarray, encoding: sparse.csr_array, weight: float) -> None:
    """Adds weight x Jaccard distance (eq. 10) to the distances (Q, G).

    The rows of the encoding sum to 1, so the sum of maxima is 2 - the sum of minima; and minima are above 0 only
    where both images have a weight, which the gallery's encoding, transposed, lists for each of the query's.
    """
    queries, images = final.shape
    inverted = encoding[queries:].T.tocsr()  # (N, G)
    for start in range(0, queries, TILE):
        some = encoding[start : min(start + TILE, queries)]
        sizes = np.diff(inverted.indptr)[some.indices]
        shared = inverted[some.indices]  # for each weight of these queries, the gallery images that share it
        minima = np.minimum(shared.data, np.repeat(some.data, sizes))
        row = np.repeat(np.repeat(np.arange(some.shape[0]), np.diff(some.indptr)), sizes)
        overlap = np.bincount(row * images + shared.indices, minima, some.shape[0] * images)
        overlap = overlap.astype(np.float32).reshape(-1, images)
        final[start : start + TILE] += weight * (1 - overlap / (2 - overlap))
