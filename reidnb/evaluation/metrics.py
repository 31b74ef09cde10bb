"""Rank-k, mAP and mINP, by the protocol of `protocol.py`.

Labels are given by name, since libraries differ in their order (torchreid takes both pids first), and labels in the
wrong order give a perfect score of the few queries that are left.

The gallery is never sorted: the rank of a right image is one more than the number of images before it, and only
that is counted, in blocks of queries, so that memory stays bounded. Images at equal distance are ranked in the
order of the gallery. On a GPU nothing is read back between blocks but the number of ties, so that it seldom waits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .distances import descriptor_blocks, descriptors, given_blocks, tensor
from .protocol import Protocol, like, protocol_of


@dataclass(frozen=True, eq=False)
class Scores:
    """What a ranking is worth. Fractions in [0, 1]; the arrays per query have one entry for each *valid* query."""

    cmc: np.ndarray
    """(max_rank,): share of valid queries with a right image among the first 1, 2, ... max_rank."""
    map: float
    """Mean of `ap`."""
    map_trapezoid: float
    """Mean of `ap_trapezoid`."""
    minp: float
    """Mean inverse negative penalty (Ye et al. 2021): right images / rank of the last of them."""
    ap: np.ndarray
    """Plain average precision: the mean, over right images, of the precision at each (torchreid, fastreid)."""
    ap_trapezoid: np.ndarray
    """Average precision as Market-1501's own code: trapezoids between the precision before and at each right image."""
    first_rank: np.ndarray
    """Rank of the first right image, from 1."""
    valid: np.ndarray
    """(queries,) bool: whether the query has a right image in the gallery."""

    @property
    def queries(self) -> int:
        """How many queries were asked and scored."""
        return int(self.valid.sum())

    @property
    def left_out(self) -> int:
        """How many queries have no right image in the gallery."""
        return int((~self.valid).sum())

    def rank(self, k: int) -> float:
        """Rank-k: the share of queries with a right image among the first k."""
        return _rank_k(self.cmc, k)


@dataclass(frozen=True, eq=False)
class SingleShot:
    """Single-gallery-shot CMC, as fractions: mean and standard deviation over the repeats, both (max_rank,)."""

    cmc: np.ndarray
    spread: np.ndarray
    queries: int
    left_out: int

    def rank(self, k: int) -> float:
        """Rank-k, mean over the repeats."""
        return _rank_k(self.cmc, k)


def evaluate(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    *,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    metric: str = "euclidean",
    ignore_cameras: bool = False,
    max_rank: int = 50,
    block_bytes: int | None = None,
) -> Scores:
    """Ranks the gallery for each query and scores the rankings.

    query (Q, D) and gallery (G, D): descriptors, arrays or tensors; the work is done where the gallery lies, in
    float32 (float64 where either is). pids and camids: whole numbers, (Q,) and (G,). `metric`: "euclidean" or
    "cosine". `ignore_cameras`: images of the query's own camera are ranked too. Raises ValueError for shapes that
    do not go together, NaN or infinity, and when no query has a right image.
    """
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    protocol.need_right()
    query, gallery = _descriptors(query, gallery, protocol)
    return _score(descriptor_blocks(query, gallery, metric, block_bytes), gallery.device, protocol, max_rank)


def evaluate_distances(
    distances: ArrayLike | Tensor,
    *,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    ignore_cameras: bool = False,
    max_rank: int = 50,
    block_bytes: int | None = None,
) -> Scores:
    """As `evaluate`, from distances (Q, G) of any kind, smaller is nearer (for example after re-ranking)."""
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    protocol.need_right()
    distances = tensor(distances)
    if distances.shape != (protocol.queries, protocol.gallery):
        wanted = f"{protocol.queries} queries x {protocol.gallery} gallery images"
        raise ValueError(f"distances have the shape {tuple(distances.shape)}, the labels {wanted}")
    return _score(given_blocks(distances, block_bytes), distances.device, protocol, max_rank)


def ranking(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    *,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    top: int = 10,
    metric: str = "euclidean",
    ignore_cameras: bool = False,
    block_bytes: int | None = None,
) -> np.ndarray:
    """The indices of each query's first `top` allowed gallery images, (Q, top), -1 where there are fewer.

    Arguments and errors as `evaluate`, but a query needs no right image.
    """
    _at_least_one(top=top)
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    query, gallery = _descriptors(query, gallery, protocol)
    placed, parts = protocol.on(gallery.device), []
    for start, block in descriptor_blocks(query, gallery, metric, block_bytes):
        placed.bar(block, start)
        parts.append(_first(block, top))
    first = torch.cat(parts).cpu().numpy()
    found = np.full((protocol.queries, top), -1)
    found[:, : first.shape[1]] = first
    return found


