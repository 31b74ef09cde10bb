"""Joints, regions and boxes on images, as in figure 4 of the attention-driven network's paper."""

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from .. import pose
from ..data.catalog import ReidData
from ..data.samples import distinct_queries, read_images
from ..pose.canonical import THRESHOLD
from . import style
from .sheet import LINE, Sheet

SHOWN = (256, 128)
"""Size (H, W) at which people are drawn, in pixels."""
PART = (96, 192)
"""Size (H, W) of a part as the input of its branch (section 4.2)."""
SIDES = {"right": ("#56B4E9", "o"), "left": ("#E69F00", "s"), "middle": ("#FFFFFF", "D")}
"""Colour and marker of the joints of each side of the body."""
BOX_STYLES = (
    ("#FFFFFF", (0, (1.2, 1.2))),
    ("#E69F00", "solid"),
    ("#56B4E9", (0, (4, 1.5))),
    ("#CC79A7", "solid"),
    ("#009E73", (0, (4, 1.5))),
)
"""Colour and dash of the boxes R0 to R4: neighbours differ in both."""
_EDGE = [effects.withStroke(linewidth=3.6, foreground="black")]


def parts(data: ReidData, poses: pose.Poses, count: int = 6) -> Figure:
    """Figure 4 for ``count`` queries of ``data``: joints, boxes R0 to R4, and the parts as inputs of their branches.

    ``poses`` are the data set's poses with gaps, as ``pose.load`` returns them; a joint with a confidence below
    ``THRESHOLD`` is estimated and drawn hollow.
    """
    rows = distinct_queries(data, count)
    detected, sizes = poses.query.joints[rows], poses.query.sizes[rows]
    joints = pose.complete(poses).query.joints[rows]
    boxes = pose.as_fractions(pose.boxes(joints, sizes), sizes)
    places = joints[..., :2] / sizes[:, None, ::-1]
    images = read_images(data.query, rows, SHOWN)
    return draw(images, places, detected[..., 2] >= THRESHOLD, boxes)


def draw(images: np.ndarray, places: np.ndarray, visible: np.ndarray, boxes: np.ndarray) -> Figure:
    """A column per person: the skeleton, the boxes, and the crops of the parts.

    images   (n, H, W, 3) uint8
    places   (n, 18, 2) x, y of the joints as fractions of the image
    visible  (n, 18) whether a joint was detected; the others were estimated
    boxes    (n, 5, 4) R0 to R4 as fractions of the image
    """
    width, space, left, top = 1.25, 0.1, 0.85, 0.1
    high = width * images.shape[1] / images.shape[2]
    below = LINE + 0.3
    sheet = Sheet(left + len(images) * (width + space), top + 3 * (high + space) + below)
    for row, title in enumerate(("joints", "boxes", "parts")):
        sheet.text(title, left - 0.1, top + row * (high + space) + high / 2, ha="right", va="center", size=style.SIZE)
    for column, image in enumerate(images):
        x = left + column * (width + space)
        size = image.shape[1::-1]
        skeleton(sheet.image(image, x, top, width), places[column] * size, visible[column])
        outlines(sheet.image(image, x, top + high + space, width), boxes[column] * np.tile(size, 2))
        y = top + 2 * (high + space)
        for number, part in enumerate(_cut(image, boxes[column, 1:]), 1):
            axes = sheet.image(part, x, y, width)
            _label(axes, f"R{number}", 0.03, 0.92, BOX_STYLES[number][0], va="top", transform=axes.transAxes)
            y += width * PART[0] / PART[1] + 0.02
    _legend(sheet, top + 3 * (high + space))
    return sheet.figure


def skeleton(axes: Axes, places: np.ndarray, visible: np.ndarray) -> None:
    """Draw joints at ``places`` (18, 2), in pixels of the axes' image, and bones; joints not ``visible`` are hollow."""
    places = places - 0.5  # matplotlib has its origin at the centre of the first pixel
    for bone in pose.BONES:
        solid = visible[list(bone)].all()
        axes.plot(
            *places[list(bone)].T, color="white", lw=1.6, ls="solid" if solid else (0, (1, 1)), path_effects=_EDGE
        )
    for joint, (x, y), is_visible in zip(pose.JOINTS, places, visible, strict=True):
        colour, marker = SIDES[_side(joint)]
        fill = colour if is_visible else "none"
        axes.plot(x, y, marker, ms=5, mfc=fill, mec="black" if is_visible else colour, mew=0.8 if is_visible else 1.6)
    _fix_view(axes)


def outlines(axes: Axes, boxes: np.ndarray) -> None:
    """Draw the boxes R0 to R4 (5, 4), in pixels of the axes' image; as all are equally wide, each is drawn narrower."""
    inset = 0.025 * axes.images[0].get_array().shape[1]
    for number, ((x0, y0, x1, y1), (colour, dash)) in enumerate(zip(boxes - 0.5, BOX_STYLES, strict=True)):
        corner, size = (x0 + number * inset, y0), (x1 - x0 - 2 * number * inset, y1 - y0)
        outline = {"edgecolor": colour, "linestyle": dash, "linewidth": 2.0, "path_effects": _EDGE}
        axes.add_patch(Rectangle(corner, *size, fill=False, **outline))
        if number:
            # Odd numbers on the left, even ones on the right, as R1 and R2 may start at nearly the same height.
            x, ha = (x0 + (number + 1) * inset, "left") if number % 2 else (x1 - (number + 1) * inset, "right")
            _label(axes, f"R{number}", x, y0 + inset, colour, ha=ha, va="top")
    _fix_view(axes)


def _cut(image: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    places = boxes * (width, height, width, height)
    return [np.array(picture.resize(PART[::-1], Image.Resampling.BILINEAR, box=tuple(box))) for box in places]


def _side(joint: str) -> str:
    side = joint.split()[0]
    return side if side in SIDES else "middle"


def _label(axes: Axes, words: str, x: float, y: float, colour: str, **properties) -> None:
    stroke = [effects.withStroke(linewidth=2.5, foreground="black")]
    axes.text(x, y, words, color=colour, size=style.SIZE - 1, weight="bold", path_effects=stroke, **properties)


def _fix_view(axes: Axes) -> None:
    """Limit the axes to the image, whatever was drawn beyond it."""
    height, width = axes.images[0].get_array().shape[:2]
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _legend(sheet: Sheet, top: float) -> None:
    marker_style = {"ls": "none", "ms": 8, "mec": "black"}
    names = {"right": "right side", "left": "left side", "middle": "middle"}
    marks = [Line2D([], [], marker=m, mfc=c, label=names[side], **marker_style) for side, (c, m) in SIDES.items()]
    marks.append(Line2D([], [], marker="o", mfc="none", mew=1.6, label="hollow: estimated", **marker_style))
    place = (0.5, 1 - top / sheet.height)
    sheet.figure.legend(handles=marks, loc="upper center", bbox_to_anchor=place, ncols=4, fontsize=style.SIZE)
