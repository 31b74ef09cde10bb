"""The forest plot of claims and the slope chart: what is drawn where, and what is refused."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidnb.figures import published, style

METRICS = {"map": "mAP (points)", "rank1": "rank-1 (points)"}
NAN = np.nan


@pytest.fixture(autouse=True)
def _close():
    style.use()
    yield
    plt.close("all")


def claims() -> pd.DataFrame:
    rows = [
        ("A", "a is better than b, as the text has it in a sentence that goes on for longer than a line can hold it"),
        ("A", "b is better than c"),
        ("B", "b is better than c"),
    ]
    lines = [(*row, metric) for row in rows for metric in METRICS]
    frame = pd.DataFrame(lines, columns=["group", "claim", "metric"])
    frame["published"] = [7.5, 2.7, 4.4, NAN, 1.0, 1.0]
    frame["ours"] = [-10.5, -5.8, 6.1, 6.1, 0.2, 0.0]
    frame["low"], frame["high"] = frame.ours - 1, frame.ours + 1
    frame.loc[5, ["low", "high"]] = NAN
    frame["outcome"] = ["against", "against", "for", "for", "", ""]
    return frame


def test_a_claim_has_its_published_difference_ours_and_its_interval_on_one_line():
    figure = published.forest(claims(), METRICS)
    left, right = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == list(METRICS.values())
    first = left.get_lines()[:3]
    assert [list(line.get_xdata()) for line in first] == [[-11.5, -9.5], [-10.5], [7.5]]
    assert len({y for line in first for y in line.get_ydata()}) == 1
    assert first[1].get_color() == style.PALETTE[1] and first[1].get_marker() == "s"
    # On the right one claim has no published number, and one no interval; the last line is zero.
    assert len(right.get_lines()) == 3 + 2 + 2 + 1 and len(left.get_lines()) == 9 + 1
    assert left.get_ylim() == right.get_ylim()


def test_outcomes_differ_without_colour():
    lines = [(line["marker"], line.get("markerfacecolor")) for _, line in published.OUTCOMES.values()]
    assert len(set(lines)) == len(lines)


def test_the_forests_texts_stay_in_the_figure_and_apart():
    figure = published.forest(claims(), METRICS)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert len(boxes) == 2 + 3
    for above, below in pairwise(boxes):
        assert below.y1 <= above.y0 and below.x0 >= 0 and below.x1 <= figure.bbox.x1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "published",
        *(label for label, _ in published.OUTCOMES.values()),
    ]


def test_a_forest_needs_claims_with_known_outcomes():
    with pytest.raises(ValueError, match="no claim to draw"):
        published.forest(claims()[:0], METRICS)
    with pytest.raises(ValueError, match="got 'maybe'"):
        published.forest(claims().assign(outcome="maybe"), METRICS)


def test_a_slope_shows_gains_and_writes_values():
    values = pd.DataFrame({"published": [70.0, 80.0, 85.0], "ours": [40.0, 45.5, NAN]}, index=["Base", "+ a", "+ b"])
    figure = published.slope(values)
    lines = [list(line.get_ydata()) for line in figure.axes[0].get_lines()[:3]]
    assert lines == [[0, 0], [10, 5.5], [15]]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["Base  70.0", "+ a  80.0", "+ b  85.0", "40.0", "45.5"]


def test_a_slopes_labels_do_not_overlap():
    names = ["Baseline", "a name of a row that needs a second line", "Baseline + one", "Baseline + two"]
    values = pd.DataFrame({"published": [70.0, 70.1, 70.2, 70.3], "ours": [40.0, 45.5, 45.4, 45.3]}, index=names)
    figure = published.slope(values)
    figure.canvas.draw()
    texts = figure.axes[0].texts
    for column in (texts[:4], texts[4:]):
        boxes = sorted((text.get_window_extent() for text in column), key=lambda box: box.y0)
        assert all(above.y0 >= below.y1 - 2 for below, above in pairwise(boxes))


def test_a_slope_needs_two_columns_and_the_first_row():
    values = pd.DataFrame({"published": [70.0, 80.0], "ours": [NAN, 45.5]})
    for wrong in (values, values[["published"]]):
        with pytest.raises(ValueError, match="a slope chart needs two columns"):
            published.slope(wrong)


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0.1, 5)), min_size=1, max_size=12))
def test_labels_are_moved_apart_in_order_and_no_further_than_needed(pairs):
    values, sizes = map(np.array, zip(*pairs, strict=True))
    heights = published.without_overlap(values, sizes)
    order = np.argsort(values, kind="stable")
    gaps = (sizes[order][1:] + sizes[order][:-1]) / 2
    assert (np.diff(heights[order]) >= gaps - 1e-9).all()
    assert heights.mean() == pytest.approx(values.mean(), abs=1e-6)
    if (np.diff(values[order]) >= gaps).all():
        assert np.allclose(heights, values)
