"""The figures of what attention sees: each number is drawn where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from reidnb.figures import attention as figures

PAPERS = ("WRCANet", "DRANet")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def summary(measures: tuple[str, ...]) -> pd.DataFrame:
    kinds = (("baseline", "grad-cam", 30.0), ("full", "grad-cam", 40.0), ("full", "attention", 20.0))
    return pd.DataFrame(
        {"paper": paper, "network": network, "heat": heat, "measure": measure, "mean": mean + number}
        | {"low": mean - 2, "high": mean + 5, "even map": 25.0}
        for paper in PAPERS
        for network, heat, mean in kinds
        for number, measure in enumerate(measures)
    )


def points(axes) -> list[tuple[float, float]]:
    """The single points of an axes: x and y."""
    return [(*line.get_xdata(), *line.get_ydata()) for line in axes.get_lines() if len(line.get_xdata()) == 1]


def test_on_the_person_draws_each_map_with_its_interval_and_the_even_map():
    figure = figures.on_the_person(summary(("fraction on the person", "points at the person")))
    left, right = figure.axes
    assert [x for x, _ in points(left)] == [30, 40, 20] * 2 and [x for x, _ in points(right)] == [31, 41, 21] * 2
    spans = [tuple(line.get_xdata()) for line in left.get_lines() if len(line.get_xdata()) == 2]
    assert spans.count((28, 35)) == 2 and spans.count((25, 25)) == 6
    assert [text.get_text() for text in left.get_yticklabels()] == list(PAPERS)


def test_by_part_writes_the_ratio_to_an_even_map():
    (axes,) = figures.by_part(summary(("head", "upper body"))).axes
    written = [text.get_text() for text in axes.texts]
    assert written == ["1.20", "1.24", "1.60", "1.64", "0.80", "0.84"] * 2
    assert axes.get_yticklabels()[2].get_text() == "WRCANet: its attention map"


def test_follows_the_wall_draws_before_and_after():
    rows = [
        {"paper": paper, "network": kind, "measure": measure, "from": 20.0, "to": 30.0 + number, "change": 10.0}
        | {"std": np.nan, "low": 8.0, "high": 12.0}
        for paper in PAPERS
        for number, kind in enumerate(("baseline", "full"))
        for measure in ("follows", "mAP, person seen there", "mAP, not seen")
    ]
    left, right = figures.follows_the_wall(pd.DataFrame(rows)).axes
    assert sorted(x for x, _ in points(left)) == [20] * 4 + [30] * 2 + [31] * 2
    assert [x for x, _ in points(right)] == [10] * 4


def test_occlusion_has_a_curve_for_each_network_and_side():
    rows = [
        {"paper": paper, "network": kind, "side": side, "hidden": hidden, "kept": 100 - hidden, "low": 0, "high": 100}
        for paper in PAPERS
        for kind in ("baseline", "full")
        for side in ("bottom", "top")
        for hidden in (0, 50)
    ]
    figure = figures.occlusion(pd.DataFrame(rows))
    for axes in figure.axes:
        assert len(axes.get_lines()) == 4
        assert all(np.array_equal(line.get_ydata(), [100, 50]) for line in axes.get_lines())
        assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 4


def test_claims_are_told_apart_by_marker():
    rows = [
        {"paper": "DRANet", "tested": "a - b", "difference": mean, "low": mean - 1, "high": mean + 1, "result": result}
        for mean, result in ((2, "tends to hold (1 seed)"), (0, "undecided"), (-3, "tends against (1 seed)"))
    ]
    (axes,) = figures.claims(pd.DataFrame(rows)).axes
    drawn = {line.get_marker(): tuple(line.get_xdata()) for line in axes.get_lines() if line.get_label()[0] != "_"}
    assert drawn == {"o": (2,), "D": (0,), "s": (-3,)}
    certain = [row | {"result": {"tends to hold (1 seed)": "holds"}.get(row["result"], "against")} for row in rows]
    figure = figures.claims(pd.DataFrame(certain))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["holds", "against"]
