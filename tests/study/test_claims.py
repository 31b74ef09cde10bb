"""The papers' claims: as data, and decided from runs against computations by hand."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reidnb.papers import KNOWN, PAPERS
from reidnb.papers.experiments import experiments
from reidnb.results import Run
from reidnb.study import claims
from reidnb.study.comparison import Score, beside_published, caption

AP = np.tile([0.2, 0.4, 0.6, 0.8], 10)


def kept(folder, experiment, ap=None, **metrics) -> Run:
    """A finished run's folder with these metrics in percent; with ``ap`` also its queries, each found at rank 1."""
    folder.mkdir(parents=True)
    known = dict.fromkeys(("map", "map_trapezoid", "rank1", "rank5", "rank10", "rank20"))
    if ap is not None:
        known |= {"map": 100 * ap.mean(), "map_trapezoid": 100 * ap.mean(), "rank1": 100.0}
        first = np.ones(len(ap), int)
        np.savez(folder / "queries.npz", valid=first > 0, ap=ap, ap_trapezoid=ap, first_rank=first)
    for name, content in (
        ("experiment", asdict(experiment)),
        ("provenance", {"device": "CPU"}),
        ("metrics", known | metrics),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Run(folder)


def runs_of(folder, name, table, numbers, *, dataset="market1501", profile="demo", weights=None, seeds=1, recipe=None):
    """A table's rows with their runs: ``numbers`` is row name to what ``kept`` is given, for each seed."""
    planned = experiments(PAPERS[name], table, dataset, profile, range(seeds), weights, recipe=recipe)
    return [
        (row, kept(folder / f"{row.name.replace('/', '_')}-{e.seed}", e, **numbers[row.name][e.seed]))
        for row, e in planned
        if row.name in numbers
    ]


def line(frame: pd.DataFrame, text: str, metric: str = "map") -> pd.Series:
    (found,) = [one for _, one in frame.iterrows() if text in one.claim and one.metric == metric]
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_claims_are_about_rows_and_numbers_of_their_tables(name):
    stated = KNOWN[name].claims
    assert len({claim.text for claim in stated}) == len(stated)
    for claim in stated:
        table = KNOWN[name].table(claim.table)
        compared = [each for pair in claim.pairs for each in pair]
        rows = {row for each in compared for row in ([each] if isinstance(each, str) else each)}
        assert rows <= {row.name for row in table.rows}, claim.text
        assert all(better != worse for better, worse in claim.pairs)
        assert set(claim.datasets) <= set(table.datasets)
        assert set(claim.metrics) <= {"map", "rank1"}
        if "re-ranking" not in claim.text.lower():  # of which no table has the numbers
            assert rows <= set(KNOWN[name].published(claim.table).row), claim.text


def test_what_the_papers_print_against_their_own_claims():
    """On the first data set of each table print bears out every claim but these."""
    found = {
        (name, one.claim, one.metric)
        for name in PAPERS
        for table in PAPERS[name].tables
        for one in claims.checklist(PAPERS[name], (*table.datasets, "")[0], {table.name: []}).itertuples()
        if one.published <= 0
    }
    assert found == {("hybrid_attention", "Stage 3 alone is better than stage 4 alone", "map")}


def test_a_single_training_is_decided_over_its_queries(tmp_path):
    numbers = {
        "ResNet-50": [{"ap": AP}],
        "ResNet-50+WRA": [{"ap": AP + 0.1}],
        "ResNet-50+WRA+GP": [{"ap": AP + 0.05}],
        "ResNet-50+WRA+MS": [{"ap": AP + np.tile([0.4, 0.05, 0.05, -0.1], 10)}],
    }
    runs = runs_of(tmp_path, "wrcanet", "table2", numbers, dataset="street")
    frame = claims.checklist(PAPERS["wrcanet"], "street", {"table2": runs})
    assert list(frame.columns) == list(claims.COLUMNS) and set(frame.table) == {"table2"}
    helps = line(frame, "(WRA) improves")
    assert (helps.published, helps.published_dataset) == (7.5, "market1501")
    # The same 10 points at each query: nothing to be unsure of.
    assert (helps.ours, helps.low, helps.high, helps.over, helps.verdict) == (
        10,
        10,
        10,
        "queries",
        "tends to hold (1 seed)",
    )
    assert line(frame, "(WRA) improves", "rank1").published == 2.7
    assert line(frame, "(WRA) improves", "rank1").verdict == "undecided"  # all of both found: 0 points
    harms = line(frame, "(GP) improves")
    assert (harms.ours, harms.low, harms.high, harms.verdict) == (-5, -5, -5, "tends against (1 seed)")
    # 40, 5, 5 and -10 points less the 10 of WRA, each ten times: mean 0, standard error 18.37 / sqrt(40).
    open_ = line(frame, "(MS) improves")
    assert open_.ours == 0 and open_.verdict == "undecided"
    assert open_.high == pytest.approx(1.96 * 18.37 / 40**0.5, abs=0.7)
    missing = line(frame, "Without GP")
    assert missing.verdict == "not run" and pd.isna(missing.ours) and missing.published == 1.6
    assert {verdict: n for verdict, n in claims.counts(frame).items() if n} == {
        "tends against (1 seed)": 1,
        "undecided": 3,
        "not run": 2,
    }
    note = claims.note(PAPERS["wrcanet"], frame, {"table2": runs}, "street")
    assert "Published: on market1501, the first that its tables print. Ours: street, demo profile" in note
    assert "cover the choice of queries only, not the variation between trainings" in note


def test_a_claim_about_gains_compares_differences(tmp_path):
    """Gains of 2 (MPFE), 5 (MGO), 1 (SAM) and 0 (CAM) points; MGO's differs from query to query."""
    uneven = np.tile([0.2, -0.1, 0.05, 0.05], 10)
    totals = {"Baseline": 0.0, "+ Bag of Tricks": 0.1, "+ MPFE": 0.12, "+ MGO": 0.17 + uneven - uneven.mean()}
    totals |= {"+ SAM": totals["+ MGO"] + 0.01, "+ CAM": totals["+ MGO"] + 0.01}
    numbers = {row: [{"ap": 0.5 * AP + total}] for row, total in totals.items()}
    runs = runs_of(tmp_path, "hybrid_attention", "table6", numbers, dataset="dukemtmc")
    found = line(claims.checklist(PAPERS["hybrid_attention"], "dukemtmc", {"table6": runs}), "more than MPFE")
    assert found.published == pytest.approx((77.9 - 73.5) - (73.5 - 69.5))
    assert (found.better, found.worse) == ("(+ MGO over + MPFE)", "(+ MPFE over + Bag of Tricks)")
    # SAM and CAM repeat MGO's queries, so their gains are the same at each of them; MPFE's is 2 at each.
    error = 100 * uneven.std() / 40**0.5
    z = stats.norm.ppf(1 - 0.05 / 3 / 2)
    assert (found.ours, found.low, found.high) == pytest.approx((3, 3 - z * error, 3 + z * error), abs=1)
    assert found.over == "queries"


def test_several_trainings_are_decided_over_their_seeds(tmp_path):
    """1, 2, 3 points: 2 -+ 4.3027 / sqrt(3); and 5, 6, 7."""
    maps = {"ResNet-50": (40, 41, 42), "ResNet-50+WRA": (41, 43, 45), "ResNet-50+WRA+GP": (46, 49, 52)}
    numbers = {row: [{"map": m, "rank1": 50.0} for m in found] for row, found in maps.items()}
    runs = runs_of(tmp_path, "wrcanet", "table2", numbers, seeds=3)
    frame = claims.checklist(PAPERS["wrcanet"], "market1501", {"table2": runs})
    helps, more = line(frame, "(WRA) improves"), line(frame, "(GP) improves")
    assert (helps.ours, helps.low, helps.high) == pytest.approx((2, -0.48, 4.48), abs=0.006)
    assert (more.ours, more.low, more.high) == pytest.approx((6, 3.52, 8.48), abs=0.006)
    assert (helps.verdict, more.verdict, more.over) == ("undecided", "holds", "3 seeds")
    note = claims.note(PAPERS["wrcanet"], frame, {"table2": runs}, "market1501")
    assert "Published: on market1501. Ours" in note and "cover the variation between trainings." in note


def test_the_best_of_several_rows_has_to_be_better_than_each(tmp_path):
    """Ten pairs at 1 - 0.05 / 10 each; the narrowest is shown; the data set's own best lambda is asked."""
    rows = [row.name for row in PAPERS["attention_driven"].table("table10").rows]
    numbers = {
        row: [{"rank1": 50.0 - n}, {"rank1": 50.0 - n}, {"rank1": 50.03 - 1.003 * n}] for n, row in enumerate(rows)
    }
    numbers["lambda=0.2"] = [{"rank1": 60.0 + s} for s in range(3)]
    runs = runs_of(tmp_path, "attention_driven", "table10", numbers, dataset="cuhk03-labeled", seeds=3)
    frame = claims.checklist(PAPERS["attention_driven"], "cuhk03-labeled", {"table10": runs})
    assert set(frame.metric) == {"rank1"}  # single-shot: no mAP
    assert not frame.claim.str.contains("lambda = 0.1").any()
    best = line(frame, "lambda = 0.2", "rank1")
    assert (best.better, best.worse) == ("lambda=0.2", "lambda=0")
    assert best.published == pytest.approx(95.91 - 95.74)
    differences = np.array([10.0, 11.0, 11.97])
    low, high = stats.t.interval(1 - 0.05 / 10, 2, differences.mean(), stats.sem(differences))
    assert (best.ours, best.low, best.high) == pytest.approx((differences.mean(), low, high), abs=0.006)
    assert line(frame, "Any lambda", "rank1").verdict == "against"


def test_without_an_interval_nothing_is_decided(tmp_path):
    numbers = {"Baseline": [{"rank1": 10.0}], "Aligned": [{"rank1": 90.0}]}
    runs = runs_of(tmp_path, "attention_driven", "table6", numbers, dataset="cuhk03-labeled")
    found = line(
        claims.checklist(PAPERS["attention_driven"], "cuhk03-labeled", {"table6": runs}), "Parts cut by pose", "rank1"
    )
    assert (found.ours, found.over, found.verdict) == (80, "", "no interval") and pd.isna(found.low)


def test_seeds_that_differ_alike_decide_nothing(tmp_path):
    """One query more in each of three trainings: the spread is not known to be 0."""
    numbers = {
        "ResNet-50": [{"rank1": 40.0 + s} for s in range(3)],
        "ResNet-50+WRA": [{"rank1": 45.0 + s} for s in range(3)],
    }
    runs = runs_of(tmp_path, "wrcanet", "table2", numbers, seeds=3)
    frame = claims.checklist(PAPERS["wrcanet"], "market1501", {"table2": runs})
    found = line(frame, "(WRA) improves", "rank1")
    assert (found.ours, found.over, found.verdict) == (5, "", "no interval") and pd.isna(found.low)
    assert line(frame, "(WRA) improves").verdict == "not run"  # without a number there is no difference


def test_tables_across_data_sets_are_for_two_data_sets():
    assert [table.name for table in PAPERS["hybrid_attention"].tables_for("market1501->dukemtmc")] == ["table8"]
    alone = {table.name for table in PAPERS["hybrid_attention"].tables_for("street")}
    assert {"table6", "boxes"} < alone and "table8" not in alone


MANY = st.lists(st.floats(0, 100), min_size=4, max_size=12)


@settings(max_examples=15, deadline=None)
@given(MANY, MANY, st.booleans())
def test_a_claim_and_its_contrary_have_contrary_verdicts(a, b, seeds):
    size = min(len(a), len(b))

    def scores(values):
        values = np.array(values[:size])
        if seeds:
            return [Score(n, {"map": value}, {}) for n, value in enumerate(values)]
        return [Score(0, {"map": values.mean()}, {"map": values})]

    own = {"a": scores(a), "b": scores(b)}
    forth, back = (claims._measured((pair,), "map", own) for pair in (("a", "b"), ("b", "a")))
    contrary = {
        "holds": "against",
        "against": "holds",
        "tends to hold (1 seed)": "tends against (1 seed)",
        "tends against (1 seed)": "tends to hold (1 seed)",
    }
    assert back["verdict"] == contrary.get(forth["verdict"], forth["verdict"])
    assert back["ours"] == pytest.approx(-forth["ours"], abs=0.011)
    if "low" in forth:
        assert back["low"] == pytest.approx(-forth["high"], abs=0.011)
    if forth["verdict"] in ("holds", "tends to hold (1 seed)"):
        assert forth["ours"] >= forth["low"] > -0.01


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": "street"}, "published on market1501"),
        ({"profile": "demo"}, "demo profile"),
        ({"weights": ""}, "not from ImageNet weights"),
        ({"recipe": {"epochs": 2}}, "changed recipe"),
    ],
)
def test_only_what_is_like_the_paper_is_compared_with_it(tmp_path, changes, reason):
    numbers = {"ResNet-50": [{"ap": AP + 0.214}]}  # 71.4, as printed
    whole = {"profile": "paper", "weights": "imagenet", "dataset": "market1501"} | changes
    runs = runs_of(tmp_path, "wrcanet", "table2", numbers, **whole)
    frame = beside_published(PAPERS["wrcanet"], "table2", whole["dataset"], runs)
    assert not frame.comparable.any() and frame.low_map.isna().all()
    text = caption(PAPERS["wrcanet"], "table2", runs)
    assert f"Not to be compared with the published numbers: {reason}" in text and "Within" not in text


