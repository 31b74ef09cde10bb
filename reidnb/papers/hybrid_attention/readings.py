"""Where the hybrid-attention paper is silent or says two things, and how this study reads it: the ledger as data.

'The released code' is the authors', github.com/libraflower/MutipleFeature-for-PRID.
"""

from ..paper import Reading, Row
from .tables import RECIPE

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
"""Exactly what is printed, and what the released code does wherever that is known.

The released network has no attention: as released, the full network of a table (its row without options) has none.
"""

READINGS = (
    Reading(
        "cam",
        "eq. 2, section 3.2",
        "sigma(f([AvgPool(F) + MaxPool(F)])): the pools are added before the MLP; 'a shared multi-layer perception'",
        "sum",
        ("cbam",),
        "as eq. 2 prints. 'Shared' favours CBAM's form, the sum of the MLP's outputs for both pools: an MLP that takes"
        " one sum is shared by nothing. The released code cannot decide, as its network has no attention",
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
        "as in CBAM; the released code's network has no attention",
    ),
    Reading(
        "cam_reduction",
        "section 3.2",
        "'two fully connected layers', width of the hidden one not given",
        16,
        (),
        "as in CBAM",
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
        "order",
        "table 7",
        "'Baseline' with SAM alone, and with CAM alone; nothing on the stages that they see",
        "S+concat+C",
        (),
        "each stands where it stands in the full network, SAM before the concatenation and CAM after it, so both rows"
        " also have the fusion of the four stages, and their gain is that of two parts",
    ),
    Reading(
        "extractor",
        "table 6, '+ MPFE'",
        "no row names the triplet loss; section 3.4 computes it from MPFE's fully connected layer",
        "mpfe",
        (),
        "so it enters with '+ MPFE', whose gain is that of the extractor and of a second loss; the rows before it have"
        " the ID loss alone",
    ),
    Reading(
        "reduced",
        "section 3.4",
        "'a 1*1 convolutional layer is introduced to reduce the dimension', to how many is not given",
        256,
        (),
        "as in the released code",
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
        "margin",
        "sections 3.5 and 4.1",
        "'triplet loss [23]' with 'the margin 1.0'; nothing on how the triplets of a batch are chosen",
        1.0,
        (),
        "as printed; batch-hard mining (Hermans et al. 2017) by Euclidean distances, which batches of 4 images of each"
        " identity are made for",
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
    Reading(
        "sampler",
        "section 4.1",
        "'the size of mini-batch is 64'; nothing on how a batch is drawn",
        RECIPE.sampler,
        (),
        "the released code's 16 identities with 4 images each, in every row ('We keep the same experiments setting'),"
        " so that rows differ in what their names say, although the baseline's ID loss alone does not need them",
        of="recipe",
    ),
    Reading(
        "ap",
        "section 4.1",
        "'mean Average Precision', not defined",
        "trapezoid",
        (),
        "the released code's: the trapezoids under the precision-recall curve, as in Market-1501's code, 0.1 to 1 point"
        " from the mean precision at the matches. Every run keeps both",
        of="study",
    ),
)
