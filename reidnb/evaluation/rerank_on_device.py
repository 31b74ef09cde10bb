"""k-reciprocal re-ranking (Zhong et al. 2017, CVPR) in tensor code that stays on the descriptors' device.

`rerank.rerank` checks the arguments and comes here for a gallery on a GPU. All is done in index tensors, by blocks of
images, with no loop over single images. Images are numbered queries first, then the gallery: N = Q + G. Sums of
weights are sums of whole numbers, so the order in which a GPU's threads add them does not matter.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .distances import squared_norms

DEVICE_BLOCK_BYTES = 1 << 30
"""Bytes of one block of distances, and about the bytes of the working copies of any other step."""

SPARE = 8
"""Neighbours kept beyond those needed, so that most near ties at the last place are settled among the ones at hand."""

ROUNDING = 64 * torch.finfo(torch.float32).eps
"""Two distances that differ by less than this times |a|² + |b|² may be in the wrong order.

A distance is |a|² + |b|² - 2 a.b. Rounding in each of these sums of D terms walks at random, so its error is about
sqrt(D) eps/2 times (|a|² + |b|²); for two distances up to D = 4,096 that makes 64 eps. It is a generous figure: matrix
products sum in several parts, whose errors are smaller.
"""

GROUP = 32
"""Distances of which first only the least is looked at; see `smallest`."""

ONE = 1 << 30
"""The weight 1 in fixed point: a row of the encoding sums to about this, which leaves room in 32 bits."""


class Encoding(NamedTuple):
    """Sparse rows: those of image i are columns[offsets[i]:offsets[i + 1]], ascending, with weights in units of ONE."""

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

    Of images at equal distance those numbered lower are nearer; distances equal within rounding are compared in
    float64. The arguments are not checked here. Besides the result and two copies of the descriptors, memory is
    about twice `block_bytes`, and what the sparse encoding takes.
    """
    given = torch.cat([query.float(), gallery.float()])
    x = given - given.mean(0)  # moves no distance, and keeps digits that |a|² + |b|² - 2 a.b would lose
    sizes = k1 + 1, round(k1 / 2) + 1, k2
    with _full_precision(x.device):
        near, nearest, farthest, final = neighbours(x, len(query), k1 + 1 + SPARE, block_bytes)
        near = refined(given, x, near, nearest, sizes, block_bytes)
    del given, nearest
    rows, columns = expanded_sets(near, sizes[1], block_bytes)
    encoding = encode(x, rows, columns, farthest, block_bytes)
    del x, rows, columns
    if k2 > 1:
        encoding = averaged(encoding, near[:, :k2], block_bytes)
    final.mul_(lambda_value / farthest[: len(query), None])
    add_jaccard(final, encoding, 1 - lambda_value, block_bytes)
    return final


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in float32 proper, whatever the caller chose for training."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        matmul.fp32_precision = before


