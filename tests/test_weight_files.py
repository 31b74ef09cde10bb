"""Initial weights from files: any usual container, identified by content, and one sentence for a bad file."""

import argparse
import hashlib
import json
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from reidnb import weight_files
from reidnb.__main__ import main
from reidnb.models.backbone import Backbone, network, street_weights
from reidnb.papers import PAPERS
from reidnb.papers.experiments import key, one_experiment
from reidnb.results import Run, weights_of
from reidnb.study import comparison as tables
from reidnb.study.comparison import caption
from reidnb.training.experiment import to_json


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=7).state_dict()


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


CONTAINERS = {
    "plain": lambda state: state,
    "torchreid": lambda state: {"state_dict": state, "epoch": 60, "rank1": np.float64(0.9), "optimizer": {"lr": 0.1}},
    "parallel": lambda state: {"state_dict": prefixed(state, "module.")},
    "fastreid": lambda state: {"model": prefixed(state, "backbone.") | {"heads.weight": torch.zeros(3)}},
    "lightning": lambda state: {"state_dict": prefixed(state, "model.backbone."), "loops": {}},
    "timm": lambda state: {"model": state, "args": {"lr": 0.1}},
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_in_use_load(container, state, tmp_path):
    torch.save(CONTAINERS[container](state), tmp_path / "w.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = Backbone("resnet18", tmp_path / "w.pth")
    assert torch.equal(net.stages[3][1].conv2.weight, state["layer4.1.conv2.weight"])
    assert torch.equal(net.stem[1].running_var, state["bn1.running_var"])


def test_unused_arrays_are_named(state, tmp_path):
    save_file(state | {"attention.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.warns(UserWarning, match=r"w\.safetensors: 1 arrays are not a resnet18's .*attention\.weight"):
        Backbone("resnet18", tmp_path / "w.safetensors")


def test_missing_arrays_are_named(state, tmp_path):
    half = {name: value for name, value in state.items() if not name.startswith("layer4.1")}
    torch.save(half, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"10 of 120 arrays are missing .*layer4\.1\.conv1\.weight"):
        Backbone("resnet18", tmp_path / "w.pth")


BAD = {
    "empty": (b"", "the file is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "is a Git LFS pointer"),
    "page": (b"<!DOCTYPE html><html>login</html>", "is a web page"),
    "text": (b"no weights", "neither a .safetensors file nor a checkpoint of torch|cut short"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", BAD)
def test_files_that_hold_no_weights_are_named_in_one_sentence(kind, suffix, tmp_path):
    content, reason = BAD[kind]
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"w\{suffix} cannot be read: .*({reason})") as caught:
        Backbone("resnet18", tmp_path / f"w{suffix}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_named(suffix, state, tmp_path):
    (torch.save if suffix == ".pth" else save_file)(state, tmp_path / f"full{suffix}")
    (tmp_path / f"w{suffix}").write_bytes((tmp_path / f"full{suffix}").read_bytes()[:100_000])
    with pytest.raises(ValueError, match="is cut short"):
        Backbone("resnet18", tmp_path / f"w{suffix}")


def test_objects_are_never_unpickled(state, tmp_path):
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds Python objects beside tensors"):
        Backbone("resnet18", tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", a=np.zeros(3))  # an archive, too
    with pytest.raises(ValueError, match=r"w\.npz cannot be read: it is neither"):
        Backbone("resnet18", tmp_path / "w.npz")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="hold no state dict, but a list"):
        Backbone("resnet18", tmp_path / "list.pth")


def test_imagenet_weights_in_the_cache_are_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"<html>proxy login</html>")
    with pytest.raises(ValueError, match=r"resnet18-f37072fd\.pth is not the published file .*remove it, or"):
        Backbone("resnet18", "imagenet")


def test_key_identifies_weights_by_content(state, tmp_path, street_small):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_file(state, tmp_path / folder / "w.safetensors")
    save_file(state | {"fc.bias": torch.ones(7)}, tmp_path / "other.safetensors")
    experiment = one_experiment(PAPERS["wrcanet"], {}, {}, "street-small", "smoke")

    def named(path):
        return key(replace(experiment, weights=str(tmp_path / path)), street_small)

    assert named("one/w.safetensors") == named("two/w.safetensors") != named("other.safetensors")
    before = named("one/w.safetensors")
    save_file(state | {"fc.bias": torch.ones(7)}, tmp_path / "one" / "w.safetensors")
    assert named("one/w.safetensors") == named("other.safetensors") != before
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file"):
        named("none.pth")


def test_source_has_name_content_and_description(state, tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(state, file, metadata={"description": "seen on a street"})
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    assert weight_files.record(file) == {"name": file.name, "sha256": expected, "description": "seen on a street"}
    assert str(weight_files.source(file)) == f"w.safetensors ({expected[:8]})"
    assert [str(weight_files.source(name)) for name in weight_files.NAMED] == ["random", "imagenet", "street"]


def run_from(folder, path, **provenance):
    """The part of a finished run's folder that its caption needs."""
    folder.mkdir()
    experiment = one_experiment(PAPERS["wrcanet"], {}, {}, "market1501", "quick", weights=path)
    (folder / "experiment.json").write_text(to_json(asdict(experiment)))
    (folder / "provenance.json").write_text(json.dumps({"device": "a GPU", **provenance}))
    return Run(folder)


def test_caption_says_what_a_file_is(state, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path / "results"))
    save_file(state, tmp_path / "w.safetensors")
    run = run_from(
        tmp_path / "run", str(tmp_path / "w.safetensors"), weights=weight_files.record(tmp_path / "w.safetensors")
    )
    digits = weight_files.sha256(tmp_path / "w.safetensors")[:8]
    row = PAPERS["wrcanet"].table("table2").rows[0]
    assert f"weights of w.safetensors ({digits}), 1 seed" in tables.origin([(row, run)])
    assert main(["weights", str(tmp_path / "w.safetensors"), "--describe", "ImageNet weights up to stage 3"]) == 0
    assert "fits resnet18" in capsys.readouterr().out
    assert f"ImageNet weights up to stage 3 (w.safetensors, {digits}), 1 seed" in tables.origin([(row, run)])
    reasons = caption(PAPERS["wrcanet"], "table2", [(row, run)])
    assert "Not to be compared with the published numbers: quick profile, initial weights of a local file." in reasons


def test_runs_without_a_record_are_named_by_their_file(tmp_path):
    assert weights_of(run_from(tmp_path / "run", "/somewhere/w.pth")).name == "w.pth"


def test_the_verb_names_missing_arrays(state, tmp_path, capsys):
    torch.save({name: x for name, x in state.items() if not name.startswith("layer4.1")}, tmp_path / "w.pth")
    assert main(["weights", str(tmp_path / "w.pth")]) == 0
    assert "nearest is resnet18: 10 of 120 arrays are missing" in capsys.readouterr().out
    (tmp_path / "page.pth").write_bytes(b"<html>")
    assert main(["weights", str(tmp_path / "page.pth")]) == 1
    assert main(["weights", "imagenet"]) == 1
    assert "weights='imagenet' is a name, not a file" in capsys.readouterr().err
    assert main(["weights", str(tmp_path)]) == 1
    assert f"weights {tmp_path}: this is a folder" in capsys.readouterr().err
    save_file({"body.0.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    capsys.readouterr()
    assert main(["weights", str(tmp_path / "w.safetensors")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("fits no backbone of this package: resnet101, resnet50,")


@pytest.mark.parametrize("name", ["resnet50", "resnet50-ibn-a", "osnet"])
def test_the_verb_recognises_every_kind_of_backbone(name, tmp_path, capsys):
    save_file(network(name).state_dict() | {"classifier.weight": torch.zeros(2, 512)}, tmp_path / "w.safetensors")
    assert main(["weights", str(tmp_path / "w.safetensors")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"fits {name}"


def test_the_verb_recognises_branches(capsys):
    assert main(["weights", str(street_weights("five-branch-quarter"))]) == 0
    assert "parameters of the attention-driven network's branches" in capsys.readouterr().out


def test_the_verb_tells_a_trained_network_from_initial_weights(tmp_path, capsys):
    file = run_from(tmp_path / "run", "").folder / "model.safetensors"
    save_file({f"backbone.{name}": x for name, x in Backbone("resnet10-eighth").state_dict().items()}, file)
    assert main(["weights", str(file)]) == 0
    assert "a trained network of this package, of no use without the other files" in capsys.readouterr().out
