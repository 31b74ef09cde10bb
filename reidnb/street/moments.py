"""Random passages of people past the cameras, and random disturbances of their images."""

from dataclasses import dataclass, replace

import numpy as np

from .body import ARMS
from .camera import Camera
from .identity import Identity
from .scene import OCCLUDERS, Moment


@dataclass(frozen=True)
class Passage:
    """The parameters that all images of one walk past one camera have in common."""

    heading: float
    stride: float
    arms: str
    gain: float


def draw_passage(rng: np.random.Generator) -> Passage:
    """A random walk direction, stride and arm pose; 12 % of the people stand."""
    return Passage(
        heading=float(rng.uniform(0, 360)),
        stride=float(rng.uniform(0.75, 1.1) if rng.random() < 0.88 else rng.uniform(0.0, 0.2)),
        arms=str(rng.choice(ARMS, p=[0.84, 0.10, 0.06])),
        gain=float(np.exp(rng.normal(0, 0.12))),
    )


def draw_moment(
    rng: np.random.Generator, camera: Camera, passage: Passage, others: list[Identity], seed: int
) -> Moment:
    """One image of a passage; ``others`` are the people who may walk behind or in front of the person."""
    occluder = str(rng.choice(OCCLUDERS, p=[0.80, 0.04, 0.04, 0.03, 0.03, 0.06]))
    side = float(rng.choice([-1.0, 1.0]))
    reach = {"pole": 0.22, "car": 0.25, "person": 0.42}.get(occluder, 0.5)
    return Moment(
        heading=(passage.heading + rng.normal(0, 10)) % 360,
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=passage.stride,
        arms=passage.arms,
        head_turn=float(rng.normal(0, 0.22)),
        place=(float(rng.uniform(-1.6, 1.6)), float(rng.uniform(camera.near, camera.far))),
        shift=(float(rng.normal(0, 0.035)), float(rng.normal(0, 0.022))),
        scale=float(np.exp(rng.normal(0.01, 0.05))),
        aspect=float(np.exp(rng.normal(0, 0.06))),
        occluder=occluder,
        occluder_at=side * float(rng.uniform(0.4, 1.0)) * reach,
        companion=others[int(rng.integers(len(others)))] if occluder == "person" else None,
        passer=others[int(rng.integers(len(others)))] if rng.random() < 0.22 else None,
        passer_at=(float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.8)), float(rng.uniform(0.8, 3.0))),
        gain=passage.gain * float(np.exp(rng.normal(0, 0.06))),
        smear=float(rng.uniform(1, 3)) if rng.random() < 0.2 else 0.0,
        seed=seed,
    )


def spoil(rng: np.random.Generator, moment: Moment) -> Moment:
    """The same moment with a poor detection box, which shows a part of the person or hardly anything of them."""
    kind = rng.integers(3)
    if kind == 0:  # part of the person
        return replace(moment, scale=rng.uniform(0.3, 0.5), shift=(rng.normal(0, 0.2), rng.uniform(-0.6, 0.6)))
    if kind == 1:  # beside the person
        return replace(moment, shift=(rng.choice([-1, 1]) * rng.uniform(0.38, 0.6), rng.uniform(-0.4, 0.4)))
    return replace(moment, scale=rng.uniform(1.7, 2.4), shift=tuple(rng.uniform(-0.25, 0.25, 2)))
