"""WRCANet's tables and readings (``network`` has the modules).

"Weak Reverse attention with Context Aware Network for Person Re-identification": Market-1501, DukeMTMC-reID and
CUHK03 with the new protocol. Training details are not stated; ``RECIPE`` is the field's usual one.
"""

from ...training.experiment import Experiment
from ...training.recipe import PK, Recipe, Steps
from ..paper import Claim, Reading, Row, Table

TITLE = "Weak Reverse attention with Context Aware Network (WRCANet)"

# Section 3.1 fixes ResNet-50 and the map's 24x12, so 384x192; the rest is Luo et al. 2019's common recipe.
RECIPE = Recipe(
    size=(384, 192),
    epochs=120,
    sampler=PK(identities=16, images=4),
    optimizer="adam",
    lr=3.5e-4,
    weight_decay=5e-4,
    schedule=Steps(warmup=10, milestones=(40, 70)),
)


def experiment(options: dict, dataset: str, seed: int = 0) -> Experiment:
    """The experiment of a row, as the paper states it."""
    return Experiment("wrcanet", options, RECIPE, dataset, seed=seed)


MAIN = "table2"
"""The table that the notebook shows with its figures."""

BASELINE = {"wra": "", "gp": False, "ms": False}

TABLES = (
    Table(
        "table1",
        "Comparison with the state of the art",
        (Row("Ours"), Row("Ours + re-ranking", rerank=True)),
        ("market1501", "dukemtmc", "cuhk03np-labeled", "cuhk03np-detected"),
    ),
    Table(
        "table2",
        "Ablation study",
        (
            Row("ResNet-50", BASELINE),
            Row("ResNet-50+WRA", {"gp": False, "ms": False}),
            Row("ResNet-50+WRA+GP", {"ms": False}),
            Row("ResNet-50+WRA+MS", {"gp": False}),
            Row("ResNet-50+WRA+MS+GP"),
        ),
        ("market1501",),
    ),
)

RESNET, WRA, GP, MS, WHOLE_NET = (row.name for row in TABLES[1].rows)
CLAIMS = (
    Claim(
        "Weak reverse attention (WRA) improves ResNet-50 without a parameter more",
        "section 4.2",
        "table2",
        ((WRA, RESNET),),
    ),
    Claim("The multi-granularity branch (GP) improves the network with WRA", "section 4.2", "table2", ((GP, WRA),)),
    Claim("Without GP the whole network is worse", "section 4.2", "table2", ((WHOLE_NET, MS),)),
    Claim("The multi-scale branch (MS) improves the network with WRA", "section 4.2", "table2", ((MS, WRA),)),
    Claim("Without MS the whole network is worse", "section 4.2", "table2", ((WHOLE_NET, GP),)),
    Claim("MS contributes more than GP", "section 4.2", "table2", ((MS, GP),)),
    Claim("Re-ranking improves the whole network further", "section 4.1", "table1", (("Ours + re-ranking", "Ours"),)),
)
"""What the text says of its tables. Its gains of re-ranking (on Market-1501 1.3 in mAP and 4.4 in rank-1, which would
make more than 100 %) stand in no table."""

READINGS = (
    Reading(
        "wra",
        "section 3.2, figure 2",
        "'align the size of the feature map with the input'; 'two ResNet streams'",
        "image",
        ("stage",),
        "figure 2 shows two whole streams and a picture as the input; 'after the residual module' also reads as once"
        " per stage",
    ),
    Reading(
        "scale",
        "eq. 2 and 3",
        "f = ReLU(upsample(...)) goes into sigmoid as it is; nothing on its scale",
        "printed",
        ("unit",),
        "as printed; but the values of f vary little within an image, so that the mask is almost flat, and 'unit'"
        " brings each image's f to [0, 1]",
    ),
    Reading(
        "gradient",
        "section 3.2",
        "nothing on gradients through f",
        True,
        (False,),
        "both streams share parameters and are trained 'end-to-end' (section 5)",
    ),
    Reading(
        "statistics",
        "section 3.2",
        "'two ResNet streams' that share parameters; nothing on batch normalisation's running statistics",
        "own",
        ("shared",),
        "training normalises each stream by its own batch; a running mixture of the image's and the dimmed image's"
        " statistics fits neither at test time (the same weights on the street: 20 mAP shared, 30 own)",
    ),
    Reading(
        "losses",
        "section 3.4, after eq. 4",
        "'Different loss functions are used in different stages, among which ,  use the softmax loss': the two names"
        " are lost",
        "branches+stage4",
        ("branches", "all", "both"),
        "the deepest features are classified, the shallow ones compared; other splits of the six losses stay open",
    ),
    Reading(
        "neck",
        "section 3.4",
        "nothing between a feature and its classifier",
        "bnneck",
        ("none",),
        "common in the field since Luo et al. 2019; without it the baseline learns nothing from random weights (1 %"
        " rank-1 on Market-1501 after eight demo epochs, against 39 % with it)",
    ),
    Reading(
        "fusion_kernel",
        "section 3.3, figures 3 and 5",
        "'a 1-dimensional convolution is used to fuse', size not given",
        3,
        (1,),
        "a convolution of size 1 would be a weighted sum, for which the paper has the word 'weighted average'",
    ),
    Reading(
        "descriptor",
        "section 4",
        "the test feature is not stated",
        "all",
        ("stage4", "branches"),
        "all that is trained to tell people apart, each part L2-normalised",
    ),
    Reading(
        "triplet",
        "eq. 6",
        "a sum over all anchors of the batch, no average",
        "mean",
        ("sum",),
        "the formula is that of Hermans et al. 2017, whose code, like all since, averages; a sum would weigh 64 times"
        " as much as the softmax losses beside it",
    ),
    Reading(
        "strength",
        "eq. 3",
        "lambda in (0, 1), 'which is 0.5 in this paper'; as f >= 0, sigmoid(f) >= 0.5 and eq. 3 dims everything by"
        " lambda/2 at least",
        0.5,
        (0.25, 0.75),
        "printed; the neighbours show how much it matters",
    ),
)
