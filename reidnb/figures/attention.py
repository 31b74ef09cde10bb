"""What attention sees, as figures: how much of it lies on the person, on which part, and what networks rely on."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .sheet import wrap

KINDS = {"baseline": "baseline", "full": "full network", "attention": "its attention map"}
LINES = dict(zip(KINDS, style.lines(3), strict=True))
FOR = {"color": style.MATCH["edgecolor"], "linestyle": "solid", "marker": "o"}
AGAINST = {"color": style.MISMATCH["edgecolor"], "linestyle": "dashed", "marker": "s"}
VERDICTS = {
    "holds": FOR,
    "tends to hold": FOR,
    "undecided": {"color": style.MUTED, "linestyle": "solid", "marker": "D"},
    "tends against": AGAINST,
    "against": AGAINST,
}
"""How a verdict is drawn, by its first words."""
MEASURES = ("fraction on the person", "points at the person")
"""What ``on_the_person`` shows."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a colour's brightness."""
PARTS_LIMIT = 1.0
"""The colours of ``by_part`` reach from half to twice an even map, in powers of two."""


def on_the_person(frame: pd.DataFrame) -> Figure:
    """A panel for each of ``MEASURES`` of ``study.attention.summary``: for each paper grad-cam of baseline and full
    network and the attention map, each with its interval, and as a bar what an even map has."""
    figure, panels = plt.subplots(1, len(MEASURES), figsize=(9.5, 4.6), sharey=True, layout="constrained")
    papers = list(dict.fromkeys(frame.paper))
    for axes, measure in zip(panels, MEASURES, strict=True):
        rows = frame[frame.measure == measure]
        for number, paper in enumerate(papers):
            for place, kind in enumerate(KINDS):
                of_kind = rows[(rows.paper == paper) & (_kind(rows) == kind)]
                for _, row in of_kind.iterrows():
                    y = number + (place - 1) * 0.24
                    label = KINDS[kind] if number == 0 else None
                    _interval(axes, row["mean"], row.low, row.high, y, kind, label)
                    axes.plot([row["even map"]] * 2, [y - 0.12, y + 0.12], color=style.INK, linewidth=3)
        axes.set(title=measure, xlabel="% of the maxima" if measure.startswith("points") else "% of the map")
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(papers)), [wrap(paper, 12) for paper in papers])
    panels[0].invert_yaxis()
    panels[0].plot([], [], color=style.INK, linewidth=3, label="an even map")
    _legend_above(figure, panels[0])
    return figure


