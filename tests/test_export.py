"""Networks as ONNX and TorchScript files."""

import sys

import numpy as np
import pytest
import torch

from reidnb import export, search
from reidnb.__main__ import main
from reidnb.data import augment, pixels
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.runs import run


def describer(paper: str, street_small, **recipe) -> search.Describer:
    experiment = one_experiment(PAPERS[paper], {}, recipe, "street-small", "smoke")
    return search.describer(run(experiment, street_small, log=lambda line: None, cpu=True))


pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


def needs(suffix: str) -> None:
    if suffix == ".onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("paper", "suffix"),
    # ONNX of the attention-driven network takes long until it is refused, for the reason of the hybrid one's.
    [(name, each) for name in PAPERS for each in export.SUFFIXES if (name, each) != ("attention_driven", ".onnx")],
)
def test_every_papers_network_is_exported(paper, suffix, street_small, tmp_path):
    needs(suffix)
    # The mirrored images double what the exporter has to follow, so one paper is exported with them.
    network, file = describer(paper, street_small, flip_test=paper == "dranet"), tmp_path / f"net{suffix}"
    if (paper, suffix) == ("hybrid_attention", ".onnx"):  # adaptive maximum pooling is beyond torch's exporter to ONNX
        with pytest.raises(ValueError, match=r"ONNX.*export (it|the network) as \.pt"):
            export.export(network, file)
        assert not list(tmp_path.iterdir())
    else:
        assert export.export(network, file) < export.TOLERANCE
        assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("flip", [False, True])
def test_the_file_gives_the_descriptors_of_extract(flip, street_small, tmp_path):
    experiment = one_experiment(PAPERS["dranet"], {}, {"flip_test": flip}, "street-small", "smoke")
    finished = run(experiment, street_small, log=lambda line: None, cpu=True)
    network, paths = search.describer(finished), list(street_small.query.path[:5])
    export.export(network, tmp_path / "net.pt")
    images = pixels.read(paths, network.recipe.size)
    described = torch.jit.load(tmp_path / "net.pt")(torch.from_numpy(images))
    assert np.allclose(described.numpy(), search.extract(paths, network), atol=1e-4)


def test_the_first_export_of_a_process_is_checked_too(street_small, tmp_path):
    needs(".onnx")
    network = describer("wrcanet", street_small)
    augment._statistics.cache_clear()  # as in a new process
    assert export.export(network, tmp_path / "net.onnx") < export.TOLERANCE


def test_a_file_that_disagrees_is_not_kept(street_small, tmp_path, monkeypatch):
    network = describer("wrcanet", street_small)
    monkeypatch.setattr(export, "_run_torchscript", lambda file, inputs: torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"net\.pt gives other descriptors than the network: they differ by"):
        export.export(network, tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())


def test_bad_files_are_one_sentence(street_small, tmp_path, monkeypatch, capsys):
    network = describer("wrcanet", street_small)
    with pytest.raises(ValueError, match=r"a network is exported as \.onnx or \.pt, found net\.pb"):
        export.export(network, tmp_path / "net.pb")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ValueError, match=r"net\.onnx needs the packages of ONNX: pip install --editable '\.\[export\]'"
    ):
        export.export(network, tmp_path / "net.onnx")
    assert main(["export", "--model", "no-such-run", "--output", str(tmp_path / "net.pt")]) == 1
    assert "model no-such-run: no such file, and no finished run of this name" in capsys.readouterr().err


def test_the_verb_says_the_difference(street_small, tmp_path, capsys):
    experiment = one_experiment(PAPERS["wrcanet"], {}, {}, "street-small", "smoke")
    folder = run(experiment, street_small, log=lambda line: None, cpu=True).folder
    assert main(["export", "--model", str(folder), "--output", str(tmp_path / "net.pt")]) == 0
    assert "the largest difference from the network's descriptors is" in capsys.readouterr().out
    assert (tmp_path / "net.pt").exists()
