"""Table 12: parameters and multiply-adds, of the networks and of their parts, measured beside the printed numbers."""

from importlib.resources import files

import pandas as pd
import torch
import torchvision
from pandas.io.formats.style import Styler
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .network import AttentionDriven, strips
from .tables import BASELINE

ATTENTION = "Full model - Basemodel"
PIECES = {
    "conv1, shared": ("conv1", "norm_"),
    "conv2x to conv5x, whole body": ("body.blocks",),
    "conv2x to conv5x, four parts": ("parts.blocks",),
    "FC_reduce": ("reduce_",),
    "intra-attention, whole body": ("body.attention",),
    "intra-attention, four parts": ("parts.attention",),
    "inter-attention": ("inter",),
}
"""The parts of the full model, by the prefixes of their modules' names: four of the base network, three others."""


def published() -> pd.DataFrame:
    """The printed table 12: millions of parameters and "FLOPs" of each network."""
    frame = pd.read_csv(files(__package__) / "table12.csv").set_index("row")
    return frame[["parameters_million", "flops"]]


def table12() -> pd.DataFrame:
    """Table 12, measured: parameters without the identity classifiers, and multiply-adds per image.

    The paper's "FLOPs" are multiply-adds. For the four other networks it appears to scale the published numbers for
    224x224 by the ratio of the areas, 384*192 / 224^2 = 1.469 (ResNet-50: 3.8e9 * 1.469 = 5.58e9); here every network
    is run at 384x192. ``error_*`` is in percent of the printed number.
    """
    printed = published()
    with torch.device("meta"):  # tensors have shapes but no values: nothing is computed
        vision = torchvision.models
        networks = {
            "AlexNet": _without_last(vision.alexnet()),
            "VGG": _without_last(vision.vgg16()),
            "ResNet50": _without_last(vision.resnet50()),
            "GoogLeNet": _without_last(vision.googlenet(aux_logits=False, init_weights=False)),
            "Basemodel": AttentionDriven(1, **BASELINE),
            "Full model": AttentionDriven(1),
        }
        measured = {name: parameters_and_operations(network.eval()) for name, network in networks.items()}
    return _beside(measured, printed)


def table12_parts() -> pd.DataFrame:
    """What the full model's parts add to table 12: parameters and multiply-adds of each, without its classifiers.

    Printed are the base network, the full model and so their difference, the two attentions together.
    """
    printed = published()
    printed.loc[ATTENTION] = printed.loc["Full model"] - printed.loc["Basemodel"]
    with torch.device("meta"):
        network, counter = AttentionDriven(1).eval(), FlopCounterMode(display=False)
        parameters_and_operations(network, counter)
    operations = {name.partition(".")[2]: sum(of.values()) for name, of in counter.get_flop_counts().items()}
    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    measured = {}
    for part, prefixes in PIECES.items():
        names = [name for name in leaves if name.startswith(prefixes)]
        parameters = sum(p.numel() for name in names for p in leaves[name].parameters())
        measured[part] = (parameters / 1e6, sum(operations.get(name, 0) for name in names) / 2)
    frame = pd.DataFrame(measured)
    base, added = frame[list(PIECES)[:4]].sum(axis=1), frame[list(PIECES)[4:]].sum(axis=1)
    frame.insert(4, "Basemodel", base)
    frame[ATTENTION], frame["Full model"] = added, base + added
    return _beside(frame, printed)


def as_read(frame: pd.DataFrame, decimals: int = 1) -> Styler:
    """``table12`` or ``table12_parts`` for display: parameters in 10^6, ours with ``decimals``, and multiply-adds in
    10^9, to three digits."""
    scaled = frame.assign(flops=frame.flops / 1e9, published_flops=frame.published_flops / 1e9)
    quantities, kinds = ("10⁶ parameters", "10⁹ multiply-adds"), ("published", "ours", "error")
    formats = ("{:.1f}", f"{{:.{decimals}f}}", "{:+.1f} %", "{:.3g}", "{:.3g}", "{:+.1f} %")
    columns = pd.MultiIndex.from_product((quantities, kinds))
    return scaled.set_axis(columns, axis=1).style.format(dict(zip(columns, formats, strict=True)), na_rep="–")


def _beside(measured: pd.DataFrame | dict, printed: pd.DataFrame) -> pd.DataFrame:
    """A row for each name of ``measured``; for both columns what is printed, measured, and the error in percent."""
    frame = pd.DataFrame(measured).set_axis(["parameters_million", "flops"]).T
    columns = {}
    for name in frame:
        published = printed[name].reindex(frame.index)
        columns |= {f"published_{name}": published, name: frame[name]}
        columns[f"error_{name}"] = 100 * (frame[name] / published - 1)
    return pd.DataFrame(columns)


def _without_last(network: nn.Module) -> nn.Module:
    """A torchvision classifier without its last layer, which scores the 1000 classes."""
    if hasattr(network, "fc"):
        network.fc = nn.Identity()
    else:
        network.classifier[-1] = nn.Identity()
    return network


def parameters_and_operations(network: nn.Module, counter: FlopCounterMode | None = None) -> tuple[float, float]:
    """Millions of parameters, without identity classifiers, and multiply-adds for one image at 384x192.

    The network must be on the device 'meta', which is the current one. ``counter`` then has the counts of each module.
    """
    if isinstance(network, AttentionDriven):
        network.classifiers = nn.ModuleDict()
    image, counter = torch.zeros(1, 3, 384, 192), counter or FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(image, None, strips(1)) if isinstance(network, AttentionDriven) else network(image)
    return sum(p.numel() for p in network.parameters()) / 1e6, counter.get_total_flops() / 2
