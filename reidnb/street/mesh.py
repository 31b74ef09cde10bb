"""Surfaces made of small quadrilateral faces, and their rendering by the painter's algorithm with flat shading.

World axes in metres: x to the camera's right, y away from the camera, z up; the ground is z = 0.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

SUBPIXEL = 3
"""Corner positions are given to OpenCV in 1/2**SUBPIXEL of a canvas pixel."""


@dataclass(frozen=True)
class Faces:
    """N faces: corners (N, 4, 3) in metres, outward normals (N, 3), colours (N, 3) RGB in [0, 1].

    ``lift`` (N,) in metres: a face is sorted as if it were this much nearer, so that cloth is painted over the skin.
    """

    corners: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    lift: np.ndarray

    def moved(self, rotation: np.ndarray, offset: np.ndarray) -> "Faces":
        """The faces rotated by ``rotation`` (3, 3), then translated by ``offset`` (3,)."""
        return Faces(self.corners @ rotation.T + offset, self.normals @ rotation.T, self.colours, self.lift)


def join(parts: list[Faces]) -> Faces:
    """The faces of all ``parts`` as one set."""
    fields = ("corners", "normals", "colours", "lift")
    return Faces(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


@dataclass(frozen=True)
class Spot:
    """Surface coordinates of a lofted surface's faces, each (R-1, S): the argument of colour functions.

    ``t`` runs from 0 to 1 from the first to the last ring, ``angle`` is 0 in front and +pi/2 on the right, and
    ``centre`` (R-1, S, 3) is the face's centre in the surface's axes.
    """

    t: np.ndarray
    angle: np.ndarray
    centre: np.ndarray


Colour = np.ndarray | Callable[[Spot], np.ndarray]


def loft(
    centres: np.ndarray,
    right: np.ndarray,
    front: np.ndarray,
    half_width: np.ndarray,
    half_depth: np.ndarray,
    colour: Colour,
    segments: int = 16,
    power: float = 2.0,
    keep: Callable[[Spot], np.ndarray] | None = None,
    lift: float = 0.0,
) -> Faces:
    """The surface through R rings (superellipses of exponent ``power``: 2 is an ellipse, 4 nearly a box).

    ``centres`` (R, 3), ``right`` and ``front`` (R, 3) or (3,) unit axes of each ring, half axes (R,) in metres.
    Faces for which ``keep`` returns False are dropped.
    """
    edges = np.linspace(-np.pi, np.pi, segments + 1)
    sine, cosine = np.sin(edges), np.cos(edges)
    across = np.sign(sine) * np.abs(sine) ** (2 / power)
    along = np.sign(cosine) * np.abs(cosine) ** (2 / power)
    right, front = np.broadcast_to(right, centres.shape), np.broadcast_to(front, centres.shape)
    grid = (
        centres[:, None]
        + (half_width[:, None] * across)[..., None] * right[:, None]
        + (half_depth[:, None] * along)[..., None] * front[:, None]
    )
    corners = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], axis=2)
    centre = corners.mean(axis=2)
    normal = np.cross(corners[:, :, 2] - corners[:, :, 0], corners[:, :, 3] - corners[:, :, 1])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    axis = (centres[:-1] + centres[1:])[:, None] / 2
    normal *= np.where(((centre - axis) * normal).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    rows = (np.arange(len(centres) - 1) + 0.5) / (len(centres) - 1)
    angles = (edges[:-1] + edges[1:]) / 2
    spot = Spot(*np.meshgrid(rows, angles, indexing="ij"), centre)
    painted = colour(spot) if callable(colour) else np.broadcast_to(colour, centre.shape)
    kept = np.ones(spot.t.shape, bool) if keep is None else keep(spot)
    return Faces(corners[kept], normal[kept], painted[kept], np.full(kept.sum(), lift))


def tube(points: np.ndarray, side: np.ndarray, t: list, radius: list, colour: Colour, **options) -> Faces:
    """A limb along the bent line ``points`` (P, 3): ``radius`` in metres at positions ``t`` (0..1 of the length).

    ``side`` (3,) is the direction in which the angle of ``Spot`` is +pi/2.
    """
    rings = options.pop("rings", 20)
    flat = options.pop("flat", 1.0)
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    along = np.unique(np.concatenate([np.linspace(0, 1, rings), np.array(t)])) * lengths[-1]
    line = np.stack([np.interp(along, lengths, points[:, i]) for i in range(3)], axis=1)
    # Smooth the bends over a few centimetres, so that knees and elbows are curved.
    bend = 0.045 * lengths[-1]
    near = np.stack(
        [np.stack([np.interp(along + o, lengths, points[:, i]) for i in range(3)], axis=1) for o in (-bend, bend)]
    )
    inner = (along > bend) & (along < lengths[-1] - bend)
    line[inner] = (line[inner] + near[0][inner] + near[1][inner]) / 3
    tangent = near[1] - near[0]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    front = np.cross(tangent, side)
    front /= np.linalg.norm(front, axis=1, keepdims=True) + 1e-12
    right = np.cross(front, tangent)
    widths = np.interp(along / lengths[-1], t, radius)
    # Rounded ends can be so short that rings coincide; their faces then have no area and paint nothing.
    return loft(line, right, front, widths, widths * flat, colour, **options)


def ball(centre: np.ndarray, half: tuple[float, float, float], colour: Colour, rings: int = 10, **options) -> Faces:
    """An ellipsoid with half axes right, front and up in metres; its rings run from the bottom to the top."""
    lift = np.linspace(-np.pi / 2, np.pi / 2, rings)
    centres = np.asarray(centre) + np.sin(lift)[:, None] * np.array([0, 0, half[2]])
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    return loft(centres, x, y, half[0] * np.cos(lift), half[1] * np.cos(lift), colour, **options)


def block(centre: np.ndarray, half: tuple[float, float, float], colour: Colour, **options) -> Faces:
    """A box with slightly rounded edges; half sizes right, front and up in metres."""
    rings = np.array([-1, -0.98, -0.9, -0.5, 0, 0.5, 0.9, 0.98, 1.0])
    shrink = np.array([0.02, 0.85, 1, 1, 1, 1, 1, 0.85, 0.02])
    centres = np.asarray(centre) + rings[:, None] * np.array([0, 0, half[2]])
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    options = {"segments": 24, "power": 6.0} | options
    return loft(centres, x, y, half[0] * shrink, half[1] * shrink, colour, **options)


@dataclass(frozen=True)
class Light:
    """Illumination: ``towards`` is a unit vector to the sun; ``direct`` and ``ambient`` weight sun and sky light."""

    towards: tuple[float, float, float]
    direct: float
    ambient: float

    @property
    def sun(self) -> np.ndarray:
        """The direction to the sun, (3,)."""
        return np.array(self.towards)

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """The irradiance (N, 1) of faces with ``normals`` (N, 3); ambient light is brighter from above."""
        return (self.ambient * (0.8 + 0.2 * normals[:, 2]) + self.direct * np.maximum(normals @ self.sun, 0))[:, None]


def paint(canvas: np.ndarray, faces: Faces, eye: np.ndarray, to_canvas, light: Light, label: int) -> None:
    """Paint ``faces`` onto ``canvas`` (h, w, 4) uint8 in place, as RGB with ``label`` in the fourth channel.

    ``to_canvas`` maps points (..., 3) to canvas pixels (..., 2); ``eye`` (3,) is the camera's position.
    """
    sight = eye - faces.corners.mean(axis=1)
    distance = np.linalg.norm(sight, axis=1)
    facing = (faces.normals * sight).sum(1) / distance
    visible = np.flatnonzero(facing > 0)
    visible = visible[np.argsort((faces.lift - distance)[visible], kind="stable")]
    # Surfaces are slightly darker where they turn away from the camera, which makes them look round.
    lit = faces.colours[visible] * light.shade(faces.normals[visible]) * (0.8 + 0.2 * facing[visible, None])
    colours = np.clip(lit * 255, 0, 255).round()
    colours = np.concatenate([colours, np.full((len(visible), 1), label)], axis=1).tolist()
    corners = np.round(to_canvas(faces.corners[visible]) * 2**SUBPIXEL).astype(np.int32)
    for points, colour in zip(corners, colours, strict=True):
        cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_8, SUBPIXEL)


def shadow(shape: tuple[int, int], faces: Faces, to_canvas, sun: np.ndarray) -> np.ndarray:
    """The shadow of ``faces`` on the ground, projected onto the canvas, (h, w) uint8: 255 is full shadow."""
    lit = faces.corners[(faces.normals @ sun) > 0]
    projected = lit - sun * (lit[..., 2:] / sun[2])
    cover = np.zeros(shape, np.uint8)
    for points in np.round(to_canvas(projected) * 2**SUBPIXEL).astype(np.int32):
        cv2.fillConvexPoly(cover, points, 255, cv2.LINE_8, SUBPIXEL)
    return cover


def front_distance(faces: Faces, points: np.ndarray, eye: np.ndarray, to_canvas) -> np.ndarray:
    """Distance in metres from each of ``points`` (P, 3) to the surface nearest to the camera on its line of sight.

    Zero if no face lies in front of the point.
    """
    sight = eye - faces.corners.mean(axis=1)
    distance = np.linalg.norm(sight, axis=1)
    visible = (faces.normals * sight).sum(1) > 0
    corners, distance = to_canvas(faces.corners[visible]), distance[visible]
    inside = np.ones((len(points), len(corners)), bool)
    side = np.zeros((2, len(points), len(corners)), bool)
    positions = to_canvas(points)
    for i in range(4):
        start, edge = corners[:, i], corners[:, (i + 1) % 4] - corners[:, i]
        from_start = positions[:, None] - start
        cross = edge[:, 0] * from_start[..., 1] - edge[:, 1] * from_start[..., 0]
        side |= np.stack([cross > 1e-9, cross < -1e-9])
    inside = ~(side[0] & side[1])
    nearest = np.where(inside, distance, np.inf).min(axis=1)
    return np.maximum(np.linalg.norm(eye - points, axis=1) - nearest, 0)
