"""The hybrid-attention paper's recipe, tables and readings as data."""

import inspect
from dataclasses import replace
from types import SimpleNamespace

import pytest

from reidnb import rescoring, runs
from reidnb.papers import PAPERS
from reidnb.papers.experiments import build, experiments, key, one_experiment
from reidnb.papers.hybrid_attention import readings
from reidnb.papers.hybrid_attention import tables as paper
from reidnb.papers.hybrid_attention.network import HybridAttention
from reidnb.runs import run
from reidnb.study.comparison import beside_published, caption, run_table
from reidnb.training.recipe import learning_rate

QUIET = {"log": lambda line: None, "cpu": True}


def test_learning_rate_is_equation_5_at_every_boundary():
    """lr(e) with e counted from 1."""

    def printed(e: int) -> float:
        if e <= 10:
            return 3e-4 * e / 10
        return 0.01 if e <= 60 else 0.005 if e <= 90 else 0.0025 if e <= 120 else 0.00125

    for e in (1, 2, 5, 9, 10, 11, 12, 59, 60, 61, 89, 90, 91, 119, 120, 121, 149, 150):
        assert learning_rate(paper.RECIPE, e - 1) == pytest.approx(printed(e), rel=1e-12), e
        assert learning_rate(paper.RECIPE, e - 0.01) == pytest.approx(printed(e), rel=1e-12), e


def test_recipe_is_section_4_1():
    recipe = experiments(PAPERS["hybrid_attention"], "table2", "market1501", "paper")[0][1].recipe
    assert (recipe.size, recipe.epochs, recipe.batch) == ((384, 128), 150, 64)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 5e-4)
    defaults = {name: p.default for name, p in inspect.signature(HybridAttention).parameters.items()}
    assert (defaults["stripes"], defaults["margin"], defaults["smoothing"]) == (6, 1.0, 0.1)


def test_bag_of_tricks_is_erasing_smoothing_and_warm_up():
    (_, bare), (_, tricks), *_ = experiments(PAPERS["hybrid_attention"], "table6", "market1501", "paper")
    assert bare.options == tricks.options | {"smoothing": 0.0}
    assert tricks.recipe == paper.RECIPE
    erase_off = replace(tricks.recipe.augmentation, erase=0.0)
    assert bare.recipe == replace(
        tricks.recipe, schedule=replace(tricks.recipe.schedule, warmup=0), augmentation=erase_off
    )
    assert learning_rate(bare.recipe, 0) == 0.01


def test_small_profiles_keep_the_tricks_off_and_the_shapes():
    for profile, size in (("demo", (96, 32)), ("smoke", (64, 32))):
        (_, bare), (_, tricks), *_ = experiments(PAPERS["hybrid_attention"], "table6", "street", profile)
        assert bare.recipe.augmentation.erase == 0 < tricks.recipe.augmentation.erase
        assert bare.recipe.augmentation.flip == tricks.recipe.augmentation.flip == 0.5
        assert bare.recipe.size == size and bare.recipe.flip_test and bare.recipe.normalise_test


def test_table_6_adds_one_component_a_row():
    models = [build(e, 4) for _, e in experiments(PAPERS["hybrid_attention"], "table6", "street", "smoke")]
    found = [(len(m.windows), m.order, len(m.fused), m.extractor is not None) for m in models]
    assert found == [
        (1, (), 1, False),
        (1, (), 1, False),
        (1, (), 1, True),
        (21, (), 1, True),
        (21, ("S", "concat"), 4, True),
        (21, ("S", "concat", "C"), 4, True),
    ]


def test_tables_share_their_trainings(street_small):
    def keys(table: str) -> dict[str, str]:
        planned = experiments(PAPERS["hybrid_attention"], table, "street-small", "smoke")
        return {row.name: key(e, street_small) for row, e in planned}

    six, seven, nine, ten = (keys(f"table{n}") for n in (6, 7, 9, 10))
    assert six["+ CAM"] == seven["Full (MGO)"] == nine["BaselineBMM+S+concat+C"] == ten["All stage"]
    assert six["+ CAM"] == keys("readings")["default"] == keys("table2")["Ours"]
    assert six["+ MGO"] == nine["BaselineBMM"] and six["Baseline"] == seven["Baseline"] == keys("boxes")["Baseline"]
    assert len(set(nine.values())) == 9 and len(set(ten.values())) == 8 and len(set(seven.values())) == 8


