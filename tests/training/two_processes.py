"""One experiment in two processes, for ``test_distributed``: in a file, since it is started by launchers.

The network has group instead of batch normalisation, whose statistics on a CPU are those of a process's share.
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

# Not Adam, which makes whole steps of the rounding of gradients that are zero; and a low rate, as training magnifies
# rounding, on some processors more than on others.
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
    """Run the experiment with its results in ``folder``, or the first epochs of it."""
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
