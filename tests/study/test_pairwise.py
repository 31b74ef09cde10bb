"""Runs compared query by query, on queries whose scores are made up."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.data.dataset import SINGLE_SHOT, ReidData
from reidnb.papers import KNOWN
from reidnb.papers.experiments import one_experiment
from reidnb.runs import run
from reidnb.study import pairwise


def data_of(pids, cameras) -> ReidData:
    return SimpleNamespace(name="street", query=pd.DataFrame({"pid": pids, "camid": cameras}))


def run_of(valid, ap, ranks, dataset="street"):
    queries = {"valid": np.array(valid), "ap": np.array(ap, float), "first_rank": np.array(ranks)}
    return SimpleNamespace(experiment=SimpleNamespace(dataset=dataset), queries=queries, folder=Path("runs/x"))


@pytest.fixture
def queries():
    valid = [True, True, False, True, True]
    runs = {
        "a": run_of(valid, [0.5, 1.0, 0.2, 0.4], [2, 1, 5, 1]),
        "b": run_of(valid, [0.7, 1.0, 0.1, 0.8], [1, 1, 9, 1]),
    }
    return pairwise.by_query(runs, data_of([7, 7, 8, 9, 9], [1, 2, 1, 1, 2]))


@pytest.mark.parametrize(
    ("base", "other", "protocol", "message"),
    [
        ("IDE", "PCB2", "", "there is no network 'PCB2': compared are IDE, PCB"),
        ("PCB", "PCB", "", "base and other are both 'PCB'"),
        ("IDE", "PCB", SINGLE_SHOT, "street is tested by the single-shot protocol"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(base, other, protocol, message):
    data = SimpleNamespace(name="street", protocol=protocol)
    with pytest.raises(ValueError, match=message):
        pairwise.check_choice({"IDE": 1, "PCB": 2}, base, other, data)


def test_queries_that_cannot_be_evaluated_are_left_out(queries):
    assert list(queries.about.index) == [0, 1, 3, 4]
    assert list(queries.about.pid) == [7, 7, 9, 9] and list(queries.about.camid) == [1, 2, 1, 2]
    assert list(queries.ap.b) == [70.0, 100.0, 10.0, 80.0]


def test_against_counts_what_changed(queries):
    frame = pairwise.against(queries, "a")
    assert list(frame.index) == ["a", "b"] and list(pairwise.against(queries, "b").index) == ["b", "a"]
    b = frame.loc["b"]
    assert (b["map"], b["rank1"]) == (65.0, 75.0) and b.map_difference == pytest.approx(65 - 52.5)
    assert (b.better, b.equal, b.worse, b.gained, b.lost) == (2, 1, 1, 1, 0)
    assert b.map_low <= b.map_difference <= b.map_high and b.rank1_difference == 25.0
    assert frame.loc["a"][["map_difference", "p_value"]].isna().all()


def test_by_camera_averages_the_queries_of_each(queries):
    frame = pairwise.by_camera(queries, "a", "b")
    assert list(frame.index) == [1, 2] and list(frame.queries) == [2, 2]
    assert list(frame.a) == [35.0, 70.0] and list(frame.b) == [40.0, 90.0]
    assert list(frame.map_difference) == pytest.approx([5.0, 20.0])
    assert tuple(frame.loc[2, ["map_low", "map_high"]]) == pytest.approx((0.0, 40.0))  # of the differences 0 and 40


def test_most_changed_lists_losses_then_gains(queries):
    frame = pairwise.most_changed(queries, "a", "b", count=1)
    assert list(frame.index) == [3, 4] and list(frame.difference) == pytest.approx([-10.0, 40.0])
    assert list(frame["first match, b"]) == [9, 1]
    assert len(pairwise.most_changed(queries, "a", "b", count=9)) == 3  # query 1 did not change
    assert pairwise.most_changed(queries, "a", "a").empty


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 30))
def test_cameras_add_up_to_the_total(seed, size):
    random = np.random.default_rng(seed)
    valid = np.ones(size, bool)
    runs = {name: run_of(valid, random.random(size), random.integers(1, 5, size)) for name in "ab"}
    queries = pairwise.by_query(runs, data_of(range(size), random.integers(1, 4, size)))
    total = pairwise.against(queries, "a").loc["b"]
    frame = pairwise.by_camera(queries, "a", "b")
    assert np.average(frame.map_difference, weights=frame.queries) == pytest.approx(total.map_difference)
    assert total.better + total.equal + total.worse == size
    forward, back = total, pairwise.against(queries, "b").loc["a"]
    assert (forward.better, forward.gained) == (back.worse, back.lost)
    assert forward.map_difference == pytest.approx(-back.map_difference)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ({}, "no run to compare: pass {name: run}"),
        ({"a": run_of([True], [1], [1], "market1501")}, "a was tested on market1501, not on street"),
        ({"a": run_of([True], [1], [1])}, "a was tested on 1 queries, but street has 2"),
        (
            {"a": SimpleNamespace(experiment=SimpleNamespace(dataset="street"), queries={}, folder="runs/x")},
            "a has no scores of single queries: runs/x lacks queries.npz",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_named(runs, message):
    with pytest.raises(ValueError, match=message):
        pairwise.by_query(runs, data_of([1, 2], [1, 1]))


def test_an_unknown_run_is_named(queries):
    for function in (pairwise.against, lambda q, name: pairwise.by_camera(q, "a", name)):
        with pytest.raises(ValueError, match="there is no run 'c': compared are a, b"):
            function(queries, "c")


def test_differences_over_trainings(queries):
    """Against the formulas of mean, standard deviation and Student's t interval (12.706205 for two trainings)."""
    other = replace(queries, ap=queries.ap.assign(a=queries.ap.a - 6, b=queries.ap.b + 4))
    frame = pairwise.over_trainings([queries, other], "a")
    assert list(frame.index) == ["a", "b"] and (frame.seeds == 2).all()
    means = [one.ap.b.mean() for one in (queries, other)]
    assert frame["map"]["b"] == pytest.approx(np.mean(means)) and frame.map_std["b"] == pytest.approx(4 / 2**0.5)
    changes = [(one.ap.b - one.ap.a).mean() for one in (queries, other)]
    assert changes[1] == pytest.approx(changes[0] + 10)
    row, half = frame.loc["b"], 12.706205 * 5
    assert row.map_difference == pytest.approx(np.mean(changes)) and row.difference_std == pytest.approx(10 / 2**0.5)
    assert (row.map_low, row.map_high) == pytest.approx((np.mean(changes) - half, np.mean(changes) + half), rel=1e-5)
    alone = pairwise.over_trainings([queries], "a").loc["b"]
    assert np.isnan(alone.map_std) and alone.map_low == pytest.approx(pairwise.against(queries, "a").map_low["b"])


def test_scores_of_a_run_are_its_metrics(street_small):
    experiment = one_experiment(KNOWN["ide"], {}, {"epochs": 1}, "street-small", "smoke")
    done = run(experiment, street_small, cpu=True, log=lambda line: None)
    queries = pairwise.by_query({"IDE": done}, street_small)
    frame = pairwise.scores([queries])
    assert frame.loc["IDE", "map"] == pytest.approx(done.metrics["map"], abs=1e-3)
    assert queries.rank1("IDE").mean() == pytest.approx(done.metrics["rank1"], abs=1e-3)
    assert len(queries.about) == done.metrics["queries"]
