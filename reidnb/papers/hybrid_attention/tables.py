"""The hybrid-attention network's tables and readings (``network`` has the modules).

"Hybrid-attention guided network with multiple resolution features for person re-identification": Market-1501,
DukeMTMC-reID, CUHK03 with the new protocol and MSMT17. Its mAP uses the trapezoid definition, as does its code
(github.com/libraflower/MutipleFeature-for-PRID, called 'the released code' here).
"""

from ...data.augment import Augmentation
from ...training.experiment import Experiment
from ...training.recipe import PK, Recipe, Steps
from ..paper import Claim, Contradiction, Reading, Row, Table, above, recipe_readings, rising

TITLE = "Hybrid-attention guided network with multiple resolution features"

# Section 4.1 and eq. 5. What they do not state (P and K, Nesterov, fresh momentum, flip and normalisation at test time)
# follows the released code; the size of the crop is the one common in the field.
RECIPE = Recipe(
    size=(384, 128),
    epochs=150,
    sampler=PK(identities=16, images=4),
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule=Steps(warmup=10, milestones=(60, 90, 120), factor=0.5, warmup_from=3e-5, warmup_to=3e-4),
    fresh_momentum=True,
    augmentation=Augmentation(flip=0.5, pad=10, erase=0.5),
    flip_test=True,
    normalise_test=True,
)

COMPLETE_READINGS = (
    Row(
        "as_printed",
        {"compared": "fc", "dropblock": "max"},
        recipe={"nesterov": False, "fresh_momentum": False, "flip_test": False, "normalise_test": False},
    ),
    Row(
        "as_released",
        {"order": "concat", "activation": "leaky", "fc": "released", "triplet": "level"},
        {"schedule": {"warmup_from": 3e-4, "warmup_to": 0.01}, "augmentation": {"pad": 0}},
    ),
)
"""Exactly what is printed, and what the released code does wherever that is known."""


def experiment(options: dict, dataset: str, seed: int = 0) -> Experiment:
    """The experiment of a row as the paper states it."""
    return Experiment("hybrid_attention", options, RECIPE, dataset, seed=seed)


MAIN = "table6"
"""The table that the notebook reproduces."""

# ResNet-50 with the ID loss (IDE): section 4.1 says that the proposed network cancels stage 4's down-sampling, and
# section 4.4 that this baseline is at the level of other papers', so it keeps the stride and has nothing before the
# classifier. The bag of tricks is random erasing, label smoothing and warm-up. Every row with a component of the
# network has its stride, and where it has no MPFE, batch normalisation before the classifier.
BASELINE = {"stages": "4", "order": "", "local": "", "extractor": "gap", "last_stride": 2, "neck": False}
COMPONENT = {"stages": "4", "order": "", "local": "", "extractor": "gap"}
NO_TRICKS = {"schedule": {"warmup": 0}, "augmentation": {"erase": 0.0}}


def _without_tricks(name: str, **parts: str) -> Row:
    """A row of the baseline with the components ``parts``, without the bag of tricks."""
    return Row(name, (COMPONENT | parts if parts else BASELINE) | {"smoothing": 0.0}, NO_TRICKS)


CUMULATIVE = (
    _without_tricks("Baseline"),
    Row("+ Bag of Tricks", BASELINE),
    Row("+ MPFE", {"stages": "4", "order": "", "local": ""}),
    Row("+ MGO", {"stages": "4", "order": ""}),
    Row("+ SAM", {"order": "S+concat"}),
    Row("+ CAM"),
)
PCB = Row("Full (PCB in place of MGO)", {"local": "pcb"})
ORDERS = ("concat+C+S", "C+S+concat", "C+concat+S", "concat+S+C", "S+C+concat")
OURS = (Row("Ours"),)