def test_captions_tell_what_was_changed_and_how_many_rows_are_missing(tmp_path):
    numbers = {"ResNet-50": [{"ap": AP}], "ResNet-50+WRA": [{"ap": AP}]}
    recipe = {"epochs": 2, "sampler": {"identities": 8}}
    changed = runs_of(tmp_path / "changed", "wrcanet", "table2", numbers, recipe=recipe)
    sentence = "The recipe was changed: epochs=2, sampler.identities=8."
    text = caption(PAPERS["wrcanet"], "table2", changed)
    assert f"{sentence} 3 of 5 rows were not trained." in text and "2 epochs)" in text
    frame = claims.checklist(PAPERS["wrcanet"], "market1501", {"table2": changed})
    assert sentence in claims.note(PAPERS["wrcanet"], frame, {"table2": changed}, "market1501")
    assert set(frame.verdict) == {"not run", "undecided"}
    as_stated = runs_of(tmp_path / "stated", "wrcanet", "table2", numbers)
    assert "changed" not in caption(PAPERS["wrcanet"], "table2", as_stated)


def test_intervals_of_a_table_like_the_papers(tmp_path):
    alike = {"profile": "paper", "weights": "imagenet"}
    runs = runs_of(tmp_path / "one", "wrcanet", "table2", {"ResNet-50": [{"ap": AP + 0.214}]}, **alike)
    first = beside_published(PAPERS["wrcanet"], "table2", "market1501", runs).iloc[0]
    # Over the 40 queries: 71.4 -+ 1.96 * 22.36 / sqrt(40).
    assert first.comparable and (first.low_map, first.high_map) == pytest.approx((64.5, 78.3), abs=1)
    assert (first.low_rank1, first.high_rank1) == (100, 100)
    assert "over the queries of one training, not over seeds" in caption(PAPERS["wrcanet"], "table2", runs)
    three = {"ResNet-50": [{"map": m, "rank1": 50.0} for m in (40, 41, 42)]}
    runs = runs_of(tmp_path / "three", "wrcanet", "table2", three, seeds=3, **alike)
    first = beside_published(PAPERS["wrcanet"], "table2", "market1501", runs).iloc[0]
    assert (first.low_map, first.high_map) == pytest.approx((41 - 2.484, 41 + 2.484), abs=1e-3)
    assert "over 3 seeds" in caption(PAPERS["wrcanet"], "table2", runs)
