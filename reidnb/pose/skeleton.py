"""The 18 joints, the regions that they delimit, and the joint orders of pose estimators.

Joints are arrays (..., 18, 3) of x and y in pixels of the original image and a confidence from 0 to 1. Coordinates
refer to pixel edges: an image of width W spans x from 0 to W, and the first pixel's centre is at 0.5. Right and left
are the person's; right comes first.
"""

import numpy as np

JOINTS = (
    "nose", "right eye", "left eye", "right ear", "left ear", "neck",
    "right shoulder", "left shoulder", "right elbow", "left elbow", "right wrist", "left wrist",
    "right hip", "left hip", "right knee", "left knee", "right ankle", "left ankle",
)  # fmt: skip
"""K1 to K18 of the paper's figure 4, head to foot; which side comes first is not legible there and has no effect."""

REGIONS = {
    "whole body": tuple(range(18)),
    "head": tuple(range(8)),
    "upper body": tuple(range(5, 14)),
    "upper leg": tuple(range(12, 16)),
    "lower leg": tuple(range(14, 18)),
}
"""P0 to P4 (section 3.2): the indices of their joints."""

BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    (5, 12), (5, 13), (12, 14), (13, 15), (14, 16), (15, 17),
)  # fmt: skip
"""Pairs of joints that a drawn skeleton connects."""

COCO17 = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder",
    "left elbow", "right elbow", "left wrist", "right wrist",
    "left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle",
)  # fmt: skip
"""COCO's order, which Keypoint R-CNN, MoveNet and most other estimators use."""
OPENPOSE18 = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
"""The order of OpenPose's COCO model."""
OPENPOSE25 = (*OPENPOSE18[:8], "middle hip", *OPENPOSE18[8:], *(f"foot {i}" for i in range(6)))
"""The order of OpenPose's default model, BODY_25; the middle hip and the feet are not used."""

_MIRRORED = [0, 2, 1, 4, 3, 5, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14, 17, 16]
"""The index of each joint's counterpart on the other side."""


def from_coco(joints: np.ndarray) -> np.ndarray:
    """COCO's 17 joints (..., 17, 3) as 18 (..., 18, 3): the neck is the midpoint of the shoulders.

    Its confidence is the lower of the two shoulders' confidences.
    """
    neck = joints[..., [5, 6], :].mean(-2, keepdims=True)
    neck[..., 2] = joints[..., [5, 6], 2].min(-1, keepdims=True)
    return reorder(np.concatenate([joints, neck], -2), (*COCO17, "neck"))


def reorder(joints: np.ndarray, order: tuple[str, ...]) -> np.ndarray:
    """Joints (..., len(order), 3) given in ``order``, in the order of ``JOINTS``, float32."""
    return joints[..., [order.index(joint) for joint in JOINTS], :].astype(np.float32)


def mirror(joints: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """The joints (..., 18, 3) of the mirror image: x becomes width - x, and right and left are swapped.

    ``width`` in pixels is one number or an array (...) with one for each image.
    """
    mirrored = np.array(joints)[..., _MIRRORED, :]
    mirrored[..., 0] = np.asarray(width)[..., None] - mirrored[..., 0]
    return mirrored