def by_part(frame: pd.DataFrame) -> Figure:
    """How dense the maps of ``study.attention.summary`` are on each part of the person, 1 being an even map's density:
    a row for each network and map."""
    ratio = (frame["mean"] / frame["even map"]).rename("ratio")
    table = frame.assign(ratio=ratio, kind=_kind(frame)).pivot_table(
        index=["paper", "kind"], columns="measure", values="ratio", sort=False
    )
    figure, axes = plt.subplots(figsize=(9, 0.52 * len(table) + 0.9), layout="constrained")
    shade = np.log2(table.to_numpy().clip(1e-9))
    shown = axes.imshow(shade, cmap="PuOr", vmin=-PARTS_LIMIT, vmax=PARTS_LIMIT, aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        dark = np.dot(shown.to_rgba(shade[row, column])[:3], LUMINANCE) < 0.5
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else style.INK)
    axes.set_xticks(range(table.shape[1]), table.columns)
    axes.set_yticks(range(len(table)), [f"{paper}: {KINDS[kind]}" for paper, kind in table.index])
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def follows_the_wall(frame: pd.DataFrame) -> Figure:
    """Of ``study.disturbances.background_table``: left the fraction of the first ten images from the new background's
    camera, before (hollow) and after (filled) the exchange; right the change of mAP with its interval."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.6), sharey=True, layout="constrained")
    papers = list(dict.fromkeys(frame.paper))
    for _, row in frame[frame.measure == "follows"].iterrows():
        y, line = _place(papers, row), LINES[row.network]
        left.annotate("", (row["to"], y), (row["from"], y), arrowprops={"arrowstyle": "-", "color": line["color"]})
        left.plot(row["from"], y, line["marker"], color=line["color"], markerfacecolor="white", markersize=9)
        label = KINDS[row.network] if papers.index(row.paper) == 0 else None
        left.plot(row["to"], y, line["marker"], color=line["color"], markersize=9, label=label)
    for _, row in frame[frame.measure == "mAP, person seen there"].dropna(subset="change").iterrows():
        _interval(right, row.change, row.low, row.high, _place(papers, row), row.network)
    right.axvline(0, color=style.INK, linewidth=1)
    left.set(title="The first ten images", xlabel="% from the wall's camera\n(hollow: before, filled: after)")
    right.set(title="mAP", xlabel="change in points\n(the wall's camera has seen the person)")
    left.set_yticks(range(len(papers)), [wrap(paper, 12) for paper in papers])
    left.invert_yaxis()
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    _legend_above(figure, left)
    return figure


def occlusion(frame: pd.DataFrame) -> Figure:
    """The fraction of its mAP that each network of ``study.disturbances.occlusion_table`` keeps.

    A panel for each paper, solid where the person is hidden from the top, dashed from the bottom; bands are intervals.
    """
    papers = list(dict.fromkeys(frame.paper))
    figure, panels = plt.subplots(
        2, -(-len(papers) // 2), figsize=(9.5, 6.4), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for axes, paper in zip(panels.flat, papers, strict=False):
        for (kind, side), rows in frame[frame.paper == paper].groupby(["network", "side"], sort=False):
            line = LINES[kind] | {"linestyle": "-" if side == "top" else (0, (4, 2))}
            axes.plot(rows.hidden, rows.kept, label=f"{KINDS[kind]}, from the {side}", **line)
            axes.fill_between(rows.hidden, rows.low, rows.high, color=line["color"], alpha=0.13, linewidth=0)
        axes.set(title=paper, ylim=(0, None))
    for axes in panels[-1]:
        axes.set_xlabel("% of the person hidden")
    for axes in panels[:, 0]:
        axes.set_ylabel("% of mAP kept")
    _legend_above(figure, panels[0][0], columns=2)
    return figure


def claims(frame: pd.DataFrame) -> Figure:
    """The tests of ``study.attention_claims.check``: each difference in points with its interval; right of 0 supports
    the paper."""
    figure, axes = plt.subplots(figsize=(9, 0.8 * len(frame) + 1.2), layout="constrained")
    for result, line in VERDICTS.items():
        rows = frame[frame.result.str.startswith(result)]
        if rows.empty:
            continue
        axes.hlines(rows.index, rows.low, rows.high, colors=line["color"], linestyles=line["linestyle"], linewidth=2.4)
        axes.plot(rows.difference, rows.index, line["marker"], color=line["color"], markersize=9, label=result)
    axes.axvline(0, color=style.INK, linewidth=1)
    # Each row's text is above it and has the figure's width, so that it can be as large as any other.
    for place, (_, row) in enumerate(frame.iterrows()):
        text = f"{row.paper}: {row.tested}"
        at = {"transform": axes.get_yaxis_transform(), "va": "center", "size": style.SIZE - 1}
        axes.text(0.01, place - 0.36, text, **at, bbox={"color": "white", "pad": 1})  # the line at 0 passes behind
    axes.set(yticks=[], ylim=(len(frame) - 0.6, -0.7))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("difference in points (right of 0: as the paper says)")
    _legend_above(figure, axes)
    return figure


def _kind(frame: pd.DataFrame) -> pd.Series:
    """``KINDS`` of each row: the network of a grad-cam map, or 'attention'."""
    return frame.network.where(frame.heat != "attention", "attention")


def _place(papers: list[str], row: pd.Series) -> float:
    return papers.index(row.paper) + (-0.14 if row.network == "baseline" else 0.14)


def _interval(axes: Axes, mean: float, low: float, high: float, y: float, kind: str, label: str | None = None) -> None:
    line = LINES[kind]
    axes.plot([low, high], [y, y], color=line["color"], linewidth=2.2)
    axes.plot(mean, y, line["marker"], color=line["color"], markersize=8, label=label)


def _legend_above(figure: Figure, axes: Axes, columns: int = 4) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=style.SIZE - 1, handlelength=2.2)
