"""The static scene of a camera: paving, walls with windows, trees, cars, railings and signs; and the occluders."""

from functools import lru_cache

import cv2
import numpy as np

from .camera import FRAME, Camera
from .identity import CLOTH
from .mesh import Faces, ball, block, join, loft, paint, tube

X, Y, Z = np.eye(3)
WALLS = [(0.62, 0.36, 0.28), (0.70, 0.64, 0.54), (0.55, 0.56, 0.57), (0.80, 0.76, 0.68), (0.46, 0.40, 0.38)]
PAVING = [(0.55, 0.54, 0.52), (0.62, 0.58, 0.52), (0.40, 0.40, 0.42), (0.58, 0.46, 0.40)]
PAINTS = ["white", "black", "grey", "navy", "red", "pale grey", "teal", "mustard"]


@lru_cache(maxsize=16)
def backdrop(camera: Camera) -> np.ndarray:
    """The view of ``camera`` without people, (H, W, 3) uint8 RGB of size ``FRAME``, read-only."""
    rng = np.random.default_rng(camera.seed)
    view = np.ascontiguousarray(_surfaces(camera, rng))
    canvas = np.dstack([view, np.zeros(FRAME, np.uint8)])
    for thing in sorted(_objects(camera, rng), key=lambda part: -part.corners[..., 1].mean()):
        paint(canvas, thing, camera.eye, camera.project, camera.light, 0)
    view = cv2.GaussianBlur(canvas[..., :3], (0, 0), 0.8)
    view.flags.writeable = False
    return view


