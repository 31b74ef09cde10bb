"""Parameters and multiply-adds by hand, and which networks are measured."""

import pytest

from reidnb.benchmarks import inference
from reidnb.papers import KNOWN
from reidnb.papers.experiments import full_networks, one_experiment


def test_size_of_resnet50_by_hand():
    plain = one_experiment(KNOWN["ide"], {"hidden": 0}, {"size": (224, 224)}, "market1501", "paper")
    size = inference.size(plain)
    # torchvision's ResNet-50 has 25.56 M parameters and 4.09 G multiply-adds, 2.05 M each in its 1000-way layer.
    assert size["parameters"] == pytest.approx((25_557_032 - 2_049_000 + 2049) / 1e6)
    assert size["multiply_adds"] == pytest.approx(4.089 - 0.002, abs=0.002)


def test_every_full_network_is_measured():
    networks = full_networks(KNOWN.values(), "street-small", "smoke")
    frame = inference.costs(networks, batch=4, rounds=1)
    assert list(frame.index) == list(networks) and (frame > 0).all(axis=None)
    # A stripe of PCB is classified besides what IDE has, and bag of tricks has no layer between pooling and classifier.
    assert frame.parameters["Bag of tricks"] < frame.parameters["PCB"]
