"""DRANet's tables and readings (``network`` has the modules).

"Dual Reverse Attention Networks for Person Re-identification" (Liu, Qi, Zhang, Shi): Market-1501, DukeMTMC-reID and
CUHK03 with the new protocol. Only slides of it are public, without any training detail; ``RECIPE`` is that of PCB (Sun
et al. 2018), which the paper compares itself with and whose parts it takes.
"""

from dataclasses import replace

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Claim, Reading, Row, Table

TITLE = "Dual Reverse Attention Networks (DRANet)"

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
    """The experiment of a row, as the paper states it; ``size`` in its options is the recipe's."""
    options = dict(options)
    size = tuple(options.pop("size", RECIPE.size))
    return Experiment("dranet", options, replace(RECIPE, size=size), dataset, seed=seed)


DATA_SETS = ("market1501", "dukemtmc", "cuhk03np-detected")
OURS = (Row("Ours (DRANet)"),)
BASELINE = {"rcam": False, "rsam": False}

MAIN = "table4"
"""The table that the notebook shows with its figures."""

TABLES = (
    Table("table1", "Evaluation on Market-1501", OURS, ("market1501",)),
    Table("table2", "Evaluation on DukeMTMC-reID", OURS, ("dukemtmc",)),
    Table("table3", "Evaluation on CUHK03", OURS, ("cuhk03np-detected",)),
    Table(
        "table4",
        "Comparison of different reverse attention modules",
        (
            Row("Baseline", BASELINE),
            Row("Baseline+RCAM", {"rsam": False}),
            Row("Baseline+RSAM", {"rcam": False}),
            Row("Baseline+RCAM+RSAM"),
        ),
        DATA_SETS,
    ),
)

_TABLE4 = ("slide 'Comparison with the baseline'", "table4")
CLAIMS = (
    Claim("Channel-hard examples (RCAM) improve the baseline", *_TABLE4, (("Baseline+RCAM", "Baseline"),)),
    Claim("Spatial-hard examples (RSAM) improve the baseline", *_TABLE4, (("Baseline+RSAM", "Baseline"),)),
    Claim("Both together improve the baseline", *_TABLE4, (("Baseline+RCAM+RSAM", "Baseline"),)),
    Claim("Both together are better than RCAM alone", *_TABLE4, (("Baseline+RCAM+RSAM", "Baseline+RCAM"),)),
    Claim("Both together are better than RSAM alone", *_TABLE4, (("Baseline+RCAM+RSAM", "Baseline+RSAM"),)),
)
"""The slides claim by their table alone, whose best numbers are bold: on DukeMTMC-reID RSAM alone has the best mAP."""

READINGS = (
    Reading(
        "size",
        "figure 1",
        "the size of the images is not given",
        (384, 128),
        ((256, 128),),
        "three parts of 24x8 are 8x8 each; it is the size of PCB, the paper's nearest competitor",
    ),
    Reading(
        "last_stride",
        "figure 1",
        "nothing on the last down-sampling of ResNet-50",
        1,
        (2,),
        "spatial masks need a map that is not too coarse; PCB and most of the field remove it",
    ),
    Reading(
        "alpha_c",
        "figure 2",
        "m' = (1 - m)^alpha_c, no value of alpha_c",
        1.0,
        (0.5, 2.0),
        "the plain complement; a larger one hides more of what the attention likes",
    ),
    Reading(
        "alpha_s",
        "figure 3",
        "H'_n = (1 - H_n)^alpha_s, no value of alpha_s",
        1.0,
        (0.5, 2.0),
        "the plain complement; a larger one hides more around the most telling place",
    ),
    Reading(
        "normalisation",
        "figure 3",
        "H_n is a row of class maps without bound, yet 1 - H_n masks: it must lie in [0, 1]",
        "minmax",
        ("sigmoid",),
        "each map's own range uses all of [0, 1], and its most telling place is hidden wholly",
    ),
    Reading(
        "gradient",
        "figures 2 and 3",
        "nothing on gradients through the reverse masks",
        False,
        (True,),
        "'hard examples generating': they are made; with a gradient the masks would learn to make them easy",
    ),
    Reading(
        "classifiers",
        "figure 1",
        "whether B, C and D have one classifier or three",
        "shared",
        ("own",),
        "a hard example is to teach the classifier that B has; parameters are shared, batch statistics are not",
    ),
    Reading(
        "parts",
        "figure 1",
        "three parts; whether they share attention and classifier is not said",
        "own",
        ("shared",),
        "as PCB's parts, whose classifiers share nothing",
    ),
    Reading(
        "width",
        "figure 3",
        "f_3x3, its channels not given",
        0.5,
        (0.25, 1.0),
        "as a share of stage 4's: 1024 of 2048, and as narrow as the network in the small profiles",
    ),
    Reading(
        "neck",
        "figure 3",
        "f_1x1(f_3x3(B)), nothing between",
        "bn-relu",
        ("bn", "none"),
        "a convolution of ResNet's kind; two linear layers in a row would be a single one",
    ),
    Reading(
        "descriptor",
        "figure 1, testing",
        "the test feature is not stated",
        "both",
        ("attended", "classified"),
        "all that needs no identity: GAP of B and of f_3x3(B) of each part, L2-normalised together",
    ),
    Reading(
        "centred",
        "figure 2",
        "m = f_eq(g), g 'the channel descriptor'; nothing on a normalisation of g",
        False,
        (True,),
        "as printed; but an average after ReLU is never negative, so that all images' g point almost the same way",
    ),
    Reading(
        "bias",
        "figure 2",
        "sigmoid(W1 relu(W0 g)), no biases",
        False,
        (True,),
        "as printed",
    ),
    Reading(
        "smoothing",
        "training",
        "'ID loss', no label smoothing",
        0.0,
        (0.1,),
        "not printed, so not done; most recipes since 2019 have 0.1",
    ),
)
