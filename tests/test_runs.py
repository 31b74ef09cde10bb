"""Experiments, their keys and their folders."""

import shutil
import warnings
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import reidnb
from reidnb import rescoring, runs
from reidnb.data.augment import Augmentation
from reidnb.data.dataset import Remark
from reidnb.evaluation import metrics
from reidnb.evaluation.rerank import rerank
from reidnb.evaluation.scores import labels_of
from reidnb.papers import PAPERS
from reidnb.papers.experiments import checked, key, one_experiment
from reidnb.rescoring import reranked
from reidnb.results import Run
from reidnb.runs import load_model, run, trained_identities
from reidnb.study import comparison
from reidnb.training.experiment import Experiment
from reidnb.training.loop import make_accelerator
from reidnb.training.profiles import at_profile
from reidnb.training.recipe import PK, OneCycle, Shuffle

QUIET = {"log": lambda line: None, "cpu": True}


def smoke(**options) -> Experiment:
    return one_experiment(PAPERS["wrcanet"], options, {}, "street-small", "smoke")


@pytest.fixture(scope="module")
def finished(street_small):
    return run(smoke(), street_small, **QUIET)


def test_a_run_keeps_what_a_reader_needs(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"experiment.json", "history.csv", "metrics.json", "provenance.json", "model.safetensors"} <= names
    assert "checkpoint.pt" not in names
    assert finished.experiment == smoke()
    assert list(finished.history.epoch) == [1, 2]
    assert {"device", "packages", "commit", "train_seconds"} <= set(finished.provenance)
    assert 0 <= finished.metrics["map"] <= 100 and len(finished.metrics["cmc"]) >= 20


def test_a_namesake_of_a_folder_is_warned_of_before_training(street_small, tmp_path):
    """Two folders called shop have separate runs, but tables of the same names."""
    shop = replace(street_small, name="folder-shop")
    other = replace(shop, query=shop.query.iloc[1:].reset_index(drop=True))
    experiment = replace(smoke(), dataset="folder-shop")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        first = run(experiment, shop, results=tmp_path, **QUIET)
    with pytest.warns(UserWarning, match=f"{first.folder} was trained on other images under the name folder-shop"):
        assert run(experiment, other, results=tmp_path, **QUIET).folder != first.folder


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch):
    monkeypatch.setattr(runs, "version", lambda name: pytest.fail(name) if name == "reidnb" else version(name))
    packages = runs._provenance(make_accelerator(cpu=True), "eager", {"train": 1.0, "evaluate": 1.0})["packages"]
    assert packages["reidnb"] == reidnb.__version__ == version("reidnb")
    assert packages["torch"] == version("torch")


def step_of_provenance() -> str:
    return runs._provenance(make_accelerator(cpu=True), "eager", {"train": 1.0, "evaluate": 1.0})["step"]


def test_provenance_records_the_kind_of_step(monkeypatch):
    assert step_of_provenance() == "eager"
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")
    monkeypatch.setenv("ACCELERATE_DYNAMO_MODE", "reduce-overhead")
    assert (
        runs._provenance(make_accelerator(cpu=True), "eager", {"train": 1.0, "evaluate": 1.0})["step"]
        == "eager, inductor, reduce-overhead"
    )


def test_a_finished_run_is_read_not_trained(finished, monkeypatch, street_small):
    monkeypatch.setattr(runs, "train", lambda *a, **k: pytest.fail("trained again"))
    again = run(smoke(), street_small, **QUIET)
    assert again.folder == finished.folder and again.metrics == finished.metrics


def test_images_that_changed_since_the_plan_are_refused_before_training(tmp_path, street_small):
    with pytest.raises(ValueError, match=r"images of street-small in .* have changed since the study was planned"):
        run(smoke(), street_small, results=tmp_path, planned="wrcanet-street-small-0123456789abcdef", **QUIET)
    assert not any(tmp_path.iterdir())
    assert run(smoke(), street_small, planned=key(smoke(), street_small), **QUIET).is_finished


def test_a_checkpoint_of_a_finished_run_is_removed(finished, street_small):
    finished.checkpoint.write_bytes(b"left by a process that was killed at its last step")
    run(smoke(), street_small, **QUIET)
    assert not finished.checkpoint.exists()


def test_the_kept_model_gives_the_kept_numbers(finished, street_small):
    torch.manual_seed(99)
    query, gallery = rescoring.descriptors(finished, street_small)
    top = finished.rankings["top"]
    distance = torch.cdist(query, gallery).numpy()
    pids, cams = street_small.gallery.pid.to_numpy(), street_small.gallery.camid.to_numpy()
    for i, (pid, cam) in enumerate(zip(street_small.query.pid, street_small.query.camid, strict=True)):
        allowed = (pids != -1) & ~((pids == pid) & (cams == cam))
        best = distance[i][allowed].min()
        assert distance[i][top[i, 0]] == pytest.approx(best, abs=1e-3)
        assert finished.rankings["right"][i, 0] == (pids[top[i, 0]] == pid)


