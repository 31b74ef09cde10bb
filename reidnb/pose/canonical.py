"""Estimation of missing joints from canonical poses (section 3.2).

'Only body joints with good detection confidence are kept and those missing or with ultra-low detection confidence are
estimated by using the canonical poses', which 'represent a list of typical human body configurations as exhibited in
public surveillance cameras'. The paper states neither how these poses are obtained nor how they are fitted. Here they
are the centres of k-means over the complete poses of the training set, or those shipped with the package, and the one
that best fits the detected joints of an image supplies the missing ones.

A canonical pose (18, 2) is in units of the body height H of eq. 1: y runs from 0 at the top of R0 to 1 at its bottom,
and x is relative to the mean of the joints.
"""

from functools import cache
from importlib import resources

import numpy as np

from .regions import check_sizes
from .skeleton import JOINTS, REGIONS

COUNT = 32
"""Number of canonical poses. The error for a hidden joint of the street, as a fraction of the image's height, is 3.2 %
with 16 and 2.8 % with 32."""
ENOUGH = 10
"""Complete poses that a training set must have per canonical pose to get canonical poses of its own."""
THRESHOLD = 0.2
"""Joints with a lower confidence are estimated. The paper says 'ultra-low' and gives no number."""
SCALES = (0.5, 2.0)
"""Bounds on the height of a fitted pose, in image heights: two neighbouring joints alone do not determine it."""


@cache
def shipped() -> np.ndarray:
    """The canonical poses (32, 18, 2) that come with the package: ``canonical_poses`` of the street's true joints."""
    with resources.files(__package__).joinpath("canonical.csv").open() as file:
        poses = np.loadtxt(file, delimiter=",", comments="#").reshape(-1, len(JOINTS), 2)
    poses.flags.writeable = False
    return poses


def canonical_poses(joints: np.ndarray, count: int = COUNT, threshold: float = THRESHOLD, seed: int = 0) -> np.ndarray:
    """``count`` canonical poses (count, 18, 2): centres of k-means over the complete poses among ``joints`` (N, 18, 3).

    A pose is complete when the confidence of each joint is at least ``threshold``. Before k-means each pose is centred
    and scaled to unit standard deviation. Raises ValueError when there are fewer complete poses than centres.
    """
    joints = check_joints(joints)
    complete = joints[(joints[..., 2] >= threshold).all(1), :, :2].astype(np.float64)
    complete = complete - complete.mean(1, keepdims=True)
    std = np.sqrt((complete**2).mean((1, 2), keepdims=True))
    complete = (complete / np.maximum(std, 1e-9))[std[:, 0, 0] > 0]
    if len(complete) < count:
        raise ValueError(
            f"{count} canonical poses need as many complete poses: {len(complete)} of {len(joints)} images have a"
            f" confidence of at least {threshold} at every joint"
        )
    from scipy.cluster.vq import kmeans2  # imported here because it takes a second and most calls use the shipped poses

    centres, _ = kmeans2(complete.reshape(len(complete), -1), count, iter=50, minit="++", seed=seed)
    return np.stack([_in_body_heights(centre) for centre in centres.reshape(count, -1, 2)])


def typical(joints: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """The canonical poses (32, 18, 2) for a training set: its own if it has enough complete poses, else the shipped.

    joints   (N, 18, 3) of the training images, some of them missing

    A street's ground truth has almost no complete poses (self-occlusion hides a joint in nearly every image), a pose
    estimator's joints have many; on Market-1501 its own canonical poses reduce the error for hidden joints by a third.
    """
    complete = (check_joints(joints)[..., 2] >= threshold).all(1).sum()
    return canonical_poses(joints, COUNT, threshold) if complete >= ENOUGH * COUNT else shipped()


def fill(
    joints: np.ndarray, sizes: np.ndarray, threshold: float = THRESHOLD, poses: np.ndarray | None = None
) -> np.ndarray:
    """The joints (N, 18, 3) with every position below ``threshold`` replaced by an estimate; confidences are kept.

    joints   (N, 18, 3): x and y in pixels, confidence
    sizes    (N, 2) height and width of the images in pixels
    poses    canonical poses (K, 18, 2); the shipped ones by default

    Each canonical pose is fitted to the detected joints by least squares over scale and translation; the one with the
    smallest squared error gives the positions of the others. An image without any detected joint gets the mean of the
    canonical poses, scaled to the image's height.
    """
    joints, sizes = check_joints(joints), check_sizes(sizes, len(joints))
    poses = shipped() if poses is None else np.asarray(poses, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (len(JOINTS), 2) or not len(poses):
        raise ValueError(f"canonical poses are of shape (K, 18, 2), got {poses.shape}")
    filled = joints.copy()
    incomplete = (joints[..., 2] < threshold).any(1)
    positions, detected = joints[incomplete, :, :2].astype(np.float64), joints[incomplete, :, 2] >= threshold
    height, width = sizes[incomplete].T
    best = poses.mean(0) * height[:, None, None]
    best[..., 0] += width[:, None] / 2
    lowest = np.where(detected.any(1), np.inf, -np.inf)
    for pose in poses:
        fitted = _fitted(pose, positions, detected, height)
        error = (((fitted - positions) ** 2).sum(-1) * detected).sum(1)
        better = error < lowest
        best[better], lowest[better] = fitted[better], error[better]
    filled[incomplete, :, :2] = np.where(detected[..., None], positions, best)
    return filled


def _fitted(pose: np.ndarray, positions: np.ndarray, detected: np.ndarray, height: np.ndarray) -> np.ndarray:
    """One canonical pose fitted to the joints that are ``detected`` in each image: (N, 18, 2)."""
    weight = detected / np.maximum(detected.sum(1, keepdims=True), 1)
    image_centre = np.einsum("nj,njc->nc", weight, positions)  # centroid of the detected joints in the image
    pose_centre = weight @ pose  # and of the same joints in the canonical pose
    a, b = pose - pose_centre[:, None], positions - image_centre[:, None]
    covariance, variance = ((a * b).sum(-1) * weight).sum(1), ((a * a).sum(-1) * weight).sum(1)
    # A single joint does not determine a scale: the pose then gets the image's height.
    scale = np.divide(covariance, variance, out=height.copy(), where=variance > 1e-9)
    scale = scale.clip(SCALES[0] * height, SCALES[1] * height)
    return image_centre[:, None] + scale[:, None, None] * a


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