TABLES = (
    Table("table2", "Comparison on Market-1501", OURS, ("market1501",), "trapezoid"),
    Table("table3", "Comparison on DukeMTMC-reID", OURS, ("dukemtmc",), "trapezoid"),
    Table("table4", "Comparison on CUHK03", OURS, ("cuhk03np-labeled", "cuhk03np-detected"), "trapezoid"),
    Table("table5", "Comparison on MSMT17", OURS, ("msmt17",), "trapezoid"),
    Table("table6", "Components, one after the other", CUMULATIVE, ("market1501", "dukemtmc"), "trapezoid"),
    Table(
        "table7",
        "Components, each alone",
        (
            CUMULATIVE[0],
            Row("Baseline+Tricks", BASELINE),
            _without_tricks("Baseline+MGO", local="mgo"),
            _without_tricks("Baseline+MPFE", extractor="mpfe"),
            # Placed as in the full network (section 3.1): SAM before the fusion of the four stages, CAM after it.
            _without_tricks("Baseline+SAM", stages="1234", order="S+concat"),
            _without_tricks("Baseline+CAM", stages="1234", order="concat+C"),
            Row("Full (MGO)"),
            PCB,
        ),
        ("dukemtmc",),
        "trapezoid",
    ),
    # The models of table 6, tested on the other data set: nothing is trained anew.
    Table(
        "table8",
        "Components, across data sets",
        CUMULATIVE,
        ("dukemtmc->market1501", "market1501->dukemtmc"),
        "trapezoid",
    ),
    Table(
        "table9",
        "The order of SAM (S), CAM (C) and concatenation",
        (
            Row("BaselineBMM", {"stages": "4", "order": ""}),
            Row("BaselineBMM+S", {"stages": "4", "order": "S"}),
            Row("BaselineBMM+C", {"stages": "4", "order": "C"}),
            *(Row(f"BaselineBMM+{order}", {"order": order}) for order in ORDERS),
            Row("BaselineBMM+S+concat+C"),
        ),
        ("market1501",),
        "trapezoid",
    ),
    Table(
        "table10",
        "The stages that are fused",
        (
            *(Row(f"stage {stage}", {"stages": stage}) for stage in "1234"),
            Row("stage 1-2", {"stages": "12"}),
            Row("stage 1-3", {"stages": "123"}),
            Row("stage 2-4", {"stages": "234"}),
            Row("All stage"),
        ),
        ("market1501", "dukemtmc"),
        "trapezoid",
    ),
    # Beyond the paper: the models that ``analysis.boxes`` compares.
    Table("boxes", "Robustness to bad boxes", (CUMULATIVE[0], PCB, Row("Full (MGO)")), (), "trapezoid"),
)

_ROWS = [row.name for row in CUMULATIVE]
_ADDED = dict(zip(_ROWS[1:], ("The bag of tricks", "MPFE", "MGO", "SAM", "CAM"), strict=True))
_SINGLE_COMPONENTS = ("Baseline+Tricks", "Baseline+MGO", "Baseline+MPFE", "Baseline+SAM", "Baseline+CAM")
_STAGES = [f"stage {stages}" for stages in ("1", "2", "3", "4", "1-2", "1-3", "2-4")]

CLAIMS = (
    *(
        Claim(f"{_ADDED[pair[0]]} improves the network with the components before it", "section 4.4", "table6", (pair,))
        for pair in rising(*_ROWS)
    ),
    Claim("All components together improve the baseline", "section 4.4", "table6", ((_ROWS[-1], _ROWS[0]),)),
    *(
        Claim(
            f"{row.removeprefix('Baseline+')} alone improves the baseline", "section 4.4", "table7", ((row, _ROWS[0]),)
        )
        for row in _SINGLE_COMPONENTS
    ),
    Claim("MGO's windows are better than PCB's stripes", "section 4.4", "table7", (("Full (MGO)", PCB.name),)),
    Claim(
        "Each added component also improves the results on another data set",
        "section 4.4",
        "table8",
        rising(*_ROWS),
    ),
    Claim(
        "First SAM, then concatenation, then CAM is the best order",
        "section 4.4",
        "table9",
        above("BaselineBMM+S+concat+C", *(f"BaselineBMM+{order}" for order in ("C", "S", *ORDERS))),
    ),
    Claim(
        "The more stages are fused, the better",
        "section 4.4",
        "table10",
        rising("stage 1", "stage 1-2", "stage 1-3", "All stage"),
    ),
    Claim("Of single stages, 2 is better than 1 and 3 than 2", "section 4.4", "table10", rising(*_STAGES[:3])),
    Claim("Stage 3 alone is better than stage 4 alone", "section 4.4", "table10", (("stage 3", "stage 4"),)),
    Claim("The fusion of all stages is the best", "section 4.4", "table10", above("All stage", *_STAGES)),
)
"""What section 4.4 claims about its tables. In print, stage 3 is better than stage 4 only in rank-1 on Market-1501."""

