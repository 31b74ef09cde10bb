"""Runs compared: changes of single queries, differences with intervals, accuracy against cost."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from . import style

COSTS = {
    "parameters": "parameters (millions)",
    "multiply_adds": "multiply-adds (billions)",
    "milliseconds": "ms per image",
}
"""The costs of a network (``benchmarks.inference``), as axes call them."""


def changes(differences: Mapping[str, Sequence[float]], base: str) -> Figure:
    """How the AP of each query changed from a base run to other runs, sorted from the largest loss to the largest gain.

    ``differences`` maps the name of a run to its AP minus the base's, in points, for each query.
    """
    if not differences:
        raise ValueError(f"no run to compare with {base}")
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    axes.axhline(0, color=style.INK, linewidth=1)
    for (name, values), line in zip(differences.items(), style.lines(len(differences)), strict=True):
        ordered = np.sort(np.asarray(values, float))
        places = 100 * (np.arange(len(ordered)) + 0.5) / len(ordered)
        axes.plot(places, ordered, label=name, markevery=max(1, len(ordered) // 10), **line)
    axes.set(xlabel="queries, sorted by change (%)", ylabel=f"AP − AP of {base} (points)", xlim=(0, 100))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=2.6, fontsize=style.SIZE - 1)
    return figure


def differences(frame: pd.DataFrame, metric: str, *, label: str, rows: str = "") -> Figure:
    """A row for each line of ``frame``: its ``<metric>_difference`` with the interval to ``_low`` and ``_high``.

    Filled where the interval lies on one side of zero, otherwise hollow. Lines without a difference are left out.
    ``label`` describes the horizontal axis, ``rows`` the vertical one.
    """
    shown = frame.dropna(subset=f"{metric}_difference")
    if shown.empty:
        raise ValueError("no difference to draw: the table compares nothing")
    value, low, high = (shown[f"{metric}_{name}"].to_numpy() for name in ("difference", "low", "high"))
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(shown) + 1.4), layout="constrained")
    axes.axvline(0, color=style.INK, linewidth=1)
    places = -np.arange(len(shown))
    axes.hlines(places, low, high, color=style.PALETTE[0], linewidth=2.5)
    sure = (low > 0) | (high < 0)
    for chosen, fill in ((sure, style.PALETTE[0]), (~sure, "white")):
        axes.plot(value[chosen], places[chosen], "o", markersize=10, color=style.PALETTE[0], markerfacecolor=fill)
    axes.set_yticks(places, [str(name) for name in shown.index])
    axes.set(xlabel=label, ylabel=rows, ylim=(places[-1] - 0.6, 0.6))
    axes.grid(axis="y", visible=False)
    return figure


def two_recipes(frame: pd.DataFrame) -> Figure:
    """The mAP of each network (a row) under two recipes (the frame's two columns), joined by a line."""
    first, second = frame.columns
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(frame) + 1.9), layout="constrained")
    places = -np.arange(len(frame))
    axes.hlines(places, frame.min(axis=1), frame.max(axis=1), color=style.MUTED, linewidth=2)
    # The second is smaller, so that the first is seen behind it where both are equal.
    for name, line, size in zip((first, second), style.lines(2), (14, 8), strict=True):
        axes.plot(frame[name], places, line["marker"], color=line["color"], markersize=size, label=name)
    axes.set_yticks(places, frame.index)
    axes.set(xlabel="mAP (%)", ylim=(places[-1] - 0.6, 0.6))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def accuracy_and_cost(frame: pd.DataFrame) -> Figure:
    """The mAP of networks, with its interval, over each of ``COSTS``; points are numbered in the order of the rows,
    costs are on logarithmic axes.

    ``frame`` has columns map, low, high, those of ``COSTS``, and group, whose values differ in colour and shape.
    """
    missing = [name for name in ("map", "low", "high", "group", *COSTS) if name not in frame]
    if missing:
        raise ValueError(f"accuracy and cost need the column {missing[0]!r}")
    figure, panels = plt.subplots(1, len(COSTS), figsize=(9.5, 4.2), sharey=True, layout="constrained")
    groups = dict(zip(dict.fromkeys(frame.group), style.lines(frame.group.nunique()), strict=True))
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        for number, (_, row) in enumerate(frame.iterrows(), 1):
            _numbered(axes, row[cost], row, str(number), groups[row.group])
        axes.set(xscale="log", xlabel=label, xlim=(0.7 * frame[cost].min(), 1.4 * frame[cost].max()))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set(ylabel="mAP (%)")
    handles = []
    for number, (name, row) in enumerate(frame.iterrows(), 1):
        line = {"color": groups[row.group]["color"], "marker": f"${number}$", "linestyle": ""}
        handles.append(plt.Line2D([], [], **line, markersize=10, label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.2)
    return figure


def _numbered(axes: Axes, cost: float, row: pd.Series, number: str, line: dict) -> None:
    """A network's point with its number inside, above the interval of its mAP."""
    axes.vlines(cost, row.low, row.high, color=line["color"], linewidth=2, alpha=0.6)
    axes.plot(cost, row["map"], line["marker"], color=line["color"], markersize=17, markeredgecolor="white")
    axes.text(cost, row["map"], number, color="white", weight="bold", ha="center", va="center", size=style.SIZE - 1)
