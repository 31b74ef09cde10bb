"""Rendering of one image: a person, a camera and a moment."""

from dataclasses import dataclass

import cv2
import numpy as np

from . import scenery
from .body import ARMS, DEPTH, pose, surfaces
from .camera import Camera, expose
from .identity import Identity, people
from .mesh import Faces, front_distance, paint, shadow

BOX_FILL = 0.9
"""The person's height as a fraction of the height of a good detector's box."""
OCCLUDERS = ("none", "pole", "car", "bush", "railing", "person")
CANVAS = 384
"""Approximate height in pixels at which images are rendered before they are scaled down."""


@dataclass(frozen=True)
class Moment:
    """The parameters that vary between images of the same person from the same camera."""

    heading: float = 0.0  # degrees: 0 towards the camera, 90 to the image's right, 180 away, 270 to the left
    phase: float = 0.0  # of the gait, radians
    stride: float = 1.0  # 1 walking, 0 standing
    head_turn: float = 0.0  # radians, to the person's right
    arms: str = "swing"  # or phone, call (see ``ARMS``)
    place: tuple[float, float] = (0.0, 8.0)  # metres: right of the camera's axis, away from it
    shift: tuple[float, float] = (0.0, 0.0)  # the box's error to the right and down, as fractions of its size
    scale: float = 1.0  # the box's size, 1 for a good box
    aspect: float = 1.0  # the box's aspect ratio relative to the image's
    occluder: str = "none"
    occluder_at: float = 0.0  # metres to the right of the person
    companion: Identity | None = None  # the occluding person, if the occluder is a person
    passer: Identity | None = None  # a person behind
    passer_at: tuple[float, float] = (0.6, 2.0)  # metres right of and behind the person
    cover: tuple[float, float, float, float] | None = None  # a grey box: left, top, right, bottom as fractions
    gain: float = 1.0  # exposure factor
    smear: float = 0.0  # motion blur, in pixels of an image 128 high
    seed: int = 0  # of noise and occluder


@dataclass(frozen=True)
class Rendered:
    """An image (H, W, 3) uint8 RGB; joints (18, 3): x, y in its pixels and visibility 0 or 1; mask (H, W) bool."""

    image: np.ndarray
    joints: np.ndarray
    mask: np.ndarray


