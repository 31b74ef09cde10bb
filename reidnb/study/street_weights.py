"""The initial weights of the demo on the street: narrow networks that have seen another street's people.

The papers start from ImageNet. The narrow networks of the demo profile have no such weights, and the street's few
images do not suffice to learn from nothing in a minute. So they start from a task learnt before, too: to distinguish
the 240 people of 'street-pretraining', who are not in 'street', before other cameras. Only synthetic images are seen.

    python -m reidnb.study.street_weights        # makes the files anew: half an hour on two cores
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..data import catalog
from ..files import write_atomically
from ..models.backbone import WEIGHTS
from ..papers import PAPERS
from ..papers.attention_driven.network import PRETRAINED, variant
from ..papers.experiments import one_experiment
from ..runs import load_model, run

EPOCHS = 30

KINDS = (
    {},
    {"intra": False},
    {"decomposed": False},
    {"decomposed": False, "undecomposed": "1x1"},
    {"masking": "plain"},
)
"""Options of the attention-driven network that change its kind of attention, and so its branches."""


def resnet_names(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model's backbone by torchvision's names."""
    stem = {"0": "conv1", "1": "bn1"}
    weights = {}
    for name, value in model.backbone.state_dict().items():
        part, number, rest = name.split(".", 2)
        weights[f"{stem[number] if part == 'stem' else f'layer{int(number) + 1}'}.{rest}"] = value
    return weights


def branches(model: nn.Module) -> dict[str, Tensor]:
    """The weights of the attention-driven network but for classifiers and fusion."""
    return {name: value for name, value in model.state_dict().items() if name.startswith(PRETRAINED)}


# For each file the paper, backbone and options of the network that learns its weights, and which of them are kept.
LEARNT: dict[str, tuple[str, str, dict, Callable[[nn.Module], dict[str, Tensor]]]] = {
    "resnet10-quarter": ("wrcanet", "resnet10-quarter", {"wra": "", "gp": False, "ms": False}, resnet_names),
    **{
        f"five-branch-quarter{variant(**options)}": ("attention_driven", "five-branch-quarter", options, branches)
        for options in KINDS
    },
}


def make(name: str, folder: Path = WEIGHTS, log: Callable[[str], None] = print) -> Path:
    """Train (or read) the network of ``name`` and write ``<name>.safetensors``, in half precision, into ``folder``."""
    paper, backbone, options, kept = LEARNT[name]
    stated = one_experiment(PAPERS[paper], options, {"epochs": EPOCHS}, "street-pretraining", "demo", weights="")
    data = catalog.load("street-pretraining")
    finished = run(replace(stated, backbone=backbone), data, log=log)
    state = kept(load_model(finished, data))
    half = {key: value.to(torch.float16) if value.is_floating_point() else value for key, value in state.items()}
    path = folder / f"{name}.safetensors"
    write_atomically(path, lambda file: save_file(half, str(file)))
    log(f"{path}: rank-1 {finished.metrics['rank1']:.1f}, mAP {finished.metrics['map']:.1f} on its own street")
    return path


if __name__ == "__main__":
    for learnt in LEARNT:
        make(learnt)
