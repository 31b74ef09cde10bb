"""The synthetic street: people who walk past cameras, rendered from a seed, with ground truth for every image.

The people are not real, so the images can be published. Identities differ as people do (build, hair, clothes, bags),
and the cameras degrade exactly these cues: colours, sharpness, viewpoint, boxes. ``make`` writes the data set in
Market-1501's layout, ``truth`` reads joints and masks, ``render`` renders one image, ``empty_street`` what a
camera sees without people.
"""

from .body import JOINTS
from .camera import Camera, cameras
from .dataset import Truth, make, truth
from .empty import empty_street
from .identity import Identity, people
from .moments import Passage, draw_moment, draw_passage
from .parts import PARTS, body_parts
from .scene import OCCLUDERS, Moment, Rendered, render

__all__ = [
    "JOINTS",
    "OCCLUDERS",
    "PARTS",
    "Camera",
    "Identity",
    "Moment",
    "Passage",
    "Rendered",
    "Truth",
    "body_parts",
    "cameras",
    "draw_moment",
    "draw_passage",
    "empty_street",
    "make",
    "people",
    "render",
    "truth",
]