def render(person: Identity | None, camera: Camera, moment: Moment, size: tuple[int, int] = (192, 96)) -> Rendered:
    """``person`` as seen by ``camera`` at ``moment``, cropped and scaled to ``size`` (H, W) in pixels.

    With None for ``person``, the same box is cropped from the empty street. All joints are given; the visibility is 0
    for joints outside of the image and for occluded ones, including occlusion by the person's own body.
    """
    for name, value, known in (("occluder", moment.occluder, OCCLUDERS), ("arms", moment.arms, ARMS)):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r} of a moment: known are {', '.join(known)}")
    rng = np.random.default_rng([moment.seed, 5])
    height, width = size
    oversampling = int(np.clip(-(-CANVAS // height), 2, 4))  # canvas pixels per image pixel, in height and width
    canvas_height, canvas_width = oversampling * height, oversampling * width
    subject = people(1, [0])[0] if person is None else person
    faces, points = _body_in_world(subject, moment)

    corners = camera.project(faces.corners).reshape(-1, 2)
    top, bottom = corners[:, 1].min(), corners[:, 1].max()
    middle = (camera.project(points[[5, 12, 13]]).mean(axis=0)[0] + (corners[:, 0].min() + corners[:, 0].max()) / 2) / 2
    box_height = (bottom - top) / BOX_FILL * moment.scale
    box_width = box_height * width / height * moment.aspect
    box_left = middle - box_width / 2 + moment.shift[0] * box_width
    box_top = (top + bottom) / 2 - box_height / 2 + moment.shift[1] * box_height
    zoom = np.array([canvas_width / box_width, canvas_height / box_height])

    def to_canvas(world: np.ndarray) -> np.ndarray:
        return (camera.project(world) - (box_left, box_top)) * zoom

    canvas = np.zeros((canvas_height, canvas_width, 4), np.uint8)
    canvas[..., :3] = cv2.warpAffine(
        scenery.backdrop(camera),
        np.array([[zoom[0], 0, -box_left * zoom[0]], [0, zoom[1], -box_top * zoom[1]]]),
        (canvas_width, canvas_height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    behind = [] if moment.passer is None else [_other_person(moment.passer, moment, moment.passer_at, rng)]
    front = _occluder(moment, rng)
    bodies = [] if person is None else [faces]
    _cast_shadows(canvas, [*behind, *bodies, *front], camera, to_canvas)
    for other in behind:
        paint(canvas, other, camera.eye, to_canvas, camera.light, 0)
    for body in bodies:
        paint(canvas, body, camera.eye, to_canvas, camera.light, 255)
    for other in front:
        paint(canvas, other, camera.eye, to_canvas, camera.light, 0)
    if moment.cover is not None:
        x0, y0, x1, y1 = (
            (np.array(moment.cover) * (canvas_width, canvas_height, canvas_width, canvas_height)).round().astype(int)
        )
        canvas[y0:y1, x0:x1] = (128, 128, 128, 0)

    positions = to_canvas(points)
    depth = np.zeros(18) if person is None else front_distance(faces, points, camera.eye, to_canvas)
    visible = _visible(canvas[..., 3], positions) & (depth < DEPTH)
    joints = np.concatenate([positions / oversampling, visible[:, None]], axis=1).astype(np.float32)
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    image = expose(np.ascontiguousarray(small[..., :3]), camera, moment.gain, moment.smear, rng)
    return Rendered(image, joints, small[..., 3] >= 128)


def _body_in_world(person: Identity, moment: Moment) -> tuple[Faces, np.ndarray]:
    """The person's faces and joints (18, 3) in world coordinates."""
    turn = np.deg2rad(moment.heading)
    rotation = np.array(
        [[-np.cos(turn), np.sin(turn), 0], [-np.sin(turn), -np.cos(turn), 0], [0, 0, 1.0]]
    )  # columns: the person's right, front and up
    offset = np.array([*moment.place, 0.0])
    at = pose(person, moment.phase, moment.stride, moment.head_turn, moment.arms)
    return surfaces(person, at).moved(rotation, offset), at.joints @ rotation.T + offset


def _other_person(person: Identity, moment: Moment, offset: tuple[float, float], rng: np.random.Generator) -> Faces:
    """Another person, ``offset`` metres to the right of and behind the moment's place."""
    place = (moment.place[0] + offset[0], moment.place[1] + offset[1])
    other = Moment(heading=rng.uniform(0, 360), phase=rng.uniform(0, 2 * np.pi), place=place)
    return _body_in_world(person, other)[0]


def _occluder(moment: Moment, rng: np.random.Generator) -> list[Faces]:
    x, y = moment.place[0] + moment.occluder_at, moment.place[1]
    if moment.occluder == "pole":
        return [scenery.pole(rng, np.array([x, y - 1.2, 0]))]
    if moment.occluder == "car":
        # The bonnet or boot is in front of the person; the cabin would hide all but the head.
        return [scenery.car(rng, x + rng.choice([-1, 1]) * 1.8, y - 1.3)]
    if moment.occluder == "bush":
        return [scenery.bush(rng, np.array([x, y - 1.0, 0]), 0.38)]
    if moment.occluder == "railing":
        return [scenery.railing(rng, x - 3, x + 3, y - 0.8, 0.95)]
    if moment.occluder == "person":
        if moment.companion is None:
            raise ValueError("a moment with the occluder 'person' needs a companion, the occluding identity")
        return [_other_person(moment.companion, moment, (moment.occluder_at, -0.8), rng)]
    return []


def _cast_shadows(canvas: np.ndarray, bodies: list[Faces], camera: Camera, to_canvas) -> None:
    """Paint shadows on the ground: sharp ones from the sun, and soft contact shadows."""
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


def _visible(label: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Which of ``positions`` (P, 2) are on the canvas and at most 3 pixels from the person's mask."""
    height, width = label.shape
    x, y = np.floor(positions).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    near = cv2.dilate(label, np.ones((7, 7), np.uint8))
    return inside & (near[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] > 0)
