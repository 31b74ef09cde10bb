"""The walking body: the joints at a phase of the gait, and the surfaces of skin and clothes around them.

Body axes in metres: x to the person's right, y to the front, z up, the feet on z = 0. Lengths are fractions of the
body's height, after the usual anthropometric tables (Winter, Biomechanics and Motor Control of Human Movement).
"""

from dataclasses import dataclass

import numpy as np

from . import clothes
from .identity import Identity
from .mesh import Faces, ball, block, join, loft, tube

RIGHT = np.array([1.0, 0.0, 0.0])
FRONT = np.array([0.0, 1.0, 0.0])
UP = np.array([0.0, 0.0, 1.0])

JOINTS = (
    "nose", "right eye", "left eye", "right ear", "left ear", "neck",
    "right shoulder", "left shoulder", "right elbow", "left elbow", "right wrist", "left wrist",
    "right hip", "left hip", "right knee", "left knee", "right ankle", "left ankle",
)  # fmt: skip
"""The 18 joints of the ground truth, head to foot."""
DEPTH = np.repeat([0.035, 0.10, 0.13, 0.08, 0.06, 0.17, 0.10, 0.18], [5, 1, 2, 2, 2, 2, 2, 2])
"""Maximum depth (metres) of a joint below its own skin and clothes; a deeper joint is occluded."""


@dataclass(frozen=True)
class Pose:
    """Points (3,), or one per side (2, 3) with the right side first, in body axes."""

    joints: np.ndarray  # (18, 3)
    hips: np.ndarray
    knees: np.ndarray
    ankles: np.ndarray
    feet: np.ndarray  # pitch of each foot in radians, toes up positive
    shoulders: np.ndarray
    elbows: np.ndarray
    wrists: np.ndarray
    lean: float
    head: np.ndarray
    head_turn: float


