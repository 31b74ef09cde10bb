"""Hybrid-attention guided network with multiple resolution features (its tables are in ``tables``).

The paper, section by section: 3.1 multi-resolution feature fusion (MFF), 3.2 spatial and channel attention (SAM, eq. 1;
CAM, eq. 2), 3.3 multi-granularity operation (MGO, eq. 3), 3.4 multi-pool feature extractor (MPFE), 3.5 loss (eq. 4).
Input 384x128, ResNet-50 with the last down-sampling removed, so that stage 4 gives 2048x24x8.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.backbone import Backbone
from ...models.losses import batch_hard_triplet, id_loss
from ...models.options import check
from ...models.output import Output

LOCAL = ("mgo", "pcb", "")


class SpatialAttention(nn.Module):
    """SAM, eq. 1: M(F) = sigmoid(f([AvgPool(F); MaxPool(F)])), pooled over channels, f a convolution of two maps."""

    def __init__(self, kernel: int = 7):
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        """The weights (B, 1, H, W) of the locations of a map (B, C, H, W)."""
        pooled = torch.cat([feature.mean(1, keepdim=True), feature.amax(1, keepdim=True)], 1)
        return torch.sigmoid(self.convolution(pooled))


class ChannelAttention(nn.Module):
    """CAM, eq. 2: M(F) = sigmoid(MLP(AvgPool(F) + MaxPool(F))), pooled over locations, a shared MLP of two layers.

    ``pools='cbam'`` adds the outputs for both pools, MLP(AvgPool(F)) + MLP(MaxPool(F)) (Woo et al. 2018, eq. 2).
    ``scaled`` divides the MLP's input by its root mean square, so that large activations do not saturate the sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 16, pools: str = "sum", scaled: bool = False):
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )
        self.pools, self.scaled = pools, scaled

    def forward(self, feature: Tensor) -> Tensor:
        """The weights (B, C, 1, 1) of the channels of a map (B, C, H, W)."""
        average, maximum = feature.mean((2, 3)), feature.amax((2, 3))
        inputs = [average + maximum] if self.pools == "sum" else [average, maximum]
        if self.scaled:
            inputs = [x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() for x in inputs]
        return torch.sigmoid(sum(map(self.mlp, inputs)))[:, :, None, None]


def windows(stripes: int, levels: int) -> list[tuple[int, int]]:
    """The windows of eq. 3 as (first stripe, stripe after the last); those of level l = 1..levels have l stripes.

    With all levels of K = 6 stripes there are 6 + 5 + ... + 1 = 21 windows; the last one is the full map. (Eq. 3 prints
    its bounds with both n and k for the number of stripes; this is the meaning that agrees with the text's 'k
    stripe-based features' at the bottom and 'one global feature' at the top.)
    """
    return [(k, k + level) for level in range(1, levels + 1) for k in range(stripes - level + 1)]


def window_rows(window: tuple[int, int], stripes: int, height: int) -> tuple[int, int]:
    """First row and row after the last of a window, rounded outwards where the stripes do not divide the height."""
    first, last = window
    return first * height // stripes, -(-last * height // stripes)


def pool_windows(feature: Tensor, stripes: int, levels: int) -> tuple[Tensor, Tensor]:
    """Average and maximum (B, N, C), float32, of the N windows of a map (B, C, H, W), read from memory once.

    A window's average is a weighted sum of row averages; its maximum is the larger of the maxima of the two windows of
    the level below that cover it.
    """
    height = feature.shape[2]
    rows = [window_rows(w, stripes, height) for w in windows(stripes, levels)]
    weights = torch.zeros(height, len(rows), device=feature.device)
    for number, (first, last) in enumerate(rows):
        weights[first:last, number] = 1 / (last - first)
    with torch.autocast(feature.device.type, enabled=False):
        average = feature.mean(3, dtype=torch.float32) @ weights  # (B, C, N)
    maxima = [F.adaptive_max_pool2d(feature, (stripes, 1))[..., 0]]
    for _ in range(1, levels):
        maxima.append(torch.maximum(maxima[-1][..., :-1], maxima[-1][..., 1:]))
    return average.transpose(1, 2), torch.cat(maxima, 2).float().transpose(1, 2)


