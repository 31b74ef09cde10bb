"""Rank-k, mAP and mINP, under the protocol of `protocol.py`.

Labels are keyword arguments because libraries differ in their order (torchreid takes both pids first), and labels in
the wrong order give a perfect score for the few queries that remain.

The gallery is never sorted: the rank of a match is one more than the number of images ranked before it, so these are
counted, in blocks of queries, so that memory stays bounded. Images at equal distance are ranked in gallery order. On a
GPU only the number of ties is read back between blocks, which keeps synchronisation rare.
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
    """The scores of a ranking, as fractions in [0, 1]; arrays per query have one entry for each *valid* query."""

    cmc: np.ndarray
    """(max_rank,): fraction of valid queries with a match among the first 1, 2, ... max_rank."""
    map: float
    """Mean of `ap`."""
    map_trapezoid: float
    """Mean of `ap_trapezoid`."""
    minp: float
    """Mean inverse negative penalty (Ye et al. 2021): number of matches / rank of the last match."""
    ap: np.ndarray
    """Plain average precision: the mean, over matches, of the precision at each (torchreid, fastreid)."""
    ap_trapezoid: np.ndarray
    """Average precision as in Market-1501's code: trapezoids between the precision before and at each match."""
    first_rank: np.ndarray
    """Rank of the first match, from 1."""
    valid: np.ndarray
    """(queries,) bool: whether the query has a match in the gallery."""

    @property
    def queries(self) -> int:
        """Number of valid queries."""
        return int(self.valid.sum())

    @property
    def left_out(self) -> int:
        """Number of queries without a match in the gallery."""
        return int((~self.valid).sum())

    def rank(self, k: int) -> float:
        """Rank-k: the fraction of valid queries with a match among the first k."""
        return _rank_k(self.cmc, k)


