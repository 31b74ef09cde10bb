"""The attention-driven network's tables and readings (``network`` has the modules).

"Attention driven person re-identification", Yang et al., Pattern Recognition 86 (2019): Market-1501, DukeMTMC-reID and
CUHK03 with the classic protocol. Table 2 describes the data sets; table 12 is reproduced by ``table12``.
"""

from importlib.resources import files

import pandas as pd
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Claim, Contradiction, Reading, Row, Table, above, recipe_readings
from .network import AttentionDriven, strips

TITLE = "Attention-driven multi-branch network"

# Section 4.1.3, after pre-training (``pretraining``). Momentum, weight decay and augmentation are not stated: momentum
# and weight decay have their usual values, and the only augmentation is a flip.
RECIPE = Recipe(
    size=(384, 192),
    epochs=100,
    sampler=Shuffle(32),
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule=Steps(warmup=0, milestones=(40, 80)),
    augmentation=Augmentation(flip=0.5, pad=0, erase=0.0),
)

# "lambda and beta are set at (0.1, 3H/48), (0.1, 3H/48) and (0.2, 3H/48) for the Market-1501, DukeMTMC-reID and CUHK03"
# (section 4.4.4).
TUNED = {"intra_weight": 0.1, "beta": 3 / 48}
TUNED_CUHK03 = {"intra_weight": 0.2, "beta": 3 / 48}


def experiment(options: dict, dataset: str, seed: int = 0) -> Experiment:
    """The experiment of a row as the paper states it; the option ``tuned`` sets the data set's lambda and beta."""
    if options.get("tuned"):
        tuned = TUNED_CUHK03 if dataset.startswith("cuhk03") else TUNED
        options = {name: value for name, value in options.items() if name != "tuned"} | tuned
    return Experiment("attention_driven", options, RECIPE, dataset, backbone="five-branch", seed=seed)


ALIGNED = {"intra": False, "fusion": "concat"}
BASELINE = ALIGNED | {"regions": "strips"}
INTER = {"intra": False}
OURS = Row("Ours", {"tuned": True})
CUHK03 = ("cuhk03-labeled", "cuhk03-detected")
REGIONS = {
    "Global": "global",
    "Head": "head",
    "Up-Body": "upper_body",
    "Up-Leg": "upper_leg",
    "Lower-Leg": "lower_leg",
    "Part Fusion": "parts",
    "Global+Part": "",
}

MAIN = "table6"
"""The table that the notebook reproduces."""

TABLES = (
    Table("table3", "Comparison with the state of the art on Market-1501", (OURS,), ("market1501",)),
    Table("table4", "Comparison with the state of the art on DukeMTMC-reID", (OURS,), ("dukemtmc",)),
    Table("table5", "Comparison with the state of the art on CUHK03, classic protocol", (OURS,), CUHK03),
    Table(
        "table6",
        "Ablation study",
        (
            Row("Baseline", BASELINE),
            Row("Aligned", ALIGNED),
            Row("Intra", {"fusion": "concat"}),
            Row("Inter", INTER),
            Row("Intra+inter"),
            Row("Intra+inter (tuned lambda, beta)", {"tuned": True}),
        ),
        ("market1501", "dukemtmc", *CUHK03),
    ),
    Table(
        "table7",
        "Each region with and without intra-attention",
        tuple(
            Row(f"{name} ({kind} intra-attention)", options, region=region)
            for name, region in REGIONS.items()
            for kind, options in (("with", {}), ("without", INTER))
        ),
        ("market1501",),
    ),
    Table(
        "table8",
        "Attention with and without decomposition",
        (Row("Without attention decomposition", {"decomposed": False}), Row("With attention decomposition")),
        ("market1501",),
    ),
    # Without intra-attention throughout: its rows include Aligned and Inter of table 6.
    Table(
        "table9",
        "Ways of fusing the features",
        (
            Row("Concatenation", ALIGNED),
            Row("FC fusion", {"intra": False, "fusion": "fc"}),
            Row("Inter-attention", INTER),
        ),
        ("market1501",),
    ),
    Table(
        "table10",
        "The parameter lambda",
        tuple(Row(f"lambda={n / 10:.1f}" if n else "lambda=0", {"intra_weight": n / 10}) for n in range(11)),
        ("market1501", "dukemtmc", *CUHK03),
    ),
    Table(
        "table11",
        "The parameter beta",
        tuple(Row(f"beta={n if n > 1 else ''}H/48" if n else "beta=0", {"beta": n / 48}) for n in range(7)),
        ("market1501", "dukemtmc"),
    ),
)


