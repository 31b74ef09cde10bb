"""Benchmarks: what is measured, that both packages give the same scores, and the tables and figures."""

import math
import subprocess
import sys
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from reidnb.benchmarks import cost
from reidnb.benchmarks import evaluation as performance
from reidnb.benchmarks import figures as pictures
from reidnb.benchmarks import training as speed
from reidnb.papers import PAPERS


def test_sizes():
    assert performance.sizes("paper", "market1501") == [
        (842, 4933, 2048),
        (1684, 9866, 2048),
        (3368, 19732, 2048),
        (11659, 82161, 512),
        (3368, 100_000, 2048),
        (3368, 1_000_000, 2048),
    ]
    paper = performance.sizes("paper", "market1501")
    assert performance.sizes("quick", "market1501") == paper[:3] + paper[4:]
    assert performance.sizes("smoke", "street-small") == [(52, 308, 16), (105, 616, 16)]
    with pytest.raises(ValueError, match="unknown profile 'tiny': known are smoke, demo, quick, paper"):
        performance.sizes("tiny", "market1501")


def test_random_problem():
    problem = performance.random_problem((40, 130, 8), distances=True)
    assert (problem.query.shape, problem.gallery.shape, problem.distances.shape) == ((40, 8), (130, 8), (40, 130))
    squared = ((problem.query[3] - problem.gallery[7]) ** 2).sum()
    assert float(problem.distances[3, 7]) == pytest.approx(float(squared), rel=1e-4)
    assert (problem.ids[2] == 0).sum() == 43
    again = performance.random_problem((40, 130, 8))
    assert again.distances is None
    np.testing.assert_array_equal(again.query, problem.query)


def test_each_task_scores_the_same_ranking():
    problem = performance.random_problem((40, 130, 8), distances=True)
    product, given, evaluation, reranked, by_graph = (performance.WORK[task](problem) for task in performance.TASKS)
    assert math.isnan(product)
    assert given == pytest.approx(evaluation)
    assert len({evaluation, reranked, by_graph}) == 3


def test_a_problem_that_does_not_fit_is_not_started(monkeypatch):
    monkeypatch.setattr(performance, "_available", lambda package: 3e9)
    monkeypatch.setattr(performance, "torchreid_path", lambda: "Python")
    monkeypatch.setattr(performance, "measure", lambda *_, **__: {"seconds": 1.0, "megabytes": 2.0, "map": 0.5})
    measured = performance.measure_all([(3368, 19732, 16)])
    assert len(measured) == 8  # torchreid has neither the bare product nor re-ranking by graph
    missing = measured[measured.note != ""]
    assert missing[["task", "package"]].to_numpy().tolist() == [["re-ranking", "torchreid"]]
    assert missing.note.iloc[0] == "needs about 12.8 GB; 2.7 GB can be used"
    assert math.isnan(missing.seconds.iloc[0])


def test_what_would_take_too_long_is_projected(monkeypatch):
    """Seconds per task: the products by queries x images x dimensions, re-ranking by all pairs of images."""
    monkeypatch.setattr(performance, "torchreid_path", lambda: "")
    monkeypatch.setattr(performance, "_has_gpu", lambda: False)
    done = []
    seconds = {"seconds": 2.0, "megabytes": 2.0, "map": 0.5}
    monkeypatch.setattr(performance, "measure", lambda size, task, *_, **__: done.append((size, task)) or seconds)
    measured = performance.measure_all([(10, 90, 8), (20, 180, 16)], limit=14)
    second = measured[measured.gallery == 180].set_index("task")
    assert second.projected.dropna().to_dict() == {
        "matrix product": 16.0,
        "evaluation": 16.0,
        "re-ranking": 16.0,
        "re-ranking by graph": 16.0,
    }
    assert second.note["evaluation"] == "would take more than 14 s"
    assert second.seconds["scores from distances"] == 2.0
    assert len(done) == 6


