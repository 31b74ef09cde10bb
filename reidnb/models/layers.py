"""Networks that share parameters, each with buffers of its own."""

import copy

from torch import nn


def same_parameters(network: nn.Module) -> nn.Module:
    """The network once more, with the very same parameters and buffers (batch statistics) of its own."""
    return copy.deepcopy(network, {id(p): p for p in network.parameters()})
