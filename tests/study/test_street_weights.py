"""The demo's initial weights on the street: what the package holds, how it is read, how it was made."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reidnb.models.backbone import WEIGHTS, Backbone
from reidnb.papers import KNOWN
from reidnb.papers.attention_driven.network import PRETRAINED, AttentionDriven, variant
from reidnb.papers.experiments import experiments, one_experiment
from reidnb.study import street_weights


def test_a_narrow_backbone_is_filled_with_its_file():
    state = load_file(WEIGHTS / "resnet10-quarter.safetensors")
    net = Backbone("resnet10-quarter", "street")
    np.testing.assert_array_equal(net.stem[0].weight.detach(), state["conv1.weight"].float())
    np.testing.assert_array_equal(net.stages[3][0].bn2.running_var, state["layer4.0.bn2.running_var"].float())
    assert all(np.isfinite(value.numpy()).all() for value in state.values())


def test_names_are_torchvisions_there_and_back():
    net = Backbone("resnet10-quarter", "street")
    state = street_weights.resnet_names(torch.nn.ModuleDict({"backbone": net}))
    assert set(state) == set(load_file(WEIGHTS / "resnet10-quarter.safetensors"))


@pytest.mark.parametrize("options", street_weights.KINDS, ids=str)
def test_each_kind_of_attention_starts_from_its_own_weights(options):
    state = load_file(WEIGHTS / f"five-branch-quarter{variant(**options)}.safetensors")
    net = AttentionDriven(4, (96, 48), "five-branch-quarter", "street", **options)
    pretrained = {name for name in net.state_dict() if name.startswith(PRETRAINED)}
    assert pretrained == set(state)
    for name in pretrained:
        torch.testing.assert_close(net.state_dict()[name], state[name].to(net.state_dict()[name].dtype))


def test_parameters_that_a_reading_changes_stay_random():
    state = load_file(WEIGHTS / "five-branch-quarter.safetensors")
    net = AttentionDriven(4, (96, 48), "five-branch-quarter", "street", attention="table1")
    np.testing.assert_array_equal(net.conv1.weight.detach(), state["conv1.weight"].float())


def test_only_narrow_networks_have_them():
    with pytest.raises(ValueError, match="no weights of the street for resnet50: there are for five-branch-quarter"):
        Backbone("resnet50", "street")


@pytest.mark.parametrize("paper", KNOWN)
def test_every_row_of_the_demo_on_the_street_starts_from_them(paper, street_small):
    for table in KNOWN[paper].tables:
        where = "street-small->street-other" if table.is_cross_domain else "street-small"
        for _, experiment in experiments(KNOWN[paper], table.name, where, "demo"):
            assert experiment.weights == "street"
            assert experiment.backbone in {backbone for _, backbone, *_ in street_weights.LEARNT.values()}


def test_they_are_made_by_training(street_small, tmp_path, monkeypatch):
    def tiny(paper, options, recipe, dataset, profile, weights):
        assert (dataset, profile, weights) == ("street-pretraining", "demo", "")
        return one_experiment(paper, options, {"epochs": 1}, "street-small", "smoke")

    monkeypatch.setattr(street_weights, "one_experiment", tiny)
    monkeypatch.setattr(street_weights.catalog, "load", lambda name, root=None: street_small)
    path = street_weights.make("resnet10-quarter", tmp_path, log=lambda line: None)
    made = load_file(path)
    assert made["conv1.weight"].dtype == torch.float16
    Backbone("resnet10-quarter", path)