@dataclass(frozen=True, eq=False)
class SingleShot:
    """Single-gallery-shot CMC, as fractions: mean and standard deviation over the repeats, both (max_rank,)."""

    cmc: np.ndarray
    std: np.ndarray
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
    """Rank the gallery for each query and score the rankings.

    query (Q, D) and gallery (G, D): descriptors, arrays or tensors; computed on the gallery's device, in float32
    (float64 if either is float64). pids and camids: integers, (Q,) and (G,). `metric`: "euclidean" or "cosine".
    `ignore_cameras`: images from the query's camera are ranked too. Raises ValueError for inconsistent shapes, NaN or
    infinity, and when no query has a match.
    """
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    protocol.require_match()
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
    """As `evaluate`, from any distances (Q, G), for example after re-ranking; smaller is nearer."""
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    protocol.require_match()
    distances = tensor(distances)
    if distances.shape != (protocol.queries, protocol.gallery):
        expected = f"{protocol.queries} queries x {protocol.gallery} gallery images"
        raise ValueError(f"distances have the shape {tuple(distances.shape)}, the labels {expected}")
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
    """The gallery indices of each query's first `top` ranked images, (Q, top), -1 where there are fewer.

    Arguments and errors as `evaluate`, but a query needs no match.
    """
    _at_least_one(top=top)
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    query, gallery = _descriptors(query, gallery, protocol)
    pairs, parts = protocol.to(gallery.device), []
    for start, block in descriptor_blocks(query, gallery, metric, block_bytes):
        pairs.exclude(block, start)
        parts.append(_first(block, top))
    first = torch.cat(parts).cpu().numpy()
    result = np.full((protocol.queries, top), -1)
    result[:, : first.shape[1]] = first
    return result


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

    Every repeat draws a new image of each identity; for the query's identity it is drawn for each query, among its
    matches. All distractors (pid 0) are kept. Other arguments and errors as `evaluate`.
    """
    _at_least_one(repeats=repeats, max_rank=max_rank)
    protocol = protocol_of(query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras)
    protocol.require_match()
    query, gallery = _descriptors(query, gallery, protocol)
    rng = np.random.default_rng(seed)
    draws = _one_each(protocol.gallery_pids, repeats, rng)
    valid = np.flatnonzero(protocol.counts)
    counts = protocol.counts[valid]
    starts = np.cumsum(counts) - counts
    drawn_matches = protocol.matches[1][
        starts + rng.integers(counts, size=(repeats, len(valid)))
    ]  # (repeats, valid queries)
    gallery_pids = protocol.gallery_pids[draws]
    # Each draw also contains an image of the query's identity; the match drawn for the query replaces it.
    replaced_places = np.stack([_places(pids, protocol.query_pids[valid]) for pids in gallery_pids])
    draws, drawn_matches, replaced_places, rows = (
        like(gallery, x) for x in (draws, drawn_matches, replaced_places, valid)
    )
    parts = []
    for start, block in descriptor_blocks(query, gallery, metric, block_bytes):
        low, high = np.searchsorted(valid, (start, start + len(block)))
        if low == high:
            continue
        if high - low < len(block):
            block = block[rows[low:high] - start]
        ranks = block.new_empty((repeats, high - low), dtype=torch.int64)
        for draw, drawn_match, replaced, rank in zip(
            draws, drawn_matches[:, low:high, None], replaced_places[:, low:high, None], ranks, strict=True
        ):
            distances = block[:, draw].scatter_(1, replaced, torch.inf)
            rank.copy_(_before(distances, draw, block.gather(1, drawn_match), drawn_match)).add_(1)
        parts.append(ranks)
    ranks = torch.cat(parts, 1).cpu().numpy()
    curves = np.stack([_cmc(r, max_rank) for r in ranks])
    return SingleShot(curves.mean(0), curves.std(0), len(valid), protocol.queries - len(valid))


def _score(blocks: Iterator[tuple[int, Tensor]], device: torch.device, protocol: Protocol, max_rank: int) -> Scores:
    _at_least_one(max_rank=max_rank)
    pairs, parts = protocol.to(device), []
    for start, block in blocks:
        pairs.exclude(block, start)
        parts.append(_ranks(block, *pairs.matches_in(start, len(block))))
    rank = torch.cat(parts).cpu().numpy()
    # Sort the ranks within each query by a single integer sort; rows are ascending already.
    rows = protocol.matches[0] * (protocol.gallery + 1)
    rank = np.sort(rows + rank) - rows

    valid = protocol.counts > 0
    n = protocol.counts[valid]
    starts = np.cumsum(n) - n
    place = np.arange(len(rank)) - np.repeat(starts, n)  # 0, 1, ... among the query's matches
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
    """Rank (n,), from 1, of each match (row, column) in its row; `places` numbers a row's matches, 0 to `most` - 1."""
    if block.device.type == "cpu":
        return torch.from_numpy(_ranks_one_by_one(block.numpy(), rows.numpy(), columns.numpy()))
    return _ranks_together(block, rows, columns, places, most)


