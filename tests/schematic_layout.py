"""What every schematic must hold: its words, and that none of them is covered."""

from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from matplotlib.transforms import Bbox

WIDEST = 9.5
"""Inches: with 12-point letters a wider figure is not readable at half the width of a slide."""


def words(figure: Figure) -> dict[str, str]:
    """The text of each node, and 'title' and 'note', by name."""
    return {text.get_gid(): text.get_text() for text in figure.axes[0].texts if text.get_gid()}


def arrows(figure: Figure) -> list[FancyArrowPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def line(arrow: FancyArrowPatch) -> np.ndarray:
    """The corners of an arrow without its head, in inches."""
    return arrow.get_path().to_polygons(closed_only=False)[0]


def check_layout(figure: Figure) -> None:
    """No text overlaps another or an arrow, nothing leaves the figure, and the figure is not too wide."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = {}
    for number, text in enumerate(axes.texts):
        if text.get_text():
            boxes[number, text.get_text()] = text.get_window_extent()
            assert text.get_fontsize() >= 12
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        shared = Bbox.intersection(a, b)
        assert shared is None or min(shared.width, shared.height) < 2, f"{one[1]!r} overlaps {other[1]!r}"
    for arrow in arrows(figure):
        path = Path(axes.transData.transform(line(arrow)))
        for (_, text), box in boxes.items():
            assert not path.intersects_bbox(box.padded(-1.5), filled=False), f"{arrow.get_gid()} crosses {text!r}"
    for (_, text), box in boxes.items():
        assert figure.bbox.padded(1).contains(box.x0, box.y0), text
        assert figure.bbox.padded(1).contains(box.x1, box.y1), text
    assert figure.get_figwidth() <= WIDEST
