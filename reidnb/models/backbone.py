"""Torchvision's ResNets as four stages, optionally without the last down-sampling."""

import hashlib
from functools import cache
from pathlib import Path

from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights, ResNet101_Weights
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from .. import weight_files

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
WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the narrow networks' weights, which ``reidnb.study.street_weights`` trained."""
_IMAGENET = {
    "resnet101": ResNet101_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
}


class _NarrowResNet(ResNet):
    """A torchvision ResNet with a fraction ``width`` of the channels in its stages."""

    def __init__(self, block: type, layers: tuple[int, ...], width: float):
        self.width = width
        super().__init__(block, list(layers), num_classes=1)

    def _make_layer(self, block: type, planes: int, *args, **kwargs) -> nn.Sequential:
        return super()._make_layer(block, int(planes * self.width), *args, **kwargs)


def resnet(name: str) -> ResNet:
    """The ResNet called ``name`` in ``SHAPES``, with random weights and a one-class classifier."""
    if name not in SHAPES:
        raise ValueError(f"unknown backbone {name!r}: known are {', '.join(SHAPES)}")
    return _NarrowResNet(*SHAPES[name])


class Backbone(nn.Module):
    """A ResNet (He et al. 2016) that returns the maps of its four stages.

    ``name`` is one of ``SHAPES``. With ``last_stride=1`` stage 4 keeps stage 3's resolution (Sun et al. 2018), 1/16 of
    the input. ``channels`` are the four stages' channels: 256, 512, 1024, 2048 for ResNet-50.
    """

    def __init__(self, name: str = "resnet50", weights: str | Path | None = None, last_stride: int = 1):
        super().__init__()
        net = resnet(name)
        block, _, width = SHAPES[name]
        if weights:
            _load(net, name, weights)
        if last_stride == 1:
            for module in net.layer4.modules():
                if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                    module.stride = (1, 1)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.channels = tuple(int(c * width) * block.expansion for c in (64, 128, 256, 512))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four stages' maps (B, C_i, H_i, W_i) of images (B, 3, H, W)."""
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def before_last_relu(self, images: Tensor) -> Tensor:
        """Stage 4's map (B, C, H, W) of images (B, 3, H, W) before the ReLU that ends its last block."""
        x = self.stem(images)
        for stage in self.stages[:3]:
            x = stage(x)
        return _sum_of_block(self.stages[3][-1], self.stages[3][:-1](x))


def _sum_of_block(block: BasicBlock | Bottleneck, x: Tensor) -> Tensor:
    """F(x) + x of a residual block (He et al. 2016, eq. 1), whose ReLU is its output."""
    out = block.relu(block.bn1(block.conv1(x)))
    out = block.bn2(block.conv2(out))
    if isinstance(block, Bottleneck):
        out = block.bn3(block.conv3(block.relu(out)))
    return out + (x if block.downsample is None else block.downsample(x))


def street_weights(name: str) -> Path:
    """The file of a narrow backbone pretrained on another street's people (by ``reidnb.study.street_weights``).

    Raises ValueError if there is none.
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
        raise ValueError(f"there are no weights of the street for {name}: there are for {', '.join(known)}")
    return path


@cache
def street_identity(name: str) -> str:
    """The part of an experiment's key for the weights 'street': a digest of the backbone's files."""
    digest = hashlib.sha256()
    for file in sorted(WEIGHTS.glob(f"{name}*.safetensors")):
        digest.update(file.read_bytes())
    return f"street {digest.hexdigest()}"


def _load(net: ResNet, name: str, weights: str | Path) -> None:
    """Fill ``net`` with torchvision's ImageNet weights, the street's, or those of a local file (``weight_files``)."""
    if str(weights) == "imagenet":
        if name not in _IMAGENET:
            raise ValueError(f"there are no ImageNet weights for {name}: pass weights='' (random initial weights)")
        instead = "pass weights=PATH of a local file, or weights='' for random initial weights"
        state = weight_files.published_state(_IMAGENET[name], f"ImageNet's {name}", instead)
    else:
        path = street_weights(name) if str(weights) == "street" else weight_files.existing_file(weights)
        state = weight_files.read_state(path)
    weight_files.fill(net, state, weights, name, skip=("fc.",))
