"""Layers that several networks use."""

import copy

from torch import nn


def same_parameters(network: nn.Module) -> nn.Module:
    """A copy of the network that shares its parameters but has separate buffers (batch statistics)."""
    return copy.deepcopy(network, {id(p): p for p in network.parameters()})


def bnneck(width: int) -> nn.BatchNorm1d:
    """Batch normalisation between a feature (B, width) and its classifier, without a bias (Luo et al. 2019, 3.5)."""
    neck = nn.BatchNorm1d(width)
    neck.bias.requires_grad_(False)
    return neck


def classifier(width: int, identities: int, bias: bool = True) -> nn.Linear:
    """A linear classifier of features (B, width) whose weights start small, with a standard deviation of 0.001."""
    head = nn.Linear(width, identities, bias=bias)
    nn.init.normal_(head.weight, std=0.001)
    if bias:
        nn.init.zeros_(head.bias)
    return head
