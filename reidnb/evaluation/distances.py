"""Distances between descriptors, computed in blocks of queries so that memory stays bounded."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

BLOCK_BYTES = 64 << 20
"""Bytes of one block of distances (queries x gallery); working copies take about as much again."""

GPU_BLOCK_BYTES = 512 << 20
"""The same on a GPU, which idles between small blocks; working copies take two or three times as much."""


def tensor(values: ArrayLike | Tensor) -> Tensor:
    """The values as a floating-point tensor, without a copy where possible (torch copies read-only arrays)."""
    values = values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements="CW"))
    return values.detach().to(torch.promote_types(values.dtype, torch.float32))


def descriptors(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
) -> tuple[Tensor, Tensor]:
    """Query (Q, D) and gallery (G, D) as tensors of one type, float32 or float64, on the gallery's device.

    Raises ValueError for an empty set, for dimensions that differ, and for NaN or infinity, with the first index.
    """
    query, gallery = checked("query", query), checked("gallery", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"query descriptors have {query.shape[1]} dimensions, gallery descriptors {gallery.shape[1]}")
    dtype = torch.promote_types(query.dtype, gallery.dtype)
    return query.to(gallery.device, dtype), gallery.to(dtype)


def checked(name: str, x: ArrayLike | Tensor) -> Tensor:
    """Descriptors (N, D) as a tensor; `name` is 'query' or 'gallery'. Raises ValueError as `descriptors`."""
    x = tensor(x)
    if x.ndim != 2:
        raise ValueError(f"{name} descriptors must be (images, dimensions), found the shape {tuple(x.shape)}")
    if len(x) == 0:
        raise ValueError(f"the {name} is empty")
    finite = squared_norms(x).isfinite()
    if not bool(finite.all()):
        index = int(finite.int().argmin())
        raise ValueError(f"{name} descriptor {index} holds NaN, infinity or a number too large to square")
    return x


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute matrix products in full float32 precision, whatever the caller's settings for training."""
    matmul = torch.backends.cuda.matmul
    previous = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        matmul.fp32_precision = previous


def squared_norms(x: Tensor) -> Tensor:
    """(N, D) -> (N,), in chunks, which avoids a second (N, D) array; on a CPU a chunk fits the core's cache."""
    rows = 8192 if x.is_cuda else 64
    return torch.cat([chunk.square().sum(1) for chunk in x.split(rows)])


def descriptor_blocks(
    query: Tensor, gallery: Tensor, metric: str, block_bytes: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first query, block (B, G)), one matrix product each; values are ordered like the distances.

    A block is valid until the next one is requested, since all use the same memory. `block_bytes` defaults to
    `BLOCK_BYTES` or `GPU_BLOCK_BYTES`.
    """
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f'metric must be "euclidean" or "cosine", found {metric!r}')
    squares = squared_norms(gallery)
    for start, rows, block in row_blocks(query, len(gallery), block_bytes):
        if metric == "euclidean":  # |g|² - 2 q.g is ordered like |q - g|
            with full_precision(gallery.device):
                torch.addmm(squares, rows, gallery.T, alpha=-2, out=block)
        else:  # -q.g / |g| is ordered like 1 - cosine; a zero descriptor has cosine 0 to all others
            with full_precision(gallery.device):
                torch.mm(rows, gallery.T, out=block)
            block.div_(-squares.sqrt().clamp_(min=torch.finfo(squares.dtype).tiny))
        yield start, block


def given_blocks(distances: Tensor, block_bytes: int | None = None) -> Iterator[tuple[int, Tensor]]:
    """As `descriptor_blocks`, with copies of blocks of a matrix (Q, G). Raises ValueError for NaN or infinity."""
    for start, rows, block in row_blocks(distances, distances.shape[1], block_bytes):
        # A finite sum excludes NaN and infinity; a sum that is not may have overflowed, so each number is then checked.
        if not bool(rows.sum().isfinite()) and not bool((finite := rows.isfinite()).all()):
            row, column = divmod(int(finite.int().argmin()), rows.shape[1])
            raise ValueError(f"the distance of query {start + row} to gallery image {column} is NaN or infinite")
        yield start, block.copy_(rows)


def row_blocks(x: Tensor, columns: int, block_bytes: int | None) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (first row, a slice of x, a buffer with as many rows of `columns` numbers)."""
    if block_bytes is None:
        block_bytes = BLOCK_BYTES if x.device.type == "cpu" else GPU_BLOCK_BYTES
    step = min(len(x), max(1, block_bytes // (columns * x.element_size())))
    memory = x.new_empty(step, columns)
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        yield start, rows, memory[: len(rows)]
