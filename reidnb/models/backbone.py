"""The networks that give maps to the papers' networks, by name, and their initial weights."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights, ResNet101_Weights

from .. import weight_files
from . import ibn, osnet, resnet

BACKBONES: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(resnet.resnet, name) for name in resnet.SHAPES},
    **{name: partial(ibn.resnet_ibn_a, name) for name in ibn.NAMES},
    "osnet": osnet.OSNet,
}
"""Every backbone by its name: ResNets, ResNets with IBN-a, OSNet."""
WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the narrow networks' weights, which ``reidnb.study.street_weights`` trained."""
_IMAGENET = {
    "resnet101": ResNet101_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
}
_PUBLISHED = {
    "resnet101-ibn-a": "resnet101_ibn_a-59ea0ac6.pth of XingangPan/IBN-Net",
    "resnet50-ibn-a": "resnet50_ibn_a-d9d0bb7b.pth of XingangPan/IBN-Net",
    "osnet": "osnet_x1_0_imagenet.pth of KaiyangZhou/deep-person-reid",
}
"""The authors' ImageNet weights of the backbones that torchvision does not have."""
_HEAD = ("fc.",)
"""Prefixes of what a backbone's network has beside its maps."""


def network(name: str) -> nn.Module:
    """The network called ``name`` in ``BACKBONES``, with random weights and the parameter names of its weight files.

    Its ``channels`` are those of its four stages, which ``stem_and_stages`` gives; ``before_relu`` is the output of the
    last block without its ReLU. Raises ValueError for another name.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}: known are {', '.join(BACKBONES)}")
    return BACKBONES[name]()


class Backbone(nn.Module):
    """A network that returns the maps of its four stages.

    ``name`` is one of ``BACKBONES``. With ``last_stride=1`` stage 4 keeps stage 3's resolution (Sun et al. 2018), 1/16
    of the input; OSNet always does, and raises ValueError for 2. ``channels`` are the four stages' channels: 256, 512,
    1024, 2048 for ResNet-50.
    """

    def __init__(self, name: str = "resnet50", weights: str | Path | None = None, last_stride: int = 1):
        super().__init__()
        net = network(name)
        if weights:
            _load(net, name, weights)
        self.stem, stages = net.stem_and_stages(last_stride)
        self.stages = nn.ModuleList(stages)
        self.channels, self._before_relu = net.channels, net.before_relu

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
        return self._before_relu(self.stages[3][-1], self.stages[3][:-1](x))


def best_fit(state: Mapping[str, Tensor]) -> tuple[str, weight_files.Match]:
    """The backbone that a file's arrays fit best, and how: it fits where none is missing.

    That is the one of whose arrays the smallest fraction is missing; of several, the one with a place for the most.
    """
    with torch.device("meta"):  # only names and shapes are compared
        matches = {name: weight_files.match(network(name), state, _HEAD) for name in BACKBONES}
    return min(matches.items(), key=lambda item: (len(item[1].missing) / item[1].needed, len(item[1].extra)))


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


def _load(net: nn.Module, name: str, weights: str | Path) -> None:
    """Fill ``net`` with torchvision's ImageNet weights, the street's, or those of a local file (``weight_files``)."""
    if str(weights) == "imagenet":
        state = _imagenet(name)
    else:
        path = street_weights(name) if str(weights) == "street" else weight_files.existing_file(weights)
        state = weight_files.read_state(path)
    weight_files.fill(net, state, weights, name, skip=_HEAD)


def _imagenet(name: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights. Raises ValueError that says what to give instead where it has none."""
    if name in _PUBLISHED:
        raise ValueError(
            f"torchvision has no ImageNet weights for {name}: pass weights=PATH of a local file, such as"
            f" {_PUBLISHED[name]}, or weights='' for random initial weights"
        )
    if name not in _IMAGENET:
        raise ValueError(f"there are no ImageNet weights for {name}: pass weights='' (random initial weights)")
    instead = "pass weights=PATH of a local file, or weights='' for random initial weights"
    return weight_files.published_state(_IMAGENET[name], f"ImageNet's {name}", instead)
