"""k-reciprocal re-ranking (Zhong et al. 2017, CVPR) in tensor code that stays on the descriptors' device.

`rerank.rerank` checks the arguments and calls this module for a gallery on a GPU. It works on index tensors in blocks
of images, without loops over single images. Images are numbered with the queries first: N = Q + G. Weights are summed
as integers (fixed point), so the result does not depend on the order in which a GPU's threads add them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .distances import full_precision, squared_norms

DEVICE_BLOCK_BYTES = 1 << 30
"""Bytes of one block of distances; the working copies of any other step take about as much."""

SPARE = 8
"""Neighbours kept beyond those needed, so that most near ties at the last rank are resolved among these."""

ROUNDING = 64 * torch.finfo(torch.float32).eps
"""Two distances that differ by less than this times |a|² + |b|² may be in the wrong order.

A distance is |a|² + |b|² - 2 a.b. The rounding errors of each of these sums of D terms behave like a random walk, so
the error is about sqrt(D) eps/2 times (|a|² + |b|²), which for two distances and D up to 4,096 makes 64 eps. The bound
is generous: matrix products add partial sums, whose errors are smaller.
"""

GROUP = 32
"""Distances per group, of which `smallest` first compares only the minima."""

ONE = 1 << 30
"""The weight 1 in fixed point: a row of the encoding sums to about this, which fits in 32 bits."""


class Encoding(NamedTuple):
    """Sparse rows: row i has columns[offsets[i]:offsets[i + 1]], ascending, with weights in units of 1 / ONE."""

    offsets: Tensor  # (N + 1,) int64
    columns: Tensor  # (M,) int64
    weights: Tensor  # (M,) int64


def rerank_on_device(
    query: Tensor,
    gallery: Tensor,
    k1: int,
    k2: int,
    lambda_value: float,
    block_bytes: int = DEVICE_BLOCK_BYTES,
) -> Tensor:
    """Re-ranked distances (Q, G), float32, on the device of query (Q, D) and gallery (G, D), as `rerank` defines them.

    Of images at equal distance the one with the lower number is nearer; distances that are equal within rounding are
    compared in float64. The arguments are not checked. Besides the result and two copies of the descriptors, it takes
    about twice `block_bytes` and the memory of the sparse encoding.
    """
    uncentred = torch.cat([query.float(), gallery.float()])
    x = uncentred - uncentred.mean(0)  # leaves distances unchanged, but reduces cancellation in |a|² + |b|² - 2 a.b
    sizes = k1 + 1, round(k1 / 2) + 1, k2
    with full_precision(x.device):
        near, nearest, farthest, final = neighbours(x, len(query), k1 + 1 + SPARE, block_bytes)
        near = refined(uncentred, x, near, nearest, sizes, block_bytes)
    del uncentred, nearest
    rows, columns = expanded_sets(near, sizes[1], block_bytes)
    encoding = encode(x, rows, columns, farthest, block_bytes)
    del x, rows, columns
    if k2 > 1:
        encoding = averaged(encoding, near[:, :k2], block_bytes)
    final.mul_(lambda_value / farthest[: len(query), None])
    add_jaccard(final, encoding, 1 - lambda_value, block_bytes)
    return final


def neighbours(x: Tensor, queries: int, k: int, block_bytes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From x (N, D): the k nearest of each image, itself first (N, k), their squared distances (N, k; -inf to itself),
    the largest distance of each image (N,), and all distances between query and gallery (Q, G). k is at most N."""
    n, squares = len(x), squared_norms(x)
    k = min(k, n)
    near, nearest = x.new_empty(n, k, dtype=torch.int64), x.new_empty(n, k)
    farthest, between = x.new_empty(n), x.new_empty(queries, n - queries)
    width = -(-n // GROUP) * GROUP  # padded to full groups with infinity
    step = _step(n, 4 * width, block_bytes)
    memory = x.new_full((step, width), torch.inf)
    for start in range(0, n, step):
        stop = min(start + step, n)
        block, row_squares = memory[: stop - start, :n], squares[start:stop]
        torch.addmm(squares, x[start:stop], x.T, alpha=-2, out=block)  # without |a|², which is constant in a row
        torch.add(block.amax(1), row_squares, out=farthest[start:stop])
        if start < queries:
            part = block[: queries - start, queries:]
            torch.add(part, row_squares[: len(part), None], out=between[start : start + len(part)]).clamp_(min=0)
        block[:, start:].diagonal().fill_(-torch.inf)
        values, near[start:stop] = smallest(memory[: stop - start], k)
        nearest[start:stop] = values + row_squares[:, None]
    # If all images coincide, the largest distance is 0 up to rounding; any positive number will do in its place.
    farthest[farthest <= ROUNDING * 2 * squares] = 1
    return near, nearest, farthest, between


def smallest(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row, ascending, and their columns (B, k), of a block (B, C) with C a multiple of GROUP.

    The k smallest values are in the k groups with the smallest minima. The minima take one pass over memory, whereas
    `topk` makes several; so with many groups, `topk` is applied to the minima and then to the selected groups.
    """
    groups = block.shape[1] // GROUP
    if groups < 2 * k:
        return block.topk(k, largest=False)
    chosen = block.view(-1, GROUP, groups).amin(1).topk(k, largest=False, sorted=False).indices
    members = torch.arange(0, block.shape[1], groups, device=block.device)
    columns = (chosen[:, :, None] + members).flatten(1)  # strided groups, for coalesced reads
    values, place = block.gather(1, columns).topk(k, largest=False)
    return values, columns.gather(1, place)


def refined(
    uncentred: Tensor, x: Tensor, near: Tensor, nearest: Tensor, sizes: tuple[int, ...], block_bytes: int
) -> Tensor:
    """The neighbours (N, sizes[0]), of which for each of `sizes` the first `size` are exactly the nearest; of equally
    near images the one with the lower number is taken. sizes[0] is the largest.

    A set is in doubt if the first neighbour outside it is, within rounding, as near as the last one inside. The
    candidates of that image are then sorted by exact distance. If even the last candidate is, within rounding, as near
    as the last neighbour needed, images beyond the candidates may be too, and all images within rounding are sorted.
    """
    largest, k = sizes[0], near.shape[1]
    squares = squared_norms(x)
    rounding = ROUNDING * (squares + squares[near].amax(1))
    doubt = torch.zeros_like(rounding, dtype=torch.bool)
    for size in sizes:
        if size < k:
            doubt |= nearest[:, size] - nearest[:, size - 1] <= rounding
    near = near[:, :k].clone()
    if k < len(x):
        beyond = nearest[:, -1] - nearest[:, largest - 1] <= rounding
        _sort_all(uncentred, x, near, nearest[:, largest - 1] + rounding, beyond.nonzero()[:, 0], largest, block_bytes)
        doubt &= ~beyond
    _sort_candidates(uncentred, near, doubt.nonzero()[:, 0], block_bytes)
    return near[:, :largest].contiguous()


def _sort_candidates(uncentred: Tensor, near: Tensor, images: Tensor, block_bytes: int) -> None:
    """Sort the candidates of these images (a subset of N) by exact distance, then number, in place in near (N, K)."""
    k = near.shape[1]
    for chunk in images.split(_step(len(images), 64 * k, block_bytes)):
        candidates = near[chunk].sort(1).values
        owner = chunk[:, None].expand_as(candidates)
        distances = exact(uncentred, owner.flatten(), candidates.flatten(), block_bytes).view_as(candidates)
        distances[candidates == owner] = -1  # the image itself comes before its duplicates
        near[chunk] = candidates.gather(1, distances.sort(dim=1, stable=True).indices)


def _sort_all(
    uncentred: Tensor, x: Tensor, near: Tensor, bound: Tensor, images: Tensor, k: int, block_bytes: int
) -> None:
    """Move the k nearest of these images, by exact distance, then number, to the front of near (N, K), in place; they
    are chosen from all images within the distance bound (N,)."""
    n, squares = len(x), squared_norms(x)
    for chunk in images.split(_step(len(images), 64 * n, block_bytes)):
        rough = torch.addmm(squares, x[chunk], x.T, alpha=-2).add_(squares[chunk, None])
        close = rough <= bound[chunk, None]
        close.scatter_(1, near[chunk, :k], True)  # guarantees at least k, however this product was rounded
        row, column = close.nonzero(as_tuple=True)
        distances = exact(uncentred, chunk[row], column, block_bytes)
        distances[column == chunk[row]] = -1
        order = distances.sort(stable=True).indices
        order = order[row[order].sort(stable=True).indices]
        counts = close.sum(1)
        first = (counts.cumsum(0) - counts)[:, None] + torch.arange(k, device=x.device)
        near[chunk, :k] = column[order[first]]


def exact(uncentred: Tensor, a: Tensor, b: Tensor, block_bytes: int) -> Tensor:
    """Squared distances (P,), float64, of the pairs a, b (P,), from the descriptors before centring (N, D).

    The halves of a row are added until one number is left, so that the order of summation is the same for every row and
    device, and duplicates have exactly equal distances.
    """
    result = uncentred.new_empty(len(a), dtype=torch.float64)
    step = _step(len(a), 32 * uncentred.shape[1], block_bytes)
    for start in range(0, len(a), step):
        chunk = slice(start, start + step)
        terms = uncentred[a[chunk]].double().sub_(uncentred[b[chunk]]).square_()
        while (width := terms.shape[1]) > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:]
            terms = terms[:, :half]
        result[chunk] = terms[:, 0]
    return result


def expanded_sets(near: Tensor, half: int, block_bytes: int) -> tuple[Tensor, Tensor]:
    """The expanded k-reciprocal sets (eq. 3) as image, member (M,), ascending, from near (N, k + 1) with the image
    itself first; the sets that may be added to it are those of the first `half` neighbours."""
    n, k = near.shape
    step = _step(n, k * (8 * k + half * (k + 24)), block_bytes)
    members = torch.where(_reciprocal(near, step), near, -1)
    halves = torch.where(_reciprocal(near[:, :half].contiguous(), step), near[:, :half], -2)
    sizes = (halves >= 0).sum(1)
    rows, columns = [], []
    for start in range(0, n, step):
        set_members = members[start : start + step]
        candidates = halves[set_members.clamp(min=0)]  # (B, k, half)
        shared = (candidates[..., None] == set_members[:, None, None, :]).any(3).sum(2)
        is_added = (set_members >= 0) & (3 * shared > 2 * sizes[set_members.clamp(min=0)])
        added = torch.where(is_added[..., None], candidates, -1)
        both = torch.cat([set_members, added.flatten(1)], 1).int().sort(1).values
        is_first = both >= 0
        is_first[:, 1:] &= both[:, 1:] != both[:, :-1]
        row, place = is_first.nonzero(as_tuple=True)
        rows.append(row + start)
        columns.append(both[row, place].long())
    return torch.cat(rows), torch.cat(columns)


def _reciprocal(near: Tensor, step: int) -> Tensor:
    """(N, k), bool: whether an image is among the neighbours of its neighbours (eq. 2)."""
    images = torch.arange(len(near), device=near.device)
    blocks = zip(near.split(step), images.split(step), strict=True)
    return torch.cat([(near[chunk] == image[:, None, None]).any(2) for chunk, image in blocks])


def encode(x: Tensor, rows: Tensor, columns: Tensor, farthest: Tensor, block_bytes: int) -> Encoding:
    """The weights exp(-distance) of the members (M,) of each image's set (section 3.3), normalised to sum 1."""
    n = len(x)
    weights = x.new_empty(len(rows))
    step = _step(len(rows), 16 * x.shape[1], block_bytes)
    for start in range(0, len(rows), step):
        a, b = rows[start : start + step], columns[start : start + step]
        squared = torch.linalg.vector_norm(x[a].sub_(x[b]), dim=1).square_()
        weights[start : start + step] = squared.div_(farthest[a]).neg_().exp_()
    fixed = (weights.double() * ONE).round_().long()
    sums = torch.zeros(n, dtype=torch.int64, device=x.device).index_add_(0, rows, fixed)
    fixed = (fixed.double() / sums[rows] * ONE).round_().long()
    return Encoding(_offsets(torch.bincount(rows, minlength=n)), columns, fixed)


def averaged(encoding: Encoding, near: Tensor, block_bytes: int) -> Encoding:
    """Local query expansion (section 3.5): each image gets the mean encoding of its neighbours (N, k)."""
    (n, k), device = near.shape, near.device
    sizes = encoding.offsets.diff()[near]
    counts, columns, weights = [], [], []
    for start, stop in _blocks(sizes.sum(1), 80, block_bytes):
        members, size = near[start:stop].flatten(), sizes[start:stop]
        total = int(size.sum())
        index = _ranges(encoding.offsets[members], size.flatten(), total)
        row = torch.arange(stop - start, device=device).repeat_interleave(size.sum(1), output_size=total)
        keys, place = torch.unique(row * n + encoding.columns[index], return_inverse=True)
        sums = torch.zeros(len(keys), dtype=torch.int64, device=device).index_add_(0, place, encoding.weights[index])
        row = keys // n
        counts.append(torch.bincount(row, minlength=stop - start))
        columns.append(keys - row * n)
        weights.append(sums // k)
    return Encoding(_offsets(torch.cat(counts)), torch.cat(columns), torch.cat(weights))


def add_jaccard(final: Tensor, encoding: Encoding, weight: float, block_bytes: int) -> None:
    """Add weight x Jaccard distance (eq. 10) to the distances (Q, G).

    The rows of the encoding sum to 1, so the sum of maxima is 2 minus the sum of minima. A minimum is positive only
    where both images have a weight; the gallery's encoding, sorted by column, lists these images for each weight.
    """
    (queries, images), offsets, device = final.shape, encoding.offsets, final.device
    n, split = queries + images, int(offsets[queries])
    order = encoding.columns[split:].sort(stable=True).indices
    owner = torch.arange(images, device=device).repeat_interleave(offsets[queries:].diff(), output_size=len(order))
    owner, listed = owner[order], encoding.weights[split:][order].int()
    lists = _offsets(torch.bincount(encoding.columns[split:], minlength=n))
    columns, weights = encoding.columns[:split], encoding.weights[:split].int()
    row = torch.arange(queries, device=device).repeat_interleave(offsets[: queries + 1].diff(), output_size=split)
    sizes = lists.diff()[columns]
    ends = offsets[: queries + 1].cpu().numpy()
    step = _step(queries, 16 * images, block_bytes)
    for start in range(0, queries, step):
        stop = min(start + step, queries)
        overlap = torch.zeros(stop - start, images, dtype=torch.int32, device=device)
        low, high = int(ends[start]), int(ends[stop])
        for first, last in _blocks(sizes[low:high], 96, block_bytes):
            entries = slice(low + first, low + last)
            total = int(sizes[entries].sum())
            index = _ranges(lists[columns[entries]], sizes[entries], total)
            entry = (
                torch.arange(first, last, device=device).add_(low).repeat_interleave(sizes[entries], output_size=total)
            )
            minima = torch.minimum(weights[entry], listed[index])
            overlap.view(-1).index_add_(0, (row[entry] - start) * images + owner[index], minima)
        shared = overlap.float().div_(ONE)
        final[start:stop].add_(shared.div_(2 - shared).neg_().add_(1), alpha=weight)


def _step(count: int, row_bytes: int, block_bytes: int) -> int:
    """Rows per block: at most `count`, at least one."""
    return max(1, min(count, block_bytes // row_bytes))


def _offsets(counts: Tensor) -> Tensor:
    """(N,) -> (N + 1,): the start of each part, and the end of the last."""
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def _ranges(starts: Tensor, sizes: Tensor, total: int) -> Tensor:
    """The concatenated integer ranges (total,) that begin at starts (P,) and have the lengths sizes (P,)."""
    shift = starts - (sizes.cumsum(0) - sizes)
    return shift.repeat_interleave(sizes, output_size=total).add_(torch.arange(total, device=starts.device))


def _blocks(sizes: Tensor, item_bytes: int, block_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of runs of consecutive parts (P,) whose items fit a block; a run has at least one part."""
    ends, most = sizes.cumsum(0).cpu().numpy(), max(1, block_bytes // item_bytes)
    start, done = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield start, stop
        start, done = stop, int(ends[stop - 1])
