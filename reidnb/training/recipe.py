"""Training recipes: samplers, schedules, optimisers, and the fields that a table or a user may change."""

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import nn

from ..data.augment import Augmentation
from ..data.sampler import pk_batches, shuffled_batches

OPTIMIZERS = ("adam", "adamw", "sgd")
PRECISIONS = ("no", "bf16", "fp16")
"""As Accelerate names them; 'no' is float32."""


@dataclass(frozen=True)
class PK:
    """Batches of P identities with K images each (Hermans et al. 2017)."""

    identities: int = 16
    images: int = 4

    @property
    def batch(self) -> int:
        """Images per step."""
        return self.identities * self.images


@dataclass(frozen=True)
class Shuffle:
    """Batches of all images in random order, shuffled anew each epoch."""

    images: int = 64

    @property
    def batch(self) -> int:
        """Images per step."""
        return self.images


@dataclass(frozen=True)
class Steps:
    """Linear warm-up in steps of one epoch; the rate is multiplied by ``factor`` at each milestone."""

    warmup: float = 10.0
    """Epochs of warm-up."""
    milestones: tuple[int, ...] = (40, 70)
    """Epochs, counted from 0."""
    factor: float = 0.1
    warmup_from: float | None = None
    """Rate of the warm-up's first epoch; None: its final rate divided by its number of epochs."""
    warmup_to: float | None = None
    """Rate of the warm-up's last epoch; None: the recipe's rate."""


@dataclass(frozen=True)
class OneCycle:
    """Cosine increase from 1/25 of the rate, then cosine decay to 1/10,000 of it (Smith & Topin 2018)."""

    warmup: float = 0.3
    """Fraction of all epochs in which the rate increases."""


@dataclass(frozen=True)
class Recipe:
    """A training recipe. Raises ValueError that names the field for an invalid value."""

    size: tuple[int, int] = (384, 192)
    """Height and width of the images in pixels."""
    epochs: int = 120
    sampler: PK | Shuffle = PK()
    optimizer: str = "adam"
    """One of ``OPTIMIZERS``."""
    lr: float = 3.5e-4
    backbone_lr: float | None = None
    """Rate of the model's ``backbone``, with the same schedule; None: ``lr``."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: Steps | OneCycle = Steps()
    fresh_momentum: bool = False
    """Whether the optimiser's state is reset at the start of each epoch."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    flip_test: bool = False
    """Whether at test time the mirror image's descriptor is added to that of the image."""
    normalise_test: bool = False
    """Whether the descriptors are L2-normalised at test time."""
    precision: str = "no"
    """One of ``PRECISIONS``."""

    def __post_init__(self) -> None:
        kinds = {"sampler": (PK, Shuffle), "schedule": (Steps, OneCycle), "augmentation": (Augmentation,)}
        for name, allowed in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, allowed):
                names = " or ".join(kind.__name__ for kind in allowed)
                raise ValueError(f"{name}={value!r}: a recipe's {name} is a {names}")
        for name, allowed in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: allowed are {', '.join(map(repr, allowed))}")
        if self.epochs < 1:
            raise ValueError(f"epochs={self.epochs!r}: a training has at least one epoch")
        if self.lr <= 0:
            raise ValueError(f"lr={self.lr!r}: a learning rate is positive")

    @property
    def batch(self) -> int:
        """Images per step."""
        return self.sampler.batch