_SINGLE_PARTS = [name for name in REGIONS if name not in ("Global", "Part Fusion", "Global+Part")]
_KINDS = ("with", "without")


def _region(name: str, kind: str) -> str:
    return f"{name} ({kind} intra-attention)"


CLAIMS = (
    Claim("Parts cut by pose are better than fixed strips", "section 4.3", "table6", (("Aligned", "Baseline"),)),
    Claim("Intra-attention improves the aligned network", "section 4.3", "table6", (("Intra", "Aligned"),)),
    Claim("Inter-attention improves the aligned network", "section 4.3", "table6", (("Inter", "Aligned"),)),
    Claim(
        "Intra- and inter-attention together are better than either alone",
        "section 4.3",
        "table6",
        above("Intra+inter", "Intra", "Inter"),
    ),
    Claim(
        "Lambda and beta tuned for each data set are the best",
        "section 4.4.4",
        "table6",
        (("Intra+inter (tuned lambda, beta)", "Intra+inter"),),
    ),
    Claim(
        "The whole body is better than any single part, with and without intra-attention",
        "section 4.4.1",
        "table7",
        tuple((_region("Global", kind), _region(name, kind)) for kind in _KINDS for name in _SINGLE_PARTS),
    ),
    Claim(
        "Body and parts together are better than either, with and without intra-attention",
        "section 4.4.1",
        "table7",
        tuple((_region("Global+Part", k), _region(name, k)) for k in _KINDS for name in ("Global", "Part Fusion")),
    ),
    Claim(
        "Decomposed attention is better than attention without decomposition",
        "section 4.4.2",
        "table8",
        (("With attention decomposition", "Without attention decomposition"),),
    ),
    Claim(
        "Fusion in training is better than concatenation at test time",
        "section 4.4.3",
        "table9",
        (("FC fusion", "Concatenation"), ("Inter-attention", "Concatenation")),
    ),
    Claim(
        "Learnt weights (inter-attention) fuse best", "section 4.4.3", "table9", above("Inter-attention", "FC fusion")
    ),
    Claim(
        "Any lambda above 0 is better than 0",
        "section 4.4.4",
        "table10",
        tuple((row.name, "lambda=0") for row in TABLES[7].rows[1:]),
    ),
    *(
        Claim(
            f"lambda = {best} is the best",
            "section 4.4.4",
            "table10",
            above(f"lambda={best}", *(row.name for row in TABLES[7].rows if row.name != f"lambda={best}")),
            datasets=datasets,
        )
        for best, datasets in (
            (TUNED["intra_weight"], ("market1501", "dukemtmc")),
            (TUNED_CUHK03["intra_weight"], CUHK03),
        )
    ),
    Claim(
        "beta = 3H/48 is the best",
        "section 4.4.4",
        "table11",
        above("beta=3H/48", *(row.name for row in TABLES[8].rows if row.name != "beta=3H/48")),
    ),
)
"""What sections 4.3 and 4.4 claim about their tables, except that two results are similar (the parts and the whole body
in table 7, any beta in table 11), which a difference cannot show."""


def table12() -> pd.DataFrame:
    """Table 12, measured: parameters without the identity classifiers, and multiply-adds per image.

    The paper's "FLOPs" are multiply-adds. For the four other networks it appears to scale the published numbers for
    224x224 by the ratio of the areas, 384*192 / 224^2 = 1.469 (ResNet-50: 3.8e9 * 1.469 = 5.58e9); here every network
    is run at 384x192. ``error_*`` is in percent of the printed number.
    """
    printed = pd.read_csv(files(__package__) / "table12.csv").set_index("row")
    with torch.device("meta"):  # tensors have shapes but no values: nothing is computed
        vision = torchvision.models
        networks = {
            "AlexNet": _without_last(vision.alexnet()),
            "VGG": _without_last(vision.vgg16()),
            "ResNet50": _without_last(vision.resnet50()),
            "GoogLeNet": _without_last(vision.googlenet(aux_logits=False, init_weights=False)),
            "Basemodel": AttentionDriven(1, **BASELINE),
            "Full model": AttentionDriven(1),
        }
        measured = {name: _parameters_and_operations(network.eval()) for name, network in networks.items()}
    frame = pd.DataFrame(measured, ["parameters_million", "flops"]).T
    for column in list(frame):
        frame.insert(0, f"published_{column}", printed[column])
        frame[f"error_{column}"] = 100 * (frame[column] / frame[f"published_{column}"] - 1)
    return frame[sorted(frame, key=lambda name: ("flops" in name, "error" in name, "published" not in name))]