def single_shot_cmc(
    query: ArrayLike | Tensor,
    gallery: ArrayLike | Tensor,
    *,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    repeats: int = 10,
    seed: int = 0,
    metric: str = "euclidean",
    ignore_cameras: bool = False,
    max_rank: int = 50,
    block_bytes: int | None = None,
) -> SingleShot:
    """CMC with one random image of each gallery identity (CUHK03's classic protocol), averaged over repeats.

    Every repeat draws one image of each identity anew; of the query's own identity it is one that the query may
    be shown, drawn for each query. Distractors (pid 0) are nobody's images and all stay. Other arguments and
    errors as `evaluate`.
    """
    _at_least_one(repeats=repeats, max_rank=max_rank)
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    protocol.need_right()
    query, gallery = _descriptors(query, gallery, protocol)
    rng = np.random.default_rng(seed)
    draws = _one_each(protocol.gallery_pids, repeats, rng)
    valid = np.flatnonzero(protocol.counts)
    counts = protocol.counts[valid]
    starts = np.cumsum(counts) - counts
    own = protocol.right[1][starts + rng.integers(counts, size=(repeats, len(valid)))]  # (repeats, valid queries)
    gallery_pids = protocol.gallery_pids[draws]
    # Each draw has one image of the query's identity too, somewhere; the one for this query takes its place.
    same = np.stack([_places(pids, protocol.query_pids[valid]) for pids in gallery_pids])
    draws, own, same, rows = (like(gallery, x) for x in (draws, own, same, valid))
    parts = []
    for start, block in descriptor_blocks(query, gallery, metric, block_bytes):
        lo, hi = np.searchsorted(valid, (start, start + len(block)))
        if lo == hi:
            continue
        if hi - lo < len(block):
            block = block[rows[lo:hi] - start]
        ranks = block.new_empty((repeats, hi - lo), dtype=torch.int64)
        for draw, chosen, others, rank in zip(draws, own[:, lo:hi, None], same[:, lo:hi, None], ranks, strict=True):
            distances = block[:, draw].scatter_(1, others, torch.inf)
            rank.copy_(_before(distances, draw, block.gather(1, chosen), chosen)).add_(1)
        parts.append(ranks)
    ranks = torch.cat(parts, 1).cpu().numpy()
    curves = np.stack([_cmc(r, max_rank) for r in ranks])
    return SingleShot(curves.mean(0), curves.std(0), len(valid), protocol.queries - len(valid))


def _score(blocks: Iterator[tuple[int, Tensor]], device: torch.device, protocol: Protocol, max_rank: int) -> Scores:
    _at_least_one(max_rank=max_rank)
    placed, parts = protocol.on(device), []
    for start, block in blocks:
        placed.bar(block, start)
        parts.append(_ranks(block, *placed.right_in(start, len(block))))
    rank = torch.cat(parts).cpu().numpy()
    # Ascending for each query, by one sort of whole numbers: rows are ascending already.
    rows = protocol.right[0] * (protocol.gallery + 1)
    rank = np.sort(rows + rank) - rows

    valid = protocol.counts > 0
    n = protocol.counts[valid]
    starts = np.cumsum(n) - n
    place = np.arange(len(rank)) - np.repeat(starts, n)  # 0, 1, ... among the query's right images
    after = (place + 1) / rank
    before = np.where(rank > 1, place / np.maximum(rank - 1, 1), 1.0)
    ap = np.add.reduceat(after, starts) / n
    ap_trapezoid = np.add.reduceat((before + after) / 2, starts) / n
    first, last = rank[starts], rank[starts + n - 1]
    return Scores(
        cmc=_cmc(first, max_rank),
        map=float(ap.mean()),
        map_trapezoid=float(ap_trapezoid.mean()),
        minp=float((n / last).mean()),
        ap=ap,
        ap_trapezoid=ap_trapezoid,
        first_rank=first,
        valid=valid,
    )


def _ranks(block: Tensor, rows: Tensor, columns: Tensor, places: Tensor, most: int) -> Tensor:
    """Rank (n,), from 1, of each image (row, column) in its row; each has a place in its row, 0 to `most` - 1."""
    if block.device.type == "cpu":
        return torch.from_numpy(_ranks_one_by_one(block.numpy(), rows.numpy(), columns.numpy()))
    return _ranks_together(block, rows, columns, places, most)


