"""What it costs to describe an image: parameters, multiply-adds, and time on this machine (``compare.ipynb``)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..models.output import output_of
from ..papers.experiments import build, by_pose
from ..training.experiment import Experiment
from ..training.loop import make_accelerator
from .training import BOXES


def costs(networks: Mapping[str, Experiment], *, batch: int = 32, rounds: int = 5) -> pd.DataFrame:
    """A row for each network, untrained, at its experiment's image size:

    parameters     in millions, without the classifiers' (one identity is counted); parts that only training uses count
    multiply_adds  in billions for one image at test time: half the FLOPs of ``torch.utils.flop_counter``
    milliseconds   for one image in a batch of ``batch`` in the experiment's precision, the median over ``rounds``

    The networks take turns, so that other load on the machine affects all of them alike.
    """
    runners = {name: _runner(experiment, batch) for name, experiment in networks.items()}
    for run in runners.values():
        run()  # kernels are selected
    seconds = pd.DataFrame([{name: run() for name, run in runners.items()} for _ in range(rounds)])
    frame = pd.DataFrame({name: size(experiment) for name, experiment in networks.items()}).T
    frame["milliseconds"] = 1000 * seconds.median() / batch
    return frame.rename_axis("network")


def size(experiment: Experiment, identities: int = 1) -> dict[str, float]:
    """The ``parameters`` and ``multiply_adds`` of ``costs``, with classifiers of so many ``identities``."""
    model, counter = _network(experiment, identities), FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        output_of(model, torch.zeros(1, 3, *experiment.recipe.size), _boxes(experiment, 1))
    parameters = sum(p.numel() for p in model.parameters())
    return {"parameters": parameters / 1e6, "multiply_adds": counter.get_total_flops() / 2e9}


def _network(experiment: Experiment, identities: int = 1) -> nn.Module:
    return build(replace(experiment, weights=""), identities).eval()


def _runner(experiment: Experiment, batch: int) -> Callable[[], float]:
    """A function that describes a batch of random images and returns the seconds that it took."""
    accelerator = make_accelerator(experiment.recipe.precision)
    device = accelerator.device
    model = _network(experiment).to(device=device, memory_format=torch.channels_last)
    images = torch.rand(batch, 3, *experiment.recipe.size, device=device).to(memory_format=torch.channels_last)
    boxes = _boxes(experiment, batch, device)

    def run() -> float:
        start = time.perf_counter()
        with torch.inference_mode(), accelerator.autocast():
            output_of(model, images, boxes).descriptor.float().cpu()  # the copy waits for the GPU
        return time.perf_counter() - start

    return run


def _boxes(experiment: Experiment, batch: int, device: torch.device | str = "cpu") -> torch.Tensor | None:
    """The regions R0 to R4 (B, 5, 4) of every image; None for a network that takes none."""
    return torch.tensor(BOXES, device=device).expand(batch, -1, -1) if by_pose(experiment) else None
