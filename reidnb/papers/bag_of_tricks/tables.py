"""The tables and readings of the strong baseline (``network`` has the modules).

"Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (Luo, Gu, Liao, Lai, Jiang). The centre loss
of table 1's last row is cited and not run: it needs an optimiser of its own for the centres. The paper's text was not
at hand; the recipe is that of its authors' code, and the numbers are those that its README and the abstract give.
"""

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import PK, Recipe, Steps
from ..paper import Claim, Reading, Row, Table, rising

TITLE = "Bag of tricks and a strong baseline (BNNeck)"

RECIPE = Recipe(
    size=(256, 128),
    epochs=120,
    sampler=PK(identities=16, images=4),
    optimizer="adam",
    lr=3.5e-4,
    weight_decay=5e-4,
    schedule=Steps(warmup=10, milestones=(40, 70), warmup_from=3.5e-5),
    augmentation=Augmentation(flip=0.5, pad=10, erase=0.5),
)


def experiment(options: dict, dataset: str, seed: int = 0) -> Experiment:
    """The experiment of a row as the paper states it."""
    return Experiment("bag_of_tricks", options, RECIPE, dataset, seed=seed)


MAIN = "table1"

BASELINE = {"last_stride": 2, "neck": False, "smoothing": 0.0}
NO_ERASING = {"augmentation": {"erase": 0.0}}

TABLES = (
    Table(
        "table1",
        "The tricks, one after the other",
        (
            Row("Baseline-S", BASELINE, NO_ERASING | {"schedule": {"warmup": 0}}),
            Row("+warmup", BASELINE, NO_ERASING),
            Row("+REA", BASELINE),
            Row("+LS", {"last_stride": 2, "neck": False}),
            Row("+stride=1", {"neck": False}),
            Row("+BNNeck"),
        ),
        ("market1501",),
    ),
)

CLAIMS = (
    Claim(
        "Each trick improves the baseline further",
        "table 1",
        "table1",
        rising(*(row.name for row in TABLES[0].rows)),
    ),
)

READINGS = (
    Reading(
        "weight_decay",
        "training",
        "not checked in print: weight decay",
        RECIPE.weight_decay,
        (),
        "that of the released code (github.com/michuanhaohao/reid-strong-baseline)",
        of="recipe",
    ),
    Reading(
        "descriptor",
        "testing",
        "the feature behind the normalisation",
        "f_i",
        ("f_t",),
        "as the network is usually described; f_t is the feature before it",
    ),
)
