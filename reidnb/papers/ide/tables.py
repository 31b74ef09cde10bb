"""IDE's table and readings (``network`` has the modules).

Zheng et al. 2016 introduced the network; most later papers, Sun et al. 2018 (PCB) among them, compare themselves with
an IDE that they trained by their recipe. The printed numbers here are those of Sun et al. 2018, table 2, and so are the
recipe and the layers after the pooling (section 4.1).
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
    """The experiment of a row as Sun et al. 2018 state it."""
    return Experiment("ide", options, RECIPE, dataset, seed=seed)


MAIN = "table2"

TABLES = (
    Table(
        "table2",
        "IDE as trained by Sun et al. 2018",
        (Row("IDE, pool5"), Row("IDE, FC", {"descriptor": "fc"})),
        ("market1501", "dukemtmc", "cuhk03np-detected"),
    ),
)

READINGS = (
    Reading(
        "last_stride",
        "Sun et al. 2018, section 4.1",
        "'the same backbone network, i.e., ResNet50'; nothing on the last down-sampling",
        2,
        (1,),
        "as in ResNet; removing the down-sampling is described as a change that PCB makes",
    ),
    Reading(
        "smoothing",
        "Sun et al. 2018, section 4.1",
        "nothing on label smoothing",
        0.0,
        (0.1,),
        "not printed, so not used; most recipes since 2019 use 0.1",
    ),
)