def test_reranking_is_cached(finished, street_small):
    scores = reranked(finished, street_small)
    assert set(scores) == set(finished.metrics)
    assert (finished.folder / "metrics-reranked.json").exists()
    assert reranked(finished, street_small) == scores


def test_reranked_runs_keep_each_query(finished, street_small):
    scores = reranked(finished, street_small)
    per_query = Run(finished.folder).reranked_queries
    assert 100 * per_query["ap"].mean() == pytest.approx(scores["map"], abs=1e-3)
    assert 100 * (per_query["first_rank"] == 1).mean() == pytest.approx(scores["rank1"], abs=1e-3)
    table = PAPERS["wrcanet"].table("table1")
    plain, again = table.rows
    values = comparison.scores(table, "street-small", [(plain, finished), (again, Run(finished.folder))])
    assert values[plain.name][0].queries["map"].mean() == pytest.approx(finished.metrics["map"], abs=1e-3)
    assert values[again.name][0].queries["map"].mean() == pytest.approx(scores["map"], abs=1e-3)


@pytest.mark.filterwarnings("ignore:.* queries have no image of their identity")
@pytest.mark.parametrize(("size", "k"), [(12, (12, 6)), (4, (4, 4))])
def test_neighbourhoods_are_at_most_the_gallery(street_small, tmp_path, size, k):
    """The matches of the first queries alone: fewer images than the 20 and 6 neighbours of the paper."""
    gallery = street_small.gallery[street_small.gallery.pid.isin(street_small.query.pid)][:size]
    data = replace(street_small, gallery=gallery.reset_index(drop=True))
    result = run(smoke(), data, results=tmp_path, **QUIET)
    assert set(reranked(result, data)) == set(result.metrics)
    query, images = rescoring.descriptors(result, data)
    expected = metrics.evaluate_distances(rerank(query, images, *k), **labels_of(data))
    assert reranked(result, data)["map"] == pytest.approx(100 * expected.map, abs=1e-3)
    table = PAPERS["wrcanet"].table("table1")
    said = comparison.caption(PAPERS["wrcanet"], "table1", [(row, result) for row in table.rows])
    assert f"Re-ranked with k1 = {k[0]} and k2 = {k[1]}, as the gallery is too small for 20 and 6." in said


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"options": {"gp": False}},
        {"backbone": "resnet18-half"},
        {"dataset": "street-large"},
        {"weights": "imagenet"},
    ],
)
def test_key_changes_with_whatever_determines_the_result(street_small, change):
    assert key(replace(smoke(), **change), street_small) != key(smoke(), street_small)


def test_key_knows_the_defaults(street_small):
    assert key(smoke(wra="image", gp=True), street_small) == key(smoke(), street_small)


def test_key_changes_with_recipe_and_data_but_not_with_place(street_small):
    base = key(smoke(), street_small)
    assert key(replace(smoke(), recipe=replace(smoke().recipe, epochs=3)), street_small) != base
    shorter = replace(street_small, train=street_small.train.iloc[1:])
    assert key(smoke(), shorter) != base
    moved = street_small.train.assign(path=street_small.train.path.str.replace("bounding", "/elsewhere/bounding"))
    moved = moved.assign(path=["/elsewhere/" + p.rsplit("/", 1)[1] for p in street_small.train.path])
    assert key(smoke(), replace(street_small, train=moved)) == base


def test_wrong_names_are_named():
    with pytest.raises(ValueError, match="unknown paper 'wrcnet': known are wrcanet"):
        checked(Experiment("wrcnet"))
    with pytest.raises(ValueError, match=r"wrcanet has no option 'lambda': its options are .*strength"):
        checked(Experiment("wrcanet", {"lambda": 0.5}))
    with pytest.raises(ValueError, match="unknown profile 'fast': known are paper, quick, scratch, demo, smoke"):
        at_profile(Experiment("wrcanet"), "fast")
    with pytest.raises(ValueError, match="a recipe has no field 'epoch': its fields are"):
        one_experiment(PAPERS["wrcanet"], {}, {"epoch": 3}, "street", "demo")


def test_paper_profile_is_as_stated():
    experiment = one_experiment(PAPERS["wrcanet"], {}, {}, "market1501", "paper")
    assert (experiment.backbone, experiment.weights) == ("resnet50", "imagenet")
    assert experiment.recipe.size == (384, 192) and experiment.recipe.epochs == 120


QUICK = {
    "wrcanet": ((192, 96), PK(16, 4), Augmentation(0.5, 5, 0.4)),
    "dranet": ((192, 64), Shuffle(64), Augmentation(0.5, 0, 0)),
    "hybrid_attention": ((192, 64), PK(16, 4), Augmentation(0.5, 5, 0.4)),
    "attention_driven": ((192, 96), Shuffle(32), Augmentation(0.5, 0, 0)),
}