CONTRADICTIONS = (
    Contradiction(
        "section 4.3, CUHK03",
        "'surpasses all competing algorithms on rank-1'",
        "table 4, detected: GCP has 77.9 and the network 77.5",
    ),
    Contradiction(
        "tables 9 and 10",
        "'stage 4' reaches 93.7/86.1 on Market-1501 (table 10)",
        "table 9: stage 4 alone reaches 94.7/86.5 without attention and 94.9/86.6 or 95.1/86.9 with one",
    ),
)

READINGS = (
    Reading(
        "cam",
        "eq. 2, section 3.2",
        "sigma(f([AvgPool(F) + MaxPool(F)])): the pools are added before the shared MLP",
        "sum",
        ("cbam",),
        "as printed; the released code adds the MLP's outputs for both pools, as CBAM does",
    ),
    Reading(
        "cam_scaled",
        "eq. 2",
        "nothing on the size of what enters the MLP",
        False,
        (True,),
        "as printed; but pooled activations are unbounded, and where they saturate the sigmoid, channels die and get no"
        " gradient to recover, which an input of unit root mean square prevents",
    ),
    Reading(
        "sam_kernel",
        "eq. 1",
        "'f means the convolution layer', size not given",
        7,
        (3,),
        "as in the released code and in CBAM",
    ),
    Reading(
        "order",
        "tables 6 and 9",
        "'+ SAM' follows '+ MGO'; no row adds the fusion of stages (MFF). 'S+C+© means we first adopt CAM and then use"
        " SAM', but 'the character order represents the order in which operations are performed'",
        "S+concat+C",
        (),
        "by table 9 the last row is S+concat+C, and stage 4 with SAM alone (94.9/86.6) differs from '+ SAM'"
        " (95.3/87.2), so the fusion is added with SAM: '+ SAM' is S+concat. Operations are applied in the order"
        " of the letters",
    ),
    Reading(
        "stages",
        "table 10",
        "'stage 4' reaches 93.7/86.1 on Market-1501; in table 9 stage 4 alone reaches 94.7/86.5 without attention and"
        " 94.9/86.6 or 95.1/86.9 with one",
        "1234",
        (),
        "table 10's rows are read as the full network on fewer stages, S+C for a single one; its 'stage 4' then agrees"
        " poorly with table 9, but no other combination of the components agrees better",
    ),
    Reading(
        "stripes",
        "eq. 3",
        "rows (k-1)H/n+1 to (k-1)H/n + lH/n with l = 1..p, n = 1..k: k is both a window's number and the number of"
        " stripes, n both an index and a divisor",
        6,
        (),
        "the text determines the meaning: 6 parts, k stripes at the bottom, one global feature at the top, hence all"
        " windows of l = 1..6 adjacent stripes, 21 in total",
    ),
    Reading(
        "activation",
        "section 3.4",
        "ReLU",
        "relu",
        ("leaky",),
        "as printed; the released code uses LeakyReLU(0.1)",
    ),
    Reading(
        "neck",
        "table 6, 'Baseline'",
        "ResNet-50 with the ID loss; nothing between a window's average and its classifier where there is no MPFE",
        True,
        (),
        "batch normalisation, as at the end of MPFE; neck=False omits it (the full network has no such layer)",
    ),
    Reading(
        "triplet",
        "eq. 4",
        "1/M L_tp, 'M represents the number of triplet loss', which is not given",
        "window",
        ("level",),
        "one per feature, as in figure 5; the released code has one for each of the 6 levels, on the concatenated"
        " features of its windows",
    ),
    Reading(
        "compared",
        "section 3.4",
        "the 512-vector after the fully connected layer 'is used to calculate the triplet loss'",
        "bn",
        ("fc",),
        "the text says 'fc' (so ``as_printed``), but the numbers are those of the released code, which compares after"
        " batch normalisation: its Duke result, 90.17/80.16, is table 10's. In the quick profile on Market-1501 (one"
        " seed, with DropBlock, trapezoid mAP) 'bn' has 66.1 and 'fc' 64.6; from random weights (demo, without) 46.5"
        " and 37.5. Before it the batch-hard loss can fall to its margin by contracting all features; it fixes their"
        " standard deviation",
    ),
    Reading(
        "dropblock",
        "section 4.1",
        "'random erasing, horizontal flipping, random cropping and dropblock [59]'; place and size not given",
        "",
        ("max", "input", "batch", "image"),
        "the released code, whose numbers the paper prints, has none. Reference 59 drops one block for the full batch,"
        " of what the maximum sees ('max', so ``as_printed``); as an augmentation it would act on the images ('input');"
        " or on the map before the windows. 'batch' lowers the full network's trapezoid mAP from 70.5 to 66.1 in the"
        " quick profile on Market-1501 (one seed), and from 37.5 to 28.9 in demo, where 'max' has 29.3",
    ),
    Reading(
        "fc",
        "section 3.4",
        "nothing on the initialisation and biases of the fully connected layers",
        "torch",
        ("released",),
        "PyTorch's default; the released code initialises by fan-out and has no biases",
    ),
    Reading(
        "last_stride",
        "section 4.1",
        "'the cancellation of the last spatial down-sample operation in the stage 4, which enlarges the feature map by"
        " 4x': said of the proposed network, compared with ResNet-50 (IDE)",
        1,
        (2,),
        "as printed for the network; ResNet-50 itself, table 6's 'Baseline', keeps 2",
    ),
    Reading(
        "drop_height",
        "section 4.1",
        "'dropblock [59]', size not given",
        0.33,
        (),
        "reference 59's code drops a third of the height over the full width, as far as is known; by default nothing",
    ),
    Reading(
        "augmentation",
        "section 4.1",
        "'random cropping', size not given; random erasing, probability not given",
        {"pad": 10},
        ({"pad": 0},),
        "the padding of 10 pixels common in the field; the released code does not crop. It erases half of the images",
        of="recipe",
    ),
    Reading(
        "warmup_from",
        "eq. 5",
        "3e-4 e/10 for e <= 10, so 3e-5 in the first epoch",
        3e-5,
        (3e-4,),
        "as printed; the released code starts at 3e-4",
        of="schedule",
    ),
    Reading(
        "warmup_to",
        "eq. 5",
        "3e-4 at e = 10, then a jump to 0.01",
        3e-4,
        (0.01,),
        "as printed; usually a warm-up ends at the rate with which training continues",
        of="schedule",
    ),
    Reading(
        "nesterov",
        "section 4.1",
        "'SGD with a momentum of 0.9'",
        True,
        (False,),
        "as in the released code",
        of="recipe",
    ),
    Reading(
        "fresh_momentum",
        "section 4.1",
        "nothing",
        True,
        (False,),
        "the released code creates a new optimiser each epoch, which resets the momentum",
        of="recipe",
    ),
    Reading(
        "flip_test",
        "section 3.4",
        "'in the testing phase, we use the output of BN layer as the testing vector'",
        True,
        (False,),
        "the released code sums the vectors of the image and of its mirror image",
        of="recipe",
    ),
    Reading(
        "normalise_test",
        "section 3.4",
        "nothing on the vectors' length or on the distance",
        True,
        (False,),
        "the released code L2-normalises the concatenation of all windows",
        of="recipe",
    ),
    *recipe_readings(
        RECIPE,
        "section 4.1",
        "'the size of mini-batch is 64'",
        "the released code's; the text does not say how a batch is drawn",
        "sampler",
    ),
)
