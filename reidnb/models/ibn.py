"""ResNets with IBN-a (Pan, Luo, Shi, Tang, "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net",
ECCV 2018).

In stages 1 to 3 the first normalisation of each block is by instance in half of the channels, which removes what is
particular to an image's look, and by batch in the other half, which keeps what tells images apart. Stage 4 is
ResNet's, as the paper found deep layers to hold content rather than look.

Parameter names are those of the authors' weight files, such as ``layer1.0.bn1.IN.weight``.
"""

import torch
from torch import Tensor, nn

from .resnet import NarrowResNet, resnet

NAMES = {"resnet101-ibn-a": "resnet101", "resnet50-ibn-a": "resnet50"}
"""The ResNet that each of them changes."""


class IBN(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the others; both affine.

    For an odd number of channels the second half has one more.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)
        self.BN = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised maps (B, C, H, W) of maps of the same shape."""
        first, second = x.split((self.IN.num_features, self.BN.num_features), 1)
        return torch.cat([self.IN(first), self.BN(second)], 1)


def resnet_ibn_a(name: str) -> NarrowResNet:
    """The network called ``name`` in ``NAMES``, with random weights."""
    net = resnet(NAMES[name])
    for stage in (net.layer1, net.layer2, net.layer3):
        for block in stage:
            block.bn1 = IBN(block.bn1.num_features)
    return net