@pytest.mark.parametrize("paper", QUICK)
def test_quick_is_the_stated_network_and_batch_at_half_the_size(paper):
    stated = one_experiment(PAPERS[paper], {}, {}, "market1501", "paper")
    quick = one_experiment(PAPERS[paper], {}, {}, "market1501", "quick")
    recipe = quick.recipe
    assert (quick.options, quick.backbone) == (stated.options, stated.backbone)
    assert recipe.sampler == stated.recipe.sampler
    assert (recipe.size, recipe.sampler, recipe.augmentation) == QUICK[paper]
    assert (recipe.epochs, recipe.schedule, recipe.optimizer) == (16, OneCycle(0.3), "adamw")
    assert (recipe.weight_decay, recipe.backbone_lr, recipe.precision) == (5e-4, None, "bf16")


def test_quick_has_a_higher_rate_from_random_than_from_given_weights():
    def start(paper, weights=None):
        experiment = one_experiment(PAPERS[paper], {}, {}, "market1501", "quick", weights=weights)
        return experiment.weights, experiment.recipe.lr

    assert start("dranet") == ("imagenet", 5e-4)
    assert start("dranet", "") == ("", 1e-3)
    assert start("dranet", "w.pth") == ("w.pth", 5e-4)
    assert start("attention_driven") == ("", 1e-3)  # no weights are published
    assert start("attention_driven", "imagenet") == ("imagenet", 5e-4)


def test_trained_weights_load_into_a_new_network(finished, street_small):
    model = load_model(finished, street_small)
    assert not model.training
    assert np.isfinite(model(torch.randn(2, 3, 64, 32)).descriptor.detach().numpy()).all()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_run_loads_without_its_training_set(paper, street_small):
    finished = run(one_experiment(PAPERS[paper], {}, {}, "street-small", "smoke"), street_small, **QUIET)
    assert trained_identities(finished) == street_small.train_ids == 8
    alone, beside = load_model(finished).state_dict(), load_model(finished, street_small).state_dict()
    assert alone.keys() == beside.keys() and all(torch.equal(alone[name], beside[name]) for name in alone)


def test_weights_of_another_network_are_refused(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    save_file({"backbone.stem.0.weight": torch.zeros(3, 5, 7, 9)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors does not hold the network of experiment.json"):
        load_model(Run(tmp_path))


def test_a_single_camera_is_refused_before_training(tmp_path, street_small, monkeypatch):
    single = replace(
        street_small, gallery=street_small.gallery.assign(camid=1), query=street_small.query.assign(camid=1)
    )
    monkeypatch.setattr(runs, "train", lambda *a, **k: pytest.fail("trained first"))
    with pytest.raises(ValueError, match="camera"):
        run(smoke(), single, results=tmp_path, **QUIET)


def test_a_batch_of_more_people_than_there_are_is_refused_before_images_are_decoded(street_small, monkeypatch):
    monkeypatch.setattr(runs.pixels, "decode", lambda *a, **k: pytest.fail("decoded first"))
    experiment = one_experiment(PAPERS["wrcanet"], {}, {"sampler": {"identities": 99}}, "street-small", "smoke")
    with pytest.raises(ValueError, match="PK sampling takes 99 identities a batch, the training set has 8"):
        run(experiment, street_small, **QUIET)


def test_a_set_to_test_on_is_not_trained_on(street_small):
    tested = replace(street_small, name="folder-viper", train=street_small.train[:0])
    with pytest.raises(ValueError, match=r"no training images: .* as in dataset = 'market1501->folder-viper'"):
        run(smoke(), tested, **QUIET)


def test_provenance_says_what_was_left_out(street_small, tmp_path):
    data = replace(street_small, remarks=(Remark(3, "files of other kinds (.txt) left out of query", "a.txt"),))
    result = run(smoke(), data, results=tmp_path, **QUIET)
    assert result.provenance["data"] == ["3 files of other kinds (.txt) left out of query, such as a.txt"]


@pytest.mark.parametrize(("variable", "backbone", "expected"), [("", None, 1), ("2", None, 3), ("", "resnet18", 3)])
def test_a_narrow_network_trains_on_one_thread(monkeypatch, variable, backbone, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    if not variable:
        monkeypatch.delenv("OMP_NUM_THREADS")
    experiment = smoke() if backbone is None else replace(smoke(), backbone=backbone)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with runs.threads_for(experiment, make_accelerator(cpu=True)):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("paper", ["wrcanet", "attention_driven"])
def test_a_set_to_test_on_is_tested_on(street_small, tmp_path, paper):
    """With all of the street's joints, too: typical poses come from the package where no training image has any."""
    experiment = one_experiment(PAPERS[paper], {}, {}, "street-small", "smoke")
    trained = run(experiment, street_small, results=tmp_path, **QUIET)
    tested = replace(street_small, name="folder-viper", train=street_small.train[:0])
    found = rescoring.cross_domain(trained, street_small, tested)
    assert found["queries"] == trained.metrics["queries"] and 0 < found["map"] <= 100