@pytest.mark.parametrize("table", [f"table{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10)])
def test_rows_are_in_printed_order(table):
    printed = PAPERS["hybrid_attention"].published(table)
    names = [row.name for row in PAPERS["hybrid_attention"].table(table).rows]
    assert names == list(dict.fromkeys(printed.row[printed.kind == "run"]))


def test_every_reading_is_an_option_with_its_default():
    signature = inspect.signature(HybridAttention).parameters
    for reading in readings.READINGS:
        if reading.of == "study":  # the definition of AP
            assert {getattr(table, reading.option) for table in paper.TABLES} == {reading.default}
        elif reading.of != "network":
            stated = getattr(paper.RECIPE if reading.of == "recipe" else paper.RECIPE.schedule, reading.option)
            if isinstance(reading.default, dict):
                assert all(getattr(stated, name) == value for name, value in reading.default.items())
            else:
                assert stated == reading.default
        else:
            assert signature[reading.option].default == reading.default
    planned = experiments(PAPERS["hybrid_attention"], "readings", "street", "paper")
    default = planned[0][1]
    for row, experiment in planned[1:]:
        assert experiment != default, row.name
        build(replace(experiment, backbone="resnet10-eighth", weights=""), 4)


def test_complete_readings_apply_to_every_row():
    base = {"order": "concat", "activation": "leaky", "fc": "released", "triplet": "level"}
    rows = {
        row.name: e
        for row, e in experiments(PAPERS["hybrid_attention"], "table6", "market1501", "paper", reading="as_released")
    }
    assert rows["+ CAM"].options == base and rows["+ SAM"].options == base | {"order": "S+concat"}
    assert rows["+ CAM"].recipe.augmentation.pad == 0 and rows["+ CAM"].recipe.augmentation.erase == 0.5
    assert rows["Baseline"].recipe.augmentation.pad == rows["Baseline"].recipe.augmentation.erase == 0
    printed = experiments(PAPERS["hybrid_attention"], "table2", "market1501", "paper", reading="as_printed")[0][1]
    assert printed.options == {"compared": "fc", "dropblock": "max"} and not (
        printed.recipe.nesterov or printed.recipe.flip_test
    )
    assert not (printed.recipe.fresh_momentum or printed.recipe.normalise_test)
    with pytest.raises(ValueError, match="no reading 'as_heard': known are '', 'as_printed', 'as_released'"):
        experiments(PAPERS["hybrid_attention"], "table2", "market1501", "paper", reading="as_heard")


def test_cross_domain_tests_the_models_that_table_6_trained(street_small, monkeypatch):
    first = paper.CUMULATIVE[:2]
    tables = [replace(t, rows=first) if t.name in ("table6", "table8") else t for t in paper.TABLES]
    short = replace(PAPERS["hybrid_attention"], tables=tuple(tables))
    trained = run_table(short, "table6", "street-small", "smoke", **QUIET)
    monkeypatch.setattr(runs, "train", lambda *a, **k: pytest.fail("trained again"))
    where = "street-small->street-small"
    found = run_table(short, "table8", where, "smoke", **QUIET)
    assert [r.folder for _, r in found] == [r.folder for _, r in trained]
    other = replace(street_small, name="elsewhere", query=street_small.query.iloc[:9].reset_index(drop=True))
    scores = rescoring.cross_domain(found[0][1], street_small, other)
    assert scores["queries"] <= 9 and len(list(found[0][1].folder.glob("metrics-on-elsewhere-*.json"))) == 1
    assert rescoring.cross_domain(found[0][1], street_small, street_small)["map"] == found[0][1].metrics["map"]
    monkeypatch.setattr(rescoring, "descriptors", lambda *a: pytest.fail("measured again"))
    assert rescoring.cross_domain(found[0][1], street_small, other) == scores


def test_cross_domain_table_shows_the_other_sets_numbers(monkeypatch):
    from reidnb.study import comparison as tables

    rows = paper.CUMULATIVE
    seen = []

    where = "market1501->dukemtmc"

    class Fake:
        experiment = experiments(PAPERS["hybrid_attention"], "table8", where, "demo")[0][1]
        metrics = None  # what it reached where it was trained is not asked for

    def on_other(run_, data, other):
        seen.append((data, other))
        return {"map": 1.0, "map_trapezoid": 2.0, "rank1": 3.0, "rank5": 4.0, "rank10": 5.0, "rank20": 6.0}

    monkeypatch.setattr(tables, "cross_domain", on_other)
    monkeypatch.setattr(tables.catalog, "load", lambda name, root: name)
    frame = beside_published(PAPERS["hybrid_attention"], "table8", where, [(row, Fake()) for row in rows])
    assert set(seen) == {("market1501", "dukemtmc")}
    assert list(frame.published_rank1) == [19.61, 30.48, 34.07, 39.86, 40.79, 42.52]
    assert set(frame.ours_map) == {2.0}  # trapezoid
    assert set(frame.dataset) == set(frame.published_dataset) == {where}


def test_cross_domain_needs_two_data_sets():
    with pytest.raises(ValueError, match="table8 trains on one data set and tests on another: dataset='dukemtmc->mark"):
        experiments(PAPERS["hybrid_attention"], "table8", "market1501", "paper")


@pytest.mark.parametrize(("profile", "warms_up"), [("demo", True), ("paper", False)])
def test_caption_tells_that_one_cycle_takes_the_warm_up_from_the_tricks(profile, warms_up):
    made = {"device": "CPU", "weights": {"name": "", "sha256": "", "description": ""}}
    planned = experiments(PAPERS["hybrid_attention"], "table6", "market1501", profile)
    fakes = [(row, SimpleNamespace(experiment=experiment, provenance=made)) for row, experiment in planned]
    text = caption(PAPERS["hybrid_attention"], "table6", fakes)
    sentence = "The one-cycle schedule warms up in every row, also in Baseline."
    assert (sentence in text) == warms_up and ("one-cycle" in text) == warms_up


def test_smoke_run_of_the_full_network(street_small):
    experiment = one_experiment(PAPERS["hybrid_attention"], {}, {}, "street-small", "smoke")
    done = run(experiment, street_small, **QUIET)
    assert list(done.history.filter(like="loss_")) == ["loss_id", "loss_triplet"]
    query, _ = rescoring.descriptors(done, street_small)
    assert query.shape == (len(street_small.query), 10_752) and query.norm(dim=1).allclose(query.new_ones(len(query)))
    row = PAPERS["hybrid_attention"].table("table2").rows[0]
    assert "street-small" in caption(PAPERS["hybrid_attention"], "table2", [(row, done)])
