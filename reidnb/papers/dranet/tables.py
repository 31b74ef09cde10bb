"""DRANet's tables and readings (``network`` has the modules).

"Dual Reverse Attention Networks for Person Re-identification" (Liu, Qi, Zhang, Shi): Market-1501, DukeMTMC-reID and
CUHK03 with the new protocol. It appeared at ICIP 2019 (IEEE document 8804419); this study reads it in its authors'
slides, which give no training details. ``RECIPE`` is that of PCB (Sun et al. 2018), with which the slides compare their
results.
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

_ATTENTION = {
    "g of A": {},
    "g centred": {"centred": True},
    "g before the ReLU": {"pooled": "pre-relu"},
}
BEYOND = (
    Table(
        "rcam",
        "What RCAM's gain comes from, and what keeps its channel attention active",
        (
            Row("Baseline", BASELINE),
            Row("2 L_B, no RCAM", BASELINE | {"weight_b": 2.0}),
            Row("B = A m, no C", {"rsam": False, "channel_hard": False}),
            *(
                Row(f"RCAM, {name}{', biases' * bias}", {"rsam": False} | options | ({"bias": True} if bias else {}))
                for name, options in _ATTENTION.items()
                for bias in (False, True)
            ),
        ),
        (),
    ),
)
"""Baseline+RCAM with the average g taken in three ways, each without biases, as printed, and with; and the two controls
that have only one half of RCAM each: a loss of B that counts twice, as where C equals B up to a factor, and m alone."""

_TABLE4 = ("slide 'Comparison with the baseline'", "table4")
CLAIMS = (
    Claim("Channel-hard examples (RCAM) improve the baseline", *_TABLE4, (("Baseline+RCAM", "Baseline"),)),
    Claim("Spatial-hard examples (RSAM) improve the baseline", *_TABLE4, (("Baseline+RSAM", "Baseline"),)),
    Claim("Both together improve the baseline", *_TABLE4, (("Baseline+RCAM+RSAM", "Baseline"),)),
    Claim("Both together are better than RCAM alone", *_TABLE4, (("Baseline+RCAM+RSAM", "Baseline+RCAM"),)),
)
"""The slides make these claims by the bold numbers of their table. That both are better than RSAM alone is none of
them: on DukeMTMC-reID the mAP of RSAM alone is bold."""

CONTRADICTIONS = (
    Contradiction(
        "slide 'Comparison with the baseline'",
        "both modules together are the proposed network",
        "table 4: on DukeMTMC-reID RSAM alone has more mAP (70.2 against 69.5) and rank-5 (91.8 against 90.7), and on"
        " CUHK03 more rank-5 (78.5 against 78.1)",
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
        "part_width",
        "figure 1, testing",
        "nothing on the channels of the parts; a public summary has '2048 - 1024*2'",
        1.0,
        (0.5,),
        "stage 4's 2048 channels; with 0.5 a part's map A is first reduced to 1024 channels, so that"
        " the descriptor of a part is 1024 of B and 1024 of f_3x3(B)",
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
        "three parts; whether they share attention and classifier is not stated",
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
        "f_3x3 without RSAM",
        "figure 3, table 4",
        "f_3x3 is drawn for RSAM only; the classifiers of 'Baseline' and 'Baseline+RCAM' are not drawn",
        "as with RSAM",
        (),
        "rows differ by their hard examples only; but f_3x3 is most of the network (56.6 of the baseline's 82.4 million"
        " parameters with 751 identities), so that the published baseline may be a smaller one",
        of="study",
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
        "pooled",
        "figure 2",
        "m = f_eq(g); nothing on g",
        "post-relu",
        ("pre-relu",),
        "the average of A itself; squeeze-and-excitation, from which f_eq comes, averages before its block's last ReLU,"
        " where g has both signs",
    ),
    Reading(
        "centred",
        "figure 2",
        "m = f_eq(g); nothing on a normalisation of g",
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
        "weight_b",
        "figure 1, training",
        "no loss and no weights",
        1.0,
        (2.0,),
        "the cross-entropies of B, C and D, summed over the parts, with equal weights; with 2 that of B weighs as much"
        " as both others",
    ),
    Reading(
        "CUHK03",
        "tables 3 and 4",
        "'CUHK03', neither protocol nor kind of boxes",
        "cuhk03np-detected",
        (),
        "the numbers that table 3 cites for HA-CNN (41.7, 38.6) are those of the new protocol with detected boxes",
        of="study",
    ),
    Reading(
        "smoothing",
        "training",
        "no loss, so no label smoothing either",
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
