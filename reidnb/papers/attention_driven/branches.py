"""The branches of the attention-driven network: cropping of the parts, residual units, intra-attention.

Section 3.1 and table 1 (base network), 3.3 (intra-attention, eq. 3-7). The four part branches have the same
shape and share only conv1, so they run as one network of grouped convolutions: part p's channels are the p-th group.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PARTS = ("head", "upper_body", "upper_leg", "lower_leg")
"""P1..P4 of section 3.2, head to foot."""
STRIPS = ((0, 0, 1, 1), (0, 0, 1, 0.25), (0, 0.25, 1, 0.5), (0, 0.5, 1, 0.75), (0, 0.75, 1, 1))
"""The baseline's regions R0..R4 without pose, "predefined fixed horizontal strips" (section 4.3), as fractions."""
BODY_WIDTHS = (32, 64, 128, 256)
"""Table 1: the 3x3 convolutions' channels of conv2x..conv5x in the global branch; the units' outputs are twice that."""
UNITS = 3
"""Residual units in each of conv2x..conv5x."""
STRIDES = (1, 2, 2, 1)
"""Strides of conv2x..conv5x: "we remove the last down-sampling operation in each branch"."""
POOLINGS = (0, 2, 1, 1)
"""Number of max poolings in the attention paths of blocks 1..4: none in block 1, "two times in Block 2, and one time in
Blocks 3-4" (section 3.3.1)."""
ATTENTION_WIDTHS = {"table12": (128, 96, 64), "table1": BODY_WIDTHS[1:]}
"""The 3x3 convolutions' channels in the global branch's attention paths of blocks 2..4, which the paper does not give:
those that come nearest to table 12 (10.29 million parameters and 2.70e9 multiply-adds; printed: 10.4 and 2.69e9), or as
many as the blocks' residual units have (12.76 million and 2.83e9)."""


