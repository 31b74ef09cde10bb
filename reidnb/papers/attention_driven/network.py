"""The attention-driven multi-branch network (its tables are in ``tables``).

The paper, section by section: 3.1 base network (table 1), 3.2 parts (``pose`` computes the boxes), 3.3
intra-attention (``branches``), 3.4 inter-attention (eq. 8 and 9), 3.5 loss (eq. 10 and 11). The whole body at
384x192 and four parts at 96x192, cropped from the image by pose, go through five branches that share conv1 only.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.augment import STD
from ...files import cache_dir
from ...models.backbone import street_weights
from ...models.losses import id_loss
from ...models.options import check
from ...models.output import Output
from ...pose import BETA
from ...weight_files import read_state
from .branches import ATTENTION_WIDTHS, BODY_WIDTHS, PARTS, STRIPS, Branches, cut

SHAPES = {"five-branch": 1.0, "five-branch-half": 0.5, "five-branch-quarter": 0.25, "five-branch-eighth": 0.125}
"""Width of each network as a fraction of table 1's channels. The narrow ones serve two CPU cores and tests."""
REDUCED = (256, 128)
"""FC_reduce of table 1: feature dimensions of the whole body and of a part."""
ALL_FEATURES = REDUCED[0] + 4 * REDUCED[1]
POOLING = {"1x2": (1, 2), "1x1": (1, 1), "2x2": (2, 2)}
"""Stride (height, width) of the part branches' max pooling."""
CHOICES = {
    "backbone": SHAPES,
    "regions": ("pose", "strips"),
    "pooling": POOLING,
    "shortcut": ("padding", "projection"),
    "undecomposed": ("3x3", "1x1"),
    "attention": ATTENTION_WIDTHS,
    "masking": ("residual", "plain"),
    "fusion": ("inter", "fc", "concat"),
    "body_weight": ("fixed", "learned"),
    "inter_input": ("raw", "normalised", "parts"),
    "concat_weight": ("one", "lambda"),
    "neck": ("none", "bn"),
    "halves": ("normalised", "plain"),
    "means": ("imagenet", "image"),
}
"""The allowed values of each option of ``AttentionDriven`` that is a word."""
PRETRAINED = ("conv1.", "norm_body.", "norm_parts.", "body.", "parts.", "reduce_body.", "reduce_parts.")
"""Prefixes of the parameters taken over from ImageNet pre-training: all but classifiers and fusion."""


def strips(batch: int) -> Tensor:
    """The regions (B, 5, 4) of the baseline without pose: the full image and four horizontal strips."""
    return torch.tensor(STRIPS, dtype=torch.float32).expand(batch, -1, -1)


class InterAttention(nn.Module):
    """The weight of each part: mu_i = sigmoid(w_i E_i + b_i), four independent layers (section 3.4, eq. 8)."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, 1) for _ in PARTS)

    def forward(self, parts: Tensor) -> Tensor:
        """mu (B, 4) of the parts' features E (B, 4, width)."""
        return torch.sigmoid(torch.cat([layer(parts[:, i]) for i, layer in enumerate(self.layers)], 1))


def fuse(parts: Tensor, mu: Tensor) -> Tensor:
    """E_l = [(mu_1+1) E_1, .., (mu_4+1) E_4] (B, 4*width) of E (B, 4, width) and mu (B, 4), eq. 9."""
    return ((mu[:, :, None] + 1) * parts).flatten(1)


def join(e_g: Tensor, e_l: Tensor, weight: Tensor | float = 1.0, halves: str = "raw") -> Tensor:
    """[weight * E_g, E_l] (B, n + m) of E_g (B, n) and E_l (B, m), section 3.4 after eq. 9.

    ``weight`` is a number or (B, 1). With ``halves`` 'normalised' each half is first scaled to length 1.
    """
    if halves == "normalised":
        e_g, e_l = F.normalize(e_g), F.normalize(e_l)
    return torch.cat([weight * e_g, e_l], 1)


