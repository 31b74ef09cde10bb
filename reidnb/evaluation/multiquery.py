"""Multi-query evaluation (Zheng et al. 2015, section 4.2): a person's images from one camera form one query."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .distances import checked
from .protocol import labels

POOLINGS = ("mean", "max")


def pool(
    images: ArrayLike | Tensor,
    pids: ArrayLike,
    camids: ArrayLike,
    pooling: str = "mean",
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """One descriptor for each person and camera, from descriptors (N, D) with integer pids and camids (N,).

    `pooling`: "mean" or "max" over images, per dimension. Returns the pooled descriptors (P, D), on the same device,
    with their pids and camids (P,), ordered by pid, then camid: the queries for `metrics.evaluate`. The images are
    those that the data set provides for this purpose (Market-1501's gt_bbox), or each query with the gallery images of
    its person and camera, which the protocol never ranks (do not combine the latter with `ignore_cameras`).
    Raises ValueError for an unknown pooling, lengths that differ, no images, NaN or infinity.
    """
    if pooling not in POOLINGS:
        raise ValueError(f'pooling must be "mean" or "max", found {pooling!r}')
    pids, camids = labels("query", pids, camids)
    images = checked("query", images)
    if len(images) != len(pids):
        raise ValueError(f"{len(images)} query descriptors, but {len(pids)} query_pids")
    groups, group, sizes = np.unique(np.stack([pids, camids], 1), axis=0, return_inverse=True, return_counts=True)
    order = torch.from_numpy(np.argsort(group.ravel(), kind="stable")).to(images.device)
    grouped = [images[members] for members in order.split(sizes.tolist())]
    pooled = torch.stack([members.mean(0) if pooling == "mean" else members.amax(0) for members in grouped])
    return pooled, groups[:, 0], groups[:, 1]
