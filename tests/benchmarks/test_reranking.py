"""Finished runs ranked in each way: the numbers are those of the saved runs and of the functions called by hand."""

import shutil

import pytest

from reidnb.benchmarks.reranking import best_runs, compare_reranking
from reidnb.evaluation import metrics
from reidnb.evaluation.rerank_by_graph import rerank_by_graph
from reidnb.evaluation.scores import labels_of
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.rescoring import descriptors, reranked
from reidnb.results import Run
from reidnb.runs import run


def test_each_way_of_ranking_a_finished_run(street_small, tmp_path):
    quiet = {"results": tmp_path, "cpu": True, "log": lambda line: None}
    finished = [
        run(one_experiment(PAPERS["dranet"], {}, {}, "street-small", "smoke", seed), street_small, keep=keep, **quiet)
        for seed, keep in ((0, "descriptors"), (1, "metrics"))
    ]
    other = shutil.copytree(finished[0].folder, tmp_path / "runs" / "from-weights-that-are-gone") / "experiment.json"
    other.write_text(other.read_text().replace('"weights": ""', '"weights": "/gone/w.pth"'))
    assert Run(other.parent).experiment.weights == "/gone/w.pth"
    best = best_runs(street_small, tmp_path)
    assert [each.folder for each in best] == [finished[0].folder]  # the other one kept no descriptors
    table = compare_reranking(best, street_small).set_index("ranking")
    query, gallery = descriptors(best[0], street_small)
    by_graph = metrics.evaluate_distances(rerank_by_graph(query, gallery), **labels_of(street_small)).map
    assert table.loc["by distance", "map"] == pytest.approx(best[0].metrics["map"], abs=0.2)  # saved in float16
    assert table.loc["k-reciprocal", "map"] == pytest.approx(reranked(best[0], street_small)["map"], abs=1e-3)
    assert table.loc["by graph", "map"] == pytest.approx(100 * by_graph, abs=1e-3)
    assert list(table.device) == ["cpu"] * 3