def _ranks_one_by_one(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """On a CPU, one count for each image over a row that lies in cache."""
    before = np.empty(table.shape[1], bool)
    ranks = np.empty(len(rows), np.int64)
    for at, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        distances = table[row]
        mine = distances[column]
        # At equal distance those earlier in the gallery come before.
        np.less_equal(distances[:column], mine, out=before[:column])
        np.less(distances[column:], mine, out=before[column:])
        ranks[at] = np.count_nonzero(before)
    return ranks + 1


def _ranks_together(block: Tensor, rows: Tensor, columns: Tensor, places: Tensor, most: int) -> Tensor:
    """On a GPU, all images of a row by one look at each distance; holds two or three blocks more.

    A limit (mine) counts the images that are nearer; the next larger number counts those as near, too. Only where
    there are others as near is their order in the gallery looked at.
    """
    mine = block[rows, columns]
    limits = block.new_full((len(block), most, 2), torch.inf)
    limits[rows, places, 0] = mine
    limits[rows, places, 1] = mine.nextafter(torch.full_like(mine, torch.inf))
    nearer, up_to = _below(block, limits.flatten(1)).view(limits.shape)[rows, places].unbind(1)
    index = torch.arange(block.shape[1], device=block.device)
    for some in (up_to - nearer > 1).nonzero()[:, 0].split(len(block)):
        as_near = block[rows[some]] == mine[some, None]
        nearer[some] += (as_near & (index < columns[some, None])).sum(1)
    return nearer + 1


def _below(block: Tensor, limits: Tensor) -> Tensor:
    """How many distances of each row (B, G) are below each of the row's limits (B, K), in any order.

    Each distance is put in its bin between the sorted limits. Neighbouring threads count in lanes of their own:
    most of a row falls in one bin, where they would wait for each other.
    """
    limits, order = limits.sort(1)
    bins = limits.shape[1] + 1
    lanes = max(1, min(32, block.shape[1] // bins))
    lane = torch.arange(block.shape[1], device=block.device) % lanes
    at = torch.searchsorted(limits, block, right=True)
    torch.add(lane, at, alpha=lanes, out=at)
    one = torch.ones((), dtype=torch.int32, device=block.device)
    counts = torch.zeros((len(block), bins * lanes), dtype=torch.int32, device=block.device)
    counts.scatter_add_(1, at, one.expand_as(at))
    below = counts.view(len(block), bins, lanes).sum(2).cumsum(1)[:, :-1]
    return torch.empty_like(below).scatter_(1, order, below)


def _before(distances: Tensor, index: Tensor, mine: Tensor, my_index: Tensor) -> Tensor:
    """How many of each row (n, m) come before an image at distance `mine` (n, 1) with gallery index `my_index`."""
    return ((distances < mine) | ((distances == mine) & (index < my_index))).sum(1)


def _descriptors(query: ArrayLike | Tensor, gallery: ArrayLike | Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    query, gallery = descriptors(query, gallery)
    for name, x, labels in (("query", query, protocol.queries), ("gallery", gallery, protocol.gallery)):
        if len(x) != labels:
            raise ValueError(f"{len(x)} {name} descriptors, but {labels} {name}_pids")
    return query, gallery


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, found {number}")


def _first(block: Tensor, top: int) -> Tensor:
    """Column indices of each row's `top` smallest, equal ones in column order, -1 for infinity."""
    nearest, index = block.topk(min(top + 1, block.shape[1]), largest=False)
    # topk takes equal ones in any order: those it took are put in theirs,
    index, order = index.sort(dim=1)
    nearest, order = nearest.gather(1, order).sort(dim=1, stable=True)
    index = index.gather(1, order)
    # and rows where it left out one that may come before another are sorted.
    if index.shape[1] > top:
        last = nearest[:, -1]
        tied = ((nearest[:, -2] == last) & last.isfinite()).nonzero()[:, 0]
        index[tied] = block[tied].argsort(dim=1, stable=True)[:, : top + 1]
    return index.masked_fill(nearest.isinf(), -1)[:, :top]


def _one_each(pids: np.ndarray, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """(repeats, n) gallery indices, ascending: one random image of each identity, and every distractor."""
    known, person = np.unique(pids, return_inverse=True)
    distractors = np.flatnonzero(pids == 0)
    first = np.empty(len(known), np.int64)
    draws = np.empty((repeats, (known > 0).sum() + len(distractors)), np.int64)
    for draw in draws:
        backwards = rng.permutation(len(pids))[::-1]
        first[person[backwards]] = backwards  # the last to be written, which is the first of the permutation, stays
        draw[:] = np.concatenate([first[known > 0], distractors])
    draws.sort(1)
    return draws


def _places(pids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of the wanted pids, all of them there, is in `pids`."""
    order = np.argsort(pids)
    return order[np.searchsorted(pids, wanted, sorter=order)]


def _cmc(first_rank: np.ndarray, max_rank: int) -> np.ndarray:
    return (first_rank[:, None] <= np.arange(1, max_rank + 1)).mean(0)


def _rank_k(cmc: np.ndarray, k: int) -> float:
    if not 1 <= k <= len(cmc):
        raise ValueError(f"rank-{k} was not computed: k must be between 1 and max_rank = {len(cmc)}")
    return float(cmc[k - 1])
