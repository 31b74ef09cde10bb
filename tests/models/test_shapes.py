"""The shapes at a network's modules."""

import torch
from torch import nn

from reidnb.models.shapes import Flow, flows


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.pairs = nn.Identity()

    def forward(self, x, scale):
        return self.pairs([self.convolution(x), x * scale])


def test_shapes_are_those_of_a_computed_pass_and_nothing_is_computed():
    with torch.device("meta"):
        network = Twice()
        seen, output = flows(network, torch.empty(5, 3, 12, 7), scale=torch.empty(()))
    assert seen == {"convolution": Flow((3, 12, 7), (8, 6, 4)), "pairs": Flow((), ())}
    computed = Twice()(torch.zeros(5, 3, 12, 7), torch.ones(()))
    assert [x.shape for x in output] == [x.shape for x in computed] and output[0].is_meta
    assert not network.convolution._forward_hooks
