"""OSNet (Zhou, Yang, Cavallaro, Xiang, "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019), x1.0.

A small network made for re-identification: each block has four streams with receptive fields of 3, 5, 7 and 9 pixels,
and a gate chooses, per image and channel, how much of each stream is used.

Parameter names are those of the authors' weight files (torchreid), such as ``conv2.0.conv2b.1.conv1.weight``. The last
fully connected layer of the paper's network (512) is not here: its place is taken by the networks that use the maps.
"""

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (256, 384, 512, 512)
"""Of the four stages: conv2, conv3, conv4, conv5."""


class ConvNorm(nn.Module):
    """A convolution without bias and batch normalisation, then a ReLU unless ``linear``."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, linear: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, outputs, H/stride, W/stride) of maps (B, inputs, H, W)."""
        x = self.before_relu(x)
        return x if self.linear else F.relu(x)

    def before_relu(self, x: Tensor) -> Tensor:
        """As ``forward``, without the ReLU."""
        return self.bn(self.conv(x))


class Lite3x3(nn.Module):
    """Section 3.1: a 3x3 convolution in two, 1x1 over the channels and then 3x3 in each; batch normalisation, ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) of maps of the same shape."""
        return F.relu(self.bn(self.conv2(self.conv1(x))))


class Gate(nn.Module):
    """G of eq. 3, the unified aggregation gate: a weight in (0, 1) for each channel of an image's map.

    Average over the map, then a hidden layer of a ``reduction``-th of the channels with ReLU, then a sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The weights (B, C, 1, 1) of a map (B, C, H, W)."""
        return self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class OmniScaleBlock(nn.Module):
    """Figure 4b: y = ReLU(x + W sum_t G(x_t) x_t), x_t = F_t(V x) for t = 1..4 (eq. 1 to 3).

    F_t are t Lite 3x3 in a row; one gate G serves all streams. V and W are 1x1 convolutions with batch normalisation,
    V with a ReLU, to a quarter of the output's channels and back. Where the number of channels changes, x
    passes through a 1x1 convolution before the sum.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        width = outputs // 4
        self.conv1 = ConvNorm(inputs, width)
        self.conv2a = Lite3x3(width)
        self.conv2b, self.conv2c, self.conv2d = (nn.Sequential(*(Lite3x3(width) for _ in range(t))) for t in (2, 3, 4))
        self.gate = Gate(width)
        self.conv3 = ConvNorm(width, outputs, linear=True)
        self.downsample = ConvNorm(inputs, outputs, linear=True) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, outputs, H, W) of maps (B, inputs, H, W)."""
        narrow = self.conv1(x)
        streams = [stream(narrow) for stream in (self.conv2a, self.conv2b, self.conv2c, self.conv2d)]
        residual = self.conv3(sum(self.gate(stream) * stream for stream in streams))
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)))


class OSNet(nn.Module):
    """The layers of table 1 as far as conv5, with random weights: He's by fan-out, and zero biases."""

    def __init__(self):
        super().__init__()
        conv2, conv3, conv4, conv5 = self.channels = CHANNELS
        self.conv1 = ConvNorm(3, 64, kernel=7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = nn.Sequential(OmniScaleBlock(64, conv2), OmniScaleBlock(conv2, conv2), _transition(conv2))
        self.conv3 = nn.Sequential(OmniScaleBlock(conv2, conv3), OmniScaleBlock(conv3, conv3), _transition(conv3))
        self.conv4 = nn.Sequential(OmniScaleBlock(conv3, conv4), OmniScaleBlock(conv4, conv4))
        self.conv5 = ConvNorm(conv4, conv5)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stem_and_stages(self, last_stride: int) -> tuple[nn.Module, list[nn.Module]]:
        """What is before the stages, and the four stages.

        A transition begins the stage after it, as ResNet's down-sampling does. So the maps have a ResNet's resolutions:
        1/4, 1/8, 1/16 of the input, and 1/16 with ``last_stride=1``. The last stage, a 1x1 convolution, never
        down-samples: raises ValueError for ``last_stride=2``.
        """
        if last_stride != 1:
            raise ValueError(
                f"last_stride={last_stride}: the last stage of osnet keeps its resolution: allowed is 1,"
                " as the network's option"
            )
        stages = [
            self.conv2[:2],
            nn.Sequential(self.conv2[2], *self.conv3[:2]),
            nn.Sequential(self.conv3[2], *self.conv4),
            nn.Sequential(self.conv5),
        ]
        return nn.Sequential(self.conv1, self.maxpool), stages

    @staticmethod
    def before_relu(block: ConvNorm, x: Tensor) -> Tensor:
        """The output of the last stage's convolution without its ReLU."""
        return block.before_relu(x)


def _transition(channels: int) -> nn.Sequential:
    """A 1x1 convolution, and an average that halves the resolution."""
    return nn.Sequential(ConvNorm(channels, channels), nn.AvgPool2d(2))
