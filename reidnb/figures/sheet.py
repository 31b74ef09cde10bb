"""Figures with images at given positions: the basis of ranking lists and picture grids.

The size of every image is known beforehand, so images are placed in inches from the top left corner rather than by a
layout engine: this gives the same scale everywhere and no stray margins, and is fast for a hundred images.
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
"""Height of a line of text in inches."""


@dataclass
class Sheet:
    """A blank figure of ``width`` x ``height`` inches; positions are in inches from its top left corner."""

    width: float
    height: float
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self.figure = plt.figure(figsize=(self.width, self.height), layout="none")

    def image(self, picture: np.ndarray, left: float, top: float, width: float, border: dict | None = None) -> Axes:
        """Draw an image (H, W, 3) or map (H, W), ``width`` inches wide; a border is drawn outside of it."""
        height = width * picture.shape[0] / picture.shape[1]
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.imshow(picture, cmap="inferno", aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        if border:
            # A slight overlap, as otherwise white shows between image and border at some sizes.
            out = (border["linewidth"] / 2 - 0.4) / 72
            corner, size = (-out / width, -out / height), (1 + 2 * out / width, 1 + 2 * out / height)
            axes.add_patch(Rectangle(corner, *size, transform=axes.transAxes, fill=False, clip_on=False, **border))
        return axes

    def text(self, words: str, left: float, top: float, **properties) -> None:
        """Draw text at a position; ``properties`` are matplotlib's, such as ``ha``, ``va`` and ``size``."""
        self.figure.text(left / self.width, 1 - top / self.height, words, **properties)


def wrap(words: str, width: int) -> str:
    """Wrap text to lines of at most ``width`` characters; a model's name may also break after + and _."""
    breakable = re.sub(r"(?<=\S)([+_])(?=\S)", "\\1\u200b ", words)  # marked, so that only these spaces are removed
    lines = textwrap.wrap(breakable, width, break_long_words=True) or [""]
    return "\n".join(lines).replace("\u200b ", "").replace("\u200b", "")


def widest(texts: list[str]) -> float:
    """Width in inches of the widest line of all texts, measured on the glyphs, as capitals are half as wide again."""
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    return max((TextPath((0, 0), line, style.SIZE).get_extents().width / 72 for line in lines), default=0.0)


def check_images(images: object, name: str, shape: tuple[str, ...]) -> np.ndarray:
    """The images as a uint8 array with the axes ``shape``, the last one of size 3. Raises ValueError otherwise."""
    array = np.asarray(images)
    if array.ndim != len(shape) or array.shape[-1] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise ValueError(f"{name} must be uint8 of shape ({', '.join(shape)}), got {array.dtype} {array.shape}")
    return array