def _ranks_one_by_one(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """On a CPU: one count per match, over a row that fits the cache."""
    before = np.empty(table.shape[1], bool)
    ranks = np.empty(len(rows), np.int64)
    for index, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        distances = table[row]
        distance = distances[column]
        # At equal distance, images earlier in the gallery rank first.
        np.less_equal(distances[:column], distance, out=before[:column])
        np.less(distances[column:], distance, out=before[column:])
        ranks[index] = np.count_nonzero(before)
    return ranks + 1


def _ranks_together(block: Tensor, rows: Tensor, columns: Tensor, places: Tensor, most: int) -> Tensor:
    """On a GPU: all matches of a row in one pass over its distances; takes memory for two or three more blocks.

    The match's distance is a limit that counts the nearer images; the next larger float also counts the equally near
    ones. Only where there are such ties is the gallery order compared.
    """
    distance = block[rows, columns]
    limits = block.new_full((len(block), most, 2), torch.inf)
    limits[rows, places, 0] = distance
    limits[rows, places, 1] = distance.nextafter(torch.full_like(distance, torch.inf))
    nearer, up_to = _below(block, limits.flatten(1)).view(limits.shape)[rows, places].unbind(1)
    index = torch.arange(block.shape[1], device=block.device)
    for tied in (up_to - nearer > 1).nonzero()[:, 0].split(len(block)):
        equal = block[rows[tied]] == distance[tied, None]
        nearer[tied] += (equal & (index < columns[tied, None])).sum(1)
    return nearer + 1


def _below(block: Tensor, limits: Tensor) -> Tensor:
    """The number of distances in each row (B, G) below each of the row's limits (B, K), which need not be sorted.

    Each distance is assigned to a bin between the sorted limits. Most of a row falls into one bin, so neighbouring
    threads count in separate lanes to avoid contention of atomic additions.
    """
    limits, order = limits.sort(1)
    bins = limits.shape[1] + 1
    lanes = max(1, min(32, block.shape[1] // bins))
    lane = torch.arange(block.shape[1], device=block.device) % lanes
    slot = torch.searchsorted(limits, block, right=True)
    torch.add(lane, slot, alpha=lanes, out=slot)
    one = torch.ones((), dtype=torch.int32, device=block.device)
    counts = torch.zeros((len(block), bins * lanes), dtype=torch.int32, device=block.device)
    counts.scatter_add_(1, slot, one.expand_as(slot))
    below = counts.view(len(block), bins, lanes).sum(2).cumsum(1)[:, :-1]
    return torch.empty_like(below).scatter_(1, order, below)


def _before(distances: Tensor, index: Tensor, match_distance: Tensor, match_index: Tensor) -> Tensor:
    """The number of images in each row (n, m) ranked before the one at `match_distance` (n, 1) and `match_index`."""
    return ((distances < match_distance) | ((distances == match_distance) & (index < match_index))).sum(1)


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
    """Column indices of each row's `top` smallest values, ties in column order, -1 for infinity."""
    nearest, index = block.topk(min(top + 1, block.shape[1]), largest=False)
    # topk returns ties in arbitrary order, so its results are reordered,
    index, order = index.sort(dim=1)
    nearest, order = nearest.gather(1, order).sort(dim=1, stable=True)
    index = index.gather(1, order)
    # and rows with a tie across the cut-off, where it may have chosen the wrong one, are sorted fully.
    if index.shape[1] > top:
        last = nearest[:, -1]
        tied = ((nearest[:, -2] == last) & last.isfinite()).nonzero()[:, 0]
        index[tied] = block[tied].argsort(dim=1, stable=True)[:, : top + 1]
    return index.masked_fill(nearest.isinf(), -1)[:, :top]


def _one_each(pids: np.ndarray, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """(repeats, n) gallery indices, ascending: one random image of each identity, and every distractor."""
    identities, person = np.unique(pids, return_inverse=True)
    distractors = np.flatnonzero(pids == 0)
    first = np.empty(len(identities), np.int64)
    draws = np.empty((repeats, (identities > 0).sum() + len(distractors)), np.int64)
    for draw in draws:
        backwards = rng.permutation(len(pids))[::-1]
        first[person[backwards]] = backwards  # the last write, that of the first in the permutation, wins
        draw[:] = np.concatenate([first[identities > 0], distractors])
    draws.sort(1)
    return draws


def _places(pids: np.ndarray, searched: np.ndarray) -> np.ndarray:
    """The index in `pids` of each of `searched`, all of which occur."""
    order = np.argsort(pids)
    return order[np.searchsorted(pids, searched, sorter=order)]


def _cmc(first_rank: np.ndarray, max_rank: int) -> np.ndarray:
    return (first_rank[:, None] <= np.arange(1, max_rank + 1)).mean(0)


def _rank_k(cmc: np.ndarray, k: int) -> float:
    if not 1 <= k <= len(cmc):
        raise ValueError(f"rank-{k} was not computed: k must be between 1 and max_rank = {len(cmc)}")
    return float(cmc[k - 1])
