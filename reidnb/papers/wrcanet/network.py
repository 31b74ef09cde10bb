"""WRCANet: weak reverse attention with context-aware network (its tables are in ``tables``).

The paper, section by section: 3.2 weak reverse attention (eq. 1-3), 3.3 context awareness (multi-granularity and
multi-scale fusion, figures 3-5), 3.4 loss (eq. 4-6). Input 384x192, ResNet-50 with the last down-sampling removed,
so that stage 4 gives 2048x24x12.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.augment import MEAN, STD
from ...models.backbone import Backbone
from ...models.layers import bnneck, classifier, same_parameters
from ...models.losses import batch_hard_triplet
from ...models.losses import id_loss as losses_of_identity
from ...models.options import check
from ...models.output import Output

STAGES = ("stage1", "stage2", "stage3", "stage4")
# Which of the six losses of eq. 4 are softmax losses and which are triplet losses: the text omits the two names.
SOFTMAX = {
    "branches+stage4": ("stage4", "gp", "ms"),
    "stage4+gp": ("stage4", "gp"),
    "stage4+ms": ("stage4", "ms"),
    "branches": ("gp", "ms"),
    "all": (*STAGES, "gp", "ms"),
    "both": (*STAGES, "gp", "ms"),
}
TRIPLET = {
    "branches+stage4": ("stage1", "stage2", "stage3"),
    "stage4+gp": ("stage1", "stage2", "stage3", "ms"),
    "stage4+ms": ("stage1", "stage2", "stage3", "gp"),
    "branches": STAGES,
    "all": (),
    "both": (*STAGES, "gp", "ms"),
}
DESCRIPTOR = {"all": ("stage4", "gp", "ms"), "stage4": ("stage4",), "branches": ("gp", "ms")}


def reverse_attention_map(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """The map f of the most discriminative regions, (B, 1, H', W'), of a feature map A (B, C, H, W): eq. 1 and 2.

    alpha_c = mean of A_c over h, w (eq. 1); f = ReLU(upsample(1/C sum_c alpha_c A_c)) (eq. 2), bilinear to ``size``.
    """
    feature = feature.float()  # bfloat16 is too coarse for sums over 2048 channels
    alpha = feature.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    weighted = (alpha * feature).mean(1, keepdim=True)  # (B, 1, H, W)
    return F.relu(F.interpolate(weighted, size=size, mode="bilinear", align_corners=False))


def unit_range(f: Tensor) -> Tensor:
    """Min-max normalise the map f (B, 1, H, W) of each image to [0, 1]."""
    low, high = f.amin((2, 3), keepdim=True), f.amax((2, 3), keepdim=True)
    return (f - low) / (high - low).clamp(min=1e-12)


def weaken(image: Tensor, f: Tensor, strength: float = 0.5, black: Tensor | None = None) -> Tensor:
    """I_new = I * (1 - lambda * sigmoid(f)), eq. 3, with lambda = ``strength``; in print, f_new and an alpha.

    As f >= 0, sigmoid(f) >= 0.5, so eq. 3 as printed dims every pixel by at least lambda/2. What it shrinks ``image``
    (B, C, H, W) towards is 0, the mean colour of a normalised image, unless ``black`` (C, 1, 1) is given.
    """
    mask = strength * torch.sigmoid(f)
    new = image * (1 - mask)
    return (new if black is None else new + black * mask).to(image.dtype)


def black_pixel() -> Tensor:
    """The normalised value (3, 1, 1) of a black pixel."""
    return -(torch.tensor(MEAN) / torch.tensor(STD))[:, None, None]


class GranularityFusion(nn.Module):
    """Multi-granularity feature fusion (section 3.3, figures 4 and 5): the GP branch.

    The sum of each stage's global maximum and global average goes through a 1x1 convolution to ``width`` = 256
    channels. A 1-D convolution takes the four vectors as its channels and fuses them into one of 1x256.
    """

    def __init__(self, channels: tuple[int, ...], width: int = 256, kernel: int = 3):
        super().__init__()
        self.reduce = nn.ModuleList(nn.Conv2d(c, width, kernel_size=1) for c in channels)
        self.fuse = nn.Conv1d(len(channels), 1, kernel, padding=kernel // 2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The fused feature (B, width) of the stages' maps (B, C_i, H_i, W_i)."""
        pooled = [a.amax((2, 3), keepdim=True) + a.mean((2, 3), keepdim=True) for a in maps]
        reduced = [conv(p).flatten(1) for conv, p in zip(self.reduce, pooled, strict=True)]
        return self.fuse(torch.stack(reduced, 1)).squeeze(1)


