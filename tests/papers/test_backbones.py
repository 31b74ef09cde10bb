"""Every network of a paper on every kind of backbone: one training step, or a sentence that refuses it."""

import pytest
import torch

from reidnb.papers import KNOWN, PAPERS
from reidnb.papers.experiments import build, one_experiment

KINDS = ("resnet50-ibn-a", "osnet")
IDENTITIES = 3


def smoke(paper: str, backbone: str | None, **options):
    return one_experiment(KNOWN[paper], options, {}, "street-small", "smoke", backbone=backbone)


def takes_a_step(experiment) -> None:
    """Whether each parameter has a finite gradient, and the descriptors are finite numbers at test time."""
    model = build(experiment, IDENTITIES).train()
    images, labels = torch.randn(6, 3, *experiment.recipe.size), torch.arange(6) % IDENTITIES
    loss = sum(model.loss(model(images, labels), labels).values())
    loss.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    assert next(model.backbone.parameters()).grad.any()
    torch.optim.SGD(trained.values(), lr=1e-3).step()
    with torch.inference_mode():
        assert model.eval()(images).descriptor.isfinite().all()


@pytest.mark.parametrize("backbone", KINDS)
@pytest.mark.parametrize("paper", [name for name in KNOWN if name not in ("attention_driven", "ide")])
def test_a_network_takes_a_training_step(paper, backbone):
    takes_a_step(smoke(paper, backbone))


@pytest.mark.parametrize(
    ("paper", "options"),
    [
        ("wrcanet", {"wra": "stage"}),
        ("wrcanet", {"wra": "parallel", "fused": "all"}),
        ("dranet", {"pooled": "pre-relu"}),
        ("hybrid_attention", {"stages": "24"}),
        ("ide", {"last_stride": 1}),
    ],
)
def test_options_that_reach_into_the_backbone_take_osnet_too(paper, options):
    takes_a_step(smoke(paper, "osnet", **options))


def test_ide_says_what_osnet_needs():
    takes_a_step(smoke("ide", "resnet50-ibn-a"))
    with pytest.raises(ValueError, match="last_stride=2: the last stage of osnet keeps its resolution: allowed is 1"):
        build(smoke("ide", "osnet"), IDENTITIES)


@pytest.mark.parametrize("backbone", [*KINDS, "resnet50"])
def test_the_attention_driven_network_has_a_backbone_of_its_kind_only(backbone):
    with pytest.raises(ValueError, match=f"backbone='{backbone}': allowed are 'five-branch'"):
        build(smoke("attention_driven", backbone), IDENTITIES)
    with pytest.raises(ValueError, match="unknown backbone 'five-branch': known are resnet101"):
        build(smoke("wrcanet", "five-branch"), IDENTITIES)


def test_a_backbone_replaces_the_profiles_and_starts_at_random_unless_weights_are_named():
    def chosen(profile, **given):
        experiment = one_experiment(PAPERS["dranet"], {}, {}, "market1501", profile, **given)
        return experiment.backbone, experiment.weights

    assert chosen("paper") == chosen("paper", backbone="") == ("resnet50", "imagenet")
    assert chosen("paper", backbone="resnet50") == ("resnet50", "imagenet")  # as the profile has it
    assert chosen("paper", backbone="osnet") == ("osnet", "")
    assert chosen("paper", backbone="resnet101", weights="imagenet") == ("resnet101", "imagenet")
    assert chosen("demo", backbone="osnet", weights="/w.pth") == ("osnet", "/w.pth")
    assert chosen("paper", weights="") == ("resnet50", "")


def test_another_backbone_changes_nothing_else_but_the_rate_of_quick():
    plain, other = (
        one_experiment(PAPERS["dranet"], {}, {}, "market1501", "quick", weights="imagenet", backbone=backbone)
        for backbone in (None, "resnet101")
    )
    assert plain.recipe == other.recipe
    fresh = one_experiment(PAPERS["dranet"], {}, {}, "market1501", "quick", backbone="osnet")
    assert (plain.recipe.lr, fresh.recipe.lr) == (5e-4, 1e-3)
