"""One image of one person: who, before which camera, at which moment."""

from dataclasses import dataclass

import cv2
import numpy as np

from . import scenery
from .body import ARMS, DEPTH, pose, surfaces
from .camera import Camera, expose
from .identity import Identity, people
from .mesh import Faces, front_distance, paint, shadow

SHARE = 0.9
"""The person's share of the height of a box that a good detector cuts."""
OCCLUDERS = ("none", "pole", "car", "bush", "railing", "person")
CANVAS = 384
"""Height in pixels at which people are drawn, roughly, before the image is scaled down to its size."""


@dataclass(frozen=True)
class Moment:
    """What differs from image to image of the same person before the same camera."""

    heading: float = 0.0  # degrees: 0 towards the camera, 90 to the image's right, 180 away, 270 to the left
    phase: float = 0.0  # of the gait, radians
    stride: float = 1.0  # 1 walks, 0 stands
    head_turn: float = 0.0  # radians, to the person's right
    arms: str = "swing"  # or phone, call: what the right hand does
    place: tuple[float, float] = (0.0, 8.0)  # metres: right of the camera's axis, away from it
    shift: tuple[float, float] = (0.0, 0.0)  # the box's error, right and down, in shares of its size
    scale: float = 1.0  # the box's size, 1 fits
    aspect: float = 1.0  # the box's width over height, 1 is the image's own
    occluder: str = "none"
    occluder_at: float = 0.0  # metres to the right of the person
    companion: Identity | None = None  # who hides the person, where the occluder is a person
    passer: Identity | None = None  # who walks behind
    passer_at: tuple[float, float] = (0.6, 2.0)  # metres right of and behind the person
    cover: tuple[float, float, float, float] | None = None  # a grey board: left, top, right, bottom in shares
    gain: float = 1.0  # exposure
    smear: float = 0.0  # motion blur, in pixels of an image 128 high
    seed: int = 0  # of grain and occluder


@dataclass(frozen=True)
class Rendered:
    """An image (H, W, 3) uint8 RGB; joints (18, 3): x, y in its pixels and visibility 0 or 1; mask (H, W) bool."""

    image: np.ndarray
    joints: np.ndarray
    mask: np.ndarray


