"""Which gallery images a query is shown, and which of them are right.

The protocol (Zheng et al. 2015, Market-1501; the other data sets follow it): gallery images of pid -1 (junk) are
never ranked; those of pid 0 (distractors) are ranked and never right; an image of the query's own identity *and*
camera is not ranked for that query; a query without a right image is left out and counted.
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
    """The pairs of query and gallery image that the protocol treats apart, as indices."""

    query_pids: np.ndarray
    gallery_pids: np.ndarray
    right: np.ndarray
    """(2, n): query and gallery index of each right image, queries ascending, then gallery ascending."""
    barred: np.ndarray
    """(2, n): the query's own identity and camera, never ranked for it."""
    counts: np.ndarray
    """(queries,): right images of each query."""

    @property
    def queries(self) -> int:
        return len(self.query_pids)

    @property
    def gallery(self) -> int:
        return len(self.gallery_pids)

    def on(self, device: torch.device) -> "Placed":
        """The pairs as tensors where the distances lie, copied there once for all blocks."""
        starts = np.cumsum(self.counts) - self.counts
        place = np.arange(self.right.shape[1]) - starts[self.right[0]]
        junk = np.flatnonzero(self.gallery_pids == JUNK)
        numbers = (np.concatenate([self.right, place[None]]), self.barred, junk)
        return Placed(self, *(torch.from_numpy(x).to(device) for x in numbers))

    def need_right(self) -> None:
        """Raises ValueError when no query has a right image, and warns when most have none."""
        if self.counts.any():
            lacking = int((self.counts == 0).sum())
            if lacking > self.queries / 2:
                warnings.warn(
                    f"{lacking} of {self.queries} queries have no image of their identity under another camera in the"
                    " gallery and are left out of all scores: check that pids and camids are not mixed up",
                    stacklevel=3,
                )
            return
        if self.barred.size:
            why = "the gallery has the queries' identities under the queries' own cameras only"
            raise ValueError(f"no query has a right image: {why} (ignore_cameras=True ranks these)")
        raise ValueError("no query has a right image: the gallery has none of the queries' identities")


@dataclass(frozen=True, eq=False)
class Placed:
    """A protocol's pairs on one device. Blocks of distances (B, G) begin at a query `start`."""

    protocol: Protocol
    right: Tensor
    """(3, n): query and gallery index of each right image, and its place, 0, 1, ..., among those of its query."""
    barred: Tensor
    """(2, n): as `Protocol.barred`."""
    junk: Tensor
    """(n,): gallery indices."""

    def bar(self, block: Tensor, start: int) -> None:
        """Sets the distances that are never ranked to infinity."""
        if len(self.junk):
            block[:, self.junk] = torch.inf
        rows, columns = self.barred[:, _part(self.protocol.barred[0], start, len(block))]
        block[rows - start, columns] = torch.inf

    def right_in(self, start: int, length: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """Of the right images of `length` queries: row in their block, gallery index and place, each (n,), and how
        many one query has at most."""
        rows, columns, places = self.right[:, _part(self.protocol.right[0], start, length)]
        return rows - start, columns, places, int(self.protocol.counts[start : start + length].max())


def protocol_of(
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    ignore_cameras: bool = False,
) -> Protocol:
    """From the labels, whole numbers (Q,) and (G,); with `ignore_cameras` a query is shown its own camera too.

    Raises ValueError for empty or mismatched labels, and for a query that is junk or a distractor.
    """
    query_pids, query_camids = labels("query", query_pids, query_camids)
    gallery_pids, gallery_camids = labels("gallery", gallery_pids, gallery_camids)
    if (query_pids < 1).any():
        at = int(np.argmax(query_pids < 1))
        raise ValueError(f"query {at} has pid {query_pids[at]}: -1 (junk) and 0 (distractor) are for the gallery")
    # All pairs of one identity, by way of the gallery's order by pid.
    order = np.argsort(gallery_pids, kind="stable")
    asked, query_of = np.unique(query_pids, return_inverse=True)
    in_order = gallery_pids[order]
    low, high = (np.searchsorted(in_order, asked, side)[query_of] for side in ("left", "right"))
    counts = high - low
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    pairs = np.stack([np.repeat(np.arange(len(counts)), counts), order[np.repeat(low, counts) + within]])
    own_camera = query_camids[pairs[0]] == gallery_camids[pairs[1]]
    if ignore_cameras:
        own_camera[:] = False
    right, barred = (pairs.take(np.flatnonzero(which), axis=1) for which in (~own_camera, own_camera))
    counts = np.bincount(right[0], minlength=len(query_pids))
    return Protocol(query_pids, gallery_pids, right, barred, counts)


def labels(name: str, pids: ArrayLike, camids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as int64 arrays (n,). Raises ValueError where they are empty, of different lengths, or no whole numbers."""
    pids, camids = (np.asarray(x.cpu() if isinstance(x, Tensor) else x) for x in (pids, camids))
    if pids.ndim != 1 or pids.shape != camids.shape:
        shapes = f"{name}_pids have the shape {pids.shape}, {name}_camids {camids.shape}"
        raise ValueError(f"{shapes}: expected one number for each image")
    if len(pids) == 0:
        raise ValueError(f"the {name} is empty")
    for kind, numbers in (("pids", pids), ("camids", camids)):
        if numbers.dtype.kind not in "iu":
            raise ValueError(f"{name}_{kind} must be whole numbers, found {numbers.dtype}")
    return pids.astype(np.int64), camids.astype(np.int64)


def like(block: Tensor, indices: np.ndarray) -> Tensor:
    """The indices as a tensor where the block lies."""
    return torch.from_numpy(np.ascontiguousarray(indices)).to(block.device)


def _part(rows: np.ndarray, start: int, length: int) -> slice:
    """Which of the ascending rows are among `length` from `start`."""
    return slice(*np.searchsorted(rows, (start, start + length)))