class ScaleFusion(nn.Module):
    """Multi-scale feature fusion (section 3.3, figure 3): the MS branch.

    Each stage's map, average-pooled to ``size`` = 24x12, has its channels weighed by global pooling and a 1-D
    convolution over channels. What a 1-D convolution then fuses into one vector of 1x288 is a reading:

    mean    each stage's weighted channels are averaged: four channels of 288 numbers
    all     every weighted channel of every stage: 3840 channels of 288 numbers
    stage   as 'mean', and each stage has one learned weight more, the "weight of each group"
    1x1     a learned 1x1 convolution takes each stage's weighted channels to one: four channels of 288 numbers
    """

    def __init__(self, channels: tuple[int, ...], size: tuple[int, int], kernel: int = 3, fused: str = "mean"):
        super().__init__()
        self.size, self.fused = size, fused
        self.attention = nn.ModuleList(_channel_convolution(c) for c in channels)
        self.groups = nn.Parameter(torch.ones(len(channels), 1)) if fused == "stage" else None
        self.collapse = nn.ModuleList(nn.Conv1d(c, 1, 1) for c in channels) if fused == "1x1" else None
        inputs = sum(channels) if fused == "all" else len(channels)
        self.fuse = nn.Conv1d(inputs, 1, kernel, padding=kernel // 2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The fused feature (B, h*w) of the stages' maps (B, C_i, H_i, W_i)."""
        weighted = [self._weighted(a, convolution) for a, convolution in zip(maps, self.attention, strict=True)]
        if self.collapse is not None:
            weighted = [one(x) for one, x in zip(self.collapse, weighted, strict=True)]
        elif self.fused != "all":
            weighted = [x.mean(1, keepdim=True) for x in weighted]
        stacked = torch.cat(weighted, 1)
        return self.fuse(stacked if self.groups is None else stacked * self.groups).squeeze(1)

    def _weighted(self, a: Tensor, convolution: nn.Conv1d) -> Tensor:
        """A stage's map (B, C, H, W), pooled, its channels weighed: (B, C, h*w)."""
        a = F.adaptive_avg_pool2d(a, self.size)
        weight = torch.sigmoid(convolution(a.mean((2, 3))[:, None]))[:, 0]  # (B, C)
        return (weight[:, :, None, None] * a).flatten(2)


def smoothed_inside(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """-(1/N) sum log((1 - eps) p_y + eps / S): what our copy shows of eq. 5, with the smoothing inside the logarithm.

    logits (B, S), labels (B,); p is their softmax, p_y the probability of the image's identity.
    """
    probability = torch.softmax(logits.float(), 1).gather(1, labels[:, None])
    return -torch.log((1 - smoothing) * probability + smoothing / logits.shape[1]).mean()


def _channel_convolution(channels: int) -> nn.Conv1d:
    """ECA-Net's 1-D convolution over channels (Wang et al. 2020, eq. 12): kernel |log2(C)/2 + 1/2|, made odd."""
    kernel = int(math.log2(channels) / 2 + 0.5)
    kernel += 1 - kernel % 2
    return nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)


class WRCANet(nn.Module):
    """The network of the paper; its options give every row of table 2.

    identities     training identities
    size           (H, W) of the images; 384x192 in the paper
    wra            'image' (I is the image and A is stage 4's map: two full passes), 'stage' (I is each stage's input
                   and A its output: every stage runs twice), 'parallel' (as 'stage', but the first stream goes on
                   undimmed and masks the second stage by stage) or '' (off); both streams share all parameters
    strength       lambda of eq. 3
    scale          f of eq. 2 as it is ('printed'), or min-max normalised to [0, 1] per image ('unit'), before eq. 3
    dimmed         with wra='image', whether I of eq. 3 is the 'normalised' image or its 'pixels'
    gradient       whether gradients flow through f
    statistics     running mean and variance of batch normalisation, which are buffers, not parameters: 'own' for each
                   stream, or 'shared', a mixture over the image and its dimmed copy that the test applies to both
    gp, ms         the branches of section 3.3
    losses         a key of ``SOFTMAX``: which losses of eq. 4 are softmax losses and which are triplet losses
    neck           'bnneck': batch normalisation between a feature and its classifier; its output is also the test
                   feature (Luo et al. 2019); or 'none'
    fusion_kernel  kernel size of the 1-D convolutions that fuse the stages
    descriptor     the test feature: 'all' (stage 4 and the branches), 'stage4', or 'branches' (GP and MS)
    fused          what the MS branch's last convolution fuses: 'mean', 'all', 'stage' or '1x1' (``ScaleFusion``)
    id_loss        'smoothed' cross-entropy (Szegedy et al. 2016), or eq. 5 as far as it is legible ('inside')
    smoothing, margin   of the ID loss (eq. 5) and the triplet loss (eq. 6)
    triplet        'mean' over the batch's anchors, or 'sum' as eq. 6 prints it
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (384, 192),
        backbone: str = "resnet50",
        weights: str = "",
        wra: str = "image",
        strength: float = 0.5,
        scale: str = "printed",
        dimmed: str = "normalised",
        gradient: bool = True,
        statistics: str = "own",
        gp: bool = True,
        ms: bool = True,
        losses: str = "branches+stage4",
        neck: str = "bnneck",
        fusion_kernel: int = 3,
        fused: str = "mean",
        descriptor: str = "all",
        smoothing: float = 0.1,
        margin: float = 0.3,
        triplet: str = "mean",
        id_loss: str = "smoothed",
    ):
        super().__init__()
        check("wra", wra, ("image", "stage", "parallel", ""))
        check("scale", scale, ("printed", "unit"))
        check("dimmed", dimmed, ("normalised", "pixels"))
        check("statistics", statistics, ("own", "shared"))
        check("losses", losses, SOFTMAX)
        check("neck", neck, ("none", "bnneck"))
        check("descriptor", descriptor, DESCRIPTOR)
        check("triplet", triplet, ("mean", "sum"))
        check("fused", fused, ("mean", "all", "stage", "1x1"))
        check("id_loss", id_loss, ("smoothed", "inside"))
        if not 0 < strength < 1:
            raise ValueError(f"strength (lambda of eq. 3) must lie in (0, 1), got {strength}")
        self.backbone = Backbone(backbone, weights, last_stride=1)
        self.own_second = same_parameters(self.backbone) if wra and statistics == "own" else None
        self.wra, self.strength, self.scale, self.gradient = wra, strength, scale, gradient
        self.register_buffer("black", black_pixel() if dimmed == "pixels" else None, persistent=False)
        self.smoothing, self.margin, self.triplet = smoothing, margin, triplet
        self.id_loss = smoothed_inside if id_loss == "inside" else losses_of_identity
        channels = self.backbone.channels
        self.gp = GranularityFusion(channels, kernel=fusion_kernel) if gp else None
        shape = (size[0] // 16, size[1] // 16)  # stage 4's, 24x12 at 384x192
        self.ms = ScaleFusion(channels, shape, fusion_kernel, fused) if ms else None

        widths = dict(zip(STAGES, channels, strict=True))
        widths |= {"gp": 256} if gp else {}
        widths |= {"ms": shape[0] * shape[1]} if ms else {}
        self._add_heads(identities, widths, losses, descriptor, neck)

    def _add_heads(self, identities: int, widths: dict[str, int], losses: str, descriptor: str, neck: str) -> None:
        """Add the heads of the features, whose widths are given by name: their losses, necks and classifiers."""
        self.compared = [name for name in TRIPLET[losses] if name in widths]
        softmax = [name for name in SOFTMAX[losses] if name in widths]
        if not softmax and not self.compared:
            raise ValueError(f"losses={losses!r} leaves this variant without a loss")
        self.described = [name for name in DESCRIPTOR[descriptor] if name in widths]
        if not self.described:
            raise ValueError("descriptor='branches' needs a branch: gp or ms")
        necks = {*softmax, *self.described} if neck == "bnneck" else set()
        self.necks = nn.ModuleDict({name: bnneck(widths[name]) for name in widths if name in necks})
        self.classifiers = nn.ModuleDict({name: classifier(widths[name], identities) for name in softmax})

    @property
    def second(self) -> nn.Module:
        """The stream whose features are used; with shared statistics it is the first stream itself."""
        return self.backbone if self.own_second is None else self.own_second

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn."""
        return self.second.stages[3]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors, logits and embeddings of images (B, 3, H, W); ``labels`` are ignored."""
        stages, maps = self._streams(images)
        features = {name: a.mean((2, 3)) for name, a in zip(STAGES, stages, strict=True)}
        if self.gp:
            features["gp"] = self.gp(stages)
        if self.ms:
            features["ms"] = self.ms(stages)
        necked = {name: self.necks[name](x) if name in self.necks else x for name, x in features.items()}
        # Each part of the test descriptor is L2-normalised, so that all have the same weight.
        parts = [F.normalize(necked[name].float()) for name in self.described]
        return Output(
            descriptor=torch.cat(parts, 1),
            id_logits={name: head(necked[name]) for name, head in self.classifiers.items()},
            embeddings={name: features[name] for name in self.compared},
            maps={**maps, "stage4": stages[-1]},
        )

    def _streams(self, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The second stream's four feature maps, and the maps of weak reverse attention (f, I_new) for figures."""
        if self.wra == "image":
            with self._attending():
                first = self.backbone(images)[-1]
                f = self._scaled(reverse_attention_map(first, images.shape[2:]))
            new = weaken(images, f, self.strength, self.black)
            return self.second(new), {"f": f, "new": new}
        if self.wra in ("stage", "parallel"):
            return self._stage_by_stage(images)
        return self.second(images), {}

    def _stage_by_stage(self, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As ``_streams``, where a stage's output in the first stream weakens its input in the second."""
        x = undimmed = self.backbone.stem(images)
        stages, maps = [], {}
        for number, (first, second) in enumerate(zip(self.backbone.stages, self.second.stages, strict=True), 1):
            with self._attending():
                a = first(undimmed)
                f = self._scaled(reverse_attention_map(a, x.shape[2:]))
            x = second(weaken(x, f, self.strength))
            undimmed = a if self.wra == "parallel" else x
            stages.append(x)
            maps[f"f{number}"] = f
        return stages, maps

    def _attending(self) -> torch.set_grad_enabled:
        """The context in which f is computed: without gradients if ``gradient`` is False."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and self.gradient)

    def _scaled(self, f: Tensor) -> Tensor:
        return unit_range(f) if self.scale == "unit" else f

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The losses of eq. 4 by name; their sum is L. labels (B,) are 0..identities-1."""
        parts = {f"id_{name}": self.id_loss(x, labels, self.smoothing) for name, x in output.id_logits.items()}
        anchors = len(labels) if self.triplet == "sum" else 1
        for name, x in output.embeddings.items():
            parts[f"triplet_{name}"] = anchors * batch_hard_triplet(x, labels, self.margin)
        return parts
