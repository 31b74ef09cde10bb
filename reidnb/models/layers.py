"""Networks that share parameters but not buffers."""

import copy

from torch import nn


def same_parameters(network: nn.Module) -> nn.Module:
    """A copy of the network that shares its parameters but has separate buffers (batch statistics)."""
    return copy.deepcopy(network, {id(p): p for p in network.parameters()})