class AttentionDriven(nn.Module):
    """The network of the paper; its options give every row of tables 3 to 11.

    identities    training identities
    size          (H, W) of the whole body; the parts are a quarter as high: 384x192 and 96x192 in the paper
    backbone      a name of ``SHAPES``
    weights       a .safetensors file of ``pretraining``, 'imagenet' (its file in the cache), 'street' (of the narrow
                  network; parameters that a reading changes stay random), or '' (random). A network without attention,
                  or with another decomposition or masking, has files of its own (``variant``); another masking cannot
                  be told from a file's arrays
    regions       'pose': whole body and parts are boxes around the joints, passed to ``forward``; 'strips': the full
                  image and four fixed horizontal strips
    beta          overlap of neighbouring boxes as a fraction of H (eq. 2); used by ``pose`` to compute the boxes
    pooling       stride of the part branches' max pooling, a key of ``POOLING``
    shortcut      'padding' or 'projection' where a residual unit changes its shape
    intra         whether it has intra-attention
    decomposed    whether its mask combines a spatial and a channel map, or is one map of h x w x c (table 8)
    undecomposed  kernel of the convolution of that one map, '3x3' or '1x1'
    normalised    whether batch normalisation follows the convolutions of S and C
    attention     widths of its residual units, a key of ``ATTENTION_WIDTHS``
    masking       'residual', (1 + m) * a (eq. 7), or 'plain', m * a (eq. 5)
    fusion        'inter' (eq. 8 and 9), 'fc' (a fully connected layer over all features), or 'concat' (at test time
                  only: the fused feature has no loss)
    fc_width      output features of 'fc'
    body_weight   weight of E_g in the fusion 'inter': 'fixed' (1) or 'learned' (1 + mu_0, as eq. 8 for the parts)
    inter_input   what the loss l_inter of the fusion 'inter' sees: [E_g, E_l] 'raw', with each half L2-'normalised', or
                  E_l alone ('parts')
    intra_weight  lambda of eq. 11
    concat_weight weight of the branches' losses in the fusion 'concat': 'one' or 'lambda'
    neck          'none', or 'bn': batch normalisation after FC_reduce
    halves        whether E_g and E_l are each L2-normalised in the descriptor: 'normalised' or 'plain'
    means         channel means subtracted from an image: those of 'imagenet', or of the 'image' itself
    divided       whether the channels are then divided by ImageNet's standard deviations
    dropout       dropout rate before each classifier
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (384, 192),
        backbone: str = "five-branch",
        weights: str = "",
        regions: str = "pose",
        beta: float = BETA,
        pooling: str = "1x2",
        shortcut: str = "padding",
        intra: bool = True,
        decomposed: bool = True,
        undecomposed: str = "3x3",
        normalised: bool = True,
        attention: str = "table12",
        masking: str = "residual",
        fusion: str = "inter",
        fc_width: int = 768,
        body_weight: str = "fixed",
        inter_input: str = "raw",
        intra_weight: float = 0.5,
        concat_weight: str = "one",
        neck: str = "none",
        halves: str = "normalised",
        means: str = "imagenet",
        divided: bool = True,
        dropout: float = 0.5,
    ):
        super().__init__()
        _check_choices(backbone=backbone, regions=regions, pooling=pooling, shortcut=shortcut, neck=neck)
        _check_choices(undecomposed=undecomposed, attention=attention, masking=masking, halves=halves, means=means)
        _check_choices(fusion=fusion, body_weight=body_weight, inter_input=inter_input, concat_weight=concat_weight)
        _check_values(intra_weight, beta, body_weight, fusion, inter_input)
        self.size, self.part_size = size, (size[0] // 4, size[1])
        self.regions, self.means, self.divided = regions, means, divided
        self.halves, self.fusion, self.inter_input = halves, fusion, inter_input
        self.intra_weight = 1.0 if fusion == "concat" and concat_weight == "one" else intra_weight
        self.register_buffer("strips", strips(1), persistent=False)  # a buffer moves to the device with the network
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

        paths = ATTENTION_WIDTHS[attention] if intra else ()
        first, widths, inside = (tuple(int(c * SHAPES[backbone]) for c in of) for of in ((32,), BODY_WIDTHS, paths))
        shared = {"shortcut": shortcut, "masking": masking, "normalised": normalised}
        shared |= {"decomposed": decomposed, "undecomposed": undecomposed}
        self.conv1 = nn.Conv2d(3, first[0], 3, stride=2, padding=1, bias=False)
        # Only the convolution is shared: whole bodies and parts have separate batch statistics.
        self.norm_body, self.norm_parts = nn.BatchNorm2d(first[0]), nn.BatchNorm2d(4 * first[0])
        self.body = Branches(first[0], widths, (2, 2), inside, **shared)
        halved, halved_inside = (tuple(c // 2 for c in of) for of in (widths, inside))
        self.parts = Branches(first[0], halved, POOLING[pooling], halved_inside, groups=4, **shared)
        self.reduce_body = _reduce(2 * widths[-1], REDUCED[0], 1, neck)
        self.reduce_parts = _reduce(widths[-1], REDUCED[1], 4, neck)
        self.inter = InterAttention(REDUCED[1]) if fusion == "inter" else None
        self.inter_body = nn.Linear(REDUCED[0], 1) if body_weight == "learned" else None
        self.fc = nn.Linear(ALL_FEATURES, fc_width) if fusion == "fc" else None
        self.dropout = nn.Dropout(dropout)
        classified = _classified_widths(fusion, fc_width, inter_input).items()
        self.classifiers = nn.ModuleDict({name: nn.Linear(width, identities) for name, width in classified})
        if weights:
            _load(self, backbone, weights, variant(intra, decomposed, undecomposed, masking))

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn: conv5x of the whole body."""
        return self.body.blocks[-1]

    @property
    def columns(self) -> dict[str, slice]:
        """Each region's columns of the descriptor (table 7); empty with 'fc', which mixes all regions."""
        if self.fusion == "fc":
            return {}
        body, part = REDUCED
        columns = {"global": slice(0, body)}
        columns |= {name: slice(body + i * part, body + (i + 1) * part) for i, name in enumerate(PARTS)}
        return columns | {"parts": slice(body, body + 4 * part), "all": slice(0, body + 4 * part)}

    def forward(self, images: Tensor, labels: Tensor | None = None, boxes: Tensor | None = None) -> Output:
        """Descriptors and logits of images (B, 3, H, W); ``labels`` are ignored.

        ``boxes`` (B, 5, 4) are the regions R0..R4 of eq. 2, x0, y0, x1, y1 as fractions of the image. The output's
        ``maps`` are the masks of blocks 2..4, (B, 1, h, w) of the body and (B, 4, h, w) of the parts, and mu (B, 4);
        where the weight of E_g is learned, mu_body (B, 1) too.
        """
        body, parts = self._cut(images, boxes)
        x = F.relu(self.norm_body(self.conv1(body)))
        y = self.conv1(parts.flatten(0, 1)).unflatten(0, (-1, 4)).flatten(1, 2)  # (B, 4*32, h, w)
        y = F.relu(self.norm_parts(y))
        x, body_masks = self.body(x)
        y, part_masks = self.parts(y)
        e_g = self.reduce_body(x.mean((2, 3), keepdim=True)).flatten(1)  # (B, 256)
        e = self.reduce_parts(y.mean((2, 3), keepdim=True)).flatten(1).unflatten(1, (4, -1))  # (B, 4, 128)

        maps = {f"body{n}": m for n, m in body_masks.items()} | {f"parts{n}": m for n, m in part_masks.items()}
        e_l, weight = e.flatten(1), 1.0
        if self.inter:
            maps["mu"] = self.inter(e)
            e_l = fuse(e, maps["mu"])
        if self.inter_body:
            maps["mu_body"] = torch.sigmoid(self.inter_body(e_g))
            weight = 1 + maps["mu_body"]
        features = {"global": e_g, **{name: e[:, i] for i, name in enumerate(PARTS)}}
        if self.fusion == "inter":
            features["fused"] = e_l if self.inter_input == "parts" else join(e_g, e_l, weight, self.inter_input)
        elif self.fc:
            features["fused"] = self.fc(torch.cat([e_g, e_l], 1))
        if self.fc:
            descriptor = features["fused"].float()
            descriptor = F.normalize(descriptor) if self.halves == "normalised" else descriptor
        else:
            descriptor = join(e_g.float(), e_l.float(), weight, self.halves)
        return Output(
            descriptor=descriptor,
            id_logits={name: head(self.dropout(features[name])) for name, head in self.classifiers.items()},
            maps=maps,
        )

    def _cut(self, images: Tensor, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
        """The whole bodies (B, 3, H, W) and the parts (B, 4, 3, H/4, W)."""
        if self.regions == "strips":
            boxes = self.strips.expand(len(images), -1, -1)
        if boxes is None:
            raise ValueError("regions='pose' needs boxes (B, 5, 4) for the images; regions='strips' does not")
        if boxes.shape != (len(images), 1 + len(PARTS), 4):
            raise ValueError(
                f"boxes must have shape ({len(images)}, 5, 4) for {len(images)} images, got {tuple(boxes.shape)}"
            )
        if self.means == "image":
            images = images - images.mean((2, 3), keepdim=True)
        if not self.divided:
            images = images * self.std
        body = cut(images, boxes[:, :1], self.size)[:, 0].contiguous(memory_format=torch.channels_last)
        return body, cut(images, boxes[:, 1:], self.part_size)

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The losses of eq. 10 by name, weighted; their sum is L = lambda * sum_j l_intra_j + l_inter (eq. 11)."""
        weights = dict.fromkeys(output.id_logits, self.intra_weight) | {"fused": 1.0}
        return {f"id_{name}": weights[name] * id_loss(x, labels, 0.0) for name, x in output.id_logits.items()}


def _check_choices(**options: str) -> None:
    for name, value in options.items():
        check(name, value, CHOICES[name])


def _check_values(intra_weight: float, beta: float, body_weight: str, fusion: str, inter_input: str) -> None:
    if not 0 <= intra_weight <= 1:
        raise ValueError(f"intra_weight (lambda of eq. 11) must lie in [0, 1], got {intra_weight}")
    if not 0 <= beta <= 0.5:
        raise ValueError(f"beta, a fraction of the body's height H, must lie in [0, 0.5], got {beta}")
    if body_weight == "learned" and (fusion != "inter" or inter_input == "parts"):
        raise ValueError(
            "body_weight='learned' needs a loss that sees E_g: fusion='inter' with inter_input 'raw' or 'normalised',"
            f" got fusion={fusion!r} with inter_input={inter_input!r}"
        )


def _classified_widths(fusion: str, fc_width: int, inter_input: str) -> dict[str, int]:
    """The width of each feature that has a classifier."""
    widths = {"global": REDUCED[0], **dict.fromkeys(PARTS, REDUCED[1])}
    if fusion == "fc":
        widths["fused"] = fc_width
    elif fusion == "inter":
        widths["fused"] = ALL_FEATURES - REDUCED[0] if inter_input == "parts" else ALL_FEATURES
    return widths


def _reduce(inputs: int, outputs: int, groups: int, neck: str) -> nn.Module:
    """FC_reduce of ``groups`` branches as a grouped convolution of pooled maps (B, groups*inputs, 1, 1)."""
    layer = nn.Conv2d(groups * inputs, groups * outputs, 1, groups=groups)
    return layer if neck == "none" else nn.Sequential(layer, nn.BatchNorm2d(groups * outputs))


def variant(intra: bool = True, decomposed: bool = True, undecomposed: str = "3x3", masking: str = "residual") -> str:
    """The suffix of a pre-training file's name: a network's branches are pre-trained with its own kind of attention."""
    if not intra:
        return "-plain"
    kind = "" if decomposed else "-undecomposed" if undecomposed == "3x3" else f"-undecomposed-{undecomposed}"
    return kind if masking == "residual" else f"{kind}-masked"


def pretrained_file(backbone: str, kind: str = "") -> Path:
    """The cached file of ImageNet weights that ``pretraining`` writes and weights='imagenet' reads; ``kind`` of
    ``variant``."""
    return cache_dir() / "weights" / f"attention_driven-{backbone}{kind}-imagenet.safetensors"


def _load(model: AttentionDriven, backbone: str, weights: str, kind: str) -> None:
    """Load all parameters but those of classifiers and fusion from a file of ``pretraining``.

    Raises ValueError for the weights of a network with another kind of attention: rows with and without attention
    would not start alike.
    """
    if weights == "street":
        path = street_weights(backbone + kind)
    else:
        path = pretrained_file(backbone, kind) if weights == "imagenet" else Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"weights {weights}: {path} does not exist. No ImageNet weights of this network are published: train them"
            " with reidnb.papers.attention_driven.pretraining, or use weights='' (random initial weights)"
        )
    state = read_state(path)
    pretrained = {name: value for name, value in model.state_dict().items() if name.startswith(PRETRAINED)}
    wrong = [name for name, value in pretrained.items() if name not in state or state[name].shape != value.shape]
    left_over = [name for name in state if name.startswith(PRETRAINED) and name not in pretrained]
    # The street weights belong to the default readings: parameters that another reading changes stay random.
    if weights != "street" and (bad := wrong + left_over):
        raise ValueError(
            f"weights {path} do not fit this network with these options: {len(wrong)} of its {len(pretrained)} arrays"
            f" are missing or have another shape, and {len(left_over)} of the file belong to another network"
            f" (first: {bad[0]})"
        )
    model.load_state_dict({name: state[name] for name in pretrained if name not in wrong}, strict=False)
