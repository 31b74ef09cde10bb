"""Training recipes: samplers, schedules, optimisers, and the fields that a table or a user may change."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import nn

from ..data.augment import Augmentation
from ..data.sampler import pk_batches, shuffled_batches
from ..parameters import (
    COUNT,
    FLAG,
    FRACTION,
    NOT_NEGATIVE,
    NUMBER,
    OBJECT,
    POSITIVE,
    POSITIVE_OR_NONE,
    TEXT,
    Kind,
    require,
    take,
)

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
        for name, allowed in PARTS.items():
            part = getattr(self, name)
            if not isinstance(part, allowed):
                names = " or ".join(kind.__name__ for kind in allowed)
                raise ValueError(f"{name}={part!r}: a recipe's {name} is a {names}")
            for inner, kind in FIELDS[type(part)].items():
                require(f"{name}.{inner}", getattr(part, inner), kind)
        for name, kind in FIELDS[Recipe].items():
            require(name, getattr(self, name), kind)
        for name, allowed in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: allowed are {', '.join(map(repr, allowed))}")

    @property
    def batch(self) -> int:
        """Images per step."""
        return self.sampler.batch


PARTS = {"sampler": (PK, Shuffle), "schedule": (Steps, OneCycle), "augmentation": (Augmentation,)}
"""The parts of a recipe, and what each can be."""
SIZE = Kind(tuple[int, int], "height and width, at least 16 pixels, as [256, 128]", lambda size: min(size) >= 16)
FIELDS: dict[type, dict[str, Kind]] = {
    PK: {"identities": COUNT, "images": COUNT},
    Shuffle: {"images": COUNT},
    Steps: {
        "warmup": NOT_NEGATIVE,
        "milestones": Kind(tuple[int, ...], "epochs, such as [40, 70]", lambda epochs: all(e >= 0 for e in epochs)),
        "factor": NOT_NEGATIVE,
        "warmup_from": POSITIVE_OR_NONE,
        "warmup_to": POSITIVE_OR_NONE,
    },
    OneCycle: {"warmup": FRACTION},
    Augmentation: {"flip": FRACTION, "pad": NUMBER, "erase": FRACTION},
    Recipe: {
        "size": Kind(
            tuple[int, int], "height and width, at least 16 pixels, as [256, 128]", lambda size: min(size) >= 16
        ),
        "epochs": COUNT,
        "optimizer": TEXT,
        "lr": POSITIVE,
        "backbone_lr": POSITIVE_OR_NONE,
        "momentum": FRACTION,
        "nesterov": FLAG,
        "weight_decay": NOT_NEGATIVE,
        "fresh_momentum": FLAG,
        "flip_test": FLAG,
        "normalise_test": FLAG,
        "precision": TEXT,
    },
}
"""What the fields of a recipe and of its parts can be."""


def converted(changes: Mapping[str, object]) -> dict:
    """Changes to a recipe as people give them, converted for ``with_changes``: ``{"epochs": "3"}`` to 3 epochs.

    Raises ValueError that names the field, its value and what is allowed; fields that do not exist are left alone.
    """
    result = {
        name: take(name, value, FIELDS[Recipe][name]) for name, value in changes.items() if name in FIELDS[Recipe]
    }
    for name in changes.keys() & PARTS.keys():
        inner = take(name, changes[name], OBJECT)
        kinds = {field: kind for part in PARTS[name] for field, kind in FIELDS[part].items()}
        # A warm-up is a number of epochs of Steps, but a fraction of all epochs of OneCycle: the recipe checks which.
        if name == "schedule":
            kinds["warmup"] = NOT_NEGATIVE
        result[name] = {k: take(f"{name}.{k}", v, kinds[k]) if k in kinds else v for k, v in inner.items()}
    return {name: result.get(name, value) for name, value in changes.items()}


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


def _of_kind(kind: str, name: str) -> PK | Shuffle | Steps | OneCycle | Augmentation | None:
    """The sampler or schedule class called ``kind``, with its defaults; None if ``kind`` is empty."""
    kinds = {each.__name__: each for each in PARTS[name]}
    if kind and kind not in list(kinds):  # which takes what cannot be hashed, too
        raise ValueError(f"unknown kind of {name} {kind!r}: known are {', '.join(kinds)}")
    return kinds[kind]() if kind else None


def _check_names(part: object, changes: dict, description: str) -> None:
    known = [f.name for f in fields(part)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"{description} has no field {unknown[0]!r}: its fields are {', '.join(known)}")


def from_json(written: dict) -> Recipe:
    """The recipe whose ``dataclasses.asdict`` was written as JSON. Raises ValueError for anything else."""
    try:
        return _from_json(take("recipe", written, OBJECT))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"recipe={written!r}: allowed is a recipe as a run's experiment.json has it") from error


def _from_json(written: dict) -> Recipe:
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
