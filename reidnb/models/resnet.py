"""ResNets (He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016), as torchvision builds them.

Parameter names are torchvision's.
"""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

# name: block, blocks per stage, width as a fraction of the usual channels. The narrow networks have the same four
# stages; they are for two CPU cores (the demo profile) and for tests (smoke).
SHAPES = {
    "resnet101": (Bottleneck, (3, 4, 23, 3), 1.0),
    "resnet50": (Bottleneck, (3, 4, 6, 3), 1.0),
    "resnet18": (BasicBlock, (2, 2, 2, 2), 1.0),
    "resnet18-half": (BasicBlock, (2, 2, 2, 2), 0.5),
    "resnet10-quarter": (BasicBlock, (1, 1, 1, 1), 0.25),
    "resnet10-eighth": (BasicBlock, (1, 1, 1, 1), 0.125),
}


class NarrowResNet(ResNet):
    """A torchvision ResNet with a fraction ``width`` of the channels in its stages, and a one-class classifier."""

    def __init__(self, block: type, layers: tuple[int, ...], width: float):
        self.width = width
        self.channels = tuple(int(c * width) * block.expansion for c in (64, 128, 256, 512))
        super().__init__(block, list(layers), num_classes=1)

    def _make_layer(self, block: type, planes: int, *args, **kwargs) -> nn.Sequential:
        return super()._make_layer(block, int(planes * self.width), *args, **kwargs)

    def stem_and_stages(self, last_stride: int) -> tuple[nn.Module, list[nn.Module]]:
        """What is before the stages, and the four stages; with ``last_stride=1`` the last one keeps the resolution."""
        if last_stride == 1:
            for module in self.layer4.modules():
                if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                    module.stride = (1, 1)
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return stem, [self.layer1, self.layer2, self.layer3, self.layer4]

    @staticmethod
    def before_relu(block: BasicBlock | Bottleneck, x: Tensor) -> Tensor:
        """F(x) + x of a residual block (He et al. 2016, eq. 1), whose ReLU is its output."""
        out = block.relu(block.bn1(block.conv1(x)))
        out = block.bn2(block.conv2(out))
        if isinstance(block, Bottleneck):
            out = block.bn3(block.conv3(block.relu(out)))
        return out + (x if block.downsample is None else block.downsample(x))


def resnet(name: str) -> NarrowResNet:
    """The ResNet called ``name`` in ``SHAPES``, with random weights."""
    return NarrowResNet(*SHAPES[name])
