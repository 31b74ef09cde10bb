"""DRANet: dual reverse attention networks (its tables are in ``tables``).

The reverse channel attention module (RCAM, figure 2) turns each part's map A into a hard example C; the reverse spatial
attention module (RSAM, figure 3) turns the output B of the channel attention into a hard example D. Each
of B, C and D is classified. Hard examples exist in training only. Input 384x128, ResNet-50 with the last down-sampling
removed, so that stage 4 gives 2048x24x8, cut into three parts of 2048x8x8.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.backbone import Backbone
from ...models.layers import same_parameters
from ...models.losses import id_loss
from ...models.options import check
from ...models.output import Output

DESCRIPTOR = {"both": ("b", "f"), "attended": ("b",), "classified": ("f",)}


class ChannelAttention(nn.Module):
    """m = f_eq(g) = sigmoid(W1 relu(W0 g)) with g the average of A (B, C, h, w) over h and w: (B, C), figure 2.

    With the option ``pooled`` g is the average of what the last ReLU turns into A.

    With ``centred``, batch normalisation without parameters first normalises each channel of g over the images.
    """

    def __init__(self, channels: int, reduction: int = 16, centred: bool = False, bias: bool = False):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.centre = nn.BatchNorm1d(channels, affine=False) if centred else nn.Identity()
        self.w0 = nn.Linear(channels, hidden, bias=bias)
        self.w1 = nn.Linear(hidden, channels, bias=bias)

    def forward(self, a: Tensor) -> Tensor:
        """The mask m (B, C) of the map A (B, C, h, w)."""
        return torch.sigmoid(self.w1(F.relu(self.w0(self.centre(a.mean((2, 3)))))))


def reverse(mask: Tensor, alpha: float) -> Tensor:
    """The reverse mask (1 - mask)^alpha of figures 2 and 3, 0 where the mask is 1."""
    base = (1 - mask.float()).clamp(min=0)
    # For alpha < 1 the derivative at 0 is infinite and would turn gradients into NaN.
    return base.masked_fill(base == 0, 1).pow(alpha) * (base > 0)


class PartClassifier(nn.Module):
    """f_1x1(f_3x3(.)): a part's class maps, one per identity (figure 3); their spatial averages are its logits."""

    def __init__(self, channels: int, width: int, identities: int, neck: str):
        super().__init__()
        self.f3x3 = nn.Sequential(nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=neck == "none"))
        if neck != "none":
            self.f3x3.append(nn.BatchNorm2d(width))
        if neck == "bn-relu":
            self.f3x3.append(nn.ReLU())
        # PyTorch's initialisation: with the usual std of 0.001 training hardly starts, since GAP(f) is not normalised
        # (mAP of the baseline on the street after 8 demo epochs: 8 with 0.001, 21 with this).
        self.f1x1 = nn.Conv2d(width, identities, kernel_size=1)

    def logits(self, f: Tensor) -> Tensor:
        """GAP(f_1x1(f)) (B, identities) of f = f_3x3(.) (B, width, h, w): as f_1x1 is linear, GAP can come first."""
        return self.f1x1(f.mean((2, 3), keepdim=True)).flatten(1)

    def class_map(self, f: Tensor, labels: Tensor) -> Tensor:
        """H_n = f_1x1(f)[n] (B, 1, h, w), the map of each image's identity n; the other maps are not computed."""
        weight, bias = self.f1x1.weight[labels, :, 0, 0], self.f1x1.bias[labels]
        return (torch.einsum("bchw,bc->bhw", f, weight) + bias[:, None, None])[:, None]


def unit_interval(h: Tensor, by: str) -> Tensor:
    """Map H_n (B, 1, h, w) to [0, 1] by 'minmax', per image (a constant map becomes 0), or by 'sigmoid'."""
    if by == "sigmoid":
        return torch.sigmoid(h)
    h = h.float()
    low, high = h.amin((2, 3), keepdim=True), h.amax((2, 3), keepdim=True)
    return (h - low) / (high - low).clamp(min=1e-12)


