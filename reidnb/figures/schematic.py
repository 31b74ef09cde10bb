"""Schematics of networks: nodes with a text and a shape, joined by arrows.

A node with a shape is drawn as a slab, wide by its channels, high and deep by its map's height and width, and labelled
with the shape; any other is a box, or a circle for a single symbol. Positions are in inches, with y downwards.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from . import style
from .sheet import wrap

FONT = 12
"""Font size of all text but the title, in points."""
COLOURS = {
    "image": "#009E73",
    "feature": "#0072B2",
    "attention": "#E69F00",
    "operation": "#767676",
    "loss": "#CC79A7",
}
"""The edge colour of each kind of node, of the palette of Okabe and Ito; it is filled with a tint of it."""
ROUTES = ("", "h", "v", "hv", "vh", "hvh", "vhv")
LINE, PAD, RADIUS = FONT * 1.3 / 72, 0.09, 0.15
MARGIN = 0.12

Point = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """One element of a schematic, centred at ``at`` (x, y).

    kind      a key of ``COLOURS``
    shape     (C, H, W) of a map, (N, D) of N vectors, (D,) of a vector; empty for a box
    equation  of the paper, such as 'eq. 3', written beside the node
    size      width and height of a box or an image in inches; by default a box fits its text
    part      the rows that an image or a window of a map has, as fractions of the full height
    label     where a slab's text is: 'below' or 'above'
    """

    name: str
    kind: str
    text: str
    at: Point
    shape: tuple[int, ...] = ()
    equation: str = ""
    size: Point | None = None
    part: Point | None = None
    label: str = "below"

    def __post_init__(self) -> None:
        if self.kind not in COLOURS:
            raise ValueError(f"node {self.name!r}: kind {self.kind!r} is none of {', '.join(COLOURS)}")

    @property
    def lines(self) -> str:
        """All that is written at the node: its text, shape and equation."""
        return "\n".join(line for line in (self.text, times(self.shape), self.equation) if line)


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes, by their names.

    ``route`` is its segments: 'h' and 'v' are straight, at the position of the smaller of the two nodes; 'hv' leaves
    horizontally and arrives vertically, and so on. The default is straight where the nodes are in line, and 'hvh'
    elsewhere.
    """

    start: str
    end: str
    route: str = ""
    text: str = ""
    dashed: bool = False

    def __post_init__(self) -> None:
        if self.route not in ROUTES:
            raise ValueError(f"edge {self.start} to {self.end}: route {self.route!r} is none of {', '.join(ROUTES)}")


@dataclass(frozen=True)
class Box:
    """A rectangle in inches, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> Point:
        """Its middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def times(shape: Sequence[int]) -> str:
    """A shape in print, such as 2048×24×12."""
    return "×".join(map(str, shape))


