"""Published against ours: a forest plot of claims, and a slope chart of a table.

Both are at most 6.5 inches wide, so that they stay readable in one column of a paper or on a telephone.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from . import style
from .sheet import wrap

WIDTH = 6.5
"""Width of a figure in inches."""
TEXT, LINE, BAR = 11, 0.19, 0.26
"""Size of a claim's text in points; height of a line of it and of the bar below it in inches."""
LETTERS, NAME = 78, 19
"""Letters of a claim, and of a row's name, on a line."""
OUTCOMES = {
    "for": ("above 0, as claimed", {"color": style.PALETTE[0], "marker": "o"}),
    "against": ("below 0", {"color": style.PALETTE[1], "marker": "s"}),
    "": ("undecided", {"color": style.MUTED, "marker": "o", "markerfacecolor": "white"}),
}
"""How a claim's outcome is called and drawn: by colour and shape, and one of them hollow."""
PUBLISHED = {"color": style.INK, "marker": "D", "markerfacecolor": "white", "linestyle": ""}


def forest(claims: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """By how much the better row of each claim is better: published, and ours with its interval; a panel for each
    metric, a line for each claim, under a heading for each group.

    ``claims`` has columns group, claim, metric, published, ours, low, high, in points (NaN where there is none), and
    outcome, a key of ``OUTCOMES``. ``metrics`` maps the metrics to their panels' titles. Raises ValueError if there is
    no claim or an unknown outcome.
    """
    if claims.empty:
        raise ValueError("no claim to draw")
    if unknown := sorted(set(claims.outcome) - set(OUTCOMES)):
        raise ValueError(f"an outcome is one of {', '.join(map(repr, OUTCOMES))}, got {unknown[0]!r}")
    shown = [metric for metric in metrics if metric in set(claims.metric)]
    places, texts, height = _rows(claims)
    figure = plt.figure(figsize=(WIDTH, height + 1.3))
    bottom, top = 0.62 / (height + 1.3), 1 - 0.68 / (height + 1.3)
    grid = figure.add_gridspec(1, len(shown), left=0.02, right=0.98, bottom=bottom, top=top, wspace=0.06)
    for cell, metric in zip(grid, shown, strict=True):
        axes = figure.add_subplot(cell)
        for line in claims[claims.metric == metric].itertuples():
            _claim(axes, line, places[line.group, line.claim])
        axes.axvline(0, color=style.INK, linewidth=1.2, zorder=1)
        axes.set(ylim=(height, 0), yticks=[], xlabel=metrics[metric])
        axes.spines["left"].set_visible(False)
    for text, y, properties in texts:
        # On white, which interrupts the lines of the panels.
        box = {"facecolor": "white", "linewidth": 0, "pad": 1}
        figure.text(0.02, 1 - (0.68 + y) / (height + 1.3), text, va="top", bbox=box, **properties)
    handles = [Line2D([], [], markersize=6.5, label="published", **PUBLISHED)]
    handles += [
        Line2D([], [], markersize=6.5, label=label, linewidth=2.2, **line_style)
        for name, (label, line_style) in OUTCOMES.items()
        if name in set(claims.outcome)
    ]
    figure.legend(
        handles=handles, loc="upper left", ncols=len(handles), fontsize=TEXT, handletextpad=0.4, columnspacing=1.2
    )
    return figure


def slope(values: pd.DataFrame) -> Figure:
    """A table's rows as lines from the published value to ours: heights are gains over the first row, numbers values.

    ``values`` has a row for each of the table's rows and a column for each place, the published one first, in percent;
    NaN where a row has no value there. Levels differ between profiles and data sets, so every column is shifted to
    have its first row at 0. Raises ValueError if there are fewer than two columns or one of them lacks the first row.
    """
    if values.shape[1] < 2 or values.iloc[0].isna().any():
        raise ValueError("a slope chart needs two columns or more, and in each a value of the first row")
    gains = values - values.iloc[0]
    names = [wrap(str(name), NAME) for name in values.index]
    letters = max(len(line) for name in names for line in name.split("\n"))
    height = 2.1 + 0.45 * len(values)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(
        left=(0.7 + 0.088 * letters) / WIDTH, right=1 - 0.55 / WIDTH, bottom=0.8 / height, top=1 - 0.3 / height
    )
    low, high = np.nanmin(gains), np.nanmax(gains)
    room = 0.05 * (high - low) + 0.2
    axes.set(xlim=(0, values.shape[1] - 1), ylim=(low - room, high + room))
    inch = (high - low + 2 * room) / (height - 1.1)
    for (name, row), line_style in zip(gains.iterrows(), style.lines(len(gains)), strict=True):
        axes.plot(np.flatnonzero(row.notna()), row.dropna(), label=str(name), clip_on=False, zorder=3, **line_style)
    for place, column in enumerate(values):
        known = np.flatnonzero(values[column].notna())
        lines = [names[k].count("\n") + 1 if place == 0 else 1 for k in known]
        sizes = inch * LINE * np.array(lines)
        for k, y in zip(known, without_overlap(gains[column].iloc[known], sizes), strict=True):
            label = f"{values[column].iloc[k]:.1f}"
            _annotate(axes, f"{names[k]}  {label}" if place == 0 else label, place, y, left=place == 0)
        axes.axvline(place, color=style.MUTED, linewidth=0.8, zorder=1)
    axes.set_xticks(range(values.shape[1]), list(values), size=TEXT)
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return figure


def _annotate(axes: Axes, label: str, x: float, y: float, *, left: bool) -> None:
    """A label beside a point, on white where lines pass behind it."""
    properties = {"xytext": (-9 if left else 9, 0), "ha": "right" if left else "left", "va": "center", "size": TEXT}
    properties |= {"textcoords": "offset points", "annotation_clip": False, "zorder": 4}
    axes.annotate(label, (x, y), bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.4}, **properties)


