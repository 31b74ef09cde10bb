"""What an experiment is: everything that decides a result."""

import json
from dataclasses import dataclass, field

from . import recipe as recipes
from .recipe import Recipe


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a result: paper and options of its network, recipe, data set, weights, seed."""

    paper: str
    options: dict = field(default_factory=dict)
    """Options of the paper's network, beside those that come from the rest of the experiment."""
    recipe: Recipe = field(default_factory=Recipe)
    dataset: str = "street"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    """Initial weights of the backbone: 'imagenet', 'street' (the demo's narrow ones), a local file, or '' (random).

    A file decides the result by its content, so that the key has its SHA-256 and not its path."""
    seed: int = 0
    profile: str = "paper"


def from_json(written: dict) -> Experiment:
    """The experiment of ``dataclasses.asdict``, after a journey through JSON."""
    return Experiment(**{**written, "recipe": recipes.from_json(written["recipe"])})


def to_json(content: dict) -> str:
    """As it is written beside a run."""
    return json.dumps(content, indent=1, sort_keys=True)
