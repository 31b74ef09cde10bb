"""Experiments: all settings that determine a result."""

import json
from dataclasses import dataclass, field

from . import recipe as recipes
from .recipe import Recipe


@dataclass(frozen=True)
class Experiment:
    """All settings that determine a result: paper, options of its network, recipe, data set, weights, seed."""

    paper: str
    options: dict = field(default_factory=dict)
    """Options of the paper's network, except those that other fields of the experiment supply."""
    recipe: Recipe = field(default_factory=Recipe)
    dataset: str = "street"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    """Initial weights of the backbone: 'imagenet', 'street' (the demo's narrow ones), a local file, or '' (random).

    A file determines the result by its content, so the experiment's key contains its SHA-256, not its path."""
    seed: int = 0
    profile: str = "paper"


def from_json(written: dict) -> Experiment:
    """The experiment whose ``dataclasses.asdict`` was written as JSON."""
    return Experiment(**{**written, "recipe": recipes.from_json(written["recipe"])})


def to_json(content: dict) -> str:
    """The content as JSON text, in the form in which a run's folder holds it."""
    return json.dumps(content, indent=1, sort_keys=True)
