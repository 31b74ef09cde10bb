"""Where all papers' networks look, measured against direct computations on smoke runs of the small street."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from reidnb import street
from reidnb.data.augment import normalise
from reidnb.data.samples import read_images
from reidnb.papers import PAPERS
from reidnb.runs import boxes_of, load_model
from reidnb.study import attention
from reidnb.study.attention import ATTENTION, BASELINE, CAM, FULL


@pytest.fixture(scope="module")
def runs(street_small) -> attention.Networks:
    return attention.networks(street_small, "smoke", log=lambda line: None)


@pytest.fixture(scope="module")
def looks(runs, street_small) -> pd.DataFrame:
    return attention.look(runs, street_small)


def test_each_paper_has_its_baseline_and_its_full_network(runs):
    assert list(runs) == [(paper, kind, 0) for paper in PAPERS for kind in (BASELINE, FULL)]
    for (paper, kind, _), run in runs.items():
        options = run.experiment.options
        assert not options if kind == FULL else PAPERS[paper].baseline.items() <= options.items()


def test_a_map_is_laid_where_its_region_is():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    full = attention.placed(maps, None, (4, 4))[0]
    assert np.array_equal(full, np.kron([[1, 2], [3, 4]], np.ones((2, 2))))
    part = attention.placed(maps, np.array([[0.5, 0.0, 1.0, 0.5]]), (4, 4))[0]
    assert np.array_equal(part[:2, 2:], [[1, 2], [3, 4]]) and part.sum() == 10
    assert not attention.placed(maps, np.array([[0.5, 0.5, 0.5, 1.0]]), (4, 4)).any()  # a region without an area


def test_maps_are_those_of_the_networks(runs, street_small):
    rows, size = [0, 3], (64, 32)
    for (paper, kind, _), run in runs.items():
        maps = attention.maps_of(run, street_small, rows, size)
        assert (ATTENTION in maps) == (kind == FULL), paper
        assert all(heat.shape == (2, *size) and heat.min() >= 0 for heat in maps.values())
    run = runs["hybrid_attention", FULL, 0]
    images = normalise(torch.from_numpy(read_images(street_small.query, rows, run.experiment.recipe.size)))
    with torch.inference_mode():
        weights = load_model(run, street_small)(images).maps["S4"]
    direct = F.interpolate(weights, size, mode="nearest-exact")[:, 0].numpy()
    seen = attention.maps_of(run, street_small, rows, size)[ATTENTION]
    np.testing.assert_allclose(seen, direct, atol=1e-5)


def test_class_map_is_that_of_the_identity_with_the_highest_logit(runs, street_small):
    run = runs["dranet", FULL, 0]
    model = load_model(run, street_small)
    images = normalise(torch.from_numpy(read_images(street_small.query, [0, 3], run.experiment.recipe.size)))
    with torch.inference_mode():
        logits = model(images).id_logits
        named = torch.stack([logits[f"b{part}"] for part in (1, 2, 3)]).sum(0).argmax(1)
        direct = model(images, named).maps["h"]
        seen = attention.ATTENTIONS["dranet"][1](model, images, None)
    assert torch.equal(seen, direct)


def test_aligned_networks_look_only_into_the_body_s_box(runs, street_small):
    run = runs["attention_driven", FULL, 0]
    heat = attention.maps_of(run, street_small, [0], (64, 32))[ATTENTION][0]
    x0, y0, x1, y1 = np.rint(boxes_of(run.experiment, street_small)["query"][0, 0] * (32, 64, 32, 64)).astype(int)
    inside = np.zeros((64, 32), bool)
    inside[y0:y1, x0:x1] = True
    assert not heat[~inside].any() and (heat[inside] > 0).all()


def test_measures_by_hand(street_small):
    truth = attention.truth_of(street_small)
    flat = attention.measured(np.ones(truth.masks.shape), truth)
    np.testing.assert_allclose(flat["fraction on the person"], truth.masks.mean((1, 2)))
    np.testing.assert_allclose(flat["points at the person"], truth.masks.mean((1, 2)))
    np.testing.assert_allclose(flat["entropy on the person"], 1)
    np.testing.assert_allclose(flat[list(street.PARTS)].sum(axis=1), truth.masks.mean((1, 2)))
    legs = attention.measured((truth.parts == 3).astype(float), truth)
    seen = (truth.parts == 3).any((1, 2))
    assert (legs["lower legs"][seen] == 1).all() and (legs["points at the person"][seen] == 1).all()
    assert legs[~seen].isna().all(axis=None)


def test_look_has_every_query_of_every_map(looks, street_small):
    sizes = looks.groupby(["paper", "network", "heat"]).size()
    assert (sizes == len(street_small.query)).all()
    assert set(looks.heat) == {CAM, ATTENTION, "even"}
    assert len(sizes) == 4 * (2 + 3)  # grad-cam and an even map of each network, attention of the full ones


def test_summary_is_the_mean_over_the_queries(looks):
    table = attention.summary(looks).set_index(["paper", "network", "heat", "measure"])
    for (paper, kind, heat), group in looks[looks.heat != "even"].groupby(["paper", "network", "heat"]):
        row = table.loc[(PAPERS[paper].short, kind, heat, "fraction on the person")]
        assert row["mean"] == pytest.approx(100 * group["fraction on the person"].mean())
        assert row.low <= row["mean"] <= row.high and row.queries == group["fraction on the person"].notna().sum()
    even = looks.query("heat == 'even' and paper == 'wrcanet' and network == 'full'")["fraction on the person"]
    assert table.loc[("WRCANet", "full", CAM, "fraction on the person"), "even map"] == pytest.approx(100 * even.mean())


def test_summary_of_several_trainings(looks):
    other = looks.assign(seed=1, **{"fraction on the person": looks["fraction on the person"] + 0.1})
    table = attention.summary(pd.concat([looks, other])).set_index(["paper", "network", "heat", "measure"])
    row = table.loc[("DRANet", "full", CAM, "fraction on the person")]
    alone = attention.summary(looks).set_index(["paper", "network", "heat", "measure"]).loc[row.name]
    assert row["mean"] == pytest.approx(alone["mean"] + 5) and row["std"] == pytest.approx(10 / 2**0.5)
    assert (row.seeds, row.queries) == (2, alone.queries) and row["even map"] == pytest.approx(alone["even map"] + 5)


def test_where_they_look_counts_each_cell_over_its_place(runs, street_small, monkeypatch):
    """Against a loop over the pixels of a map of 6 x 2 cells, for one query; and for an even map."""
    truth, run = attention.truth_of(street_small), runs["dranet", FULL, 0]
    cells = np.random.default_rng(0).random((6, 2)).astype(np.float32)
    monkeypatch.setattr(attention, "cam", lambda model, layer, batch, *_, **__: np.stack([cells] * len(batch)))
    table = attention.where_they_look({"cells": run}, street_small).set_index(["measure", "variant"])
    _, height, width = truth.masks.shape
    heat = np.array(
        [[cells[int((y + 0.5) * 6 / height), int((x + 0.5) * 2 / width)] for x in range(width)] for y in range(height)]
    )
    direct = [sum(heat[y, x] for y, x in zip(*np.nonzero(mask), strict=True)) / heat.sum() for mask in truth.masks]
    assert table.loc[("fraction on the person", "cells"), "mean"] == pytest.approx(100 * np.mean(direct), rel=1e-5)
    assert table.loc[("fraction on the person", "an even map"), "mean"] == pytest.approx(100 * truth.masks.mean())
    assert (table.images == len(street_small.query)).all()


def test_activation_maps_do_not_depend_on_batches(runs, street_small, monkeypatch):
    run, size = runs["wrcanet", FULL, 0], (64, 32)
    together = attention.maps_of(run, street_small, range(5), size)[CAM]
    monkeypatch.setattr(attention, "BATCH", 2)
    np.testing.assert_allclose(attention.maps_of(run, street_small, range(5), size)[CAM], together, atol=1e-4)


def test_part_branches_by_hand(runs, street_small):
    run, truth = runs["attention_driven", FULL, 0], attention.truth_of(street_small)
    table = attention.part_branches(run, street_small)
    assert len(table) == 4 * len(street_small.query)
    box = boxes_of(run.experiment, street_small)["query"][2, 1]  # the head of the third query
    x0, y0, x1, y1 = np.rint(box * np.array([32, 64, 32, 64])).astype(int)
    head = table[(table["query"] == 2) & (table.part == "head")].iloc[0]
    assert head["even"] == pytest.approx((truth.parts[2] == 0)[y0:y1, x0:x1].mean())
    with pytest.raises(ValueError, match="has no attention to posed parts"):
        attention.part_branches(runs["attention_driven", BASELINE, 0], street_small)


def test_other_data_sets_have_no_truth(street_small):
    with pytest.raises(ValueError, match="folder has no person masks: only a synthetic street has them"):
        attention.truth_of(replace(street_small, name="folder"))