def cut(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop each image's boxes and resize them bilinearly to ``size``: (B, n, C, h, w).

    images   (B, C, H, W) float
    boxes    (B, n, 4) x0, y0, x1, y1 as fractions of the image's width and height; beyond the image's border a box
             is zero (the channel mean)
    """
    batch, count = boxes.shape[:2]
    height, width = size
    x0, y0, x1, y1 = (boxes.float() * 2 - 1).unbind(2)  # (B, n) in grid_sample's coordinates, -1 to 1
    columns = (torch.arange(width, device=images.device) + 0.5) / width  # pixel centres, as fractions of the box
    rows = (torch.arange(height, device=images.device) + 0.5) / height
    x = x0[..., None] + (x1 - x0)[..., None] * columns  # (B, n, w)
    y = y0[..., None] + (y1 - y0)[..., None] * rows  # (B, n, h)
    shape = (batch, count, height, width)
    grid = torch.stack([x[:, :, None].expand(shape), y[..., None].expand(shape)], 4)
    # The boxes of an image are stacked along the height of one grid, so that no image is copied.
    crops = F.grid_sample(images.float(), grid.flatten(1, 2), align_corners=False)  # (B, C, n*h, w)
    return crops.unflatten(2, (count, height)).transpose(1, 2)


class Unit(nn.Module):
    """The residual unit of table 1 (He et al. 2016): 1x1, 3x3 (with the stride), 1x1, each batch-normalised.

    ``inputs``, ``width`` and ``outputs`` are channels per group. Where the shape changes, the shortcut is He et al.'s
    option A, 'padding' (every other pixel, zeros for the new channels), or option B, 'projection' (a 1x1 convolution).
    Table 1 and the number of parameters in table 12 leave no room for projections.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, stride: int = 1, groups: int = 1, shortcut: str = "padding"
    ):
        super().__init__()
        self.stride, self.groups, self.added = stride, groups, outputs - inputs
        self.residual = nn.Sequential(
            *_convolution(inputs, width, 1, 1, groups),
            nn.ReLU(inplace=True),
            *_convolution(width, width, 3, stride, groups),
            nn.ReLU(inplace=True),
            *_convolution(width, outputs, 1, 1, groups),
        )
        changes_shape = inputs != outputs or stride != 1
        projected = changes_shape and shortcut == "projection"
        self.project = nn.Sequential(*_convolution(inputs, outputs, 1, stride, groups)) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        """The output (B, groups*outputs, H/stride, W/stride) for x (B, groups*inputs, H, W)."""
        return F.relu(self.residual(x) + (self.project(x) if self.project else self._padded(x)))

    def _padded(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        if not self.added:
            return x
        # Each group's zeros follow that group's channels.
        return F.pad(x.unflatten(1, (self.groups, -1)), (0, 0, 0, 0, 0, self.added)).flatten(1, 2)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(groups * inputs, groups * outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(groups * outputs)


class IntraAttention(nn.Module):
    """The attention path M of a block (section 3.3, figure 5, eq. 4 and 6): from its input v to a mask m in [0, 1].

    An encoder-decoder gives A: a residual unit at the size of the block's output; max pooling and a residual unit,
    ``poolings`` times; as many upsamplings, to each of which the encoder's map of the same size is added. Then
        S = conv(A), h x w x 1 (eq. 6);  C = conv(mean of A over h, w), 1 x 1 x c;  m = sigmoid(conv1x1(S * C)),
    or, without the decomposition (table 8), m = sigmoid(conv(A)) with a kernel of ``undecomposed``, '3x3' or '1x1'.

    ``width`` is the number of channels of the 3x3 convolutions in its residual units; with ``normalised``, batch
    normalisation follows the convolutions of S and C.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        stride: int,
        poolings: int,
        width: int,
        groups: int = 1,
        shortcut: str = "padding",
        decomposed: bool = True,
        normalised: bool = True,
        undecomposed: str = "3x3",
    ):
        super().__init__()
        self.groups = groups
        self.entry = Unit(inputs, width, channels, stride, groups, shortcut)
        self.down = nn.ModuleList(Unit(channels, width, channels, 1, groups) for _ in range(poolings))
        self.decomposed = decomposed
        wide = groups * channels
        if decomposed:
            self.spatial = _score(wide, groups, 3, groups, normalised)
            self.channel = _score(wide, wide, 1, groups, normalised)
        kernel = 3 if undecomposed == "3x3" and not decomposed else 1
        self.mix = nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=groups)

    def forward(self, v: Tensor) -> Tensor:
        """The mask m (B, groups*channels, h, w) of the block's input v (B, groups*inputs, H, W)."""
        a = self.encode_decode(v)
        if not self.decomposed:
            return torch.sigmoid(self.mix(a))
        s = self.spatial(a)  # (B, groups, h, w)
        c = self.channel(a.mean((2, 3), keepdim=True))  # (B, groups*channels, 1, 1)
        product = s[:, :, None] * c.unflatten(1, (self.groups, -1))  # (B, groups, channels, h, w)
        return torch.sigmoid(self.mix(product.flatten(1, 2)))

    def encode_decode(self, v: Tensor) -> Tensor:
        """The confidence score A (B, groups*channels, h, w), at the size of the block's output."""
        a, skipped = self.entry(v), []
        for unit in self.down:
            skipped.append(a)
            a = unit(F.max_pool2d(a, 2, ceil_mode=True))
        for skip in reversed(skipped):
            a = skip + F.interpolate(a, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return a


def _score(inputs: int, outputs: int, kernel: int, groups: int, normalised: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=not normalised)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs)) if normalised else nn.Sequential(convolution)


class Branches(nn.Module):
    """Blocks B1..B4 = conv2x..conv5x of one branch, or of several of the same shape as groups (table 1, figure 5).

    inputs     channels of conv1
    widths     channels per group of the 3x3 convolutions of conv2x..conv5x; each unit's output is twice as wide
    pooling    stride (height, width) of the 3x3 max pooling before conv2x
    attention  channels per group of the 3x3 convolutions in the attention paths of blocks 2..4; empty without
               intra-attention
    shortcut   of ``Unit``
    masking    of its attention: 'residual' (eq. 7) or 'plain' (eq. 5)
    others     options of ``IntraAttention``
    """

    def __init__(
        self,
        inputs: int,
        widths: tuple[int, ...],
        pooling: tuple[int, int],
        attention: tuple[int, ...] = (),
        groups: int = 1,
        shortcut: str = "padding",
        masking: str = "residual",
        **others,
    ):
        super().__init__()
        self.pooling, self.groups, self.masking = pooling, groups, masking
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleDict()
        for number, (width, stride, poolings) in enumerate(zip(widths, STRIDES, POOLINGS, strict=True), start=1):
            outputs = 2 * width
            units = [Unit(inputs, width, outputs, stride, groups, shortcut)]
            units += [Unit(outputs, width, outputs, 1, groups) for _ in range(UNITS - 1)]
            self.blocks.append(nn.Sequential(*units))
            if attention and poolings:
                self.attention[str(number)] = IntraAttention(
                    inputs, outputs, stride, poolings, attention[number - 2], groups, shortcut, **others
                )
            inputs = outputs

    def forward(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """The last block's map (B, groups*C, h, w) for conv1's map (B, groups*inputs, H, W), and each block's mask.

        Eq. 3: a = F(v); eq. 7: the next v = (1 + m) * a, or m * a by eq. 5. Masks (B, groups, h, w) are means over the
        channels.
        """
        v, masks = F.max_pool2d(x, 3, self.pooling, padding=1), {}
        for number, block in enumerate(self.blocks, start=1):
            a = block(v)
            if str(number) in self.attention:
                m = self.attention[str(number)](v)
                masks[number] = m.unflatten(1, (self.groups, -1)).mean(2)
                a = (1 + m) * a if self.masking == "residual" else m * a
            v = a
        return v, masks
