"""DRANet's tables and readings (``network`` has the modules).

"Dual Reverse Attention Networks for Person Re-identification" (Liu, Qi, Zhang, Shi): Market-1501, DukeMTMC-reID and
CUHK03 with the new protocol. Only its slides are public, and they give no training details; ``RECIPE`` is that
of PCB (Sun et al. 2018), with which the paper compares its results and whose horizontal parts it adopts.
"""

from dataclasses import replace

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Claim, Contradiction, Reading, Row, Table, recipe_readings

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
    """The experiment of a row as the paper states it; an option ``size`` is moved to the recipe."""
    options = dict(options)
    size = tuple(options.pop("size", RECIPE.size))
    return Experiment("dranet", options, replace(RECIPE, size=size), dataset, seed=seed)


DATA_SETS = ("market1501", "dukemtmc", "cuhk03np-detected")
OURS = (Row("Ours (DRANet)"),)
BASELINE = {"rcam": False, "rsam": False}

MAIN = "table4"
"""The table that the notebook reproduces."""

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
"""The slides make these claims by the bold numbers of their table; on DukeMTMC-reID RSAM alone has the best mAP."""

CONTRADICTIONS = (
    Contradiction(
        "slide 'Comparison with the baseline'",
        "both modules together are the proposed network",
        "table 4: on DukeMTMC-reID RSAM alone has the best mAP",
    ),
)

READINGS = (
    Reading(
        "size",
        "figure 1",
        "the size of the images is not given",
        (384, 128),
        ((256, 128),),
        "the 24x8 map splits into three parts of 8x8; this is also the size of PCB, the closest competitor",
    ),
    Reading(
        "last_stride",
        "figure 1",
        "nothing on the last down-sampling of ResNet-50",
        1,
        (2,),
        "spatial masks need a fine map; PCB and most later methods remove the down-sampling",
    ),
    Reading(
        "alpha_c",
        "figure 2",
        "m' = (1 - m)^alpha_c, no value of alpha_c",
        1.0,
        (0.5, 2.0),
        "the plain complement; a larger exponent suppresses attended channels more strongly",
    ),
    Reading(
        "alpha_s",
        "figure 3",
        "H'_n = (1 - H_n)^alpha_s, no value of alpha_s",
        1.0,
        (0.5, 2.0),
        "the plain complement; a larger exponent suppresses discriminative regions more strongly",
    ),
    Reading(
        "normalisation",
        "figure 3",
        "H_n is a row of class maps without bound, yet 1 - H_n masks: it must lie in [0, 1]",
        "minmax",
        ("sigmoid",),
        "min-max uses the full range [0, 1], and the most discriminative location is hidden completely",
    ),
    Reading(
        "gradient",
        "figures 2 and 3",
        "nothing on gradients through the reverse masks",
        False,
        (True,),
        "'hard examples generating': with a gradient the masks would learn to make the examples easy",
    ),
    Reading(
        "classifiers",
        "figure 1",
        "whether B, C and D have one classifier or three",
        "shared",
        ("own",),
        "hard examples serve to train the classifier of B; parameters are shared, batch statistics are not",
    ),
    Reading(
        "parts",
        "figure 1",
        "three parts; whether they share attention and classifier is not said",
        "own",
        ("shared",),
        "as in PCB, whose part classifiers share no parameters",
    ),
    Reading(
        "width",
        "figure 3",
        "f_3x3, its channels not given",
        0.5,
        (0.25, 1.0),
        "a fraction of stage 4's channels: 1024 of 2048, and proportionally fewer in the small profiles",
    ),
    Reading(
        "neck",
        "figure 3",
        "f_1x1(f_3x3(B)), nothing between",
        "bn-relu",
        ("bn", "none"),
        "convolution, batch normalisation and ReLU, as in ResNet; two linear layers in a row would collapse into one",
    ),
    Reading(
        "descriptor",
        "figure 1, testing",
        "the test feature is not stated",
        "both",
        ("attended", "classified"),
        "every feature that needs no label: GAP of B and of f_3x3(B) of each part",
    ),
    Reading(
        "pieces",
        "figure 1, testing",
        "nothing on the length of the test feature or of its pieces",
        "apart",
        ("together",),
        "together, m of about 1/2 halves B but not the batch-normalised f, so that rows with and without RCAM weigh"
        " them differently: in the quick profile on Market-1501 (one seed) RSAM has 68.0 mAP apart and 66.8 together,"
        " RCAM 68.7 and 68.5",
    ),
    Reading(
        "part_count",
        "figure 1",
        "three parts",
        3,
        (6,),
        "as drawn; PCB, with which the paper compares itself, has six",
    ),
    Reading(
        "reduction",
        "figure 2",
        "W0 and W1 without sizes",
        16,
        (4,),
        "as in squeeze-and-excitation networks (Hu et al. 2018)",
    ),
    Reading(
        "centred",
        "figure 2",
        "m = f_eq(g), g 'the channel descriptor'; nothing on a normalisation of g",
        False,
        (True,),
        "as printed; but averages after ReLU are never negative, so the g of all images point in similar directions",
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
        "not printed, so not used; most recipes since 2019 use 0.1",
    ),
    *recipe_readings(
        RECIPE,
        "training",
        "nothing",
        "that of PCB (Sun et al. 2018), with which the slides compare their results",
        *("epochs", "sampler", "optimizer", "lr", "backbone_lr", "momentum", "weight_decay", "schedule"),
        "augmentation",
    ),
)
