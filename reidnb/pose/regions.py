"""Five boxes per image: the whole body and four parts, from joints (eq. 1 and 2) or as fixed strips."""

import numpy as np

from .skeleton import JOINTS, REGIONS

BETA = 5 / 48
"""Overlap of neighbouring regions as a fraction of the body's height H, with which the printed results were obtained
(table 11's row that equals table 6; the text says H/10)."""


def boxes(joints: np.ndarray, sizes: np.ndarray, beta: float = BETA) -> np.ndarray:
    """The boxes R0 to R4 (N, 5, 4) in pixels, as x_l, top, x_r, bottom, clipped to the image: eq. 1 and 2.

    joints   (N, 18, 3) or (N, 18, 2), none missing (see ``complete``)
    sizes    (N, 2) height and width of the images in pixels
    beta     overlap of neighbouring regions, as a fraction of the body's height H; table 11 varies it from 0 to 6/48

    A region of which less than a pixel lies inside the image is replaced by its strip, so that no box is empty; the
    paper does not treat this case. Raises ValueError for other shapes and for joints that are not finite.
    """
    joints, sizes = np.asarray(joints, np.float64), check_sizes(sizes, len(joints))
    if joints.ndim != 3 or joints.shape[1] != len(JOINTS) or joints.shape[2] not in (2, 3):
        raise ValueError(f"joints are of shape (N, 18, 2 or 3), got {joints.shape}")
    if not np.isfinite(joints[..., :2]).all():
        raise ValueError("joints hold NaN or infinite positions: complete them first")
    x, y = joints[..., 0], joints[..., 1]
    low = np.stack([y[:, list(rows)].min(1) for rows in REGIONS.values()], 1)  # (N, 5): min over P0..P4 of y
    high = np.stack([y[:, list(rows)].max(1) for rows in REGIONS.values()], 1)

    top = 2 * low[:, 1] - high[:, 1]  # the head extends as far above its joints as the joints extend downwards
    bottom = 4 / 3 * high[:, 4] - 1 / 3 * low[:, 4]  # the feet extend below the ankles by a third of the shanks
    body_height = bottom - top  # H
    centre = x.mean(1)
    left = np.minimum(centre - body_height / 4, x.min(1))
    right = np.maximum(centre + body_height / 4, x.max(1))
    overlap = beta * body_height

    tops = np.stack([top, top, low[:, 2] - overlap, low[:, 3] - overlap, low[:, 4] - overlap], 1)
    bottoms = np.stack([bottom, high[:, 1] + overlap, high[:, 2] + overlap, high[:, 3] + overlap, bottom], 1)
    ends = np.broadcast_to(np.stack([left, right])[:, :, None], (2, *tops.shape))
    height, width = sizes.T[:, :, None]
    clipped = np.stack(
        [ends[0].clip(0, width), tops.clip(0, height), ends[1].clip(0, width), bottoms.clip(0, height)], -1
    )
    outside = ((clipped[..., 2:] - clipped[..., :2]) < 1).any(-1, keepdims=True)
    return np.where(outside, strips(sizes), clipped).astype(np.float32)


def strips(sizes: np.ndarray) -> np.ndarray:
    """The baseline's boxes (N, 5, 4) without pose: the whole image, and four equal horizontal strips from the top.

    ``sizes`` (N, 2) are height and width in pixels. The paper does not state that the strips are equal.
    """
    sizes = check_sizes(sizes)
    fractions = np.array([[0, 0, 1, 1]] + [[0, i / 4, 1, (i + 1) / 4] for i in range(4)])
    return (fractions * np.tile(sizes[:, None, ::-1], 2)).astype(np.float32)


def as_fractions(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (N, 5, 4) in pixels as fractions of the images' widths and heights, valid at any image size."""
    return (boxes / np.tile(check_sizes(sizes, len(boxes))[:, None, ::-1], 2)).astype(np.float32)


def check_sizes(sizes: np.ndarray, count: int | None = None) -> np.ndarray:
    """The sizes as a float array (N, 2); ValueError for a wrong shape or count and for a size that is not positive."""
    sizes = np.asarray(sizes, np.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or (count is not None and len(sizes) != count):
        raise ValueError(f"sizes are of shape ({'N' if count is None else count}, 2), got {sizes.shape}")
    if not (sizes > 0).all():
        raise ValueError("sizes hold a height or width that is not positive")
    return sizes
