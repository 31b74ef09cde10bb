"""Torchvision's ResNets as four stages, with the last down-sampling removed where a paper says so."""

from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

# name: block, blocks a stage, share of the usual channels. The narrow ones have the same four-stage shape and
# are for two CPU cores (the demo profile) and for tests (smoke).
SHAPES = {
    "resnet50": (Bottleneck, (3, 4, 6, 3), 1.0),
    "resnet18": (BasicBlock, (2, 2, 2, 2), 1.0),
    "resnet18-half": (BasicBlock, (2, 2, 2, 2), 0.5),
    "resnet10-quarter": (BasicBlock, (1, 1, 1, 1), 0.25),
    "resnet10-eighth": (BasicBlock, (1, 1, 1, 1), 0.125),
}
WEIGHTS = Path(__file__).parent / "weights"
"""Where the narrow networks' weights lie that ``reidnb.street_weights`` made."""
_IMAGENET = {"resnet50": ResNet50_Weights.IMAGENET1K_V1, "resnet18": ResNet18_Weights.IMAGENET1K_V1}


class _NarrowResNet(ResNet):
    """A torchvision ResNet with a share of the channels in its stages."""

    def __init__(self, block: type, layers: tuple[int, ...], share: float):
        self.share = share
        super().__init__(block, list(layers), num_classes=1)

    def _make_layer(self, block: type, planes: int, *args, **kwargs) -> nn.Sequential:
        return super()._make_layer(block, int(planes * self.share), *args, **kwargs)


class Backbone(nn.Module):
    """A ResNet (He et al. 2016) that returns the maps of its four stages.

    At the names of ``SHAPES``; with ``last_stride=1`` stage 4 keeps stage 3's size (Sun et al. 2018), 1/16 of the
    input. ``channels`` are the four stages' channels, for ResNet-50 256, 512, 1024, 2048.
    """

    def __init__(self, name: str = "resnet50", weights: str | Path | None = None, last_stride: int = 1):
        super().__init__()
        if name not in SHAPES:
            raise ValueError(f"unknown backbone {name!r}: known are {', '.join(SHAPES)}")
        block, layers, share = SHAPES[name]
        net = _NarrowResNet(block, layers, share)
        if weights:
            _load(net, name, weights)
        if last_stride == 1:
            for module in net.layer4.modules():
                if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                    module.stride = (1, 1)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.channels = tuple(int(c * share) * block.expansion for c in (64, 128, 256, 512))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The four stages' maps (B, C_i, H_i, W_i) of images (B, 3, H, W)."""
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def street_weights(name: str) -> Path:
    """The file of a narrow backbone that has seen another street's people (``reidnb.street_weights`` made it).

    Raises ValueError where there is none.
    """
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
        raise ValueError(f"there are no weights of the street for {name}: there are for {', '.join(known)}")
    return path


def _load(net: ResNet, name: str, weights: str | Path) -> None:
    """Fill ``net`` with torchvision's ImageNet weights, the street's, or those of a local .pth or .safetensors file."""
    if str(weights) == "imagenet":
        state = _imagenet(name)
    else:
        path = street_weights(name) if str(weights) == "street" else Path(weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"weights {weights}: no such file (or 'imagenet', 'street', or none)")
        try:
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        except Exception as error:  # every reader has its own errors for a broken file
            raise ValueError(f"weights {path} cannot be read: {str(error).splitlines()[0]}") from error
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    own = {key: value for key, value in net.state_dict().items() if not key.startswith("fc.")}
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
    if missing or wrong:
        raise ValueError(
            f"weights {weights} are not a {name}'s: {len(missing)} arrays are missing, {len(wrong)} of another shape"
            f" (first: {(missing + wrong)[0]})"
        )
    net.load_state_dict(state, strict=False)


def _imagenet(name: str) -> dict[str, Tensor]:
    if name not in _IMAGENET:
        raise ValueError(f"there are no ImageNet weights for {name}: pass weights='' (random initial weights)")
    source = _IMAGENET[name]
    try:
        return source.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError) as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(source.url).name
        raise RuntimeError(
            f"the ImageNet weights of {name} cannot be fetched: put {Path(source.url).name} at {file},"
            " pass weights=PATH of a local file, or weights='' for random initial weights"
        ) from error
