"""The people of the street: random appearances, in families of look-alikes that differ in one to three details."""

from dataclasses import dataclass, replace

import numpy as np

FAMILY = 4
"""Identities that share all attributes but one to three."""

CLOTH = {
    "black": (0.09, 0.09, 0.10),
    "charcoal": (0.20, 0.21, 0.23),
    "grey": (0.47, 0.48, 0.50),
    "pale grey": (0.70, 0.70, 0.71),
    "white": (0.90, 0.90, 0.88),
    "navy": (0.11, 0.15, 0.29),
    "denim": (0.24, 0.34, 0.50),
    "sky": (0.50, 0.66, 0.82),
    "royal": (0.14, 0.27, 0.66),
    "teal": (0.10, 0.42, 0.43),
    "olive": (0.33, 0.34, 0.18),
    "green": (0.16, 0.44, 0.22),
    "mint": (0.62, 0.80, 0.70),
    "khaki": (0.62, 0.54, 0.38),
    "brown": (0.34, 0.22, 0.14),
    "wine": (0.42, 0.09, 0.16),
    "red": (0.76, 0.13, 0.13),
    "orange": (0.88, 0.44, 0.12),
    "mustard": (0.82, 0.63, 0.16),
    "pink": (0.88, 0.58, 0.66),
    "lilac": (0.60, 0.50, 0.74),
}
UPPER = list(CLOTH)
LOWER = ["black", "charcoal", "grey", "navy", "denim", "khaki", "brown", "olive", "white", "wine", "sky"]
SHOES = ["black", "white", "brown", "red", "grey", "navy", "mustard"]
BAGS = ["black", "navy", "brown", "red", "olive", "khaki", "teal", "mustard", "pink"]
SKINS = [(0.93, 0.76, 0.66), (0.86, 0.67, 0.54), (0.74, 0.54, 0.40), (0.55, 0.37, 0.26), (0.36, 0.24, 0.17)]
HAIRS = [(0.06, 0.05, 0.05), (0.17, 0.11, 0.07), (0.34, 0.21, 0.12), (0.66, 0.50, 0.28), (0.55, 0.53, 0.51)]

PATTERNS = ("plain", "stripes", "pinstripes", "checks", "print", "panel")
STYLES = ("short", "long", "ponytail", "bun", "curly", "bald")
LOWERS = ("trousers", "shorts", "skirt")
CARRIED = ("none", "backpack", "shoulder bag", "hand bag")
HATS = ("none", "cap", "beanie")


@dataclass(frozen=True)
class Identity:
    """One person's appearance. Lengths in metres; colours as RGB in [0, 1] or names of ``CLOTH``."""

    height: float
    width: float  # 1 is average, 0.9 slim, 1.25 stout
    curves: float  # 0 broad shoulders, 1 broad hips
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    style: str
    beard: bool
    hat: str
    hat_colour: str
    upper: str
    upper_second: str
    pattern: str
    motif: int  # which print or panel
    sleeves: str  # long | short
    coat: bool  # the upper garment reaches the thighs
    opened: bool  # worn open, with a stripe of the second colour in front
    lower: str
    lower_colour: str
    shoes: str
    bag: str
    bag_colour: str
    bag_side: int  # +1 right, -1 left
    stride: float  # 1 is average
    swing: float  # how far the arms swing, 1 is average


