"""PCB's tables and readings (``network`` has the modules).

"Beyond Part Models: Person Retrieval with Refined Part Pooling" (Sun, Zheng, Yang, Tian, Wang). Refined part pooling
is cited and not run: it is trained in four stages, with parts of the network frozen. The paper's text was not at hand;
the recipe is that which its authors' code and later papers give. Published are the numbers that other papers cite.
"""

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Reading, Row, Table

TITLE = "Part-based convolutional baseline (PCB)"

RECIPE = Recipe(
    size=(384, 128),
    epochs=60,
    sampler=Shuffle(64),
    optimizer="sgd",
    lr=0.1,
    backbone_lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule=Steps(warmup=0, milestones=(40,)),
    augmentation=Augmentation(flip=0.5, pad=0, erase=0),
)


def experiment(options: dict, dataset: str, seed: int = 0) -> Experiment:
    """The experiment of a row as the paper states it."""
    return Experiment("pcb", options, RECIPE, dataset, seed=seed)


MAIN = "table2"

TABLES = (
    Table(
        "table2",
        "PCB, its variant 2 and refined part pooling",
        (
            Row("Variant 2, G", {"classifiers": "shared"}),
            Row("Variant 2, H", {"classifiers": "shared", "descriptor": "h"}),
            Row("PCB, G"),
            Row("PCB, H", {"descriptor": "h"}),
        ),
        ("market1501", "dukemtmc"),
    ),
)

READINGS = (
    Reading(
        "reductions",
        "network",
        "not checked in print: whether the stripes share the layer that reduces their features",
        "shared",
        ("own",),
        "one layer, as the paper is usually described; batch normalisation and ReLU follow it, as in ResNet",
    ),
    Reading(
        "momentum",
        "training",
        "not checked in print: momentum",
        RECIPE.momentum,
        (),
        "the usual one, with a weight decay of 5e-4",
        of="recipe",
    ),
)