def _bump(phase: float, at: float, width: float) -> float:
    """A smooth bump at the phase ``at``, periodic in ``phase``."""
    return float(np.exp((np.cos(phase - at) - 1) / width**2))


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    """``points`` rotated about the vertical axis, to the right for a positive angle."""
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _below(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (2, 3) that point downwards, tilted forward by ``angles`` (2,) in radians."""
    return np.stack([np.zeros(2), np.sin(angles), -np.cos(angles)], axis=1)


ARMS = ("swing", "phone", "call")
"""Arm poses: both arms swing, or the right hand holds a phone in front of the chest or at the ear."""


def pose(person: Identity, phase: float, stride: float = 1.0, head_turn: float = 0.0, arms: str = "swing") -> Pose:
    """The body at ``phase`` (radians; the right heel strikes at 0, the left at pi).

    ``stride`` is 1 for a brisk walk and 0 for standing; ``head_turn`` is in radians, to the person's right.
    """
    tall, gait = person.height, stride * person.stride
    sides = np.array([1.0, -1.0])
    phases = phase + np.array([0.0, np.pi])
    thigh = 0.04 + gait * (0.40 * np.cos(phases) + 0.06)
    swing = np.array([_bump(p, 1.42 * np.pi, 0.62) for p in phases])
    yielding = np.array([_bump(p, 0.3 * np.pi, 0.5) for p in phases])
    knee = 0.07 + gait * (0.98 * swing + 0.16 * yielding)
    shank = thigh - knee
    foot = 0.75 * shank + 0.06 + 0.25 * gait * swing

    lean = 0.03 + 0.03 * gait
    hip = tall * np.stack([0.046 * sides, np.zeros(2), np.full(2, 0.525)], axis=1)
    hip = _turned(hip, -0.08 * gait * np.cos(phase))

    knees = hip + 0.242 * tall * _below(thigh) + tall * 0.004 * sides[:, None] * RIGHT
    ankles = knees + 0.240 * tall * _below(shank) - tall * 0.010 * sides[:, None] * RIGHT

    arm = -0.36 * gait * person.swing * np.cos(phases) - 0.04
    bend = 0.22 + 0.22 * gait * person.swing * np.clip(-np.cos(phases) + 0.4, 0, 1.4)
    width = 0.100 - 0.012 * person.curves + 0.02 * (person.width - 1)
    shoulder = tall * np.stack([width * sides, np.zeros(2), np.full(2, 0.796)], axis=1)
    shoulder = _turned(shoulder, 0.12 * gait * person.swing * np.cos(phase))
    shoulder[:, 1] += np.sin(lean) * 0.28 * tall
    abduction = (0.10 + 0.16 * max(person.width - 1, 0) + 0.05 * person.curves) * sides
    inward = 0.4 * abduction
    if arms != "swing":
        arm[0], bend[0], inward[0] = (0.12, 1.75, -0.45) if arms == "phone" else (1.0, 2.6, -0.25)
    upper = np.stack([np.sin(abduction), np.sin(arm) * np.cos(abduction), -np.cos(arm) * np.cos(abduction)], axis=1)
    elbows = shoulder + 0.172 * tall * upper
    fore = np.stack([np.sin(inward), np.sin(arm + bend), -np.cos(arm + bend)], axis=1)
    wrists = elbows + 0.150 * tall * fore / np.linalg.norm(fore, axis=1, keepdims=True)

    # The head's centre lies in front of the neck; the facial joints lie on the head's surface.
    head = tall * np.array([0, np.sin(lean) * 0.4 + 0.010, 0.931])
    neck = tall * np.array([0, np.sin(lean) * 0.32, 0.842])
    face = tall * np.array(
        [[0, 0.062, -0.012], [0.018, 0.053, 0.006], [-0.018, 0.053, 0.006], [0.043, 0, 0], [-0.043, 0, 0]]
    )
    face = head + _turned(face, head_turn)

    joints = np.concatenate([face, neck[None], *(pair for pair in (shoulder, elbows, wrists, hip, knees, ankles))])
    # The body is lifted or lowered until the lower foot stands on the ground.
    soles = [
        ankles[i] + tall * (along * np.array([0, np.cos(foot[i]), np.sin(foot[i])]) - 0.038 * UP)
        for i in range(2)
        for along in (-0.04, 0.075)
    ]
    rise = -min(sole[2] for sole in soles) * UP
    rise[2] = max(rise[2], -0.2 * tall)
    return Pose(
        joints + rise, hip + rise, knees + rise, ankles + rise, foot,
        shoulder + rise, elbows + rise, wrists + rise, lean, head + rise, head_turn,
    )  # fmt: skip


def surfaces(person: Identity, at: Pose) -> Faces:
    """Skin, clothes, hair and bags of ``person`` in the pose ``at``, in body axes."""
    parts = [*_trunk(person, at), *_head(person, at)]
    for side in (0, 1):
        parts += [*_leg(person, at, side), *_arm(person, at, side)]
    parts += _bag(person, at)
    return join(parts)


def _spine(person: Identity, at: Pose, level: np.ndarray) -> np.ndarray:
    """Points (n, 3) on the trunk's centre line at relative heights ``level`` (n,)."""
    pelvis = at.hips.mean(axis=0)
    rise = (np.asarray(level) - 0.525) * person.height
    return pelvis + rise[:, None] * np.array([0, np.sin(at.lean), np.cos(at.lean)])


def _trunk_axes(at: Pose, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Right and front axes of the trunk's rings: the pelvis rotates against the shoulders."""
    blend = np.clip((np.asarray(level) - 0.53) / 0.27, 0, 1)[:, None]
    hips, shoulders = at.hips[0] - at.hips[1], at.shoulders[0] - at.shoulders[1]
    right = (1 - blend) * hips / np.linalg.norm(hips) + blend * shoulders / np.linalg.norm(shoulders)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    front = np.cross(UP, right)
    return right, front / np.linalg.norm(front, axis=1, keepdims=True)


# Half widths of a broad-shouldered and of a curved body, and half depth, at levels (fractions of the body's height).
_LEVEL = np.array([0.455, 0.475, 0.51, 0.55, 0.61, 0.67, 0.73, 0.775, 0.803, 0.822, 0.836, 0.846])
_BROAD = np.array([0.060, 0.086, 0.094, 0.092, 0.086, 0.092, 0.102, 0.106, 0.100, 0.084, 0.060, 0.036])
_CURVED = np.array([0.060, 0.090, 0.102, 0.097, 0.076, 0.081, 0.089, 0.093, 0.088, 0.073, 0.052, 0.034])
_DEPTH = np.array([0.044, 0.060, 0.068, 0.066, 0.059, 0.063, 0.067, 0.064, 0.056, 0.048, 0.041, 0.034])


def trunk_radii(person: Identity, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half depth (metres) of the trunk at relative heights ``level``."""
    width = np.interp(level, _LEVEL, (1 - person.curves) * _BROAD + person.curves * _CURVED)
    depth = np.interp(level, _LEVEL, _DEPTH)
    # A stout body is widest at the waist and a slim one narrowest; the neck keeps its size.
    girth = np.interp(level, [0.47, 0.56, 0.64, 0.78, 0.84], [0.8, 1.0, 1.1, 0.6, 0.1]) * (person.width - 1)
    return person.height * width * (1 + girth), person.height * depth * (1 + 1.5 * girth)


def _wrap(person: Identity, at: Pose, level: np.ndarray, ease: np.ndarray) -> tuple[np.ndarray, ...]:
    """Centres, right and front axes, half widths and half depths of cloth that hangs around trunk and legs.

    ``ease`` (n,) is the distance of the cloth from the skin, as a fraction of the body's height.
    """
    tall = person.height
    width, depth = trunk_radii(person, np.clip(level, 0.51, None))
    right, front = _trunk_axes(at, level)
    centres = _spine(person, at, level)
    # Below the hips the cloth encloses both thighs, however far apart they are.
    down = np.clip((0.525 - level) / 0.242, 0, 1)[:, None]
    legs = at.hips[None] * (1 - down[..., None]) + at.knees[None] * down[..., None]
    thigh = tall * (1 + 0.8 * (person.width - 1)) * np.interp(level, [0.28, 0.46, 0.53], [0.050, 0.059, 0.053])
    blend = np.clip((0.53 - level) / 0.06, 0, 1)
    middle = legs.mean(axis=1)
    centres[:, :2] += blend[:, None] * (middle - centres)[:, :2]
    width = np.maximum(width, blend * (np.abs(legs[:, 0, 0] - legs[:, 1, 0]) / 2 + thigh))
    depth = depth * (1 - blend) + blend * np.maximum(0.9 * depth, np.abs(legs[:, 0, 1] - legs[:, 1, 1]) / 2 + thigh)
    return centres, right, front, width + ease * tall, depth + ease * tall


def _trunk(person: Identity, at: Pose) -> list[Faces]:
    tall = person.height
    hem = 0.37 if person.coat else 0.495
    loose = 0.012 if person.coat else 0.007
    low, high = np.linspace(0.455, 0.60, 12), np.linspace(hem, 0.846, 54)
    seat = trunk_radii(person, low)
    ease = loose * np.interp(high, [hem, 0.56, 0.80, 0.846], [1.4, 1, 0.7, 0.25])
    neck = np.stack([at.joints[5] - 0.03 * UP, at.joints[5], at.head - 0.02 * tall * UP])
    parts = [
        loft(_spine(person, at, low), *_trunk_axes(at, low), *seat, clothes.lower(person), 32, 2.3, lift=0.02),
        loft(*_wrap(person, at, high, ease), clothes.upper(person, hem), 44, 2.3, lift=0.05),
        tube(neck, RIGHT, [0, 1], [0.036 * tall, 0.030 * tall], np.array(person.skin), segments=14, rings=6),
    ]
    if person.lower == "skirt":
        level = np.linspace(0.60, 0.30, 24)
        ease = np.interp(level, [0.30, 0.50], [0.014, 0.002])
        parts.append(loft(*_wrap(person, at, level, ease), clothes.lower(person), 36, lift=0.06))
    return parts


def _leg(person: Identity, at: Pose, side: int) -> list[Faces]:
    tall, girth = person.height, 1 + 0.8 * (person.width - 1)
    line = np.stack([at.hips[side] + 0.02 * tall * UP, at.knees[side], at.ankles[side]])
    places = [0, 0.06, 0.2, 0.42, 0.52, 0.66, 0.82, 0.96, 1]
    flesh = np.array([0.030, 0.048, 0.050, 0.039, 0.034, 0.035, 0.027, 0.021, 0.018]) * tall * girth
    parts = []
    if person.lower == "trousers":
        cloth = np.array([0.030, 0.049, 0.053, 0.046, 0.042, 0.041, 0.038, 0.036, 0.035]) * tall * girth
        parts.append(tube(line, RIGHT, places, list(cloth), clothes.leg(person), segments=18, rings=26))
    else:
        parts.append(tube(line, RIGHT, places, list(flesh), np.array(person.skin), segments=16, rings=22))
    if person.lower == "shorts":
        knee = at.knees[side] + 0.15 * (at.hips[side] - at.knees[side])
        short = np.stack([line[0], knee])
        loose = np.array([0.030, 0.052, 0.057, 0.058, 0.058]) * tall * girth
        parts.append(
            tube(short, RIGHT, [0, 0.12, 0.4, 0.8, 1], list(loose), clothes.leg(person), segments=18, lift=0.02)
        )
    parts.append(_shoe(person, at, side))
    return parts


def _shoe(person: Identity, at: Pose, side: int) -> Faces:
    tall, pitch = person.height, at.feet[side]
    forward = np.array([0.10 * (1 - 2 * side), np.cos(pitch), np.sin(pitch)])
    forward /= np.linalg.norm(forward)
    upward = np.array([0, -np.sin(pitch), np.cos(pitch)])
    along = np.array([-0.045, -0.042, -0.03, -0.005, 0.02, 0.05, 0.08, 0.098, 0.106, 0.108])
    width = np.array([0.004, 0.016, 0.021, 0.022, 0.022, 0.026, 0.025, 0.018, 0.008, 0.001]) * tall
    high = np.array([0.006, 0.021, 0.028, 0.030, 0.026, 0.020, 0.016, 0.013, 0.008, 0.001]) * tall
    centres = at.ankles[side] + tall * along[:, None] * forward - (0.040 * tall - high)[:, None] * upward
    return loft(centres, np.cross(forward, upward), upward, width, high, clothes.shoe(person), segments=14)


def _arm(person: Identity, at: Pose, side: int) -> list[Faces]:
    tall, girth = person.height, 1 + 0.5 * (person.width - 1) - 0.08 * person.curves
    hand = at.wrists[side] - at.elbows[side]
    hand = hand / np.linalg.norm(hand)
    line = np.stack([at.shoulders[side] + 0.016 * tall * UP, at.elbows[side], at.wrists[side]])
    places = [0, 0.03, 0.09, 0.25, 0.5, 0.65, 0.95, 1]
    flesh = list(np.array([0.004, 0.017, 0.026, 0.026, 0.022, 0.022, 0.015, 0.014]) * tall * girth)
    cloth = list(np.array([0.004, 0.019, 0.030, 0.031, 0.027, 0.026, 0.022, 0.022]) * tall * girth)
    skin = np.array(person.skin)
    tip = at.wrists[side]
    parts = [
        tube(
            np.stack([tip - 0.01 * hand, tip + 0.05 * tall * hand, tip + 0.095 * tall * hand + 0.01 * FRONT]),
            RIGHT, [0, 0.1, 0.45, 0.8, 1], [0.013 * tall, 0.015 * tall, 0.020 * tall, 0.015 * tall, 0.004 * tall],
            skin * 0.97, segments=12, rings=9, flat=0.8,
        )
    ]  # fmt: skip
    outer = at.shoulders[0] - at.shoulders[1]
    outer = outer / np.linalg.norm(outer)
    if person.sleeves == "long":
        parts.append(tube(line, outer, places, cloth, clothes.sleeve(person), segments=16, rings=26))
    else:
        parts.append(tube(line, outer, places, flesh, skin, segments=14, rings=20))
        ends = np.stack([line[0], line[0] + 0.72 * (line[1] - line[0])])
        wide = list(np.array([0.004, 0.019, 0.030, 0.033, 0.035]) * tall * girth)
        parts.append(tube(ends, outer, [0, 0.07, 0.22, 0.6, 1], wide, clothes.sleeve(person), segments=16, rings=14))
    return parts


def _head(person: Identity, at: Pose) -> list[Faces]:
    tall = person.height
    half = (0.045 * tall, 0.056 * tall, 0.069 * tall)
    options = {"rings": 26, "segments": 32}
    parts = [ball(np.zeros(3), half, clothes.face(person, half), **options)]
    parts.append(ball(np.array([0, half[1] * 1.0, -0.16 * half[2]]), (0.006 * tall, 0.009 * tall, 0.011 * tall),
                      np.array(person.skin) * 0.96, rings=6, segments=8))  # fmt: skip
    for side in (1, -1):
        ear = ball(np.array([side * half[0], 0, 0]), (0.005 * tall, 0.010 * tall, 0.017 * tall),
                   np.array(person.skin) * 0.93, rings=7, segments=8)  # fmt: skip
        parts.append(ear)
    parts += [*_hair(person, half), *_hat(person, half)]
    turn = np.array([[np.cos(at.head_turn), np.sin(at.head_turn), 0],
                     [-np.sin(at.head_turn), np.cos(at.head_turn), 0], [0, 0, 1.0]])  # fmt: skip
    return [part.moved(turn, at.head) for part in parts]


def _hair(person: Identity, half: tuple[float, float, float]) -> list[Faces]:
    if person.style == "bald":
        return []
    colour = clothes.hair(person)
    thick = {"curly": 1.26, "short": 1.10}.get(person.style, 1.12)
    options = {"rings": 26, "segments": 32}
    size = (half[0] * thick, half[1] * thick, half[2] * (1 + (thick - 1) * 0.8))
    parts = [ball(np.array([0, -0.03 * half[1], 0.04 * half[2]]), size, colour, keep=clothes.hairline(half), **options)]
    if person.style == "long":
        rings = np.linspace(0, 1, 14)
        centres = np.stack([np.zeros(14), -0.42 * half[1] - 0.35 * half[1] * rings, half[2] * (0.5 - 2.6 * rings)], 1)
        shape = np.interp(rings, [0, 0.25, 0.8, 1], [0.85, 1.08, 1.12, 0.7])
        parts.append(loft(centres, RIGHT, FRONT, half[0] * shape * 1.05, half[1] * shape * 0.62, colour, segments=20))
    if person.style == "ponytail":
        line = half[1] * np.array([[0, -0.9, 0.5], [0, -1.35, 0.35], [0, -1.45, -0.5], [0, -1.2, -1.9]])
        radius = list(half[0] * np.array([0.2, 0.38, 0.40, 0.08]))
        parts.append(tube(line, RIGHT, [0, 0.25, 0.7, 1], radius, colour, segments=12, rings=14))
    if person.style == "bun":
        parts.append(ball(np.array([0, -0.75 * half[1], 0.95 * half[2]]), (half[0] * 0.5,) * 3, colour, segments=14))
    return parts


def _hat(person: Identity, half: tuple[float, float, float]) -> list[Faces]:
    if person.hat == "none":
        return []
    colour = clothes.cloth(person.hat_colour)
    options = {"rings": 24, "segments": 28, "lift": 0.04}
    low = 0.22 if person.hat == "cap" else 0.10
    thick = 1.30 if person.style == "curly" and person.hat == "beanie" else 1.18
    size = (half[0] * thick, half[1] * thick, half[2] * (1.14 if person.hat == "cap" else 1.22))
    dome = ball(np.zeros(3), size, clothes.knit(person, half), keep=lambda spot: spot.centre[..., 2] > low * half[2],
                **options)  # fmt: skip
    if person.hat == "beanie":
        return [dome]
    brim = ball(np.array([0, 1.25 * half[1], 0.30 * half[2]]), (half[0] * 0.95, half[1] * 0.75, half[2] * 0.07),
                colour * 0.85, rings=7, segments=20, lift=0.04)  # fmt: skip
    return [dome, brim]


def _bag(person: Identity, at: Pose) -> list[Faces]:
    tall, colour = person.height, clothes.bag(person)
    side = 0 if person.bag_side > 0 else 1
    if person.bag == "backpack":
        level = np.array([0.69])
        _, depth = trunk_radii(person, level)
        right, front = _trunk_axes(at, level)
        centre = _spine(person, at, level)[0] - (depth[0] + 0.042 * tall) * front[0]
        pack = block(np.zeros(3), (0.084 * tall, 0.046 * tall, 0.125 * tall), colour, power=4.0)
        pocket = block(np.array([0, -0.045 * tall, -0.05 * tall]), (0.058 * tall, 0.018 * tall, 0.055 * tall), colour)
        rotation = np.stack([right[0], front[0], UP], axis=1)
        return [part.moved(rotation, centre) for part in (pack, pocket)]
    if person.bag == "shoulder bag":
        width, _ = trunk_radii(person, np.array([0.53]))
        centre = _spine(person, at, np.array([0.52]))[0] + person.bag_side * (width[0] + 0.03 * tall) * RIGHT
        return [
            block(centre - 0.03 * tall * FRONT, (0.026 * tall, 0.085 * tall, 0.062 * tall), colour),
            *(_strap(person, at, ahead) for ahead in (1, -1)),
        ]
    if person.bag == "hand bag":
        grip = at.wrists[side] - 0.045 * tall * UP
        body = block(grip - 0.125 * tall * UP, (0.028 * tall, 0.085 * tall, 0.07 * tall), colour)
        loop = [
            tube(np.stack([grip, grip + tall * np.array([0, s * 0.05, -0.065])]), RIGHT, [0, 1],
                 [0.006 * tall] * 2, clothes.cloth(person.bag_colour),
                 segments=6, rings=4)
            for s in (-1, 1)
        ]  # fmt: skip
        return [body, *loop]
    return []


def _strap(person: Identity, at: Pose, ahead: int) -> Faces:
    """The shoulder bag's strap in front of (+1) or behind (-1) the trunk, from the opposite shoulder to the bag."""
    level = np.concatenate([[0.842, 0.836, 0.825], np.linspace(0.80, 0.545, 12)])
    angle = person.bag_side * np.interp(level, [0.545, 0.80, 0.842], [1.45, -0.75, -1.35])
    width, depth = trunk_radii(person, level)
    right, front = _trunk_axes(at, level)
    loose = 0.007 * person.height
    line = (
        _spine(person, at, level)
        + ((width + loose) * np.sin(angle))[:, None] * right
        + (ahead * (depth + loose) * np.cos(angle))[:, None] * front
    )
    thick = 0.009 * person.height
    tone = clothes.cloth(person.bag_colour) * 0.85
    return tube(line, RIGHT, [0, 1], [thick, thick], tone, segments=8, rings=26, lift=0.06)
