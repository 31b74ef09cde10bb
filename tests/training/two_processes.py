"""One experiment in two processes, for ``test_distributed``; a separate file, since launchers start it.

The network has group normalisation, as batch normalisation on a CPU uses the statistics of each process's part.
"""

import sys
from contextlib import suppress
from pathlib import Path

import torch
from accelerate import notebook_launcher
from torch import nn

from reidnb import runs
from reidnb.data import catalog
from reidnb.papers import PAPERS
from reidnb.papers.experiments import build, one_experiment
from reidnb.training.experiment import Experiment

# Not Adam, which turns rounding errors of zero gradients into full steps; and a low rate, as training amplifies
# rounding errors, on some processors more than on others.
SGD = {"epochs": 3, "optimizer": "sgd", "lr": 0.005}
EXPERIMENT: Experiment = one_experiment(PAPERS["wrcanet"], {}, SGD, "street-small", "smoke")


def without_batchnorm(experiment: Experiment, identities: int) -> nn.Module:
    return _replaced(build(experiment, identities))


def _replaced(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(1, child.num_features))
        else:
            _replaced(child)
    return module


class Stop(Exception):
    pass


def train(folder: Path, epochs: int | None = None) -> None:
    """Run the experiment, or its first ``epochs``, with results in ``folder``."""
    torch.set_num_threads(1)
    runs.build = without_batchnorm

    def stop(model: nn.Module, epoch: int) -> None:
        if epoch == epochs:
            raise Stop

    runs.run(EXPERIMENT, catalog.load(EXPERIMENT.dataset), results=folder, cpu=True, after_epoch=stop)


def main(how: str, folder: Path, port: str) -> None:
    if how == "launched":  # this is one of the processes
        train(folder / "launched")
        return
    notebook_launcher(train, (folder / "forked",), num_processes=2, use_port=port)
    train(folder / "one")
    with suppress(Stop):
        train(folder / "resumed", epochs=1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
