"""An experiment under CUHK03's classic protocol, from ``cuhk-03.mat`` to the table: rank-k without mAP."""

import math
from dataclasses import replace

import numpy as np
import pytest
from miniatures import cuhk03_mat

from reidnb import rescoring, runs
from reidnb.data import catalog
from reidnb.evaluation.metrics import single_shot_cmc
from reidnb.evaluation.scores import labels_of
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.papers.paper import Row
from reidnb.report import show, tables
from reidnb.results import summary
from reidnb.study.comparison import beside_published

NAME = "cuhk03-labeled"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, street_small):
    root = tmp_path_factory.mktemp("root")
    cuhk03_mat(root / "cuhk03" / "cuhk03_release" / "cuhk-03.mat", street_small)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.DATA_SETS, NAME, replace(catalog.DATA_SETS[NAME], counts=None))
        experiment = one_experiment(PAPERS["wrcanet"], {}, {}, NAME, "smoke")
        run = runs.run(experiment, catalog.load(NAME, root), log=lambda line: None, cpu=True)
        return run, catalog.load(NAME, root)


def test_rank_k_without_map(finished):
    run, data = finished
    query, gallery = rescoring.descriptors(run, data)
    expected = single_shot_cmc(query, gallery, **labels_of(data), repeats=10, seed=0)
    metrics = run.metrics
    assert metrics["rank1"] == pytest.approx(100 * expected.cmc[0], abs=1e-3)
    assert all(math.isnan(metrics[name]) for name in ("map", "map_trapezoid", "minp"))
    assert metrics["queries"] == len(data.query) and len(metrics["cmc"]) == 50
    assert metrics["rank20"] == 100  # five identities only
    assert not (run.folder / "queries.npz").exists()


def test_a_query_is_never_its_own_match(finished):
    run, data = finished
    top = run.rankings["top"]
    cameras, people = data.gallery.camid.to_numpy(), data.gallery.pid.to_numpy()
    for row, pid, camid in zip(top, data.query.pid, data.query.camid, strict=True):
        assert not ((people[row[row >= 0]] == pid) & (cameras[row[row >= 0]] == camid)).any()


def test_tables_have_a_dash_for_map(finished):
    run, data = finished
    row = show.metrics(run).iloc[0]
    assert row["mAP"] == row["mINP"] == "–" and row["rank-1"] == round(run.metrics["rank1"], 1)
    assert math.isnan(summary([run])["map"][0])
    assert np.isnan(list(rescoring.reranked(run, data).values())).all()
    frame = beside_published(PAPERS["wrcanet"], "table2", NAME, [(Row("ResNet-50+WRA+MS+GP"), run)])
    ours = frame[frame.row == "ResNet-50+WRA+MS+GP"].iloc[0]
    assert math.isnan(ours.ours_map) and ours.ours_rank1 == pytest.approx(run.metrics["rank1"])
    frame = frame.assign(published_map=50.0, published_dataset=NAME)
    lines = tables.to_markdown(frame, caption="one seed").splitlines()
    assert "| ResNet-50+WRA+MS+GP | 50.0 | – | 96.1 |" in next(
        x for x in lines if x.startswith("| ResNet-50+WRA+MS+GP")
    )