def without_overlap(values: Sequence[float], sizes: Sequence[float]) -> np.ndarray:
    """Heights for labels of ``values`` that are ``sizes`` high and don't overlap, in the values' order and as near to
    them as can be (least squares)."""
    values, sizes = np.asarray(values, float), np.asarray(sizes, float)
    order = np.argsort(values, kind="stable")
    sizes = sizes[order]
    steps = np.cumsum(np.concatenate([[0], (sizes[1:] + sizes[:-1]) / 2]))
    heights = np.empty(len(values))
    heights[order] = isotonic_regression(values[order] - steps).x + steps
    return heights


def _rows(claims: pd.DataFrame) -> tuple[dict[tuple[str, str], float], list[tuple[str, float, dict]], float]:
    """The height of each claim's bar, the texts with theirs, and the height of all, in inches from the top."""
    places, texts, y = {}, [], 0.0
    for group, members in claims.groupby("group", sort=False):
        texts.append((group, y + 0.08, {"size": style.SIZE, "weight": "bold"}))
        y += 0.36
        for claim in dict.fromkeys(members.claim):
            lines = wrap(claim, LETTERS)
            texts.append((lines, y, {"size": TEXT}))
            y += LINE * (lines.count("\n") + 1)
            places[group, claim] = y + BAR / 2
            y += BAR + 0.06
    return places, texts, y


def _claim(axes: Axes, line: tuple, y: float) -> None:
    line_style = OUTCOMES[line.outcome][1]
    if pd.notna(line.low):
        axes.plot([line.low, line.high], [y, y], color=line_style["color"], marker="|", markersize=9, zorder=2)
    if pd.notna(line.ours):
        axes.plot(line.ours, y, markersize=6.5, zorder=3, **line_style)
    if pd.notna(line.published):
        axes.plot(line.published, y, markersize=6.5, zorder=3, **PUBLISHED)