def _without_last(network: nn.Module) -> nn.Module:
    """A torchvision classifier without its last layer, which scores the 1000 classes."""
    if hasattr(network, "fc"):
        network.fc = nn.Identity()
    else:
        network.classifier[-1] = nn.Identity()
    return network


def _parameters_and_operations(network: nn.Module) -> tuple[float, float]:
    if isinstance(network, AttentionDriven):
        network.classifiers = nn.ModuleDict()
    image, counter = torch.zeros(1, 3, 384, 192), FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(image, None, strips(1)) if isinstance(network, AttentionDriven) else network(image)
    return sum(p.numel() for p in network.parameters()) / 1e6, counter.get_total_flops() / 2


CONTRADICTIONS = (
    Contradiction(
        "section 3.2, after eq. 2",
        "beta 'is empirically set at H/10'",
        "table 11: of its rows 0, H/48 .. 6H/48 it is 5H/48 that has table 6's numbers",
    ),
)

READINGS = (
    Reading(
        "beta",
        "section 3.2, after eq. 2; table 11",
        "'empirically set at H/10'; but of table 11's rows 0, H/48 .. 6H/48 it is 5H/48 that equals table 6",
        5 / 48,
        (1 / 10,),
        "the value with which the printed results were obtained; the two differ by 0.4 % of the body's height",
    ),
    Reading(
        "pooling",
        "table 1",
        "'3x3 MP, S-2x2' in the global branch, 'S-1x2' in the part branches",
        "1x2",
        ("1x1",),
        "stride 1 in height and 2 in width, in the order of 96x192; this gives 1.96e9 multiply-adds, stride 1 in both"
        " 2.60e9, while 2.26e9 are printed for the base network",
    ),
    Reading(
        "shortcut",
        "table 1; table 12",
        "9 layers a block: no shortcut convolutions; 6.8 million parameters",
        "padding",
        ("projection",),
        "the base network has 6.91 million parameters without them and 7.27 million with them",
    ),
    Reading(
        "attention",
        "section 3.3.1, figure 5; table 12",
        "'residual unit and max pooling', no widths; 10.4 million parameters, 2.69e9 FLOPs",
        "table12",
        ("table1",),
        "one residual unit at the output's size and one after each pooling, of widths that give 10.29 million and"
        " 2.70e9; the blocks' own widths give 12.76 million and 2.83e9",
    ),
    Reading(
        "normalised",
        "section 3.3.2, eq. 6",
        "'a convolutional layer' for S and C, nothing between them and their product",
        True,
        (False,),
        "every other convolution of the network is batch-normalised",
    ),
    Reading(
        "fc_width",
        "section 4.4.3, table 9",
        "'conventional fully-connected fusion', no width",
        768,
        (512,),
        "as wide as the feature of the other two fusions; used by the row 'FC fusion' only",
    ),
    Reading(
        "neck",
        "table 1, 'FC_reduce'",
        "a fully connected layer to 256 or 128, nothing behind it",
        "none",
        ("bn",),
        "as printed; batch normalisation after it is common in the field",
    ),
    Reading(
        "halves",
        "section 3.4, after eq. 9",
        "'assigning the same weight to the global feature and the fused part feature'",
        "normalised",
        ("plain",),
        "each half of the test descriptor is L2-normalised; the alternative concatenates them unchanged",
    ),
    Reading(
        "means",
        "section 4.1.3",
        "'Each training image is first normalized by subtracting its channel means'",
        "imagenet",
        ("image",),
        "common practice subtracts the data set's means; read literally, each image's own means are subtracted",
    ),
    *recipe_readings(
        RECIPE,
        "section 4.1.3",
        "nothing",
        "the usual values; the text names no augmentation",
        *("momentum", "weight_decay", "augmentation"),
    ),
)
