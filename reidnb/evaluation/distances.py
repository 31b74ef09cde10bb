"""Distances between descriptors, computed in blocks of queries so that memory stays bounded."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

BLOCK_BYTES = 64 << 20
"""Bytes of one block of distances (queries x gallery); working copies come to about as much again."""

GPU_BLOCK_BYTES = 512 << 20
"""The same on a GPU, which waits between small blocks; working copies come to two or three times as much."""


def tensor(values: ArrayLike | Tensor) -> Tensor:
    """As a tensor, without a copy where torch can share the memory (it cannot with read-only arrays)."""
    values = values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements="CW"))
    return values.detach().to(torch.promote_types(values.dtype, torch.float32))


def descriptors(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
) -> tuple[Tensor, Tensor]:
    """Query (Q, D) and gallery (G, D) as tensors of one type, float32 or float64, where the gallery lies.

    Raises ValueError for an empty set, dimensions that differ, and NaN or infinity, with the first place.
    """
    query, gallery = checked("query", query), checked("gallery", gallery)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"query descriptors have {query.shape[1]} dimensions, gallery descriptors {gallery.shape[1]}")
    dtype = torch.promote_types(query.dtype, gallery.dtype)
    return query.to(gallery.device, dtype), gallery.to(dtype)


def checked(name: str, x: ArrayLike | Tensor) -> Tensor:
    """Descriptors (N, D) of the images that `name` says, as a tensor. Raises ValueError as `descriptors`."""
    x = tensor(x)
    if x.ndim != 2:
        raise ValueError(f"{name} descriptors must be (images, dimensions), found the shape {tuple(x.shape)}")
    if len(x) == 0:
        raise ValueError(f"the {name} is empty")
    finite = squared_norms(x).isfinite()
    if not bool(finite.all()):
        at = int(finite.int().argmin())
        raise ValueError(f"{name} descriptor {at} holds NaN, infinity or a number too large to square")
    return x


def squared_norms(x: Tensor) -> Tensor:
    """(N, D) -> (N,), in pieces, so that no second (N, D) is held; on a CPU they stay in a core's cache."""
    rows = 8192 if x.is_cuda else 64
    return torch.cat([some.square().sum(1) for some in x.split(rows)])


def descriptor_blocks(
    query: Tensor, gallery: Tensor, metric: str, block_bytes: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """(first query, block (B, G)), by one matrix product each: the order of the distances, not their values.

    A block holds until the next one is asked for: all are made in the same memory. `block_bytes` is `BLOCK_BYTES` or
    `GPU_BLOCK_BYTES` unless given.
    """
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f'metric must be "euclidean" or "cosine", found {metric!r}')
    squares = squared_norms(gallery)
    for start, rows, block in _rows(query, len(gallery), block_bytes):
        if metric == "euclidean":  # |g|² - 2 q.g, which orders as |q - g| does
            torch.addmm(squares, rows, gallery.T, alpha=-2, out=block)
        else:  # -q.g / |g|, which orders as 1 - cosine does; a descriptor of zeros is at right angles to all
            torch.mm(rows, gallery.T, out=block)
            block.div_(-squares.sqrt().clamp_(min=torch.finfo(squares.dtype).tiny))
        yield start, block


def given_blocks(distances: Tensor, block_bytes: int | None = None) -> Iterator[tuple[int, Tensor]]:
    """As `descriptor_blocks`, of a matrix (Q, G), copied. Raises ValueError for NaN or infinity."""
    for start, rows, block in _rows(distances, distances.shape[1], block_bytes):
        # A sum shows NaN and infinity at once; it may be infinite without either, so then each number is looked at.
        if not bool(rows.sum().isfinite()) and not bool((finite := rows.isfinite()).all()):
            row, column = divmod(int(finite.int().argmin()), rows.shape[1])
            raise ValueError(f"the distance of query {start + row} to gallery image {column} is NaN or infinite")
        yield start, block.copy_(rows)


def _rows(x: Tensor, columns: int, block_bytes: int | None) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(first row, some rows of x, memory for as many rows of `columns` numbers)."""
    if block_bytes is None:
        block_bytes = BLOCK_BYTES if x.device.type == "cpu" else GPU_BLOCK_BYTES
    step = min(len(x), max(1, block_bytes // (columns * x.element_size())))
    memory = x.new_empty(step, columns)
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        yield start, rows, memory[: len(rows)]
