"""Textures of a body's surfaces: colours as functions of the position on the surface (see ``mesh.Spot``)."""

from collections.abc import Callable

import numpy as np

from .identity import CLOTH, Identity
from .mesh import Spot

Painter = Callable[[Spot], np.ndarray]


def cloth(name: str) -> np.ndarray:
    """RGB (3,) of the cloth colour ``name``."""
    return np.array(CLOTH[name])


def _mix(where: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """``inside`` where ``where`` (..., in 0..1), else ``outside``; colours (3,) or (..., 3)."""
    weight = np.asarray(where, float)[..., None]
    return weight * inside + (1 - weight) * outside


def _folds(spot: Spot, key: int, depth: float = 0.10) -> np.ndarray:
    """Soft creases of cloth: a factor (..., 1) around one that varies with ``key`` from person to person."""
    a, b = 1 + key % 3, 2 + key % 5
    wave = np.sin(9 * spot.t + 2.3 * np.sin(a * spot.angle + key)) * np.cos(b * spot.angle + 7 * spot.t + key)
    return (1 + depth * wave)[..., None]


def _key(person: Identity) -> int:
    return int(person.height * 1e4) % 97


def _cloth_pattern(person: Identity, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The woven pattern of the upper garment at ``across`` and ``up`` (metres around and along it)."""
    main, second = cloth(person.upper), cloth(person.upper_second)
    if person.pattern == "stripes":
        return _mix(up % 0.085 < 0.038, second, main)
    if person.pattern == "pinstripes":
        return _mix(across % 0.06 < 0.016, second, main)
    if person.pattern == "checks":
        tone = ((up % 0.11 < 0.05).astype(float) + (across % 0.11 < 0.05)) / 2
        return _mix(tone, second, main)
    return np.broadcast_to(main, (*across.shape, 3))


def upper(person: Identity, hem: float) -> Painter:
    """The upper garment on the trunk; ``hem`` is its lower edge as a fraction of the body's height."""
    main, second = cloth(person.upper), cloth(person.upper_second)

    def paint(spot: Spot) -> np.ndarray:
        level = hem + spot.t * (0.846 - hem)  # relative height on the body
        up = level * person.height
        across = spot.angle * 0.15
        colour = _cloth_pattern(person, across, up)
        ahead = np.abs(spot.angle)
        if person.pattern == "print":
            colour = _mix(_motif(person.motif, across / 0.11, (up / person.height - 0.715) / 0.055), second, colour)
        if person.pattern == "panel":
            colour = _mix(_panel(person.motif, level, ahead, spot.angle), second, colour)
        if person.opened:
            colour = _mix(ahead < 0.34 + 0.25 * (0.72 - level), second * 0.95, colour)
            colour = _mix((ahead > 0.30) & (ahead < 0.40), colour * 0.7, colour)
        elif person.sleeves == "long" and person.pattern in ("plain", "panel"):
            colour = _mix(ahead < 0.05, main * 0.6, colour)  # a zip fastener
        colour = _mix((level > 0.832) & (ahead < 0.9), np.array(person.skin), colour)  # the collar is lower in front
        colour = _mix(level < hem + 0.012, colour * 0.8, colour)
        colour = colour * _folds(spot, _key(person))
        if person.bag == "backpack":
            strap = (np.abs(ahead - 0.72) < 0.16) & (level > 0.67)
            colour = _mix(strap, cloth(person.bag_colour) * 0.8, colour)
        return colour

    return paint


def _motif(kind: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mask of a print on the front of the chest, over which x and y run from -1 to 1."""
    inside = (np.abs(x) < 1) & (np.abs(y) < 1)
    if kind == 0:
        return x**2 + y**2 < 0.9
    if kind == 1:
        return inside & (np.abs(np.abs(y) - 0.5) < 0.3)
    if kind == 2:
        return inside & (y > np.abs(x) * 1.8 - 0.9)
    return inside & ((np.abs(x) < 0.3) | (np.abs(y) < 0.3))


def _panel(kind: int, level: np.ndarray, ahead: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Mask of the second cloth of a two-coloured garment."""
    if kind == 0:
        return level > 0.745
    if kind == 1:
        return level < 0.62
    if kind == 2:
        return (level > 0.66) & (level < 0.73)
    return np.abs(ahead - np.pi / 2) < 0.5


def sleeve(person: Identity) -> Painter:
    """The upper garment on an arm."""
    main, second = cloth(person.upper), cloth(person.upper_second)
    length = (0.32 if person.sleeves == "long" else 0.13) * person.height

    def paint(spot: Spot) -> np.ndarray:
        down = spot.t * length
        colour = _cloth_pattern(person, spot.angle * 0.06, 0.81 * person.height - down)
        if person.pattern == "panel" and person.motif == 0:
            colour = np.broadcast_to(_mix(down < 0.03 * person.height, second, main), colour.shape)
        if person.pattern == "panel" and person.motif == 3:
            colour = np.broadcast_to(second, colour.shape)
        colour = _mix(spot.t > 0.94, colour * 0.8, colour)
        colour = colour * _folds(spot, _key(person) + 5, 0.12)
        if person.bag == "backpack":
            colour = _mix((down < 0.02) & (np.abs(spot.angle) < 2), cloth(person.bag_colour) * 0.8, colour)
        return colour

    return paint


def lower(person: Identity) -> Painter:
    """The lower garment around the hips, and a skirt."""
    colour = cloth(person.lower_colour)
    return lambda spot: colour * _folds(spot, _key(person) + 2, 0.10)


def leg(person: Identity) -> Painter:
    """The lower garment on a leg, with its crease and worn knees."""
    colour = cloth(person.lower_colour)
    worn = 0.12 if person.lower_colour in ("denim", "sky") else 0.0

    def paint(spot: Spot) -> np.ndarray:
        ahead = np.exp(-((spot.angle / 0.8) ** 2))
        pale = 1 + worn * ahead * np.exp(-(((spot.t - 0.35) / 0.25) ** 2))
        knee = 1 - 0.10 * np.exp(-(((spot.t - 0.53) / 0.03) ** 2)) * (1 - ahead)
        return colour * _folds(spot, _key(person) + 3, 0.09) * (pale * knee)[..., None]

    return paint


def shoe(person: Identity) -> Painter:
    """A shoe with a sole: white under coloured shoes, dark under white ones."""
    colour = cloth(person.shoes)
    sole = np.array([0.80, 0.80, 0.78]) if person.shoes in ("red", "grey", "navy", "white") else colour * 0.5
    return lambda spot: _mix(np.abs(spot.angle) > 2.2, sole, np.broadcast_to(colour, (*spot.t.shape, 3)))


def bag(person: Identity) -> Painter:
    """A bag: its flap is a little darker."""
    colour = cloth(person.bag_colour)
    return lambda spot: _mix(np.abs(spot.t - 0.72) < 0.05, colour * 0.6, np.broadcast_to(colour, (*spot.t.shape, 3)))


def face(person: Identity, half: tuple[float, float, float]) -> Painter:
    """Skin with eyes, brows, mouth and beard, on a head with half axes ``half`` in metres."""
    skin, hair_colour = np.array(person.skin), np.array(person.hair)

    def paint(spot: Spot) -> np.ndarray:
        x, y, z = (spot.centre[..., i] / half[i] for i in range(3))
        ahead = y > 0.3
        colour = np.broadcast_to(skin, (*spot.t.shape, 3))
        colour = _mix(ahead & (np.abs(z + 0.45) < 0.07) & (np.abs(x) < 0.32), skin * np.array([0.85, 0.6, 0.6]), colour)
        if person.beard:
            chin = ahead & (z < -0.30) & ((np.abs(z + 0.45) > 0.08) | (np.abs(x) > 0.34))
            colour = _mix(0.8 * (chin | ((np.abs(x) > 0.75) & (z < 0) & (y > 0))), hair_colour, colour)
        eyes = ahead & (np.abs(np.abs(x) - 0.42) < 0.16) & (np.abs(z - 0.09) < 0.06)
        brows = ahead & (np.abs(np.abs(x) - 0.42) < 0.20) & (np.abs(z - 0.24) < 0.045)
        colour = _mix(0.85 * eyes, np.array([0.08, 0.06, 0.06]), colour)
        return _mix(0.7 * brows, hair_colour * 0.8, colour)

    return paint


def hairline(half: tuple[float, float, float]) -> Callable[[Spot], np.ndarray]:
    """Mask of the hair on the shell around the head: the crown, and further down towards the nape."""

    def keep(spot: Spot) -> np.ndarray:
        y, z = spot.centre[..., 1] / half[1], spot.centre[..., 2] / half[2]
        return z > np.interp(y, [-1, -0.4, 0.1, 0.45, 0.75, 1.2], [-0.65, -0.55, -0.1, 0.30, 0.55, 0.70])

    return keep


def hair(person: Identity) -> Painter:
    """Hair with strands whose brightness varies with the angle."""
    colour = np.array(person.hair)
    rough = 14 if person.style == "curly" else 0

    def paint(spot: Spot) -> np.ndarray:
        strand = 1 + 0.16 * np.sin(11 * spot.angle + rough * np.sin(17 * spot.t))
        return colour * strand[..., None]

    return paint


def knit(person: Identity, half: tuple[float, float, float]) -> Painter:
    """A hat's cloth: a beanie has a turned-up band."""
    colour = cloth(person.hat_colour)

    def paint(spot: Spot) -> np.ndarray:
        band = (spot.centre[..., 2] < 0.42 * half[2]) & (person.hat == "beanie")
        return _mix(band, colour * 0.75, np.broadcast_to(colour, (*spot.t.shape, 3)))

    return paint
