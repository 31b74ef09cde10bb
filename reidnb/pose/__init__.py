"""Body joints, and the boxes of the body and its parts derived from them (attention-driven network, section 3.2).

poses = pose.complete(pose.load(data))                               # joints of every image, none missing
boxes = pose.boxes(poses.train.joints, poses.train.sizes, beta=0.1)  # (N, 5, 4) pixels of the original images
fractions = pose.as_fractions(boxes, poses.train.sizes)              # the same as fractions of the image
"""

from .canonical import canonical_poses, fill, shipped, typical
from .regions import BETA, as_fractions, boxes, strips
from .skeleton import BONES, JOINTS, REGIONS, mirror
from .sources import Poses, Split, complete, detect, load, source_of

__all__ = [
    "BETA",
    "BONES",
    "JOINTS",
    "REGIONS",
    "Poses",
    "Split",
    "as_fractions",
    "boxes",
    "canonical_poses",
    "complete",
    "detect",
    "fill",
    "fractions",
    "load",
    "mirror",
    "shipped",
    "source_of",
    "strips",
    "typical",
]
