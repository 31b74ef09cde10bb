"""Multi-query evaluation (Zheng et al. 2015, section 4.2): a person's images of one camera ask as one query."""

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
    """One descriptor for each person and camera, from images (N, D) with pids and camids (N,), whole numbers.

    `pooling`: "mean" or "max", taken of each dimension. Returns the pooled descriptors (P, D), where the images lie,
    their pids and their camids (P,), ordered by pid, then camid: the queries of `metrics.evaluate`. The images are
    the data set's own for this purpose (Market-1501's gt_bbox), or the query's together with those gallery images
    of its person and camera, which the protocol never shows it (do not combine these with `ignore_cameras`).
    Raises ValueError for another pooling, lengths that differ, no images, NaN or infinity.
    """
    if pooling not in POOLINGS:
        raise ValueError(f'pooling must be "mean" or "max", found {pooling!r}')
    pids, camids = labels("query", pids, camids)
    images = checked("query", images)
    if len(images) != len(pids):
        raise ValueError(f"{len(images)} query descriptors, but {len(pids)} query_pids")
    groups, group, sizes = np.unique(np.stack([pids, camids], 1), axis=0, return_inverse=True, return_counts=True)
    order = torch.from_numpy(np.argsort(group.ravel(), kind="stable")).to(images.device)
    together = [images[some] for some in order.split(sizes.tolist())]
    pooled = torch.stack([some.mean(0) if pooling == "mean" else some.amax(0) for some in together])
    return pooled, groups[:, 0], groups[:, 1]
