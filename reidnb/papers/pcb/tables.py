"""PCB's tables and readings (``network`` has the modules).

"Beyond Part Models: Person Retrieval with Refined Part Pooling" (Sun, Zheng, Yang, Tian, Wang). Refined part pooling
(section 3.4) is cited and not run: it is trained in four stages, with parts of the network frozen.
"""

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Claim, Reading, Row, Table

TITLE = "Part-based convolutional baseline (PCB)"

# Section 4.2.
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

CLAIMS = (
    Claim(
        "Classifiers that share no parameters are better than a shared one",
        "section 4.3",
        "table2",
        (("PCB, G", "Variant 2, G"), ("PCB, H", "Variant 2, H")),
    ),
)

READINGS = (
    Reading(
        "reductions",
        "section 3.2, figure 2",
        "'a convolutional layer to reduce the dimension of g'; whether the stripes share it is not said",
        "shared",
        ("own",),
        "'a' layer, while the classifiers are plural; batch normalisation and ReLU follow it, as in ResNet",
    ),
    Reading(
        "momentum",
        "section 4.2",
        "learning rates and their decay; nothing on momentum",
        RECIPE.momentum,
        (),
        "the usual one, with a weight decay of 5e-4",
        of="recipe",
    ),
)
