"""Queries as the explorer filters and sorts them."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reidnb.explore import tables
from reidnb.papers import wrcanet
from reidnb.papers.experiments import one_experiment
from reidnb.results import Run
from reidnb.runs import run

QUERY = pd.DataFrame({"pid": [1, 1, 2, 3, 4], "camid": [1, 2, 1, 1, 2]})
A = pd.DataFrame({"ap": [50.0, 20.0, 90.0, np.nan, 30.0], "first_rank": [1, 4, 1, np.nan, 2]})
B = pd.DataFrame({"ap": [10.0, 60.0, 95.0, np.nan, 40.0], "first_rank": [3, 1, 1, np.nan, 1]})
SCORES = {"A": A, "B": B}


@pytest.fixture(scope="module")
def finished(street_small):
    experiment = one_experiment(wrcanet.PAPER, wrcanet.PAPER.baseline, {}, "street-small", "smoke")
    return run(experiment, street_small, log=lambda line: None, cpu=True)


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ({}, [1, 4, 0, 2, 3]),
        ({"a": "B"}, [0, 4, 1, 2, 3]),
        ({"kind": tables.KINDS[1]}, [1, 4]),
        ({"kind": tables.KINDS[2], "b": "B"}, [0]),
        ({"kind": tables.KINDS[2], "a": "B", "b": "A"}, [4, 1]),
        ({"camid": 1}, [0, 2, 3]),
        ({"pid": 1}, [1, 0]),
        ({"pid": 1, "camid": 1}, [0]),
        ({"pid": 9}, []),
    ],
)
def test_queries_are_filtered_and_the_worst_come_first(filters, rows):
    assert tables.select(QUERY, SCORES, **({"a": "A"} | filters)).tolist() == rows


def test_without_ap_the_late_first_matches_come_first():
    scores = {"A": A.assign(ap=np.nan)}
    assert tables.select(QUERY, scores, "A").tolist() == [1, 4, 0, 2, 3]
    assert tables.select(QUERY, scores, "A", kind=tables.KINDS[1]).tolist() == [1, 4, 3]


def test_wrong_filters_are_one_sentence():
    with pytest.raises(ValueError, match="unknown filter 'worst': known are all queries"):
        tables.select(QUERY, SCORES, "A", kind="worst")
    for b in ("", "A"):
        with pytest.raises(ValueError, match="choose two different runs as A and B"):
            tables.select(QUERY, SCORES, "A", b, kind=tables.KINDS[2])


def test_scores_per_query_are_the_runs(finished):
    scores = tables.per_query(finished)
    assert scores.ap.mean() == pytest.approx(finished.metrics["map"], abs=1e-3)
    assert 100 * (scores.first_rank == 1).sum() / scores.ap.notna().sum() == pytest.approx(
        finished.metrics["rank1"], abs=1e-3
    )
    assert ((scores.first_rank == 1) == finished.rankings["right"][:, 0]).all()


def test_first_ranks_come_from_the_lists_where_a_protocol_has_no_ap(finished, monkeypatch):
    by_ap = tables.per_query(finished)
    monkeypatch.setitem(finished.__dict__, "queries", {})
    scores = tables.per_query(finished)
    assert scores.ap.isna().all()
    early = by_ap.first_rank <= 20
    assert (scores.first_rank[early] == by_ap.first_rank[early]).all() and scores.first_rank[~early].isna().all()


def test_runs_are_listed_by_data_set(finished):
    results = finished.folder.parents[1]
    assert finished in tables.runs_of(results)["street-small"]


def test_another_copy_of_the_data_is_noticed(finished, street_small):
    assert tables.misfit(finished, street_small) == ""
    shorter = replace(street_small, query=street_small.query.iloc[1:])
    assert "another copy was used" in tables.misfit(finished, shorter)
    others = replace(street_small, gallery=street_small.gallery.assign(pid=street_small.gallery.pid.to_numpy()[::-1]))
    assert "was evaluated on other identities" in tables.misfit(finished, others)
    other = finished.provenance | {"images": "of another copy"}
    assert "was evaluated on other images" in tables.misfit(replaced(finished, provenance=other), street_small)


def replaced(run, **properties):
    """The run with other cached properties."""
    copy = Run(run.folder)
    copy.__dict__.update(properties)
    return copy


def test_runs_that_are_left_out_are_told(finished, tmp_path):
    for name in ("whole", "listless", "strange", "damaged"):
        shutil.copytree(finished.folder, tmp_path / "runs" / name)
    (tmp_path / "runs/listless/rankings.npz").unlink()
    experiment = tmp_path / "runs/strange/experiment.json"
    experiment.write_text(experiment.read_text().replace('"wrcanet"', '"mine"'))
    (tmp_path / "runs/damaged/queries.npz").write_text("no arrays")
    lines = []
    assert [run.folder.name for run in tables.runs_of(tmp_path, lines.append)["street-small"]] == ["whole"]
    assert len(lines) == 3 and lines[0].endswith("queries.npz is damaged (ValueError: it is no archive of arrays)")
    assert lines[1:] == [
        "left out: 1 run that kept no ranking lists: listless",
        "left out: 1 run of no paper of this package: strange",
    ]