class DRANet(nn.Module):
    """The network of the paper; its options give every row of table 4.

    identities      training identities
    size            (H, W) of the images, 384x128; nothing in the network depends on it
    last_stride     of stage 4: 1 (24x8 at 384x128) or 2
    part_width      channels of the parts' maps A as a fraction of stage 4's; below 1 a 1x1 convolution, batch
                    normalisation and ReLU reduce stage 4's map
    rcam, rsam      whether it has the reverse channel and spatial attention modules; without RCAM m = 1 and B = A
    channel_hard    whether RCAM makes the channel-hard example C and has it classified; if not, it is B = A m alone
    alpha_c, alpha_s   exponents of the reverse masks
    normalisation   how H_n is mapped to [0, 1]: 'minmax' or 'sigmoid'
    gradient        whether gradients flow through the reverse masks
    classifiers     of C and D: that of B ('shared') or separate ones ('own')
    parts           attention and classifiers: separate for each part ('own') or one set for all ('shared')
    part_count      horizontal parts of stage 4's map: 3 in figure 1
    width           channels of f_3x3, as a fraction of stage 4's: 0.5 gives 1024 with ResNet-50
    neck            what follows the convolution of f_3x3: 'bn-relu', 'bn' or 'none'
    reduction       channels per unit of the channel attention's hidden layer
    pooled          whether g is the average of A ('post-relu') or of the map before the last ReLU ('pre-relu')
    centred         whether g is normalised over the images before the channel attention
    bias            whether the channel attention's layers W0 and W1 have biases
    descriptor      the test feature of each part: GAP of B and of f_3x3(B) ('both'), 'attended' (B) or 'classified'
    pieces          whether each of the descriptor's pieces (B and f of every part) is L2-normalised ('apart'), or all
                    of them 'together', where m of about 1/2 would weigh B less beside f
    weight_b        weight of the loss of B beside those of C and D
    smoothing       label smoothing of the ID losses

    Layers that share parameters keep separate batch normalisation statistics, so that at test time each part's B is
    normalised by the statistics of B.
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (384, 128),
        backbone: str = "resnet50",
        weights: str = "",
        last_stride: int = 1,
        part_width: float = 1.0,
        rcam: bool = True,
        rsam: bool = True,
        channel_hard: bool = True,
        alpha_c: float = 1.0,
        alpha_s: float = 1.0,
        normalisation: str = "minmax",
        gradient: bool = False,
        classifiers: str = "shared",
        parts: str = "own",
        part_count: int = 3,
        width: float = 0.5,
        neck: str = "bn-relu",
        reduction: int = 16,
        pooled: str = "post-relu",
        centred: bool = False,
        bias: bool = False,
        descriptor: str = "both",
        pieces: str = "apart",
        weight_b: float = 1.0,
        smoothing: float = 0.0,
    ):
        super().__init__()
        check("last_stride", last_stride, (1, 2))
        check("normalisation", normalisation, ("minmax", "sigmoid"))
        check("classifiers", classifiers, ("shared", "own"))
        check("parts", parts, ("own", "shared"))
        check("neck", neck, ("bn-relu", "bn", "none"))
        check("pooled", pooled, ("post-relu", "pre-relu"))
        check("descriptor", descriptor, DESCRIPTOR)
        check("pieces", pieces, ("apart", "together"))
        _check_positive(alpha_c=alpha_c, alpha_s=alpha_s, width=width, reduction=reduction, part_count=part_count)
        _check_positive(part_width=part_width, weight_b=weight_b)
        self.backbone = Backbone(backbone, weights, last_stride=last_stride)
        self.rcam, self.rsam, self.alpha_c, self.alpha_s = rcam, rsam, alpha_c, alpha_s
        self.normalisation, self.gradient, self.smoothing = normalisation, gradient, smoothing
        self.described, self.pieces, self.part_count = DESCRIPTOR[descriptor], pieces, part_count
        self.pooled, self.weight_b = pooled, weight_b

        stage4 = self.backbone.channels[-1]
        channels = max(1, round(part_width * stage4))
        shape = (channels, max(1, round(width * stage4)), identities, neck)
        # The baseline's modules are built first, so that a seed gives them the same weights in every variant.
        first = _each_part(lambda: PartClassifier(*shape), parts, part_count)
        self.reduce = _reduction(stage4, channels) if part_width != 1 else None
        self.rectify = nn.ReLU()
        attention = partial(ChannelAttention, channels, reduction, centred, bias)
        self.attention = _each_part(attention, parts, part_count) if rcam else None
        self.classifiers = nn.ModuleDict({"b": first})
        for name in ["c"] * (rcam and channel_hard) + ["d"] * rsam:
            copies = _each_part(lambda: PartClassifier(*shape), parts, part_count) if classifiers == "own" else None
            self.classifiers[name] = copies or same_parameters(first)

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn: the last one before the parts."""
        return self.backbone.stages[3] if self.reduce is None and self.pooled == "post-relu" else self.rectify

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors of images (B, 3, H, W); with ``labels`` (B,) also the hard examples' logits and masks.

        ``id_logits`` (B, identities) are named b1, b2, b3 for the parts of B, likewise c and d. ``maps``, with the
        parts joined along the height: A (B, C, h, w) as ``stage4``; the masks m and reverse_m (B, C, 3, 1), h and
        reverse_h (B, 1, h, w); a, b, c, d (B, 1, h, w), the means of A, B, C, D over channels.
        """
        full, averaged = self._joined(images)
        pairs = zip(self._cut(full), self._cut(averaged), strict=True)
        parts = [self._part(i, a, before, labels) for i, (a, before) in enumerate(pairs)]
        maps = {name: torch.cat([part.maps[name] for part in parts], 2) for name in parts[0].maps}
        return Output(
            descriptor=F.normalize(torch.cat([part.descriptor for part in parts], 1)),
            id_logits={f"{k}{i}": logits for i, part in enumerate(parts, 1) for k, logits in part.id_logits.items()},
            maps={"stage4": full, **maps},
        )

    def _joined(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """A before it is cut into parts, and the map of which g is the average: A again, or A before its ReLU."""
        if self.reduce is None and self.pooled == "post-relu":
            a = self.backbone(images)[-1]
            return a, a
        if self.reduce is None:
            before = self.backbone.before_last_relu(images)
        else:
            before = self.reduce(self.backbone(images)[-1])
        a = self.rectify(before)
        return a, before if self.pooled == "pre-relu" else a

    def _cut(self, full: Tensor) -> tuple[Tensor, ...]:
        """The parts, equal if their number divides the height, as 3 does 24; a tiny map has its rows repeated."""
        rows = full.repeat_interleave(self.part_count, 2) if full.shape[2] < self.part_count else full
        return rows.tensor_split(self.part_count, dim=2)

    def _part(self, i: int, a: Tensor, averaged: Tensor, labels: Tensor | None) -> Output:
        """The output of one part's map A (B, C, h, w); ``averaged`` is the map of which g is the average."""
        head, logits, maps = self.classifiers["b"][i], {}, {}
        features = {"a": a, "b": a}  # without RCAM m = 1
        if self.rcam:
            maps["m"] = m = self.attention[i](averaged)[:, :, None, None]
            features["b"] = a * m
        f = head.f3x3(features["b"])
        logits["b"] = head.logits(f)
        if "c" in self.classifiers and labels is not None:
            maps["reverse_m"] = reverse(m if self.gradient else m.detach(), self.alpha_c).to(a.dtype)
            features["c"] = a * maps["reverse_m"]
        if self.rsam and labels is not None:
            h = head.class_map(f, labels)
            maps["h"] = unit_interval(h if self.gradient else h.detach(), self.normalisation)
            maps["reverse_h"] = reverse(maps["h"], self.alpha_s).to(a.dtype)
            features["d"] = features["b"] * maps["reverse_h"]
        for name in features.keys() & {"c", "d"}:
            classifier = self.classifiers[name][i]
            logits[name] = classifier.logits(classifier.f3x3(features[name]))
        maps |= {name: x.detach().float().mean(1, keepdim=True) for name, x in features.items()}
        described = {"b": features["b"], "f": f}
        pieces = [described[name].float().mean((2, 3)) for name in self.described]
        descriptor = torch.cat([F.normalize(piece) if self.pieces == "apart" else piece for piece in pieces], 1)
        return Output(descriptor, logits, maps=maps)

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The ID losses of B, C and D by name, each summed over the parts; labels (B,) are 0..identities-1."""
        numbers = range(1, self.part_count + 1)
        parts = {
            f"id_{name}": sum(id_loss(output.id_logits[f"{name}{i}"], labels, self.smoothing) for i in numbers)
            for name in self.classifiers
        }
        return parts | {"id_b": self.weight_b * parts["id_b"]}


def _reduction(inputs: int, outputs: int) -> nn.Sequential:
    """What reduces stage 4's channels; the ReLU behind it is ``DRANet.rectify``."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=1, bias=False), nn.BatchNorm2d(outputs))


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")


def _each_part(make: Callable[[], nn.Module], parts: str, count: int) -> nn.ModuleList:
    """A module for each part, with separate parameters ('own') or with those of the first ('shared')."""
    first = make()
    return nn.ModuleList([first] + [make() if parts == "own" else same_parameters(first) for _ in range(count - 1)])
