"""Every backbone by its name: torchvision's ResNets, stages and their sizes, weights, and what is refused."""

import pytest
import torch
import torchvision

from reidnb.models.backbone import BACKBONES, Backbone, best_fit, network

ADDED = ("resnet50-ibn-a", "resnet101-ibn-a", "osnet")


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_the_usual_resnets_are_torchvisions(name):
    with torch.device("meta"):
        expected = getattr(torchvision.models, name)(num_classes=1).state_dict()
        built = network(name).state_dict()
    assert {k: v.shape for k, v in built.items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_maps_of_its_channels_at_the_same_four_sizes(name):
    with torch.device("meta"):
        backbone = Backbone(name)
        maps = backbone(torch.zeros(1, 3, 128, 64))
    sizes = [(32, 16), (16, 8), (8, 4), (8, 4)]
    assert [tuple(a.shape[1:]) for a in maps] == [(c, *hw) for c, hw in zip(backbone.channels, sizes, strict=True)]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_last_stage_halves_the_resolution_or_says_that_it_cannot(name):
    with torch.device("meta"):
        if name == "osnet":
            with pytest.raises(ValueError, match="last_stride=2: the last stage of osnet keeps its resolution"):
                Backbone(name, last_stride=2)
        else:
            assert Backbone(name, last_stride=2)(torch.zeros(1, 3, 128, 64))[3].shape[2:] == (4, 2)


def test_channels_are_the_papers():
    with torch.device("meta"):
        channels = {name: Backbone(name).channels for name in ("resnet101", "resnet18", *ADDED)}
    resnet = (256, 512, 1024, 2048)
    assert channels == {
        "resnet101": resnet,
        "resnet18": (64, 128, 256, 512),
        "resnet50-ibn-a": resnet,
        "resnet101-ibn-a": resnet,
        "osnet": (256, 384, 512, 512),
    }


@pytest.mark.parametrize("name", ["resnet10-eighth", "resnet50-ibn-a", "osnet"])
def test_the_map_before_the_last_relu(name):
    torch.manual_seed(0)
    backbone = Backbone(name).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        before, last = backbone.before_last_relu(images), backbone(images)[3]
    assert before.min() < 0
    torch.testing.assert_close(before.clamp(min=0), last)


@pytest.mark.parametrize("name", ADDED)
def test_a_saved_network_loads_and_is_recognised(name, tmp_path):
    torch.manual_seed(0)
    saved = network(name)
    for parameter in saved.parameters():  # no value that a new network would have by itself
        parameter.data += 0.01 * torch.randn_like(parameter)
    state = {f"module.{k}": v for k, v in saved.state_dict().items()}
    torch.save({"state_dict": state | {"module.classifier.weight": torch.zeros(7, 512)}}, tmp_path / "w.pth")
    stem, stages = saved.eval().stem_and_stages(last_stride=1)
    loaded, x = Backbone(name, tmp_path / "w.pth").eval(), torch.randn(1, 3, 32, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(x)[3], torch.nn.Sequential(stem, *stages)(x))
    fit, match = best_fit(saved.state_dict())
    assert fit == name and not match.missing and not match.extra


@pytest.mark.parametrize("name", ["resnet101", "resnet50", "resnet18", "resnet10-quarter"])
def test_a_resnet_is_not_taken_for_a_deeper_or_shallower_one(name):
    with torch.device("meta"):
        state = network(name).state_dict()
    fit, match = best_fit(state)
    assert fit == name and not match.missing and not match.extra


@pytest.mark.parametrize("name", ADDED)
def test_imagenet_weights_that_torchvision_lacks(name):
    with pytest.raises(
        ValueError, match=rf"torchvision has no ImageNet weights for {name}: .*a local file, such as \w"
    ):
        Backbone(name, "imagenet")


def test_an_unknown_name_is_named_beside_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown backbone 'osnet_x1_0': known are resnet101, .*osnet"):
        Backbone("osnet_x1_0")
