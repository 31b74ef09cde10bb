"""Re-ranking by features spread over a graph of neighbours (Zhang et al. 2020), an approximation of k-reciprocal.

"Understanding Image Retrieval Re-Ranking: A Graph Neural Network Perspective" (arXiv:2012.07620) describes each image
by its row of the neighbour graph and averages these rows over neighbours, which has no sets and no Jaccard distance.
The same code runs on CPU and GPU. Images are numbered with the queries first: N = Q + G.
"""

import warnings

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from .distances import descriptors, full_precision
from .rerank import nearest_images
from .rerank_on_device import DEVICE_BLOCK_BYTES

STEPS = 2
"""How often the features spread: the paper's number of layers."""

SPARSE_COST = 100
"""How much longer one multiplication takes in a sparse product than in a dense one (measured on a CPU: 120)."""


def rerank_by_graph(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    k1: int = 26,
    k2: int = 7,
    *,
    block_bytes: int | None = None,
) -> Tensor:
    """Re-ranked distances (Q, G), float32, on the gallery's device: 1 - cosine of the spread features, in [0, 1].

    query (Q, D) and gallery (G, D) are L2-normalised first. `k1` is the number of neighbours with which the graph is
    built and `k2` that over which features spread, both including the image itself; the defaults are the paper's for
    Market-1501. `block_bytes` as in `rerank`. Raises ValueError for parameters out of range, and as `evaluate`.
    """
    query, gallery = descriptors(query, gallery)
    count = len(query) + len(gallery)
    if not 1 <= k1 <= count:
        raise ValueError(f"k1 must be between 1 and the number of images, {count}, found {k1}")
    if not 1 <= k2 <= k1:
        raise ValueError(f"k2 must be between 1 and k1 = {k1}, found {k2}")
    query, gallery = F.normalize(query.float()), F.normalize(gallery.float())
    near = nearest_images(query, gallery, (k1, k2), block_bytes)
    graph = _sparse(near, torch.ones_like(near, dtype=torch.float32))
    if k2 > 1:  # with k2 = 1 an image is its only neighbour, and nothing spreads
        weights = _cosines(torch.cat([query, gallery]), near[:, :k2]).square_()  # e_ij = s_ij^alpha with alpha = 2
        propagation = _sparse(near[:, :k2], weights)
        for _ in range(STEPS):
            with warnings.catch_warnings():  # PyTorch calls its sparse formats a beta version
                warnings.simplefilter("ignore", UserWarning)
                graph = _unit_rows(torch.sparse.mm(propagation, graph + graph.T))
    else:
        graph = _unit_rows(graph)
    return _products(graph, len(query), block_bytes or DEVICE_BLOCK_BYTES).neg_().add_(1).clamp_(min=0)


def _products(graph: Tensor, queries: int, block_bytes: int) -> Tensor:
    """The products (Q, G) of the query rows of a sparse matrix (N, N) with its gallery rows.

    Sparse where few columns are shared, otherwise dense in blocks: of descriptors without clear neighbourhoods the
    features spread until a row has thousands of entries.
    """
    n, columns = len(graph), graph.indices()[1]
    query, gallery = _rows(graph, 0, queries), _rows(graph, queries, n)
    split = query._nnz()
    shared = (
        torch.bincount(columns[:split], minlength=n).double() @ torch.bincount(columns[split:], minlength=n).double()
    )
    if SPARSE_COST * float(shared) < queries * n * (n - queries):
        return torch.sparse.mm(query, gallery.T).to_dense()
    result = graph.values().new_empty(queries, n - queries)
    step = max(1, block_bytes // (4 * n))
    for low in range(0, n - queries, step):
        block = _rows(gallery, low, min(low + step, n - queries)).to_dense().T
        for start in range(0, queries, step):
            rows = _rows(query, start, min(start + step, queries)).to_dense()
            with full_precision(graph.device):
                torch.mm(rows, block, out=result[start : start + len(rows), low : low + block.shape[1]])
    return result


def _sparse(columns: Tensor, values: Tensor) -> Tensor:
    """A sparse (N, N) with the values (N, k) at the columns (N, k) of each row."""
    n, k = columns.shape
    columns, order = columns.sort(1)
    rows = torch.arange(n, device=columns.device).repeat_interleave(k)
    return _sorted(torch.stack([rows, columns.flatten()]), values.gather(1, order).flatten(), (n, n))


def _cosines(x: Tensor, near: Tensor) -> Tensor:
    """The cosines (N, k) of unit descriptors (N, D) with those of the images near (N, k)."""
    return torch.stack([(x * x[column]).sum(1) for column in near.T], 1)


def _unit_rows(matrix: Tensor) -> Tensor:
    """A sparse matrix (N, N) with its rows L2-normalised."""
    matrix = matrix.coalesce()
    rows, values = matrix.indices()[0], matrix.values()
    norms = values.new_zeros(len(matrix)).index_add_(0, rows, values.square()).sqrt_()
    return _sorted(matrix.indices(), values / norms[rows], matrix.shape)


def _rows(matrix: Tensor, start: int, stop: int) -> Tensor:
    """The rows start..stop of a sparse matrix (N, N)."""
    rows, columns = matrix.indices()
    low, high = torch.searchsorted(rows, torch.tensor([start, stop], device=rows.device)).tolist()
    indices = torch.stack([rows[low:high] - start, columns[low:high]])
    return _sorted(indices, matrix.values()[low:high], (stop - start, matrix.shape[1]))


def _sorted(indices: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix of entries (M,) that are in order already, so that they need no sort."""
    return torch.sparse_coo_tensor(indices, values, shape, is_coalesced=True, check_invariants=False)
