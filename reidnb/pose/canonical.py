"""Joints that are missing, estimated from canonical poses (section 3.2).

'Only body joints with good detection confidence are kept and those missing or with ultra-low detection confidence are
estimated by using the canonical poses', which 'represent a list of typical human body configurations as exhibited in
public surveillance cameras'. The paper says neither how the poses are found nor how they are fitted. Here they are the
centres of k-means over the complete poses of the training set, or shipped ones, and the one that fits the joints that
are there best fills the others.

A canonical pose (18, 2) is measured in body heights H of eq. 1: y runs from 0, the top of R0, to 1, its bottom, and x
is counted from the mean of the joints.
"""

from functools import cache
from importlib import resources

import numpy as np

from .regions import check_sizes
from .skeleton import JOINTS, REGIONS

COUNT = 32
"""Canonical poses. A hidden joint of the street is estimated to 3.2 % of the image's height by 16, 2.8 % by 32."""
ENOUGH = 10
"""Complete poses of a training set for each canonical pose of its own."""
THRESHOLD = 0.2
"""Joints of less confidence are estimated. The paper says 'ultra-low' and gives no number."""
SCALES = (0.5, 2.0)
"""Heights that a fitted pose may have, in heights of the image: two neighbouring joints alone tell no height."""


@cache
def shipped() -> np.ndarray:
    """The canonical poses (32, 18, 2) that come with the package: ``canonical_poses`` of the street's true joints."""
    with resources.files(__package__).joinpath("canonical.csv").open() as file:
        poses = np.loadtxt(file, delimiter=",", comments="#").reshape(-1, len(JOINTS), 2)
    poses.flags.writeable = False
    return poses


def canonical_poses(joints: np.ndarray, count: int = COUNT, threshold: float = THRESHOLD, seed: int = 0) -> np.ndarray:
    """``count`` canonical poses (count, 18, 2): centres of k-means over the complete poses among ``joints`` (N, 18, 3).

    A pose is complete when each joint has ``threshold`` of confidence. For k-means poses are moved to their mean and
    scaled to one spread. Raises ValueError when there are fewer complete poses than centres.
    """
    joints = check_joints(joints)
    whole = joints[(joints[..., 2] >= threshold).all(1), :, :2].astype(np.float64)
    whole = whole - whole.mean(1, keepdims=True)
    spread = np.sqrt((whole**2).mean((1, 2), keepdims=True))
    whole = (whole / np.maximum(spread, 1e-9))[spread[:, 0, 0] > 0]
    if len(whole) < count:
        raise ValueError(
            f"{count} canonical poses need as many complete poses: {len(whole)} of {len(joints)} images have a"
            f" confidence of at least {threshold} at every joint"
        )
    from scipy.cluster.vq import kmeans2  # a second to import, for poses that are shipped already

    centres, _ = kmeans2(whole.reshape(len(whole), -1), count, iter=50, minit="++", seed=seed)
    return np.stack([_in_body_heights(centre) for centre in centres.reshape(count, -1, 2)])


def typical(joints: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """The canonical poses (32, 18, 2) of a training set: its own where it has enough complete poses, else the shipped.

    joints   (N, 18, 3) of the training images, with gaps

    A street's truth has next to none (the person's own body hides a joint in nearly every image), an estimator's joints
    have many; on Market-1501 its own estimate hidden joints a third better than the shipped ones.
    """
    complete = (check_joints(joints)[..., 2] >= threshold).all(1).sum()
    return canonical_poses(joints, COUNT, threshold) if complete >= ENOUGH * COUNT else shipped()


def fill(
    joints: np.ndarray, sizes: np.ndarray, threshold: float = THRESHOLD, poses: np.ndarray | None = None
) -> np.ndarray:
    """The joints (N, 18, 3) with every place of less confidence than ``threshold`` estimated; confidences stay.

    joints   (N, 18, 3): x and y in pixels, confidence
    sizes    (N, 2) height and width of the images in pixels
    poses    canonical poses (K, 18, 2); the shipped ones by default

    Each canonical pose is fitted to the joints that are there by least squares over scale and translation; the one with
    the smallest squared error gives the places of the others. An image without any such joint gets the mean of the
    canonical poses, as high as the image.
    """
    joints, sizes = check_joints(joints), check_sizes(sizes, len(joints))
    poses = shipped() if poses is None else np.asarray(poses, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (len(JOINTS), 2) or not len(poses):
        raise ValueError(f"canonical poses are of shape (K, 18, 2), got {poses.shape}")
    filled = joints.copy()
    gaps = (joints[..., 2] < threshold).any(1)
    places, seen = joints[gaps, :, :2].astype(np.float64), joints[gaps, :, 2] >= threshold
    height, width = sizes[gaps].T
    best = poses.mean(0) * height[:, None, None]
    best[..., 0] += width[:, None] / 2
    least = np.where(seen.any(1), np.inf, -np.inf)
    for pose in poses:
        fitted = _fitted(pose, places, seen, height)
        error = (((fitted - places) ** 2).sum(-1) * seen).sum(1)
        better = error < least
        best[better], least[better] = fitted[better], error[better]
    filled[gaps, :, :2] = np.where(seen[..., None], places, best)
    return filled


def _fitted(pose: np.ndarray, places: np.ndarray, seen: np.ndarray, height: np.ndarray) -> np.ndarray:
    """One pose, scaled and moved to the joints that are ``seen`` in each image: (N, 18, 2)."""
    weight = seen / np.maximum(seen.sum(1, keepdims=True), 1)
    here = np.einsum("nj,njc->nc", weight, places)  # means of the joints that are there, in the image
    there = weight @ pose  # and in the pose
    a, b = pose - there[:, None], places - here[:, None]
    across, own = ((a * b).sum(-1) * weight).sum(1), ((a * a).sum(-1) * weight).sum(1)
    # A single joint tells no scale at all: the pose is then as high as the image.
    scale = np.divide(across, own, out=height.copy(), where=own > 1e-9)
    scale = scale.clip(SCALES[0] * height, SCALES[1] * height)
    return here[:, None] + scale[:, None, None] * a


def _in_body_heights(pose: np.ndarray) -> np.ndarray:
    """A pose (18, 2) with y from 0 at the top of R0 to 1 at its bottom (eq. 1), x from the mean."""
    head, feet = (pose[list(REGIONS[part]), 1] for part in ("head", "lower leg"))
    top, bottom = 2 * head.min() - head.max(), 4 / 3 * feet.max() - 1 / 3 * feet.min()
    if bottom <= top:
        raise ValueError("the complete poses are upside down: y runs downwards")
    return (pose - (pose[:, 0].mean(), top)) / (bottom - top)


def check_joints(joints: np.ndarray) -> np.ndarray:
    """The joints as a float32 array (N, 18, 3); ValueError for another shape and for NaN."""
    joints = np.asarray(joints, np.float32)
    if joints.ndim != 3 or joints.shape[1:] != (len(JOINTS), 3):
        raise ValueError(f"joints are of shape (N, 18, 3), got {joints.shape}")
    if not np.isfinite(joints).all():
        raise ValueError("joints hold NaN or infinite values")
    return joints
