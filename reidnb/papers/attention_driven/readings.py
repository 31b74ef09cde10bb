"""The ledger of the attention-driven network: where its paper is silent or ambiguous, and what it says twice."""

from ..paper import Contradiction, Reading, recipe_readings
from .tables import RECIPE

CONTRADICTIONS = (
    Contradiction(
        "figure 3, caption",
        "the branches have 'shared lower convolutional layers'",
        "table 1 shares conv1 alone, and section 4.4.5 says 'share the first conv layer only'",
    ),
    Contradiction(
        "section 3.2, after eq. 2",
        "beta 'is empirically set at H/10'",
        "table 11: of its rows 0, H/48 .. 6H/48 it is 5H/48 that has table 6's numbers",
    ),
    Contradiction(
        "section 3.3.2",
        "the decomposition 'reduces the number of parameters ... more details to be discussed in the experiments'",
        "table 8 compares accuracy only, and table 12 has no network without the decomposition",
    ),
    Contradiction(
        "table 2, images",
        "36,411 of DukeMTMC-reID, which is 16,522 + 17,661 + 2,228 with the queries",
        "32,668 of Market-1501 is 12,936 + 19,732, without the 3,368 queries",
    ),
    Contradiction(
        "section 4.2",
        "rank-1 on Market-1501 exceeds PDC's by 10.95 points",
        "table 3: 94.99 - 84.14 = 10.85",
    ),
    Contradiction(
        "section 4.4.5",
        "the attentions are 'computational light'",
        "table 12: they add 19 % of multiply-adds, but 53 % of parameters (6.8 to 10.4 million)",
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
        "undecomposed",
        "section 3.3.2; table 8, 'without attention decomposition'",
        "attention 'of dimension h x w x c (the same size as features as in conventional attention models)'; the"
        " decomposition 'reduces the number of parameters ... significantly'",
        "3x3",
        ("1x1",),
        "used by the row 'Without attention decomposition' only. A 3x3 convolution of A has 15.08 million parameters"
        " and 4.06e9 multiply-adds, the decomposition 10.29 million and 2.70e9, so it saves a third of both; a 1x1"
        " convolution has 9.57 million and 2.70e9, so the decomposition would add parameters",
    ),
    Reading(
        "spatial kernel",
        "section 3.3.2, eq. 6",
        "S is 'computed by a convolutional layer', no kernel",
        "3x3",
        (),
        "like the other convolutions that look at space; the paper says where a kernel is 1x1",
        of="study",
    ),
    Reading(
        "masking",
        "section 3.3, eq. 5; section 3.3.3, eq. 7",
        "eq. 5, 'the basic form', v = m * a, 'may degrade the features of deep network layers'; eq. 7 replaces it",
        "residual",
        ("plain",),
        "eq. 7 is the paper's network; eq. 5 shows whether features degrade without it, for which no number is printed",
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
        "body_weight",
        "section 3.4, after eq. 9",
        "'we also investigated ... learning the weight of E_g in the similar way as in Eq. (8), but the obtained"
        " performance is slightly lower'",
        "fixed",
        ("learned",),
        "the scheme that the paper keeps; a learned weight 1 + mu_0 scales E_g in what l_inter sees, and its half of"
        " the test descriptor after that has been normalised",
    ),
    Reading(
        "inter_input",
        "section 3.4, after eq. 9; section 3.5",
        "l_inter trains 'the inter-attention module'; the final feature has 'the same weight' for E_g and E_l; whether"
        " in training too is not stated",
        "raw",
        ("normalised", "parts"),
        "[E_g, E_l] is the only fused feature that the text defines; two halves of length 1, as at test time, bound the"
        " logits, and E_l alone is all that the module puts out",
    ),
    Reading(
        "concat_weight",
        "section 3.5, eq. 11; table 6, 'Aligned'; table 9, 'Concatenation'",
        "lambda weighs the branches' losses against l_inter; nothing for rows that have no l_inter",
        "one",
        ("lambda",),
        "used by rows without inter-attention only: without l_inter there is nothing to weigh against, and with lambda"
        " the total loss, so its gradient too, is halved",
    ),
    Reading(
        "classifier bias",
        "section 3.5, eq. 10",
        "the logit is W_k X, without a bias",
        True,
        (),
        "the usual fully connected layer; classifiers are not used at test time",
        of="study",
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
    Reading(
        "divided",
        "section 4.1.3",
        "'subtracting its channel means', no division",
        True,
        (False,),
        "common practice divides by the data set's standard deviations; the three differ by 2 %, and batch"
        " normalisation behind conv1 removes their common scale from the output, though not from conv1's gradient",
    ),
    Reading(
        "batch statistics behind conv1",
        "table 1, 'Share: Yes'; figure 3, 'shared lower convolutional layers'",
        "conv1 is shared; batch normalisation is not mentioned",
        "separate",
        (),
        "whole bodies and magnified parts have different statistics, so each branch normalises conv1's output itself",
        of="study",
    ),
    Reading(
        "pose estimator",
        "section 3.2",
        "'an off-the-shelf pose estimator [58]' of 18 joints; 'missing or with ultra-low ... confidence', no value",
        "Keypoint R-CNN, confidence below 0.2",
        (),
        "torchvision's, trained on COCO, whose 17 joints give the 18; joints of another one can be read from a file."
        " Below the threshold a joint is estimated from the canonical poses",
        of="study",
    ),
    Reading(
        "pre-training",
        "section 4.1.3",
        "'first pre-trained on the ImageNet', nothing on its regions and losses",
        "strips, without l_inter",
        (),
        "pictures of objects have no joints, so the parts are four fixed strips; each branch has its classifier, and"
        " the fusion is learned on people only",
        of="study",
    ),
    *recipe_readings(
        RECIPE,
        "section 4.1.3",
        "nothing",
        "the usual values; the text names no augmentation",
        *("momentum", "weight_decay", "augmentation"),
    ),
)