def drop_block(feature: Tensor, height: float = 0.33, width: float = 1.0, each: bool = False) -> Tensor:
    """Zero a random block of a map (B, C, H, W), ``height`` x ``width`` of its size, the same for the full batch.

    The batch variant of DropBlock (Dai et al. 2019, batch feature erasing, the paper's reference 59), which does not
    rescale the remaining activations; with ``each``, a separate block is drawn for every image.
    """
    batch, _, h, w = feature.shape
    block_h, block_w = round(height * h), round(width * w)
    count = batch if each else 1
    # Drawn on the map's device, since a copy from the CPU would make the GPU wait.
    top = torch.randint(h - block_h + 1, (count, 1, 1, 1), device=feature.device)
    left = torch.randint(w - block_w + 1, (count, 1, 1, 1), device=feature.device)
    y, x = torch.arange(h, device=feature.device)[:, None], torch.arange(w, device=feature.device)[None]
    dropped = (y >= top) & (y < top + block_h) & (x >= left) & (x < left + block_w)
    return feature * ~dropped


class GroupedLinear(nn.Module):
    """One linear layer per window, computed as one batched product: (B, N, in) to (B, N, out) for N = ``groups``."""

    def __init__(self, groups: int, inputs: int, outputs: int, bias: bool = True, std: float | None = None):
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # PyTorch's default for a linear layer
        self.weight = nn.Parameter(torch.empty(groups, inputs, outputs).uniform_(-bound, bound))
        if std is not None:
            nn.init.normal_(self.weight, std=std)
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply layer n to window n's features."""
        y = torch.bmm(x.transpose(0, 1), self.weight)
        return (y if self.bias is None else y + self.bias).transpose(0, 1)


class GroupedNorm(nn.BatchNorm1d):
    """Batch normalisation of (B, N, D) with separate statistics for each window."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, N, D) over the batch."""
        return super().forward(x.flatten(1)).view_as(x)


class MultiPoolExtractor(nn.Module):
    """MPFE (section 3.4, figure 5) for all windows at once.

    Maximum and average are concatenated and go through a 1x1 convolution, batch normalisation, ReLU, and a fully
    connected layer to ``width``, whose output is the triplet loss's feature; batch normalised, it is the test feature.
    """

    def __init__(self, groups: int, channels: int, reduced: int, width: int, activation: str, fc: str = "torch"):
        super().__init__()
        self.reduce = GroupedLinear(groups, 2 * channels, reduced, bias=False)
        self.norm = GroupedNorm(groups * reduced)
        self.activation = nn.ReLU() if activation == "relu" else nn.LeakyReLU(0.1)
        # He et al. 2015 by fan-out: PyTorch's kaiming_normal_(mode="fan_out").
        std = math.sqrt(2 / width) if fc == "released" else None
        self.embed = GroupedLinear(groups, reduced, width, bias=fc == "torch", std=std)
        self.neck = GroupedNorm(groups * width)

    def forward(self, average: Tensor, maximum: Tensor) -> tuple[Tensor, Tensor]:
        """The features before and after the last batch normalisation, both (B, N, width)."""
        x = self.reduce(torch.cat([maximum, average], 2))
        x = self.embed(self.activation(self.norm(x)))
        return x, self.neck(x)


CHOICES = {
    "last_stride": (1, 2),
    "local": LOCAL,
    "extractor": ("mpfe", "gap"),
    "cam": ("sum", "cbam"),
    "fc": ("torch", "released"),
    "activation": ("relu", "leaky"),
    "dropblock": ("batch", "image", "max", "input", ""),
    "triplet": ("window", "level"),
    "compared": ("fc", "bn"),
}
"""What an option of the network may be."""


