"""Tables as data: rows, published numbers, and both side by side."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reidnb.papers import COMPARISONS, KNOWN, PAPERS, find_paper
from reidnb.papers.experiments import all_options, build, experiments
from reidnb.report import tables
from reidnb.study import claims
from reidnb.study import plan as study
from reidnb.study.comparison import beside_published, caption, run_table


def test_table_2_has_the_five_rows_of_the_paper():
    rows = [row.name for row, _ in experiments(PAPERS["wrcanet"], "table2", "market1501", "paper")]
    assert rows == list(PAPERS["wrcanet"].published("table2").row)
    options = [e.options for _, e in experiments(PAPERS["wrcanet"], "table2", "market1501", "paper")]
    assert options[0] == {"wra": "", "gp": False, "ms": False} and options[-1] == {}


def test_published_numbers_are_the_printed_ones():
    table2 = PAPERS["wrcanet"].published("table2").set_index("row")
    assert table2.loc["ResNet-50", "map"] == 71.4 and table2.loc["ResNet-50+WRA+MS+GP", "rank1"] == 96.1
    table1 = PAPERS["wrcanet"].published("table1")
    assert table1.kind.value_counts().to_dict() == {"cited": 23, "run": 4, "computed": 1}


def test_reranked_numbers_computed_from_printed_gains_are_marked():
    wrcanet = PAPERS["wrcanet"]
    duke = wrcanet.published("table1").query("dataset == 'dukemtmc'").set_index("row")
    gain = duke.loc["Ours + re-ranking", ["rank1", "map"]] - duke.loc["Ours", ["rank1", "map"]]
    assert duke.kind["Ours + re-ranking"] == "computed" and list(gain.astype(float).round(1)) == [3.8, 5.3]
    frame = beside_published(wrcanet, "table1", "dukemtmc", []).assign(ours_map=80.0, comparable=True)
    assert list(frame.row[frame.computed]) == ["Ours + re-ranking"]
    shown = tables.to_markdown(frame, caption="x")
    assert "| Ours | 79.6 | 80.0 | +0.4 |" in shown and "| Ours + re-ranking | 84.9* | 80.0 |  |" in shown
    claimed = claims.checklist(wrcanet, "dukemtmc", {"table1": []})
    assert claimed.published.isna().all()  # a claim is held against printed numbers alone
    assert "computed" not in beside_published(wrcanet, "table1", "market1501", [])


def test_no_published_number_exceeds_a_hundred():
    for paper in PAPERS.values():
        for table in paper.tables:
            assert not (paper.published(table.name)[["rank1", "map"]] > 100).any(axis=None)


@pytest.mark.parametrize("name", KNOWN)
def test_every_printed_row_of_kind_run_is_in_the_table(name):
    for table in KNOWN[name].tables:
        printed = KNOWN[name].published(table.name)
        names = {row.name for row in table.rows}
        assert set(printed.row[printed.kind == "run"]) <= names
        assert set(printed.dataset) <= set(table.datasets)
        assert name in COMPARISONS or set(printed.dataset) == set(table.datasets)


def test_rows_of_several_tables_are_one_experiment():
    full = experiments(PAPERS["wrcanet"], "table2", "market1501", "demo")[-1][1]
    assert full == experiments(PAPERS["wrcanet"], "table1", "market1501", "demo")[0][1]
    assert full == experiments(PAPERS["wrcanet"], "readings", "market1501", "demo")[0][1]


def test_readings_run_each_alternative_once():
    frame = PAPERS["wrcanet"].ledger()
    rows = PAPERS["wrcanet"].table("readings").rows
    assert len(rows) == 1 + sum(len(r.alternatives) for r in PAPERS["wrcanet"].readings)
    assert set(frame.columns) == {"option", "place", "printed", "readings", "default", "why"}


def test_smoke_table_beside_published():
    runs = run_table(
        PAPERS["wrcanet"], "table2", "street-small", "smoke", seeds=(0, 1), log=lambda line: None, cpu=True
    )
    assert len(runs) == 10
    frame = beside_published(PAPERS["wrcanet"], "table2", "street-small", runs)
    assert list(frame.seeds) == [2] * 5 and set(frame.published_dataset) == {"market1501"}
    values = [run.metrics["map"] for row, run in runs if row.name == "ResNet-50"]
    assert frame.ours_map[0] == pytest.approx(np.mean(values)) and frame.std_map[0] == pytest.approx(
        np.std(values, ddof=1)
    )
    assert frame.published_map[0] == 71.4
    text = caption(PAPERS["wrcanet"], "table2", runs)
    assert "from scratch" in text and "street-small" in text and "2 seeds" in text


def test_table_without_runs_shows_published_numbers_alone():
    frame = beside_published(PAPERS["wrcanet"], "table1", "street-small", [])
    assert (frame.kind == "cited").sum() == 6 and frame.ours_map.isna().all()
    assert pd.notna(frame.published_rank1).sum() == 7


def test_wrong_names_are_named():
    with pytest.raises(ValueError, match="unknown paper 'x': known are wrcanet"):
        find_paper("x")
    with pytest.raises(ValueError, match="wrcanet has no table 'table9': known are table1, table2, readings"):
        PAPERS["wrcanet"].table("table9")


@pytest.mark.parametrize("name", KNOWN)
def test_contradictions_name_a_place_and_both_sides(name):
    frame = KNOWN[name].contradictions_table()
    assert list(frame.columns) == ["place", "printed", "but"]
    assert (frame != "").all(axis=None)


def test_contradictions_quote_the_published_numbers():
    table2 = PAPERS["wrcanet"].published("table2").set_index("row")
    full, without_gp, wra = (
        table2.loc[f"ResNet-50+WRA{row}", ["map", "rank1"]].astype(float) for row in ("+MS+GP", "+MS", "")
    )
    assert list((full - without_gp).round(1)) == [1.6, 2.6] and list((without_gp - wra).round(1)) == [7.3, 3.3]
    table4 = PAPERS["hybrid_attention"].published("table4")
    detected = table4[table4.dataset == "cuhk03np-detected"].set_index("row").rank1
    assert detected["Ours"] == 77.5 < detected["GCP"] == 77.9


def test_the_study_covers_comparison_networks_only_where_they_are_named():
    assert not set(COMPARISONS) & set(study.settings({}).papers)
    assert study.settings({"papers": "pcb"}).papers == ("pcb",)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_network_runs_beside_its_published_numbers(name):
    paper = COMPARISONS[name]
    runs = run_table(paper, paper.main, "street-small", "smoke", log=lambda line: None, cpu=True)
    frame = beside_published(paper, paper.main, "street-small", runs)
    trained = frame[frame.kind == "run"]
    assert list(trained.row) == [row.name for row in paper.table(paper.main).rows]
    assert trained.ours_map.between(5, 100).all()
    assert paper.title in caption(paper, paper.main, runs)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison_networks_readings_are_options_or_recipe_fields(name):
    paper = COMPARISONS[name]
    for row, experiment in experiments(paper, "readings", "street-small", "smoke"):
        build(experiment, 4)
        changed = set(row.options) | set(row.recipe)
        assert row.name == "default" or len(changed) == 1
    (_, stated), *_ = experiments(paper, "readings", "market1501", "paper")
    for reading in paper.readings:
        written = all_options(stated) if reading.of == "network" else vars(stated.recipe)
        assert written[reading.option] == reading.default


def test_comparison_networks_numbers_are_those_that_the_papers_cite():
    cited = PAPERS["dranet"].published("table1").set_index("row").loc["PCB"]
    ours = COMPARISONS["pcb"].published("table2")
    ours = ours[(ours.row == "PCB, G") & (ours.dataset == "market1501")].iloc[0]
    assert all(ours[m] == cited[m] for m in ("rank1", "rank5", "rank10", "map"))


def test_a_paper_without_readings_has_an_empty_ledger():
    frame = replace(PAPERS["wrcanet"], readings=()).ledger()
    assert frame.empty and list(frame.columns) == list(PAPERS["wrcanet"].ledger().columns)
