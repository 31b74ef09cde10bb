"""What the notebooks show of a network."""

import pytest
from torch import nn

from reidnb.papers.wrcanet.network import WRCANet
from reidnb.report import show


def test_cost_counts_parameters_and_multiply_adds():
    network = nn.Sequential(nn.Conv2d(3, 1000, 3, padding=1, bias=False), nn.Conv2d(1000, 700, 1, bias=False))
    line = show.cost({"two convolutions": network}, (32, 16)).loc["two convolutions"]
    assert line["10⁶ parameters"] == round((27_000 + 700_000) / 1e6, 1)
    assert line["10⁹ multiply-adds"] == round(512 * (27_000 + 700_000) / 1e9, 1) == 0.4


@pytest.mark.slow
def test_weak_reverse_attention_costs_a_second_pass_and_no_parameter():
    networks = {wra: WRCANet(751, wra=wra, gp=False, ms=False) for wra in ("", "image")}
    cost = show.cost(networks, (384, 192))
    assert list(cost["10⁹ multiply-adds"]) == [9.1, 18.2]
    assert cost["10⁶ parameters"].nunique() == 1