def render(person: Identity | None, camera: Camera, moment: Moment, size: tuple[int, int] = (192, 96)) -> Rendered:
    """``person`` as ``camera`` sees them at ``moment``, cut out and scaled to ``size`` (H, W) in pixels.

    None for ``person`` cuts the same box from the empty street. The joints are given wherever they are, with
    visibility 0 where they lie outside of the image or something, the person's own body included, hides them.
    """
    for name, value, known in (("occluder", moment.occluder, OCCLUDERS), ("arms", moment.arms, ARMS)):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r} of a moment: known are {', '.join(known)}")
    rng = np.random.default_rng([moment.seed, 5])
    height, width = size
    fine = int(np.clip(-(-CANVAS // height), 2, 4))  # canvas pixels a pixel, each way
    tall, wide = fine * height, fine * width
    stand = people(1, [0])[0] if person is None else person
    faces, points = _standing(stand, moment)

    corners = camera.project(faces.corners).reshape(-1, 2)
    top, bottom = corners[:, 1].min(), corners[:, 1].max()
    middle = (camera.project(points[[5, 12, 13]]).mean(axis=0)[0] + (corners[:, 0].min() + corners[:, 0].max()) / 2) / 2
    box_height = (bottom - top) / SHARE * moment.scale
    box_width = box_height * width / height * moment.aspect
    left = middle - box_width / 2 + moment.shift[0] * box_width
    above = (top + bottom) / 2 - box_height / 2 + moment.shift[1] * box_height
    zoom = np.array([wide / box_width, tall / box_height])

    def to_canvas(world: np.ndarray) -> np.ndarray:
        return (camera.project(world) - (left, above)) * zoom

    canvas = np.zeros((tall, wide, 4), np.uint8)
    canvas[..., :3] = cv2.warpAffine(
        scenery.backdrop(camera),
        np.array([[zoom[0], 0, -left * zoom[0]], [0, zoom[1], -above * zoom[1]]]),
        (wide, tall),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    behind = [] if moment.passer is None else [_walker(moment.passer, moment, moment.passer_at, rng)]
    front = _in_front(moment, rng)
    shown = [] if person is None else [faces]
    _darken(canvas, [*behind, *shown, *front], camera, to_canvas)
    for other in behind:
        paint(canvas, other, camera.eye, to_canvas, camera.light, 0)
    for mine in shown:
        paint(canvas, mine, camera.eye, to_canvas, camera.light, 255)
    for other in front:
        paint(canvas, other, camera.eye, to_canvas, camera.light, 0)
    if moment.cover is not None:
        x0, y0, x1, y1 = (np.array(moment.cover) * (wide, tall, wide, tall)).round().astype(int)
        canvas[y0:y1, x0:x1] = (128, 128, 128, 0)

    places = to_canvas(points)
    depth = np.zeros(18) if person is None else front_distance(faces, points, camera.eye, to_canvas)
    seen = _visible(canvas[..., 3], places) & (depth < DEPTH)
    joints = np.concatenate([places / fine, seen[:, None]], axis=1).astype(np.float32)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    image = expose(np.ascontiguousarray(small[..., :3]), camera, moment.gain, moment.smear, rng)
    return Rendered(image, joints, small[..., 3] >= 128)


def _standing(person: Identity, moment: Moment) -> tuple[Faces, np.ndarray]:
    """The person's faces and joints (18, 3) in the world."""
    turn = np.deg2rad(moment.heading)
    rotation = np.array(
        [[-np.cos(turn), np.sin(turn), 0], [-np.sin(turn), -np.cos(turn), 0], [0, 0, 1.0]]
    )  # columns: the person's right, front and up
    offset = np.array([*moment.place, 0.0])
    at = pose(person, moment.phase, moment.stride, moment.head_turn, moment.arms)
    return surfaces(person, at).moved(rotation, offset), at.joints @ rotation.T + offset


def _walker(person: Identity, moment: Moment, away: tuple[float, float], rng: np.random.Generator) -> Faces:
    """Somebody else, ``away`` metres right of and behind the place of the moment."""
    place = (moment.place[0] + away[0], moment.place[1] + away[1])
    other = Moment(heading=rng.uniform(0, 360), phase=rng.uniform(0, 2 * np.pi), place=place)
    return _standing(person, other)[0]


def _in_front(moment: Moment, rng: np.random.Generator) -> list[Faces]:
    x, y = moment.place[0] + moment.occluder_at, moment.place[1]
    if moment.occluder == "pole":
        return [scenery.pole(rng, np.array([x, y - 1.2, 0]))]
    if moment.occluder == "car":
        # Bonnet or boot stands before the person: the cabin would hide all but the head.
        return [scenery.car(rng, x + rng.choice([-1, 1]) * 1.8, y - 1.3)]
    if moment.occluder == "bush":
        return [scenery.bush(rng, np.array([x, y - 1.0, 0]), 0.38)]
    if moment.occluder == "railing":
        return [scenery.railing(rng, x - 3, x + 3, y - 0.8, 0.95)]
    if moment.occluder == "person":
        if moment.companion is None:
            raise ValueError("a moment with the occluder 'person' needs its companion, the identity who hides")
        return [_walker(moment.companion, moment, (moment.occluder_at, -0.8), rng)]
    return []


def _darken(canvas: np.ndarray, bodies: list[Faces], camera: Camera, to_canvas) -> None:
    """Shadows on the ground: sharp ones of the sun, and the soft dark under everything."""
    if not bodies:
        return
    sharp, soft = np.zeros(canvas.shape[:2], np.uint8), np.zeros(canvas.shape[:2], np.uint8)
    for body in bodies:
        np.maximum(sharp, shadow(sharp.shape, body, to_canvas, camera.light.sun), out=sharp)
        low = body.corners.reshape(-1, 3)
        low = low[low[:, 2] < 0.35]
        if len(low):
            ring = np.concatenate([low[:, :2], np.zeros((len(low), 1))], axis=1)
            hull = cv2.convexHull(np.round(to_canvas(ring)).astype(np.int32))
            cv2.fillConvexPoly(soft, hull, 255)
    scale = canvas.shape[0] / CANVAS
    total = camera.light.direct + camera.light.ambient
    dark = 0.9 * camera.light.direct / total * cv2.GaussianBlur(sharp, (0, 0), 2.0 * scale).astype(np.float32)
    dark = np.maximum(dark, 0.40 * cv2.GaussianBlur(soft, (0, 0), 8 * scale).astype(np.float32))
    canvas[..., :3] = (canvas[..., :3] * (1 - dark[..., None] / 255)).astype(np.uint8)


def _visible(label: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which of ``places`` (P, 2) lie within the canvas and on the person's own paint, or within 3 pixels of it."""
    height, width = label.shape
    x, y = np.floor(places).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    near = cv2.dilate(label, np.ones((7, 7), np.uint8))
    return inside & (near[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > 0)