def test_a_gpu_is_measured_beside_the_cpu(monkeypatch):
    monkeypatch.setattr(performance, "torchreid_path", lambda: "")
    monkeypatch.setattr(performance, "_has_gpu", lambda: True)
    monkeypatch.setattr(performance, "_available", lambda package: 1e12)
    monkeypatch.setattr(
        performance,
        "measure",
        lambda size, task, package, **_: {"seconds": 0.5 if package == performance.GPU else 2.0, "map": 0.5},
    )
    measured = performance.measure_all([(10, 90, 8)])
    assert len(measured) == 10
    assert pictures.compared(measured)[("seconds", performance.GPU)].eq(0.5).all()
    assert len(pictures.overhead(measured)) == 2


def test_without_torchreid_its_columns_are_left_out(monkeypatch):
    monkeypatch.setattr(performance, "torchreid_path", lambda: "")
    monkeypatch.setattr(performance, "measure", lambda *_, **__: {"seconds": 1.0, "megabytes": 2.0, "map": 0.5})
    table = pictures.compared(performance.measure_all([(20, 60, 16), (40, 120, 16)]))
    assert len(table) == 8
    assert table[("seconds", "reidnb")].eq(1).all()
    assert list(table) == [("seconds", "reidnb"), ("megabytes", "reidnb")]


def test_torchreid_is_called_as_its_functions_are(monkeypatch):
    """Stand-ins of torchreid's signatures: labels in its order, and distances whose squares are the squared ones."""
    seen = {}

    def evaluate_rank(distances, query_pids, gallery_pids, query_camids, gallery_camids, max_rank):
        seen["ids"] = query_pids, query_camids, gallery_pids, gallery_camids
        return None, distances.mean()

    def squared(a, b):
        return (a[:, None] - b[None]).square().sum(2)

    def re_ranking(between, queries, images):
        seen["shapes"] = between.shape, queries.shape, images.shape
        return between**2

    monkeypatch.setattr(performance, "_torchreid_functions", lambda: (evaluate_rank, squared, re_ranking))
    problem = performance.random_problem((40, 130, 8), distances=True)
    means = [performance._torchreid(task)(problem) for task in performance.TASKS[1:4]]
    np.testing.assert_allclose(means, float(problem.distances.mean()), rtol=1e-5)
    assert all(a is b for a, b in zip(seen["ids"], problem.ids, strict=True))
    assert seen["shapes"] == ((40, 130), (40, 40), (130, 130))


def test_torchreid_is_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "torchreid"
    for folder in ("metrics/rank_cylib", "utils"):
        (package / folder).mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (package / "metrics/rank.py").write_text(
        "try:\n    from torchreid.metrics.rank_cylib.rank_cy import evaluate_cy\nexcept ImportError:\n"
        "    def evaluate_rank(*a):\n        return 'python'\n"
    )
    (package / "metrics/distance.py").write_text("compute_distance_matrix = 1")
    (package / "utils/rerank.py").write_text("re_ranking = 2")
    monkeypatch.syspath_prepend(tmp_path)
    assert performance.torchreid_path() == "Python"
    score, *others = performance._torchreid_functions()
    assert (score(), others) == ("python", [1, 2])
    (package / "metrics/rank_cylib/rank_cy.cpython-311.so").touch()
    assert performance.torchreid_path() == "Cython"


def measured() -> pd.DataFrame:
    rows = []
    for size in ((20, 60, 16), (40, 120, 16), (90, 400, 8)):
        for task in performance.TASKS:
            for package, seconds in (("reidnb", 1.0), ("torchreid", 8.0)):
                if performance._exists(task, package):
                    rows.append((*size, task, package, seconds * size[1], 1.0 * size[1], 0.5, math.nan, ""))
    columns = [
        "queries",
        "gallery",
        "dimensions",
        "task",
        "package",
        "seconds",
        "megabytes",
        "map",
        "projected",
        "note",
    ]
    return pd.DataFrame(rows, columns=columns)


def test_tables():
    faster = pictures.compared(measured())[("times faster", "")].dropna()
    assert len(faster) == 9  # three sizes of three tasks
    assert faster.eq(8).all()
    assert pictures.overhead(measured()).ratio.tolist() == [1, 1, 1]


