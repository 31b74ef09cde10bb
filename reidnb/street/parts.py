"""The parts of a person: each pixel of the mask belongs to the part whose bones are nearest."""

import numpy as np
from scipy.spatial import cKDTree

from .body import JOINTS

PARTS = ("head", "upper body", "upper legs", "lower legs")
BONES = {
    "head": [
        ("neck", "nose"),
        ("nose", "right eye"),
        ("nose", "left eye"),
        ("right eye", "right ear"),
        ("left eye", "left ear"),
    ],
    "upper body": [
        ("neck", "right shoulder"),
        ("neck", "left shoulder"),
        ("right shoulder", "right elbow"),
        ("left shoulder", "left elbow"),
        ("right elbow", "right wrist"),
        ("left elbow", "left wrist"),
        ("neck", "right hip"),
        ("neck", "left hip"),
    ],
    "upper legs": [("right hip", "right knee"), ("left hip", "left knee")],
    "lower legs": [("right knee", "right ankle"), ("left knee", "left ankle")],
}
"""The pairs of joints that the bones of each part connect."""
OFF = -1
"""The label of a pixel that is not the person."""
POINTS = 9
"""Points along each bone; a pixel's nearest bone is the one that has the nearest point."""


def body_parts(joints: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The part of each pixel, (N, H, W) int8: an index into ``PARTS``, or ``OFF`` outside the mask.

    joints (N, 18, 3) and masks (N, H, W) bool, as of ``truth``. Occluded joints count too: the street knows where they
    are. Raises ValueError when the numbers of images differ.
    """
    joints, masks = np.asarray(joints, np.float64), np.asarray(masks, bool)
    if joints.shape[1:] != (len(JOINTS), 3) or masks.ndim != 3 or len(joints) != len(masks):
        raise ValueError(
            f"joints have shape (N, {len(JOINTS)}, 3) and masks (N, H, W), got {joints.shape} and {masks.shape}"
        )
    ends = [[(JOINTS.index(a), JOINTS.index(b)) for a, b in BONES[part]] for part in PARTS]
    part_of_point = np.repeat(np.arange(len(PARTS)), [POINTS * len(bones) for bones in ends])
    first, second = np.array([pair for bones in ends for pair in bones]).T
    steps = np.linspace(0, 1, POINTS)[:, None]
    labels = np.full(masks.shape, OFF, np.int8)
    for label, at, mask in zip(labels, joints[..., :2], masks, strict=True):
        points = at[first][:, None] * (1 - steps) + at[second][:, None] * steps  # (bones, POINTS, 2)
        y, x = np.nonzero(mask)
        nearest = cKDTree(points.reshape(-1, 2)).query(np.stack([x, y], 1) + 0.5)[1]
        label[y, x] = part_of_point[nearest]
    return labels
