"""Torchvision's ResNets by name."""

import pytest
import torch
import torchvision

from reidnb.models.backbone import Backbone, resnet


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_the_usual_resnets_are_torchvisions(name):
    with torch.device("meta"):
        expected = getattr(torchvision.models, name)(num_classes=1).state_dict()
        built = resnet(name).state_dict()
    assert {k: v.shape for k, v in built.items()} == {k: v.shape for k, v in expected.items()}


def test_resnet101_gives_four_stages_with_the_last_stride_removed():
    with torch.device("meta"):
        backbone = Backbone("resnet101")
        maps = backbone(torch.zeros(1, 3, 128, 64))
    assert [tuple(a.shape[1:]) for a in maps] == [(256, 32, 16), (512, 16, 8), (1024, 8, 4), (2048, 8, 4)]
    assert backbone.channels == (256, 512, 1024, 2048)