@pytest.mark.parametrize("galleries", [(60, 120, 400), (300, 400, 600), (2466, 3400, 1_000_000)])
def test_ticks_of_growth_lie_apart(galleries):
    frame = measured()
    frame["gallery"] = frame.gallery.map(dict(zip((60, 120, 400), galleries, strict=True)))
    frame["seconds"] = frame.gallery / 1000
    figure = pictures.growth(frame, "evaluation")
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = [
            label.get_window_extent()
            for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
            if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]
        ]
        assert len(boxes) >= 2
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    plt.close(figure)


def test_growth_draws_each_package_and_marks_other_dimensions():
    figure = pictures.growth(measured(), "evaluation")
    left, right = figure.axes
    assert (left.get_xscale(), left.get_yscale(), left.get_xlabel()) == ("log", "log", "gallery images")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reidnb", "torchreid", "bare matrix product"]
    assert [list(line.get_xdata()) for line in left.get_lines()] == [[60, 120], [400]] * 3
    assert len(right.get_lines()) == 4
    plt.close(figure)
    projected = measured()
    last = projected.gallery == 400
    projected.loc[last, ["seconds", "megabytes"]], projected.loc[last, "projected"] = math.nan, 5.0
    figure = pictures.growth(projected, "evaluation")
    dotted = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [[120, 400]] * 3
    assert dotted[0].get_ydata()[-1] == 5
    plt.close(figure)
    with pytest.raises(ValueError, match="'sorting' was not measured, only matrix product, scores from distances"):
        pictures.growth(measured(), "sorting")


def test_each_paper_has_its_baseline_and_full_network_to_measure():
    result = speed.networks("paper", "bf16")
    assert list(result) == [(paper, n) for paper in PAPERS for n in ("baseline", "full network")]
    assert {(e.recipe.precision, e.weights, e.profile) for e in result.values()} == {("bf16", "", "paper")}
    assert result["wrcanet", "full network"].options == {} != result["wrcanet", "baseline"].options
    assert {e.recipe.precision for e in speed.networks("smoke").values()} == {"no"}


def test_steps_are_measured_and_drawn():
    papers = ("hybrid_attention", "attention_driven")
    result = speed.measure({n: e for n, e in speed.networks("smoke").items() if n[0] in papers}, steps=1, rounds=1)
    assert (result.images_per_second > 0).all() and result.compiled.isna().all()
    np.testing.assert_allclose(result.fraction, result["loop"] / result.images_per_second)
    # All images have one size here, so all times are relative to the first ResNet baseline.
    np.testing.assert_allclose(result.times, result.images_per_second[0] / result.images_per_second)
    np.testing.assert_allclose(result.of_floor, result.images_per_second / result.floor)
    assert set(result.bound) <= {"memory", "arithmetic"}
    assert pictures.floors(result)["floor allows"].equals(result.floor)
    table = pictures.costs(result)
    assert "compiled" not in table and table["images/s"].equals(result.images_per_second)
    figure = pictures.steps(result)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == result.images_per_second.tolist()
    assert list(axes.get_lines()[0].get_xdata()) == result["loop"].tolist()
    plt.close(figure)


def test_operations_are_shown_by_kind():
    columns = ["launches", "bytes", "floor_bytes", "multiply_adds"]
    kinds = pd.DataFrame([[3, 6e6, 4e6, 2e9], [1, 2e6, 0, 0]], ["convolution", "ReLU"], columns)
    assert pictures.operations(kinds).loc["all"].tolist() == [4, 8, 4, 2]
    figure = pictures.kinds(kinds)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ReLU", "convolution"]  # from below
    assert [bar.get_width() for bar in axes.patches] == [25, 75, 25, 75]
    plt.close(figure)
    assert list(cost.COLUMNS) == columns


@pytest.mark.slow
def test_a_script_measures_without_asking_for_its_name(tmp_path):
    """A new process does not run the script of its parent again."""
    script = tmp_path / "script.py"
    script.write_text(
        "from reidnb.benchmarks.evaluation import measure\n"
        "print(measure((60, 300, 16), 'matrix product', 'reidnb', threads=1, repeats=1)['seconds'] > 0)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.slow
def test_measure_in_a_separate_process():
    result = performance.measure((60, 300, 16), "evaluation", "reidnb", threads=1, repeats=1)
    assert result["seconds"] > 0
    problem = performance.random_problem((60, 300, 16))
    assert result["map"] == pytest.approx(performance.WORK["evaluation"](problem))