def neighbours(x: Tensor, queries: int, k: int, block_bytes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From x (N, D): the k nearest of each image, itself first (N, k), their squared distances (N, k; its own is
    -inf), the largest distance of each (N,), and all between query and gallery (Q, G). k is at most N."""
    n, squares = len(x), squared_norms(x)
    k = min(k, n)
    near, nearest = x.new_empty(n, k, dtype=torch.int64), x.new_empty(n, k)
    farthest, between = x.new_empty(n), x.new_empty(queries, n - queries)
    width = -(-n // GROUP) * GROUP  # whole groups; what is more than n stays infinite
    step = _step(n, 4 * width, block_bytes)
    memory = x.new_full((step, width), torch.inf)
    for start in range(0, n, step):
        stop = min(start + step, n)
        block, own = memory[: stop - start, :n], squares[start:stop]
        torch.addmm(squares, x[start:stop], x.T, alpha=-2, out=block)  # without |a|², which a row has in common
        torch.add(block.amax(1), own, out=farthest[start:stop])
        if start < queries:
            part = block[: queries - start, queries:]
            torch.add(part, own[: len(part), None], out=between[start : start + len(part)]).clamp_(min=0)
        block[:, start:].diagonal().fill_(-torch.inf)
        values, near[start:stop] = smallest(memory[: stop - start], k)
        nearest[start:stop] = values + own[:, None]
    # Where all images are one point, the largest distance is 0 but for rounding: any other number does as well.
    farthest[farthest <= ROUNDING * 2 * squares] = 1
    return near, nearest, farthest, between


def smallest(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row, ascending, and their columns (B, k), of a block (B, C) with C a multiple of GROUP.

    The k smallest are in the k groups with the smallest minima. A row's minima take one pass over memory to find,
    where `topk` makes several; so where groups are many, it is given the minima, and then the groups it chose.
    """
    groups = block.shape[1] // GROUP
    if groups < 2 * k:
        return block.topk(k, largest=False)
    chosen = block.view(-1, GROUP, groups).amin(1).topk(k, largest=False, sorted=False).indices
    members = torch.arange(0, block.shape[1], groups, device=block.device)
    columns = (chosen[:, :, None] + members).flatten(1)  # a group is every groups-th column, so that reads are in line
    values, place = block.gather(1, columns).topk(k, largest=False)
    return values, columns.gather(1, place)


def refined(
    given: Tensor, x: Tensor, near: Tensor, nearest: Tensor, sizes: tuple[int, ...], block_bytes: int
) -> Tensor:
    """The neighbours (N, sizes[0]), of which the first `size` are exactly the nearest for each of `sizes`, with ties
    going to lower numbers. sizes[0] is the largest.

    A set is in doubt if the first neighbour outside it is, within rounding, as near as the last inside. Then the
    candidates of that image are sorted anew; where all of them might be as near as the last one needed, others that
    are not among them might be too, and all images within rounding are looked at.
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
        many = nearest[:, -1] - nearest[:, largest - 1] <= rounding
        _sort_all(given, x, near, nearest[:, largest - 1] + rounding, many.nonzero()[:, 0], largest, block_bytes)
        doubt &= ~many
    _sort_candidates(given, near, doubt.nonzero()[:, 0], block_bytes)
    return near[:, :largest].contiguous()


def _sort_candidates(given: Tensor, near: Tensor, images: Tensor, block_bytes: int) -> None:
    """Sorts the candidates of these images (some of N) by exact distance and number, in place in near (N, K)."""
    k = near.shape[1]
    for some in images.split(_step(len(images), 64 * k, block_bytes)):
        candidates = near[some].sort(1).values
        owner = some[:, None].expand_as(candidates)
        distances = exact(given, owner.flatten(), candidates.flatten(), block_bytes).view_as(candidates)
        distances[candidates == owner] = -1  # itself comes before any duplicate
        near[some] = candidates.gather(1, distances.sort(dim=1, stable=True).indices)


def _sort_all(given: Tensor, x: Tensor, near: Tensor, bound: Tensor, images: Tensor, k: int, block_bytes: int) -> None:
    """Puts the k nearest by exact distance and number of these images first in near (N, K), in place, from all images
    not farther than bound (N,)."""
    n, squares = len(x), squared_norms(x)
    for some in images.split(_step(len(images), 64 * n, block_bytes)):
        rough = torch.addmm(squares, x[some], x.T, alpha=-2).add_(squares[some, None])
        close = rough <= bound[some, None]
        close.scatter_(1, near[some, :k], True)  # so that there are k at least, however this product was rounded
        row, column = close.nonzero(as_tuple=True)
        distances = exact(given, some[row], column, block_bytes)
        distances[column == some[row]] = -1
        order = distances.sort(stable=True).indices
        order = order[row[order].sort(stable=True).indices]
        counts = close.sum(1)
        first = (counts.cumsum(0) - counts)[:, None] + torch.arange(k, device=x.device)
        near[some, :k] = column[order[first]]


def exact(given: Tensor, a: Tensor, b: Tensor, block_bytes: int) -> Tensor:
    """Squared distances (P,), float64, of the pairs a, b (P,), from the descriptors before centring (N, D).

    The halves of a row are added up until one number is left: the order of the sum is then the same for each row and
    device, and duplicates are at the very same distance.
    """
    found = given.new_empty(len(a), dtype=torch.float64)
    step = _step(len(a), 32 * given.shape[1], block_bytes)
    for start in range(0, len(a), step):
        some = slice(start, start + step)
        terms = given[a[some]].double().sub_(given[b[some]]).square_()
        while (width := terms.shape[1]) > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:]
            terms = terms[:, :half]
        found[some] = terms[:, 0]
    return found


def expanded_sets(near: Tensor, half: int, block_bytes: int) -> tuple[Tensor, Tensor]:
    """The expanded k-reciprocal sets (eq. 3) as image, member (M,), ascending, from near (N, k + 1) with the image
    itself first; the sets that may be brought along are of the first `half` neighbours."""
    n, k = near.shape
    step = _step(n, k * (8 * k + half * (k + 24)), block_bytes)
    members = torch.where(_reciprocal(near, step), near, -1)
    halves = torch.where(_reciprocal(near[:, :half].contiguous(), step), near[:, :half], -2)
    sizes = (halves >= 0).sum(1)
    rows, columns = [], []
    for start in range(0, n, step):
        own = members[start : start + step]
        other = halves[own.clamp(min=0)]  # (B, k, half)
        shared = (other[..., None] == own[:, None, None, :]).any(3).sum(2)
        brings = (own >= 0) & (3 * shared > 2 * sizes[own.clamp(min=0)])
        brought = torch.where(brings[..., None], other, -1)
        both = torch.cat([own, brought.flatten(1)], 1).int().sort(1).values
        first = both >= 0
        first[:, 1:] &= both[:, 1:] != both[:, :-1]
        row, place = first.nonzero(as_tuple=True)
        rows.append(row + start)
        columns.append(both[row, place].long())
    return torch.cat(rows), torch.cat(columns)


def _reciprocal(near: Tensor, step: int) -> Tensor:
    """(N, k), bool: whether an image is among the neighbours of its neighbours (eq. 2)."""
    images = torch.arange(len(near), device=near.device)
    blocks = zip(near.split(step), images.split(step), strict=True)
    return torch.cat([(near[some] == own[:, None, None]).any(2) for some, own in blocks])


def encode(x: Tensor, rows: Tensor, columns: Tensor, farthest: Tensor, block_bytes: int) -> Encoding:
    """The weights exp(-distance) of these members (M,) of each image's set (section 3.3), with sum 1 for each."""
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
    """Local query expansion (section 3.5): for each image the mean of the encodings of its neighbours (N, k)."""
    (n, k), device = near.shape, near.device
    sizes = encoding.offsets.diff()[near]
    counts, columns, weights = [], [], []
    for start, stop in _blocks(sizes.sum(1), 80, block_bytes):
        some, size = near[start:stop].flatten(), sizes[start:stop]
        total = int(size.sum())
        at = _ranges(encoding.offsets[some], size.flatten(), total)
        row = torch.arange(stop - start, device=device).repeat_interleave(size.sum(1), output_size=total)
        keys, place = torch.unique(row * n + encoding.columns[at], return_inverse=True)
        sums = torch.zeros(len(keys), dtype=torch.int64, device=device).index_add_(0, place, encoding.weights[at])
        row = keys // n
        counts.append(torch.bincount(row, minlength=stop - start))
        columns.append(keys - row * n)
        weights.append(sums // k)
    return Encoding(_offsets(torch.cat(counts)), torch.cat(columns), torch.cat(weights))


def add_jaccard(final: Tensor, encoding: Encoding, weight: float, block_bytes: int) -> None:
    """Adds weight x Jaccard distance (eq. 10) to the distances (Q, G).

    The rows of the encoding sum to 1, so the sum of maxima is 2 - the sum of minima; and minima are above 0 only
    where both images have a weight, which the gallery's encoding, sorted by column, lists for each of the query's.
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
            some = slice(low + first, low + last)
            total = int(sizes[some].sum())
            at = _ranges(lists[columns[some]], sizes[some], total)
            entry = torch.arange(first, last, device=device).add_(low).repeat_interleave(sizes[some], output_size=total)
            minima = torch.minimum(weights[entry], listed[at])
            overlap.view(-1).index_add_(0, (row[entry] - start) * images + owner[at], minima)
        shared = overlap.float().div_(ONE)
        final[start:stop].add_(shared.div_(2 - shared).neg_().add_(1), alpha=weight)


def _step(count: int, row_bytes: int, block_bytes: int) -> int:
    """How many of `count` rows make a block; at least one."""
    return max(1, min(count, block_bytes // row_bytes))


def _offsets(counts: Tensor) -> Tensor:
    """(N,) -> (N + 1,): where each part starts, and the end."""
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def _ranges(starts: Tensor, sizes: Tensor, total: int) -> Tensor:
    """The whole numbers from each of starts (P,) on, as many as sizes (P,) says, one range after the other (total,)."""
    shift = starts - (sizes.cumsum(0) - sizes)
    return shift.repeat_interleave(sizes, output_size=total).add_(torch.arange(total, device=starts.device))


def _blocks(sizes: Tensor, item_bytes: int, block_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive parts (P,) with at most as many items as fit, or one part."""
    ends, most = sizes.cumsum(0).cpu().numpy(), max(1, block_bytes // item_bytes)
    start, done = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield start, stop
        start, done = stop, int(ends[stop - 1])
