"""Accuracy on DRANet's hard examples, and active units of its channel attention, on one smoke run."""

import numpy as np
import pytest
import torch

from reidnb.data import pixels
from reidnb.data.augment import normalise
from reidnb.papers import PAPERS
from reidnb.papers.dranet import analysis
from reidnb.papers.dranet.network import DRANet
from reidnb.papers.experiments import experiments, one_experiment
from reidnb.papers.paper import Row
from reidnb.results import Run
from reidnb.runs import load_model, run
from reidnb.study import plan


@pytest.fixture(scope="module")
def finished(street_small) -> Run:
    experiment = one_experiment(PAPERS["dranet"], {}, {}, "street-small", "smoke")
    return run(experiment, street_small, cpu=True, log=lambda line: None)


def test_how_hard_classifies_training_images_from_each_map(finished, street_small):
    size, count = finished.experiment.recipe.size, len(street_small.train)
    labels = np.unique(street_small.train.pid, return_inverse=True)[1]
    images = pixels.read(list(street_small.train.path), size)
    with torch.inference_mode():
        logits = load_model(finished, street_small)(normalise(torch.from_numpy(images)), torch.tensor(labels)).id_logits
    table = analysis.how_hard(finished, street_small).set_index("named from")
    for row, name in zip(table.index[:3], "bcd", strict=True):
        summed = sum(logits[f"{name}{part}"] for part in (1, 2, 3)).argmax(1).numpy()
        assert table.loc[row, "right"] == pytest.approx(100 * np.mean(summed == labels))
    assert len(table) == 4 and (table.images == count).all()
    assert (table.low <= table.right).all() and (table.right <= table.high).all()


def test_awake_counts_hidden_units_that_some_image_activates(finished, street_small, monkeypatch):
    model = load_model(finished, street_small)
    images = pixels.read(list(street_small.train.path), finished.experiment.recipe.size)
    with torch.inference_mode():
        maps = model(normalise(torch.from_numpy(images))).maps
    table = analysis.awake(finished, street_small)
    a = maps["stage4"].numpy()
    a = a.repeat(3, 2) if a.shape[2] < 3 else a
    for part, part_map in enumerate(np.array_split(a, 3, axis=2)):
        hidden = part_map.mean((2, 3)) @ model.attention[part].w0.weight.detach().numpy().T
        assert table.awake[part] == sum((hidden > 0).any(0)) and table["hidden units"][part] == hidden.shape[1]
        limits = np.quantile(maps["m"][:, :, part].numpy(), (0.025, 0.975))
        np.testing.assert_allclose(table.loc[part, ["m from", "m to"]].astype(float), limits, atol=1e-5)

    for part in model.attention:
        part.w0.weight.data.fill_(-1)  # averages after a ReLU are never negative
    monkeypatch.setattr(analysis, "load_model", lambda *_: model)
    table = analysis.awake(finished, street_small)
    assert (table.awake == 0).all() and (table[["m from", "m to"]] == 0.5).all(axis=None)


def test_channel_attention_says_what_each_row_does(finished, street_small, monkeypatch):
    baseline = one_experiment(PAPERS["dranet"], {"rcam": False, "rsam": False}, {"epochs": 1}, "street-small", "smoke")
    runs = [(Row("Baseline"), run(baseline, street_small, cpu=True, log=lambda line: None)), (Row("Full"), finished)]
    table = analysis.channel_attention(runs, street_small).set_index("row")
    assert table.loc["Baseline", ["hidden units", "awake", "std of m", "L(C) / L(B)"]].isna().all()
    assert list(table["mAP"]) == [one.metrics["map"] for _, one in runs]
    by_part = analysis.awake(finished, street_small)
    full = table.loc["Full"]
    assert full["hidden units"] == by_part["hidden units"].sum() and full.awake == by_part.awake.sum()
    last = finished.history.iloc[-1]
    assert full["L(C) / L(B)"] == pytest.approx(last.loss_id_c / last.loss_id_b)
    images = pixels.read(list(street_small.train.path), finished.experiment.recipe.size)
    with torch.inference_mode():
        m = load_model(finished, street_small)(normalise(torch.from_numpy(images))).maps["m"].numpy()
    assert full["std of m"] == pytest.approx(np.mean([m[:, :, part].std() for part in range(3)]), rel=1e-3)


def test_the_table_rcam_is_trained_only_when_named():
    rows = {row.name: experiment for row, experiment in experiments(PAPERS["dranet"], "rcam", "street", "demo")}
    assert len(rows) == len(set(map(repr, rows.values()))) == 9
    assert rows["Baseline"] == experiments(PAPERS["dranet"], "table4", "street", "demo")[0][1]
    assert rows["RCAM, g of A"] == experiments(PAPERS["dranet"], "table4", "street", "demo")[1][1]
    assert "rcam" not in plan.chosen("dranet", plan.settings({}))
    assert plan.chosen("dranet", plan.settings({"tables": "rcam"})) == ["rcam"]


def test_how_hard_makes_d_with_another_identitys_map(finished, street_small, monkeypatch):
    asked = []
    forward = DRANet.forward

    def watched(model, images, labels=None):
        asked.append(labels)
        return forward(model, images, labels)

    monkeypatch.setattr(DRANet, "forward", watched)
    analysis.how_hard(finished, street_small, count=20)
    true, other = asked
    assert len(true) == 20 and (other != true).all() and other.min() >= 0 and other.max() < street_small.train_ids
