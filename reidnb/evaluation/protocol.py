"""Which gallery images are ranked for a query, and which of them match.

The protocol (Zheng et al. 2015, Market-1501; the other data sets follow it): gallery images with pid -1 (junk) are
never ranked; those with pid 0 (distractors) are ranked but never match; an image of the query's identity *and* camera
is excluded for that query. All other gallery images of the query's identity are its matches. A query without a match
is left out, and the number of these is reported.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

JUNK = -1


@dataclass(frozen=True, eq=False)
class Protocol:
    """The pairs of query and gallery image that match or are excluded, as indices."""

    query_pids: np.ndarray
    gallery_pids: np.ndarray
    matches: np.ndarray
    """(2, n): query and gallery index of each match, sorted by query, then by gallery index."""
    excluded: np.ndarray
    """(2, n): the excluded pairs, of equal identity and camera."""
    counts: np.ndarray
    """(queries,): number of matches of each query."""

    @property
    def queries(self) -> int:
        return len(self.query_pids)

    @property
    def gallery(self) -> int:
        return len(self.gallery_pids)

    def to(self, device: torch.device) -> "DevicePairs":
        """The pairs as tensors on `device`, copied once for all blocks."""
        starts = np.cumsum(self.counts) - self.counts
        place = np.arange(self.matches.shape[1]) - starts[self.matches[0]]
        junk = np.flatnonzero(self.gallery_pids == JUNK)
        numbers = (np.concatenate([self.matches, place[None]]), self.excluded, junk)
        return DevicePairs(self, *(torch.from_numpy(x).to(device) for x in numbers))

    def require_match(self) -> None:
        """Raise ValueError when no query has a match, and warn when most have none."""
        if self.counts.any():
            lacking = int((self.counts == 0).sum())
            if lacking > self.queries / 2:
                warnings.warn(
                    f"{lacking} of {self.queries} queries have no image of their identity under another camera in the"
                    " gallery and are left out of all scores: check that pids and camids are not mixed up",
                    stacklevel=3,
                )
            return
        if self.excluded.size:
            reason = "the gallery has the queries' identities under the queries' own cameras only"
            raise ValueError(f"no query has a match: {reason} (ignore_cameras=True ranks these)")
        raise ValueError("no query has a match: the gallery has none of the queries' identities")


@dataclass(frozen=True, eq=False)
class DevicePairs:
    """A protocol's pairs on one device. A block of distances (B, G) begins at the query `start`."""

    protocol: Protocol
    matches: Tensor
    """(3, n): query and gallery index of each match, and its position, 0, 1, ..., among those of its query."""
    excluded: Tensor
    """(2, n): as `Protocol.excluded`."""
    junk: Tensor
    """(n,): gallery indices of junk images."""

    def exclude(self, block: Tensor, start: int) -> None:
        """Set the distances of excluded images to infinity."""
        if len(self.junk):
            block[:, self.junk] = torch.inf
        rows, columns = self.excluded[:, _part(self.protocol.excluded[0], start, len(block))]
        block[rows - start, columns] = torch.inf

    def matches_in(self, start: int, length: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """The matches of `length` queries: row in the block, gallery index and position, each (n,), and the maximum
        number of matches per query."""
        rows, columns, places = self.matches[:, _part(self.protocol.matches[0], start, length)]
        return rows - start, columns, places, int(self.protocol.counts[start : start + length].max())


def protocol_of(
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    ignore_cameras: bool = False,
) -> Protocol:
    """The protocol for integer labels (Q,) and (G,); `ignore_cameras` also ranks images from the query's camera.

    Raises ValueError for empty or mismatched labels, and for a query that is junk or a distractor.
    """
    query_pids, query_camids = labels("query", query_pids, query_camids)
    gallery_pids, gallery_camids = labels("gallery", gallery_pids, gallery_camids)
    if (query_pids < 1).any():
        index = int(np.argmax(query_pids < 1))
        raise ValueError(f"query {index} has pid {query_pids[index]}: -1 (junk) and 0 (distractor) are for the gallery")
    # All pairs of equal identity, from the gallery sorted by pid.
    order = np.argsort(gallery_pids, kind="stable")
    unique_pids, query_of = np.unique(query_pids, return_inverse=True)
    sorted_pids = gallery_pids[order]
    low, high = (np.searchsorted(sorted_pids, unique_pids, side)[query_of] for side in ("left", "right"))
    counts = high - low
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    pairs = np.stack([np.repeat(np.arange(len(counts)), counts), order[np.repeat(low, counts) + within]])
    same_camera = query_camids[pairs[0]] == gallery_camids[pairs[1]]
    if ignore_cameras:
        same_camera[:] = False
    matches, excluded = (pairs.take(np.flatnonzero(kept), axis=1) for kept in (~same_camera, same_camera))
    counts = np.bincount(matches[0], minlength=len(query_pids))
    return Protocol(query_pids, gallery_pids, matches, excluded, counts)


def labels(name: str, pids: ArrayLike, camids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as int64 arrays (n,). Raises ValueError if they are empty, of different lengths, or not integers."""
    pids, camids = (np.asarray(x.cpu() if isinstance(x, Tensor) else x) for x in (pids, camids))
    if pids.ndim != 1 or pids.shape != camids.shape:
        shapes = f"{name}_pids have the shape {pids.shape}, {name}_camids {camids.shape}"
        raise ValueError(f"{shapes}: expected one number for each image")
    if len(pids) == 0:
        raise ValueError(f"the {name} is empty")
    for kind, numbers in (("pids", pids), ("camids", camids)):
        if numbers.dtype.kind not in "iu":
            raise ValueError(f"{name}_{kind} must be integers, found {numbers.dtype}")
    return pids.astype(np.int64), camids.astype(np.int64)


def like(block: Tensor, indices: np.ndarray) -> Tensor:
    """The indices as a tensor on the block's device."""
    return torch.from_numpy(np.ascontiguousarray(indices)).to(block.device)


def _part(rows: np.ndarray, start: int, length: int) -> slice:
    """The slice of the sorted `rows` that are in [start, start + length)."""
    return slice(*np.searchsorted(rows, (start, start + length)))