def people(number: int, seed: list[int]) -> list[Identity]:
    """``number`` identities; each ``FAMILY`` consecutive ones are look-alikes. Depends on ``seed`` only."""
    result: list[Identity] = []
    for family in range(-(-number // FAMILY)):
        rng = np.random.default_rng([*seed, family])
        founder = _founder(rng)
        members = [founder]
        while len(members) < FAMILY:
            other = _relative(founder, rng)
            if all(_outfit(other) != _outfit(member) for member in members):
                members.append(other)
        result.extend(members)
    return result[:number]


def _outfit(person: Identity) -> Identity:
    """The visible attributes except the build, which alone must not distinguish two identities."""
    plain = person.pattern == "plain" and not person.opened
    bald = person.style == "bald"
    return replace(
        person,
        height=0,
        width=0,
        curves=0,
        stride=0,
        swing=0,
        upper_second="" if plain else person.upper_second,
        motif=person.motif if person.pattern in ("print", "panel") else 0,
        hair=(0, 0, 0) if bald else person.hair,
        hat_colour="" if person.hat == "none" else person.hat_colour,
        bag_colour="" if person.bag == "none" else person.bag_colour,
        bag_side=0 if person.bag in ("none", "backpack") else person.bag_side,
    )


def _pick(rng: np.random.Generator, options, weights=None):
    total = None if weights is None else np.array(weights) / np.sum(weights)
    return options[int(rng.choice(len(options), p=total))]


def _founder(rng: np.random.Generator) -> Identity:
    feminine = rng.random() < 0.5
    upper = _pick(rng, UPPER)
    coat = rng.random() < 0.15
    lower = "trousers" if coat else _pick(rng, LOWERS, (4, 1.5, 4) if feminine else (7, 3, 0))
    return Identity(
        height=float(rng.normal(1.66 if feminine else 1.78, 0.06)),
        width=float(np.clip(rng.normal(1.0, 0.1), 0.86, 1.3)),
        curves=float(np.clip(rng.normal(0.85 if feminine else 0.12, 0.12), 0, 1)),
        skin=_pick(rng, SKINS),
        hair=_pick(rng, HAIRS),
        style=_pick(rng, STYLES, (1, 5, 3, 2, 1.5, 0) if feminine else (8, 0.6, 0.3, 0.4, 1.5, 1.5)),
        beard=bool(not feminine and rng.random() < 0.3),
        hat=_pick(rng, HATS, (8, 1, 1)),
        hat_colour=_pick(rng, BAGS),
        upper=upper,
        upper_second=_pick(rng, [name for name in UPPER if _apart(name, upper)]),
        pattern=_pick(rng, PATTERNS, (5, 2, 1, 1.5, 2.5, 1.5)),
        motif=int(rng.integers(4)),
        sleeves="long" if coat or rng.random() < 0.5 else "short",
        coat=coat,
        opened=bool(rng.random() < (0.5 if coat else 0.15)),
        lower=lower,
        lower_colour=_pick(rng, LOWER),
        shoes=_pick(rng, SHOES),
        bag=_pick(rng, CARRIED, (4, 3, 2, 1.5)),
        bag_colour=_pick(rng, BAGS),
        bag_side=int(rng.choice([-1, 1])),
        stride=float(rng.uniform(0.85, 1.15)),
        swing=float(rng.uniform(0.6, 1.3)),
    )


def _relative(founder: Identity, rng: np.random.Generator) -> Identity:
    """A look-alike of the founder: another build, and one to three changed details."""
    build = {
        "height": founder.height + float(rng.normal(0, 0.03)),
        "width": float(np.clip(founder.width + rng.normal(0, 0.06), 0.86, 1.3)),
        "stride": float(rng.uniform(0.85, 1.15)),
        "swing": float(rng.uniform(0.6, 1.3)),
    }
    changes = [
        {"pattern": _other(rng, PATTERNS, founder.pattern)},
        {"upper_second": _other(rng, UPPER, founder.upper_second, founder.upper)},
        {"lower_colour": _other(rng, LOWER, founder.lower_colour)},
        {"lower": "shorts" if founder.lower == "trousers" else "trousers"},
        {"shoes": _other(rng, SHOES, founder.shoes)},
        {"bag": _other(rng, CARRIED, founder.bag)},
        {"style": _other(rng, STYLES[:5], founder.style)},
        {"hair": _other(rng, HAIRS, founder.hair)},
        {"hat": _other(rng, HATS, founder.hat)},
        {"upper": _other(rng, UPPER, founder.upper, founder.upper_second)},
        {"sleeves": "short" if founder.sleeves == "long" else "long", "coat": False},
        {"opened": not founder.opened},
    ]
    chosen = rng.choice(len(changes), size=int(rng.integers(1, 4)), replace=False)
    for index in chosen:
        build |= changes[index]
    return replace(founder, **build)


def _apart(name: str, other: str) -> bool:
    """Whether two cloth colours are clearly different."""
    return float(np.abs(np.subtract(CLOTH[name], CLOTH[other])).sum()) > 0.6


def _other(rng: np.random.Generator, options, *taken):
    return _pick(rng, [option for option in options if option not in taken])
