"""Experiments: all settings that determine a result."""

import json
from dataclasses import dataclass, field, fields

from ..parameters import NUMBER, OBJECT, TEXT, check_names, require
from . import recipe as recipes
from .recipe import Recipe


@dataclass(frozen=True)
class Experiment:
    """All settings that determine a result: paper, options of its network, recipe, data set, weights, seed.

    Raises ValueError that names the field for a value of the wrong type.
    """

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

    def __post_init__(self) -> None:
        kinds = {"options": OBJECT, "seed": NUMBER} | dict.fromkeys(("dataset", "backbone", "profile"), TEXT)
        for name, kind in kinds.items():
            require(name, getattr(self, name), kind)


def from_json(written: dict) -> Experiment:
    """The experiment whose ``dataclasses.asdict`` was written as JSON. Raises ValueError for anything else."""
    check_names("an experiment", written, [each.name for each in fields(Experiment)])
    if "paper" not in written:
        raise ValueError("an experiment names its paper: the parameter 'paper' is missing")
    recipe = recipes.from_json(written["recipe"]) if "recipe" in written else Recipe()
    return Experiment(**{**written, "recipe": recipe})


def to_json(content: dict) -> str:
    """The content as JSON text, in the form in which a run's folder holds it."""
    return json.dumps(content, indent=1, sort_keys=True)