def _surfaces(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Ground, wall and sky, ray-cast for each pixel."""
    rows, columns = np.mgrid[: FRAME[0], : FRAME[1]] + 0.5
    rays = np.stack(
        [(columns - FRAME[1] / 2) / camera.focal, (rows - FRAME[0] / 2) / camera.focal, np.ones(FRAME)], axis=-1
    )
    rays = rays @ camera.rotation
    slope, distance = rng.uniform(-0.45, 0.45), camera.far + rng.uniform(2.5, 6)
    to_ground = np.where(rays[..., 2] < -1e-3, -camera.height / np.minimum(rays[..., 2], -1e-3), 1e3)
    leaning = rays[..., 1] - slope * rays[..., 0]
    to_wall = np.where(leaning > 1e-3, distance / np.maximum(leaning, 1e-3), 1e3)
    ground = _ground(rng, *(to_ground * rays[..., i] for i in (0, 1)))
    along = to_wall * rays[..., 0] * np.hypot(1, slope)
    wall = _wall(rng, along, camera.height + to_wall * rays[..., 2])
    facing = camera.light.shade(np.array([[slope, -1, 0]]) / np.hypot(1, slope))
    colour = np.where((to_ground < to_wall)[..., None], ground * camera.light.shade(Z[None]), wall * facing)
    # Ambient occlusion: the corner between wall and ground is slightly darker.
    corner = np.exp(-np.abs(to_ground - to_wall) / 0.35)[..., None]
    grain = _noise(rng, columns, rows, 3.0)[..., None] * 0.018
    return np.clip((colour * (1 - 0.25 * corner) + grain) * 255, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: float) -> np.ndarray:
    """Smooth zero-mean noise with blotches of ``size``."""
    coarse = np.pad(rng.normal(0, 1, (64, 64)).astype(np.float32), 4, mode="wrap")  # so that the tiles join seamlessly
    tile = cv2.resize(coarse, (576, 576), interpolation=cv2.INTER_CUBIC)[32:-32, 32:-32]
    step = 8 / size
    return tile[np.floor(y * step).astype(int) % 512, np.floor(x * step).astype(int) % 512]


def _line(position: np.ndarray, period: float, width: float) -> np.ndarray:
    """1 on lines of ``width`` that repeat every ``period``, 0 elsewhere."""
    return ((position % period) < width).astype(float)


def _ground(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = np.array(PAVING[rng.integers(len(PAVING))]) * rng.uniform(0.85, 1.1)
    stains = 1 + 0.05 * _noise(rng, x, y, 1.2) + 0.012 * _noise(rng, x, y, 0.15)
    kind = rng.integers(4)
    turn = rng.uniform(-0.5, 0.5)
    u, v = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    if kind == 0:  # slabs of varying brightness
        size = rng.uniform(0.5, 0.9)
        cells = (np.floor(u / size) * 12.9898 + np.floor(v / size) * 78.233) % 7.31 / 7.31
        stains = stains * (0.94 + 0.12 * cells) * (1 - 0.22 * np.maximum(_line(u, size, 0.02), _line(v, size, 0.02)))
    elif kind == 1:  # small bricks
        shifted = u + 0.5 * 0.4 * (np.floor(v / 0.2) % 2)
        stains = stains * (1 - 0.16 * np.maximum(_line(shifted, 0.4, 0.03), _line(v, 0.2, 0.025)))
    elif kind == 2:  # asphalt with painted lines
        base = np.array([0.36, 0.36, 0.38])
        marked = _line(u, rng.uniform(3.0, 4.2), 0.14)[..., None]
        return (base * (1 - marked) + 0.82 * marked) * stains[..., None]
    else:  # a zebra crossing
        base = np.array([0.40, 0.40, 0.42])
        marked = (_line(u, 1.1, 0.5) * ((v > 6) & (v < 10)))[..., None]
        return (base * (1 - marked) + 0.80 * marked) * stains[..., None]
    return base * stains[..., None]


def _wall(rng: np.random.Generator, along: np.ndarray, up: np.ndarray) -> np.ndarray:
    base = np.array(WALLS[rng.integers(len(WALLS))]) * rng.uniform(0.85, 1.1)
    colour = base * (1 + 0.035 * _noise(rng, along, up, 0.8))[..., None]
    if rng.random() < 0.6:  # bricks
        shifted = along + 0.12 * (np.floor(up / 0.09) % 2)
        joint = np.maximum(_line(shifted, 0.24, 0.02), _line(up, 0.09, 0.016))[..., None]
        colour = colour * (1 - 0.2 * joint)
    wide, sill, tall = rng.uniform(1.6, 2.8), rng.uniform(0.6, 1.1), rng.uniform(1.2, 1.7)
    gap = rng.uniform(0.5, 1.2)
    x, z = (along + rng.uniform(0, 3)) % (wide + gap), (up - sill) % (tall + 1.3)
    glass = (x < wide) & (z < tall) & (up > sill)
    pane = glass & (np.abs(x % (wide / 2) - 0.03) > 0.05) & (z > 0.06) & (z < tall - 0.06) & (x > 0.06)
    pane &= x < wide - 0.06
    reflection = np.stack([0.22 + 0.10 * z, 0.27 + 0.12 * z, 0.33 + 0.14 * z], axis=-1)
    streak = (((x + 0.6 * z) % 1.3) < 0.35)[..., None] * 0.08
    colour = np.where(glass[..., None], np.array([0.82, 0.81, 0.78]) * rng.uniform(0.3, 1), colour)
    colour = np.where(pane[..., None], reflection + streak, colour)
    if rng.random() < 0.6:  # a shop sign along the wall
        height, name = rng.uniform(2.3, 2.7), PAINTS[rng.integers(len(PAINTS))]
        board = (np.abs(up - height) < 0.25)[..., None]
        letters = (np.abs(up - height) < 0.11) & (_noise(rng, along, up * 0 + 3, 0.12) > 0.1) & (along % 4 < 2.4)
        colour = np.where(board, np.array(CLOTH[name]) * 0.9, colour)
        colour = np.where(letters[..., None], np.array([0.93, 0.9, 0.75]), colour)
    door = (np.abs(along - rng.uniform(-3, 3)) < 0.5)[..., None] & (up < 2.1)[..., None]
    colour = np.where(door, np.array(CLOTH[PAINTS[rng.integers(len(PAINTS))]]) * 0.7 + 0.05, colour)
    plinth = (up < 0.3)[..., None]
    return np.where(plinth, colour * 0.7, colour)


def _objects(camera: Camera, rng: np.random.Generator) -> list[Faces]:
    """The objects between the people and the wall."""
    back = camera.far + 0.8
    half = 0.55 * back * FRAME[1] / camera.focal
    things: list[Faces] = []
    for _ in range(int(rng.integers(1, 3))):
        things.append(car(rng, rng.uniform(-half, half), back + rng.uniform(0.8, 1.4)))
    for _ in range(int(rng.integers(2, 5))):
        place = np.array([rng.uniform(-half, half), back + rng.uniform(-0.2, 2), 0])
        kind = rng.integers(4)
        if kind == 0:
            things.append(tree(rng, place))
        elif kind == 1:
            things.append(sign(rng, place))
        elif kind == 2:
            box = (rng.uniform(0.2, 0.35), 0.25, rng.uniform(0.35, 0.6))
            tone = np.array(CLOTH[PAINTS[rng.integers(len(PAINTS))]]) * 0.8
            things.append(block(place + box[2] * Z, box, tone))
        else:
            things.append(bush(rng, place, rng.uniform(0.35, 0.6)))
    if rng.random() < 0.6:
        things.append(railing(rng, -half * rng.uniform(0.2, 1), half, back))
    return things


def car(rng: np.random.Generator, x: float, y: float) -> Faces:
    """A parked car seen from the side, centred at (x, y)."""
    tone = np.array(CLOTH[PAINTS[rng.integers(len(PAINTS))]])
    nose = rng.choice([-1.0, 1.0])

    def shell(low: float, high: float, ends: list, half: list, colour, lift: float) -> Faces:
        # Rings from bottom to top, each a rounded box from the car's rear to its nose. The last ring closes the shell.
        rise = np.append(np.linspace(0, 1, 14), 1.03)
        knots = np.linspace(0, 1, len(half))
        rear, fore = (np.interp(rise, knots, [end[i] for end in ends]) for i in (0, 1))
        rings = np.stack([x + nose * (rear + fore) / 2, np.full(15, y), low + (high - low) * rise], axis=1)
        length, width = (fore - rear) / 2, np.interp(rise, knots, half)
        length[-1] = width[-1] = 0.01
        return loft(rings, X * nose, Y, length, width, colour, 72, 8, lift=lift)

    def paintwork(spot) -> np.ndarray:
        along = nose * (spot.centre[..., 0] - x)
        dark = (spot.t < 0.16) | (np.abs(along - 0.1) < 0.015) | (np.abs(along + 0.95) < 0.015)
        lamp = (np.abs(spot.t - 0.62) < 0.1) & (np.abs(along) > 1.95)
        colour = np.where(dark[..., None], tone * 0.45, tone)
        return np.where(lamp[..., None], np.where(along[..., None] > 0, [0.9, 0.88, 0.75], [0.6, 0.08, 0.06]), colour)

    def cabin(spot) -> np.ndarray:
        along = nose * (spot.centre[..., 0] - x) + 0.75 * (spot.t - 0.5)
        pillar = (np.abs(along + 0.25) < 0.05) | (spot.t > 0.84) | (spot.t < 0.06)
        glass = np.array([0.13, 0.16, 0.19]) + 0.10 * spot.t[..., None]
        return np.where(pillar[..., None], tone * 0.9, glass)

    body = shell(0.22, 0.92, [(-2.0, 2.05), (-2.1, 2.15), (-2.12, 2.15), (-2.1, 2.0), (-1.9, 1.2)],
                 [0.78, 0.86, 0.87, 0.84, 0.76], paintwork, 0.0)  # fmt: skip
    top = shell(0.90, 1.44, [(-1.75, 1.05), (-1.55, 0.65), (-1.35, 0.3), (-1.1, 0.05), (-0.5, -0.4)],
                [0.76, 0.70, 0.66, 0.60, 0.2], cabin, 0.4)  # fmt: skip
    wheels = []
    for along in (-1.3, 1.3):
        rim = np.array([-0.1, -0.09, 0.09, 0.1])
        for radius, colour, shift in (
            (0.40, tone * 0.2, 0.02),
            (0.33, np.full(3, 0.06), 0.0),
            (0.2, np.full(3, 0.55), -0.02),
        ):
            centres = np.array([x + nose * along, y - 0.80 + shift, 0.33]) + rim[:, None] * Y
            size = radius * np.array([0.01, 1, 1, 0.01])
            wheels.append(loft(centres, X, Z, size, size, colour, segments=24, lift=0.1 - 3 * shift))
    return join([body, top, *wheels])


def tree(rng: np.random.Generator, place: np.ndarray) -> Faces:
    """A street tree at ``place`` (3,)."""
    trunk = np.stack([place, place + np.array([0.05, 0, 1.2]), place + np.array([0, 0, 2.6])])
    parts = [tube(trunk, X, [0, 0.1, 1], [0.16, 0.12, 0.09], np.array([0.30, 0.23, 0.17]), segments=12)]
    for _ in range(9):
        offset = rng.normal(0, 1, 3) * np.array([0.7, 0.5, 0.5]) + np.array([0, 0, 3.0])
        green = np.array([0.20, 0.36, 0.14]) * rng.uniform(0.7, 1.3)
        parts.append(ball(place + offset, tuple(rng.uniform(0.4, 0.8, 3)), _leaves(rng, green), rings=28, segments=48))
    return join(parts)


def bush(rng: np.random.Generator, place: np.ndarray, size: float) -> Faces:
    """A planter with a bush, about three times ``size`` metres high."""
    tone = np.array([0.45, 0.42, 0.38]) * rng.uniform(0.7, 1.2)
    parts = [block(place + 0.45 * size * Z, (1.1 * size, 0.8 * size, 0.45 * size), tone)]
    for _ in range(8):
        offset = rng.uniform(-1, 1, 3) * np.array([0.7, 0.4, 0.5]) * size + 1.35 * size * Z
        green = np.array([0.18, 0.38, 0.15]) * rng.uniform(0.7, 1.3)
        parts.append(
            ball(place + offset, tuple(size * rng.uniform(0.4, 0.7, 3)), _leaves(rng, green), rings=18, segments=32)
        )
    return join(parts)


def _leaves(rng: np.random.Generator, green: np.ndarray):
    key = int(rng.integers(1000))
    return lambda spot: green * np.random.default_rng(key).uniform(0.6, 1.35, (*spot.t.shape, 1))


def sign(rng: np.random.Generator, place: np.ndarray) -> Faces:
    """A traffic sign on its pole at ``place`` (3,)."""
    high = rng.uniform(2.0, 2.6)
    tone = np.array(CLOTH[("royal", "red", "white", "mustard")[rng.integers(4)]])
    pole = np.stack([place, place + high * Z])
    plate = block(place + (high - 0.2) * Z - 0.06 * Y, (0.3, 0.02, 0.3), tone, power=float(rng.choice([2.2, 8.0])))
    return join([tube(pole, X, [0, 1], [0.04, 0.04], np.array([0.5, 0.5, 0.52]), segments=8), plate])


def railing(rng: np.random.Generator, left: float, right: float, y: float, high: float = 1.0) -> Faces:
    """A railing along x from ``left`` to ``right`` at the distance ``y``."""
    tone = np.array(CLOTH[("charcoal", "pale grey", "green", "mustard")[rng.integers(4)]])
    parts = [
        tube(np.array([[left, y, z], [right, y, z]]), Z, [0, 1], [0.03, 0.03], tone, segments=8, rings=24)
        for z in (0.12 * high, 0.55 * high, high)
    ]
    for x in np.arange(left, right, 0.5 if rng.random() < 0.5 else 1.4):
        parts.append(tube(np.array([[x, y, 0], [x, y, high]]), X, [0, 1], [0.03, 0.03], tone, segments=8, rings=4))
    return join(parts)


def pole(rng: np.random.Generator, place: np.ndarray) -> Faces:
    """A lamp post at ``place`` (3,)."""
    tone = np.array([0.30, 0.32, 0.33]) * rng.uniform(0.6, 2.0)
    line = np.stack([place, place + 5 * Z])
    return tube(line, X, [0, 0.05, 0.06, 1], [0.11, 0.11, 0.07, 0.06], tone, segments=14, rings=30)
