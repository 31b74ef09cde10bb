"""Images placed to the point: what ranking lists and picture grids share.

The size of every image is known beforehand, so it is placed by inches from the top left corner rather than by a
layout engine: equal scale everywhere, no stray white, and fast for a hundred images.
"""

import re
import textwrap
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from . import style

LINE = style.SIZE * 1.3 / 72
"""Height of a line of letters in inches."""


@dataclass
class Sheet:
    """A blank figure of ``width`` x ``height`` inches; places count in inches from its top left corner."""

    width: float
    height: float
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self.figure = plt.figure(figsize=(self.width, self.height), layout="none")

    def image(self, picture: np.ndarray, left: float, top: float, width: float, border: dict | None = None) -> Axes:
        """An image (H, W, 3) or map (H, W), ``width`` inches wide; a border lies outside and hides nothing of it."""
        height = width * picture.shape[0] / picture.shape[1]
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.imshow(picture, cmap="inferno", aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        if border:
            out = (border["linewidth"] / 2 - 0.4) / 72  # a hair of overlap, or white shows between at some sizes
            corner, size = (-out / width, -out / height), (1 + 2 * out / width, 1 + 2 * out / height)
            axes.add_patch(Rectangle(corner, *size, transform=axes.transAxes, fill=False, clip_on=False, **border))
        return axes

    def text(self, words: str, left: float, top: float, **looks) -> None:
        """Words at a place; matplotlib's ``ha``, ``va``, ``size`` and their like in ``looks``."""
        self.figure.text(left / self.width, 1 - top / self.height, words, **looks)


def wrap(words: str, width: int) -> str:
    """Words in lines of at most ``width`` letters; a model's name may break after each + and -."""
    breakable = re.sub(r"(?<=\S)([+_])(?=\S)", "\\1\u200b ", words)  # a mark, so that only these spaces vanish
    lines = textwrap.wrap(breakable, width, break_long_words=True) or [""]
    return "\n".join(lines).replace("\u200b ", "").replace("\u200b", "")


def widest(texts: list[str]) -> float:
    """Inches of the widest line of all texts, as its letters are drawn: capitals need half as much again as others."""
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    return max((TextPath((0, 0), line, style.SIZE).get_extents().width / 72 for line in lines), default=0.0)


def check_images(images: object, name: str, shape: tuple[str, ...]) -> np.ndarray:
    """The images as an uint8 array of so many axes, the last one 3; ValueError naming what was found instead."""
    array = np.asarray(images)
    if array.ndim != len(shape) or array.shape[-1] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise ValueError(f"{name} are uint8 of shape ({', '.join(shape)}), got {array.dtype} {array.shape}")
    return array
