"""Figures that compare runs: what is drawn, where, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from reidnb.figures import compared


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_changes_are_sorted():
    axes = compared.changes({"b": [3.0, -1.0, 0.0, 2.0], "c": [0.0] * 4}, "a").axes[0]
    _, b, c = axes.get_lines()  # the first is zero
    assert list(b.get_ydata()) == [-1, 0, 2, 3] and list(b.get_xdata()) == [12.5, 37.5, 62.5, 87.5]
    assert list(c.get_ydata()) == [0] * 4 and axes.get_ylabel() == "AP − AP of a (points)"
    with pytest.raises(ValueError, match="no run to compare with a"):
        compared.changes({}, "a")


def test_differences_are_filled_where_the_interval_excludes_zero():
    frame = pd.DataFrame(
        {"map_difference": [np.nan, 2.0, 1.0], "map_low": [np.nan, 1.0, -1.0], "map_high": [np.nan, 3.0, 2.0]},
        index=["base", "sure", "unsure"],
    )
    axes = compared.differences(frame, "map", label="points").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sure", "unsure"]
    _, filled, hollow = axes.get_lines()
    assert list(filled.get_xdata()) == [2.0] and filled.get_markerfacecolor() != "white"
    assert list(hollow.get_xdata()) == [1.0] and hollow.get_markerfacecolor() == "white"
    segments = axes.collections[0].get_segments()
    assert [tuple(segment[:, 0]) for segment in segments] == [(1.0, 3.0), (-1.0, 2.0)]
    with pytest.raises(ValueError, match="the table compares nothing"):
        compared.differences(frame[:1], "map", label="points")


def test_two_recipes_have_a_point_each():
    frame = pd.DataFrame({"own": [10.0, 30.0], "one": [20.0, 25.0]}, index=["x", "y"])
    axes = compared.two_recipes(frame).axes[0]
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[10, 30], [20, 25]]
    assert [tuple(segment[:, 0]) for segment in axes.collections[0].get_segments()] == [(10, 20), (25, 30)]


def test_accuracy_and_cost_numbers_the_networks():
    frame = pd.DataFrame({"map": [50.0, 60.0], "low": [45.0, 55.0], "high": [55.0, 65.0]}, index=["x", "y"])
    frame = frame.assign(parameters=[1.0, 2.0], multiply_adds=[0.1, 0.3], milliseconds=[5.0, 4.0], group=["p", "q"])
    figure = compared.accuracy_and_cost(frame)
    for axes, cost in zip(figure.axes, compared.COSTS, strict=True):
        places = {text.get_text(): text.get_position() for text in axes.texts}
        assert places == {"1": (frame[cost]["x"], 50.0), "2": (frame[cost]["y"], 60.0)}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y"]
    assert len({line.get_marker() for line in figure.axes[0].get_lines()}) == 2
    with pytest.raises(ValueError, match="accuracy and cost need the column 'group'"):
        compared.accuracy_and_cost(frame.drop(columns="group"))
