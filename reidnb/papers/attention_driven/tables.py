"""The attention-driven network's tables and claims (``network`` has the modules, ``readings`` the ledger).

"Attention driven person re-identification", Yang et al., Pattern Recognition 86 (2019): Market-1501, DukeMTMC-reID and
CUHK03 with the classic protocol. Table 2 describes the data sets; table 12 is measured by ``cost``.
"""

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import Recipe, Shuffle, Steps
from ..paper import Claim, Row, Table, above

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
        "Every region is better with intra-attention",
        "section 4.4.1",
        "table7",
        tuple((_region(name, "with"), _region(name, "without")) for name in REGIONS),
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
