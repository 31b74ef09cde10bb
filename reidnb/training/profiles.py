"""The sizes of a study, from ``paper`` over ``quick`` and ``demo`` to ``smoke``; ``scratch`` needs no weights.

A profile changes sizes and schedules, never logic.
"""

import math
from dataclasses import asdict, replace

import torch

from ..data.augment import Augmentation
from .experiment import Experiment
from .recipe import PK, OneCycle, Recipe, Shuffle

PROFILES = ("paper", "quick", "scratch", "demo", "smoke")
SMALLER = {
    "resnet50": {"demo": "resnet18-half", "street": "resnet10-quarter", "smoke": "resnet10-eighth"},
    "five-branch": {"demo": "five-branch-half", "street": "five-branch-quarter", "smoke": "five-branch-eighth"},
}
"""The narrow variants of each backbone."""


def fast_precision() -> str:
    """'bf16' where the hardware supports it natively, otherwise 'no' (float32)."""
    fast = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    return "bf16" if fast else "no"


def check_profile(name: str) -> None:
    """Raise ValueError that names an unknown profile and those that there are."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: known are {', '.join(PROFILES)}")


def at_profile(
    experiment: Experiment, profile: str, weights: str | None = None, backbone: str | None = None
) -> Experiment:
    """The experiment as its paper states it, brought to the size of ``profile``; ``weights`` replaces the profile's.

    So does ``backbone``; another one than the profile's starts from random weights unless ``weights`` names some.

    paper   as stated; needs a GPU and ImageNet weights
    quick   the stated network, batches and losses from ImageNet weights, images of half the height and width (rounded
            up to 16 pixels), 16 epochs of AdamW with one cycle, bf16: minutes per training on one GPU. The
            attention-driven network starts from random weights unless ``weights`` is given, since no ImageNet weights
            are published for it
    scratch the stated network, images, batches, augmentation and losses from random weights, on a GPU, with one
            schedule for every row of every paper: that of ``demo`` with 120 epochs at half the rate, as the networks
            are twice as wide (Adam's best rate falls with the width: Yang et al. 2022); bf16 where supported. Not tuned
            yet. In ``demo`` on Market-1501 this AdamW schedule trains every paper's rows; OSNet's schedule from scratch
            (Zhou et al. 2019: SGD at 0.065, divided by 10 after 150, 225 and 300 of 350 epochs), shortened to the same
            length, is worse, and SGD with one cycle is better on one network and worse on another
            (``results/tables/*-schedule-*``)
    demo    a ResNet-18 of half the width, images of a third of the height and width (rounded up to 16 pixels), random
            weights, a few epochs of AdamW with one cycle and one rate for all parameters: minutes on two CPU cores.
            On the street, which is easier: a ResNet-10 of a quarter of the width, images of a quarter of the height and
            width, weights pretrained on another street's people: a quarter of a minute
    smoke   a tiny ResNet, tiny images, two epochs: seconds, for tests. ``catalog.resolve`` takes a part of a real set
    """
    check_profile(profile)
    sized = replace(SIZED[profile](experiment), profile=profile)
    if backbone and backbone != sized.backbone:
        sized = replace(sized, backbone=backbone, weights="")
    sized = sized if weights is None else replace(sized, weights=weights)
    if profile == "quick":
        return replace(sized, recipe=replace(sized.recipe, lr=5e-4 if sized.weights else 1e-3))
    return sized


def _quick(experiment: Experiment) -> Experiment:
    """16 epochs at half the image size; ``at_profile`` sets the learning rate, which depends on the weights."""
    stated = experiment.recipe
    height, width = stated.size
    recipe = replace(
        stated,
        size=(_round_up_to_16(height / 2), _round_up_to_16(width / 2)),
        epochs=16,
        schedule=OneCycle(warmup=0.3),
        fresh_momentum=False,
        optimizer="adamw",
        backbone_lr=None,
        weight_decay=5e-4,
        augmentation=_where_stated(stated.augmentation, Augmentation(flip=0.5, pad=5, erase=0.4)),
        precision="bf16",
    )
    return replace(experiment, recipe=recipe, weights="imagenet" if experiment.backbone == "resnet50" else "")


def _scratch(experiment: Experiment) -> Experiment:
    return replace(experiment, weights="", recipe=replace(experiment.recipe, **from_scratch()))


def _short(stated: Recipe, identities: int, images: int) -> Recipe:
    """The recipe that ``demo`` and ``smoke`` adapt: AdamW with one cycle, the stated kind of sampler and test."""
    sampler = PK(identities, images) if isinstance(stated.sampler, PK) else Shuffle(identities * images)
    return Recipe(
        optimizer="adamw",
        lr=2e-3,
        schedule=OneCycle(warmup=0.3),
        sampler=sampler,
        flip_test=stated.flip_test,
        normalise_test=stated.normalise_test,
    )


def _demo(experiment: Experiment) -> Experiment:
    stated = experiment.recipe
    height, width = stated.size
    street = experiment.dataset.startswith("street")
    divisor = 4 if street else 3
    recipe = replace(
        _short(stated, identities=8 if street else 16, images=4),
        size=(_round_up_to_16(height / divisor), _round_up_to_16(width / divisor)),
        epochs=3 if street else 12,
        augmentation=_where_stated(stated.augmentation, Augmentation(flip=0.5, pad=4, erase=0.25)),
        precision=fast_precision(),
    )
    narrow = SMALLER[experiment.backbone]["street" if street else "demo"]
    return replace(experiment, recipe=recipe, backbone=narrow, weights="street" if street else "")


def _smoke(experiment: Experiment) -> Experiment:
    stated = experiment.recipe
    height, width = stated.size
    recipe = replace(
        _short(stated, identities=4, images=2),
        size=(_round_up_to_16(height / 6), _round_up_to_16(width / 6)),
        epochs=2,
        augmentation=_where_stated(stated.augmentation, Augmentation(flip=0.5, pad=2, erase=0.3)),
    )
    return replace(experiment, recipe=recipe, backbone=SMALLER[experiment.backbone]["smoke"], weights="")


SIZED = {"paper": lambda experiment: experiment, "quick": _quick, "scratch": _scratch, "demo": _demo, "smoke": _smoke}
"""For each profile, the function that brings an experiment to its size."""


def from_scratch() -> dict:
    """The fields of a recipe that ``scratch`` sets; the others stay as the paper states them."""
    schedule = {"schedule": OneCycle(warmup=0.3), "epochs": 120, "fresh_momentum": False}
    optimizer = {"optimizer": "adamw", "lr": 1e-3, "backbone_lr": None, "weight_decay": 5e-4}
    return schedule | optimizer | {"precision": fast_precision()}


def _round_up_to_16(pixels: float) -> int:
    """The next multiple of 16, for which each stage has half the size of the one before it, as in the papers."""
    return 16 * math.ceil(pixels / 16)


def _where_stated(stated: Augmentation, small: Augmentation) -> Augmentation:
    """The augmentation for small images, without the steps that the stated recipe does not use."""
    return Augmentation(**{name: value if getattr(stated, name) else 0 for name, value in asdict(small).items()})
