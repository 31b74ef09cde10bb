"""IDE's table and readings (``network`` has the modules).

Zheng et al. 2016 introduced the network; most later papers, Sun et al. 2018 (PCB) among them, compare themselves with
an IDE that they trained by their recipe, and so does this study: recipe and layers are those usual for IDE beside PCB.
There are no published numbers beside ours, since neither paper's tables were at hand to check them.
"""

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Reading, Row, Table

TITLE = "Identity embedding (IDE)"

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
    """The experiment of a row by PCB's recipe."""
    return Experiment("ide", options, RECIPE, dataset, seed=seed)


MAIN = "table2"

TABLES = (
    Table(
        "table2",
        "IDE by PCB's recipe",
        (Row("IDE, pool5"), Row("IDE, FC", {"descriptor": "fc"})),
        ("market1501", "dukemtmc", "cuhk03np-detected"),
    ),
)

READINGS = (
    Reading(
        "last_stride",
        "network",
        "not checked in print: the last down-sampling",
        2,
        (1,),
        "as in ResNet; removing the down-sampling is described as a change that PCB makes",
    ),
    Reading(
        "smoothing",
        "training",
        "not checked in print: label smoothing",
        0.0,
        (0.1,),
        "as in 2018; most recipes since 2019 use 0.1",
    ),
)