def draw(nodes: Sequence[Node], edges: Sequence[Edge], title: str, note: str = "") -> Figure:
    """The figure of the nodes and edges, with a legend of the kinds of nodes and ``note`` under it.

    Each text's ``gid`` is its node's name. Raises ValueError for two nodes of one name or an edge to a missing node.
    """
    note = wrap(note, 92) if note else ""
    bodies = {node.name: _body(node) for node in nodes}
    if len(bodies) < len(nodes):
        names = [node.name for node in nodes]
        raise ValueError(f"two nodes are called {next(n for n in names if names.count(n) > 1)!r}")
    for edge in edges:
        if missing := [name for name in (edge.start, edge.end) if name not in bodies]:
            raise ValueError(f"edge {edge.start} to {edge.end}: there is no node {missing[0]!r}")
    outlines = {node.name: _outline(node, bodies[node.name]) for node in nodes}
    paths = [_path(edge, bodies, outlines) for edge in edges]
    points = [p for b in outlines.values() for p in ((b.left, b.top), (b.right, b.bottom))]
    points += chain.from_iterable(paths)
    left, right = min(x for x, _ in points) - MARGIN, max(x for x, _ in points) + MARGIN
    top, bottom = min(y for _, y in points) - MARGIN - 0.35, max(y for _, y in points) + MARGIN
    kinds = [kind for kind in COLOURS if any(node.kind == kind for node in nodes)]
    needed = max(_extent(title, style.SIZE + 2)[0], sum(map(_swatch, kinds)), _extent(note)[0]) + 2 * MARGIN
    right = max(right, left + needed)
    foot = bottom + 0.35 + (note.count("\n") + 1) * LINE * bool(note)

    figure = plt.figure(figsize=(right - left, foot - top), layout="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(foot, top))
    axes.set_axis_off()
    axes.text(left + MARGIN, top + 0.08, title, size=style.SIZE + 1, weight="bold", va="top", gid="title")
    for edge, path in zip(edges, paths, strict=True):
        _draw_edge(axes, edge, path)
    for node in nodes:
        _draw_node(axes, node, bodies[node.name])
    _legend(axes, kinds, left + MARGIN, bottom + 0.15)
    axes.text(left + MARGIN, bottom + 0.32, note, size=FONT, va="top", color=style.INK, gid="note", linespacing=1.25)
    return figure


@cache
def _extent(text: str, size: float = FONT) -> Point:
    """Width and height of a text in inches."""
    lines = text.split("\n")
    width = max((TextPath((0, 0), line, size).get_extents().width for line in lines if line.strip()), default=0) / 72
    return 1.04 * width, len(lines) * LINE  # on a screen letters are up to 4 % wider than their outlines


def _is_symbol(node: Node) -> bool:
    return not node.shape and node.kind == "operation" and len(node.text) == 1


def _slab(shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Width, height and depth in inches: roots and logarithms, so that 2048x24x12 and 3x384x192 fit side by side."""
    if len(shape) < 3:
        return 0.08 + 0.05 * math.log2(shape[-1]), 0.14 * min(math.prod(shape[:-1]), 6), 0.0
    channels, height, width = shape
    return 0.08 + 0.045 * math.log2(channels), min(0.14 * height**0.4, 0.95), min(0.045 * width**0.4, 0.25)


def _body(node: Node) -> Box:
    """The node's shape without its label."""
    x, y = node.at
    if node.size:
        width, height = node.size
    elif node.shape:
        width, height, depth = _slab(node.shape)
        width, height = width + depth, height + depth
    elif _is_symbol(node):
        width = height = 2 * RADIUS
    else:
        width, height = _extent(node.lines)
        width, height = width + 2.5 * PAD, height + PAD
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _label(node: Node, body: Box) -> tuple[Point, str, str, str]:
    """Position, alignment and text of what is written at a node."""
    (x, y), gap = body.centre, 0.05
    if _is_symbol(node):
        return (x + RADIUS * 0.8, y + RADIUS * 0.8), "left", "top", node.equation
    if node.shape or node.part or node.kind == "image":
        above = node.label == "above"
        return (x, body.top - gap if above else body.bottom + gap), "center", "bottom" if above else "top", node.lines
    return (x, y), "center", "center", node.lines


def _outline(node: Node, body: Box) -> Box:
    """What node and label cover."""
    (x, y), across, down, text = _label(node, body)
    if not text:
        return body
    width, height = _extent(text)
    left = x if across == "left" else x - width / 2
    top = {"top": y, "center": y - height / 2, "bottom": y - height}[down]
    return Box(min(body.left, left), min(body.top, top), max(body.right, left + width), max(body.bottom, top + height))


def _path(edge: Edge, bodies: dict[str, Box], outlines: dict[str, Box]) -> list[Point]:
    """The corners of an arrow. It meets bodies at the sides, and the labels above or below them."""
    start, end = bodies[edge.start], bodies[edge.end]
    (x0, y0), (x1, y1) = start.centre, end.centre
    route = edge.route
    if not route:
        route = "v" if abs(x1 - x0) < 1e-6 else "h" if abs(y1 - y0) < 1e-6 else "hvh"
    if route == "v":
        x0 = x1 = x0 if start.right - start.left <= end.right - end.left else x1
    if route == "h":
        y0 = y1 = y0 if start.bottom - start.top <= end.bottom - end.top else y1

    def leave(box: Box, outline: Box, at: Point, towards: Point, horizontally: bool) -> Point:
        if horizontally:
            return (box.right if towards[0] > at[0] else box.left), at[1]
        below, above = outline.bottom if outline.bottom > box.bottom else box.bottom, min(outline.top, box.top)
        return at[0], below if towards[1] > at[1] else above

    first = leave(start, outlines[edge.start], (x0, y0), (x1, y1), route[0] == "h")
    last = leave(end, outlines[edge.end], (x1, y1), (x0, y0), route[-1] == "h")
    middle = {"hv": [(last[0], first[1])], "vh": [(first[0], last[1])]}.get(route, [])
    if route == "hvh":
        x = (first[0] + last[0]) / 2
        middle = [(x, first[1]), (x, last[1])]
    if route == "vhv":
        y = (first[1] + last[1]) / 2
        middle = [(first[0], y), (last[0], y)]
    return [first, *middle, last]


def _draw_edge(axes: Axes, edge: Edge, path: list[Point]) -> None:
    arrow = {"arrowstyle": "-|>", "mutation_scale": 11, "linewidth": 1.3, "color": style.INK, "zorder": 1}
    line = FancyArrowPatch(
        path=Path(path), linestyle=(0, (4, 2)) if edge.dashed else "-", shrinkA=0, shrinkB=0, **arrow
    )
    line.set_gid(f"{edge.start} to {edge.end}")
    line.set_joinstyle("miter")
    axes.add_patch(line)
    if not edge.text:
        return
    (x0, y0), (x1, y1) = max(pairwise(path), key=lambda s: math.dist(*s))
    level = abs(x1 - x0) >= abs(y1 - y0)
    x, y = (x0 + x1) / 2 + (0 if level else 0.06), (y0 + y1) / 2 - (0.04 if level else 0)
    alignment = {"ha": "center", "va": "bottom"} if level else {"ha": "left", "va": "center"}
    axes.text(x, y, edge.text, size=FONT, linespacing=1.1, gid=f"{edge.start} to {edge.end}", **alignment)


def _draw_node(axes: Axes, node: Node, body: Box) -> None:
    colour = COLOURS[node.kind]
    border = {"edgecolor": colour, "linewidth": 1.6, "zorder": 2}
    if node.kind == "image":
        _draw_person(axes, body, node.part or (0, 1), border)
    elif node.part:
        _draw_window(axes, body, node.part, border)
    elif len(node.shape) == 3 and not node.size:
        _draw_slab(axes, body, _slab(node.shape)[2], border)
    elif node.shape:
        count = min(math.prod(node.shape[:-1]), 6)
        height = (body.bottom - body.top) / count
        for i in range(count):
            corner = (body.left, body.top + i * height + (0.02 if count > 1 else 0))
            size = (body.right - body.left, height - (0.04 if count > 1 else 0))
            axes.add_patch(Rectangle(corner, *size, facecolor=_tint(colour), **border))
    elif _is_symbol(node):
        axes.add_patch(Circle(body.centre, RADIUS, facecolor="white", **border))
        axes.text(*body.centre, node.text, size=FONT + 3, ha="center", va="center_baseline", zorder=3)
    else:
        rounding = 0.12 if node.kind == "loss" else 0.02
        frame = FancyBboxPatch(
            (body.left, body.top),
            body.right - body.left,
            body.bottom - body.top,
            boxstyle=f"round,pad=0,rounding_size={rounding}",
            facecolor=_tint(colour),
            **border,
        )
        axes.add_patch(frame)
    (x, y), across, down, text = _label(node, body)
    axes.text(x, y, text, size=FONT, ha=across, va=down, linespacing=1.15, zorder=3, gid=node.name)


def _draw_slab(axes: Axes, body: Box, depth: float, border: dict) -> None:
    """A cuboid: its front face, and lighter and darker faces for top and side."""
    left, top, right, bottom = body.left, body.top + depth, body.right - depth, body.bottom
    faces = (
        ([(left, top), (right, top), (right, bottom), (left, bottom)], 0.7),
        ([(left, top), (left + depth, body.top), (body.right, body.top), (right, top)], 0.85),
        ([(right, top), (body.right, body.top), (body.right, bottom - depth), (right, bottom)], 0.5),
    )
    for corners, light in faces:
        axes.add_patch(
            Polygon(
                corners, facecolor=_tint(border["edgecolor"], light), joinstyle="round", **border | {"linewidth": 1}
            )
        )


def _draw_person(axes: Axes, body: Box, part: Point, border: dict) -> None:
    """A picture of a standing person, or the rows ``part`` of it."""
    frame = Rectangle(
        (body.left, body.top), body.right - body.left, body.bottom - body.top, facecolor="white", **border
    )
    axes.add_patch(frame)
    full = (body.bottom - body.top) / (part[1] - part[0])
    x, top = body.centre[0], body.top - part[0] * full
    half = min((body.right - body.left) * 0.3, full * 0.14)
    shoulder, hip = top + 0.26 * full, top + 0.55 * full
    foot = top + 0.95 * full
    outline = [(-1, shoulder), (1, shoulder), (1, hip), (0.6, hip), (0.55, foot), (0.1, foot), (0, hip + 0.06 * full)]
    outline += [(-0.1, foot), (-0.55, foot), (-0.6, hip), (-1, hip)]
    figure = {"facecolor": _tint(border["edgecolor"], 0.55), "edgecolor": "none", "zorder": 2.5}
    trunk = PathPatch(Path([(x + half * dx, y) for dx, y in [*outline, outline[0]]], closed=True), **figure)
    for patch in (trunk, Circle((x, top + 0.15 * full), 0.085 * full, **figure)):
        axes.add_patch(patch)
        patch.set_clip_path(frame)


def _draw_window(axes: Axes, body: Box, part: Point, border: dict) -> None:
    """A map of which the rows ``part`` are filled."""
    width, height = body.right - body.left, body.bottom - body.top
    thin = border | {"linewidth": 1}
    axes.add_patch(Rectangle((body.left, body.top), width, height, facecolor="white", **thin))
    rows = (body.left, body.top + part[0] * height)
    axes.add_patch(
        Rectangle(rows, width, (part[1] - part[0]) * height, facecolor=_tint(border["edgecolor"], 0.3), **thin)
    )


def _tint(colour: str, light: float = 0.8) -> Point:
    return tuple(light + (1 - light) * c for c in to_rgb(colour))


def _swatch(kind: str) -> float:
    """The width of one kind of node in the legend."""
    return 0.5 + _extent(kind)[0]


def _legend(axes: Axes, kinds: Sequence[str], x: float, y: float) -> None:
    for kind in kinds:
        border = {"facecolor": _tint(COLOURS[kind]), "edgecolor": COLOURS[kind], "linewidth": 1.6}
        axes.add_patch(Rectangle((x, y - 0.07), 0.2, 0.14, **border))
        axes.text(x + 0.27, y, kind, size=FONT, va="center", gid="legend")
        x += _swatch(kind)