def with_changes(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with some fields changed by name; sampler, schedule and augmentation take a dict of their fields.

    ``{"sampler": {"images": 8}}`` changes K of PK sampling, ``{"schedule": {"warmup": 0}}`` the warm-up of the present
    schedule; ``{"sampler": {"kind": "Shuffle", "images": 64}}`` selects another kind, with its defaults for the rest.
    """
    result = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    _check_names(recipe, result, "a recipe")
    for name in ("sampler", "schedule", "augmentation"):
        if isinstance(result.get(name), dict):
            inner = {key: tuple(value) if isinstance(value, list) else value for key, value in result[name].items()}
            part = _of_kind(inner.pop("kind", ""), name) or getattr(recipe, name)
            _check_names(part, inner, f"the recipe's {name}, {type(part).__name__},")
            result[name] = replace(part, **inner)
    return replace(recipe, **result)


def _of_kind(kind: str, name: str) -> PK | Shuffle | Steps | OneCycle | None:
    """The sampler or schedule class called ``kind``, with its defaults; None if ``kind`` is empty."""
    kinds = {"sampler": (PK, Shuffle), "schedule": (Steps, OneCycle)}.get(name, ())
    if kind and kind not in (names := [each.__name__ for each in kinds]):
        raise ValueError(f"unknown kind of {name} {kind!r}: known are {', '.join(names)}")
    return next((each() for each in kinds if each.__name__ == kind), None)


def _check_names(part: object, changes: dict, description: str) -> None:
    known = [f.name for f in fields(part)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"{description} has no field {unknown[0]!r}: its fields are {', '.join(known)}")


def from_json(written: dict) -> Recipe:
    """The recipe whose ``dataclasses.asdict`` was written as JSON."""
    recipe, sampler, schedule = dict(written), written["sampler"], dict(written["schedule"])
    recipe["size"] = tuple(recipe["size"])
    recipe["sampler"] = PK(**sampler) if "identities" in sampler else Shuffle(**sampler)
    if "milestones" in schedule:
        schedule["milestones"] = tuple(schedule["milestones"])
    recipe["schedule"] = Steps(**schedule) if "milestones" in schedule else OneCycle(**schedule)
    recipe["augmentation"] = Augmentation(**recipe["augmentation"])
    return Recipe(**recipe)


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate at a time in epochs, counted from 0; fractions lie within an epoch."""
    schedule = recipe.schedule
    if isinstance(schedule, OneCycle):
        up = schedule.warmup * recipe.epochs
        if epoch < up:
            low, high, fraction = recipe.lr / 25, recipe.lr, epoch / up
        else:
            low, high, fraction = recipe.lr / 1e4, recipe.lr, 1 - (epoch - up) / max(recipe.epochs - up, 1e-9)
        return low + (high - low) * (1 - math.cos(math.pi * fraction)) / 2
    passed = sum(epoch >= milestone for milestone in schedule.milestones)
    rate = recipe.lr
    if epoch < schedule.warmup:  # constant within an epoch
        end = recipe.lr if schedule.warmup_to is None else schedule.warmup_to
        start = end / max(schedule.warmup, 1) if schedule.warmup_from is None else schedule.warmup_from
        rate = start + (end - start) * int(epoch) / max(schedule.warmup - 1, 1)
    return rate * schedule.factor**passed


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of the model's trainable parameters; each group's ``scale`` multiplies the rate."""
    parameters = [{"params": [p for p in model.parameters() if p.requires_grad], "scale": 1.0}]
    if recipe.backbone_lr is not None:
        ids = {id(p) for p in model.backbone.parameters()}
        backbone = [p for p in parameters[0]["params"] if id(p) in ids]
        rest = [p for p in parameters[0]["params"] if id(p) not in ids]
        parameters = [{"params": backbone, "scale": recipe.backbone_lr / recipe.lr}, {"params": rest, "scale": 1.0}]
    # Fused: one pass over the parameters instead of a dozen, which saves a tenth of a small network's step.
    shared = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **shared)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, **shared)
    return torch.optim.AdamW(parameters, **shared)


def epoch_batches(recipe: Recipe, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Image indices (steps, batch) of one epoch."""
    sampler = recipe.sampler
    if isinstance(sampler, PK):
        return pk_batches(labels, sampler.identities, sampler.images, (seed, epoch))
    return shuffled_batches(len(labels), sampler.batch, (seed, epoch))