class HybridAttention(nn.Module):
    """The network of the paper; its options give every row of tables 6, 7, 9 and 10.

    identities     training identities
    size           (H, W) of the images; 384x128 in the paper
    stages         the fused stages (MFF), such as '1234', '24' or '4'; each is max-pooled to stage 4's size
    order          the order of SAM (S), CAM (C) and concatenation, such as 'S+concat+C'; '' applies none of them
    local          'mgo' (section 3.3), 'pcb' (the stripes only; Sun et al. 2018) or '' (the full map only)
    stripes        K of section 3.3
    extractor      'mpfe' (section 3.4, with ID and triplet loss) or 'gap' (a window's average, with ID loss only)
    neck           whether batch normalisation precedes the classifier of 'gap'
    cam            'sum' (the pools added before the MLP, as eq. 2 prints) or 'cbam' (its outputs added)
    cam_scaled     whether the input of CAM's MLP is divided by its root mean square
    fc             MPFE's fully connected layer and the classifiers: 'torch' (PyTorch's initialisation, with biases) or
                   'released' (He's by fan-out, none has a bias)
    activation     of MPFE: 'relu' or 'leaky' (LeakyReLU 0.1)
    last_stride    of stage 4: 1 (section 4.1 removes its down-sampling) or 2 (as in ResNet-50)
    dropblock      in training, on the map before MGO: 'batch' (one block per batch), 'image' (one per image), 'max'
                   (one per batch, for maximum pooling only: the average is of the full map, as in Dai et al. 2019);
                   'input' (one per batch, on the images); or ''
    drop_height, drop_width   size of the dropped block as fractions of the map
    triplet        one loss per 'window', or per 'level' (on its windows' concatenated features)
    compared       feature of the triplet loss: 'fc' (before batch normalisation) or 'bn' (after it: the test feature)
    smoothing, margin    of the ID loss and the triplet loss
    sam_kernel     kernel size of SAM
    cam_reduction  channels per hidden unit of CAM
    reduced, width    channels of MPFE's 1x1 convolution and of its features
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (384, 128),
        backbone: str = "resnet50",
        weights: str = "",
        last_stride: int = 1,
        stages: str = "1234",
        order: str = "S+concat+C",
        local: str = "mgo",
        stripes: int = 6,
        extractor: str = "mpfe",
        neck: bool = True,
        cam: str = "sum",
        cam_scaled: bool = False,
        activation: str = "relu",
        fc: str = "torch",
        dropblock: str = "",
        drop_height: float = 0.33,
        drop_width: float = 1.0,
        triplet: str = "window",
        compared: str = "bn",
        smoothing: float = 0.1,
        margin: float = 1.0,
        sam_kernel: int = 7,
        cam_reduction: int = 16,
        reduced: int = 256,
        width: int = 512,
    ):
        super().__init__()
        _check_choices(last_stride=last_stride, local=local, extractor=extractor, cam=cam, fc=fc, activation=activation)
        _check_choices(dropblock=dropblock, triplet=triplet, compared=compared)
        _check_ranges(stages, stripes, drop_height, drop_width)
        self.dropblock, self.block = dropblock, (drop_height, drop_width)
        self.triplet, self.compared, self.smoothing, self.margin = triplet, compared, smoothing, margin
        self.fused = [int(stage) for stage in stages]
        self.shape = tuple(max(side // (16 * last_stride), 1) for side in size)  # stage 4's, 24x8 at 384x128
        self.backbone = Backbone(backbone, weights, last_stride=last_stride)
        self.backbone.stages = self.backbone.stages[: max(self.fused)]  # later stages are not needed

        self.order = tuple(order.split("+")) if order else ()
        inputs = [self.backbone.channels[stage - 1] for stage in self.fused]
        spatial = partial(SpatialAttention, sam_kernel)
        channel = partial(ChannelAttention, reduction=cam_reduction, pools=cam, scaled=cam_scaled)
        self.steps, channels = _attention_steps(order, inputs, spatial, channel)

        self.stripes = stripes if local else 1
        self.levels = self.stripes if local == "mgo" else 1
        count = len(self.windows)
        self.extractor = None
        if extractor == "mpfe":
            self.extractor = MultiPoolExtractor(count, channels, reduced, width, activation, fc)
        dimension = width if self.extractor else channels
        self.neck = GroupedNorm(count * dimension) if neck and not self.extractor else None
        self.classifier = GroupedLinear(count, dimension, identities, bias=fc == "torch", std=0.001)

    @property
    def windows(self) -> list[tuple[int, int]]:
        """The windows as (first stripe, stripe after the last), in the order of the descriptor's parts."""
        return windows(self.stripes, self.levels)

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn (figure 8)."""
        return self.backbone.stages[-1]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors (B, N*width), and logits and embeddings (B, N, ...) of the N windows; ``labels`` are ignored."""
        if self.training and self.dropblock == "input":
            images = drop_block(images, *self.block, each=False)
        stages = self.backbone(images)
        feature, maps = self.fuse([F.adaptive_max_pool2d(stages[stage - 1], self.shape) for stage in self.fused])
        full = feature
        if self.training and self.dropblock not in ("", "input"):
            feature = drop_block(full, *self.block, each=self.dropblock == "image")
        average, maximum = pool_windows(feature, self.stripes, self.levels)
        if self.training and self.dropblock == "max":
            average, _ = pool_windows(full, self.stripes, self.levels)
        if self.extractor:
            embedding, tested = self.extractor(average, maximum)
            embeddings = {"windows": embedding if self.compared == "fc" else tested}
        else:
            tested = self.neck(average) if self.neck else average
            embeddings = {}
        return Output(
            descriptor=tested.float().flatten(1),
            id_logits={"windows": self.classifier(tested)},
            embeddings=embeddings,
            maps={f"stage{n}": a for n, a in enumerate(stages, 1)} | maps | {"fused": feature},
        )

    def fuse(self, maps: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The fused map (B, C, h, w) of the aligned maps (B, C_i, h, w), by the steps of ``order``, and all weights.

        Covers all orders of table 9: attention weights each of the current maps, concatenation joins them into one.
        """
        used = {}
        for name, step in zip(self.order, self.steps, strict=True):
            if name == "concat":
                maps = [torch.cat(maps, 1)]
                continue
            weights = [attention(a) for attention, a in zip(step, maps, strict=True)]
            maps = [a * weight for a, weight in zip(maps, weights, strict=True)]
            stages = self.fused if len(weights) == len(self.fused) else [""]
            used |= {f"{name}{stage}": weight for stage, weight in zip(stages, weights, strict=True)}
        return maps[0], used

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Eq. 4: the mean of the N ID losses and the mean of the M triplet losses; labels (B,) are 0..identities-1."""
        logits = output.id_logits["windows"]  # (B, N, identities)
        repeated = labels.repeat_interleave(logits.shape[1])
        # Every window has the same number of images, so this is the mean of the windows' losses.
        parts = {"id": id_loss(logits.flatten(0, 1), repeated, self.smoothing)}
        for features in output.embeddings.values():  # (B, N, width)
            if self.triplet == "window":
                parts["triplet"] = batch_hard_triplet(features.transpose(0, 1), labels, self.margin)
            else:
                sizes = [self.stripes - level for level in range(self.levels)]  # windows of each level
                losses = [batch_hard_triplet(x.flatten(1), labels, self.margin) for x in features.split(sizes, 1)]
                parts["triplet"] = torch.stack(losses).mean()
        return parts


def _check_choices(**values: object) -> None:
    for name, value in values.items():
        check(name, value, CHOICES[name])


def _check_ranges(stages: str, stripes: int, drop_height: float, drop_width: float) -> None:
    if not stages or "".join(sorted(set(stages) & set("1234"))) != stages:
        raise ValueError(f"stages={stages!r} must be some of 1, 2, 3, 4 in this order, such as '1234' or '24'")
    if stripes < 1:
        raise ValueError(f"stripes (K of section 3.3) must be at least 1, got {stripes}")
    if not (0 < drop_height < 1 and 0 < drop_width <= 1):
        raise ValueError(f"drop_height must lie in (0, 1) and drop_width in (0, 1], got {drop_height}, {drop_width}")


def _attention_steps(
    order: str, channels: list[int], spatial: Callable[[], nn.Module], channel: Callable[[int], nn.Module]
) -> tuple[nn.ModuleList, int]:
    """The modules of each step of ``order`` for maps with these ``channels``, and the channels of the fused map."""
    steps = nn.ModuleList()
    for name in order.split("+") if order else ():
        step: list[nn.Module] = []
        if name == "concat":
            channels = [sum(channels)]
        elif name == "S":
            step = [spatial() for _ in channels]
        elif name == "C":
            step = [channel(c) for c in channels]
        else:
            raise ValueError(f"order={order!r}: {name!r} is none of S, C, concat")
        steps.append(nn.ModuleList(step))
    if len(channels) > 1:
        raise ValueError(f"order={order!r} leaves the maps of {len(channels)} stages: it needs a concat")
    return steps, channels[0]
