"""The synthetic street: people who walk past cameras, drawn from a seed, with the truth beside every image.

Nobody in it is real, so its images can be shown anywhere; its identities differ by what people differ by
(build, hair, clothes, what they carry), and its cameras spoil just that: colours, sharpness, view, boxes.
``make`` writes it as a data set in Market-1501's layout, ``truth`` reads joints and masks, ``render`` draws one image.
"""

from .body import JOINTS
from .camera import Camera, cameras
from .dataset import Truth, make, truth
from .identity import Identity, people
from .moments import Passage, draw_moment, draw_passage
from .scene import OCCLUDERS, Moment, Rendered, render

__all__ = [
    "JOINTS",
    "OCCLUDERS",
    "Camera",
    "Identity",
    "Moment",
    "Passage",
    "Rendered",
    "Truth",
    "cameras",
    "draw_moment",
    "draw_passage",
    "make",
    "people",
    "render",
    "truth",
]
