"""Curves: training histories and cumulative match characteristics."""

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import style
from .sheet import wrap

PARTS = 7
"""Maximum number of losses with a curve each; more are drawn as one band per kind."""
RANKS = 20


def history(frame: pd.DataFrame) -> Figure:
    """A training history: left, the total loss above its parts; right, the accuracy if measured, else the rate.

    ``frame`` has columns epoch, loss, ``loss_<name>`` for each part, lr, and possibly rank1 and map in percent (NaN for
    epochs without evaluation). Raises ValueError if epoch or loss is missing or there is no row.
    """
    missing = [column for column in ("epoch", "loss") if column not in frame]
    if missing or frame.empty:
        reason = f"it has no column {missing[0]!r}" if missing else "it has no row"
        raise ValueError(f"this is not a training history: {reason}")
    parts = {str(c).removeprefix("loss_"): frame[c] for c in frame if str(c).startswith("loss_")}
    left = ["total", "parts", "parts"] if len(parts) > 1 else ["total"]  # a single part is the total itself
    figure, panels = plt.subplot_mosaic(
        [[name, "right"] for name in left], figsize=(9.5, 4.6), width_ratios=(1.1, 1), layout="constrained"
    )
    total = panels["total"]
    total.plot(frame.epoch, frame.loss, color=style.INK, linewidth=3, **_dot(frame))
    total.set(title="Loss", ylim=(0, 1.05 * frame.loss.max()))
    if len(parts) > 1:
        _parts(panels["parts"], frame.epoch, parts)
        total.tick_params(labelbottom=False)
    _accuracy_or_rate(panels["right"], frame)
    if len(frame) == 1:
        total.set_xlim(frame.epoch.iloc[0] - 0.5, frame.epoch.iloc[0] + 0.5)
    for name, axes in panels.items():
        axes.set_xlim(total.get_xlim())
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(
            MaxNLocator(nbins=4 if name == "total" and len(parts) > 1 else 6, steps=[1, 2, 5, 10])
        )
        axes.grid(axis="x", visible=False)
        if name != "total" or len(parts) < 2:
            axes.set_xlabel("epoch")
    return figure


def cmc(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Cumulative match characteristics at ranks 1 to 20: the fraction of queries with a match among the first k.

    ``curves`` maps a name to the fractions at ranks 1, 2, ...; the legend is sorted by rank-1 and shows it. Raises
    ValueError if a curve is empty, decreases, or leaves [0, 1].
    """
    if not curves:
        raise ValueError("no CMC curve to draw")
    figure, axes = plt.subplots(figsize=(9, 4.4), layout="constrained")
    for (name, values), line in zip(curves.items(), style.lines(len(curves)), strict=True):
        values = np.asarray(values, float)[:RANKS]
        if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"the CMC curve {name!r} must contain fractions between 0 and 1")
        if (np.diff(values) < 0).any():
            raise ValueError(f"the CMC curve {name!r} decreases, but a longer list cannot contain fewer matches")
        label = wrap(f"{100 * values[0]:.1f}  {name}", 34)
        axes.plot(np.arange(1, len(values) + 1), 100 * values, label=label, **_sparse(line, len(values)))
    longest = max(len(line.get_xdata()) for line in axes.get_lines())
    axes.set(xlabel="rank k", ylabel="queries matched (%)", xlim=(0.5, longest + 0.5))
    axes.set_ylim(top=min(axes.get_ylim()[1], 101))
    axes.set_xticks([k for k in (1, 5, 10, 15, 20) if k <= longest])
    axes.grid(axis="x", visible=False)
    best_first = sorted(axes.get_lines(), key=lambda line: -line.get_ydata()[0])
    _legend(axes, best_first, title="rank-1 (%)")
    return figure


def _parts(axes: Axes, epoch: pd.Series, parts: Mapping[str, pd.Series]) -> None:
    """A curve for each part; of many parts, each kind's mean in a band from its minimum to its maximum."""
    if len(parts) <= PARTS:
        kinds = {name: [values] for name, values in parts.items()}
    else:
        kinds = {}
        for name, values in parts.items():
            kinds.setdefault(re.split(r"[_\d]", name)[0] or name, []).append(values)
    for (kind, members), line in zip(kinds.items(), style.lines(len(kinds)), strict=True):
        together = pd.concat(members, axis=1)
        label = kind.replace("_", " ")
        if len(members) > 1:
            label += f" (mean of {len(members)})"
            low, high = together.min(axis=1), together.max(axis=1)
            axes.fill_between(epoch, low, high, color=line["color"], alpha=0.18, linewidth=0)
        axes.plot(epoch, together.mean(axis=1), label=wrap(label, 22), **_sparse(line, len(epoch)))
    axes.set(ylim=(0, None))
    axes.set_title("its parts", weight="normal", size=style.SIZE)
    _legend(axes, axes.get_lines())


def _accuracy_or_rate(axes: Axes, frame: pd.DataFrame) -> None:
    measured = [name for name in ("rank1", "map") if name in frame and frame[name].notna().any()]
    for name, line in zip(measured, style.lines(len(measured)), strict=True):
        known = frame[["epoch", name]].dropna()
        label = {"rank1": "rank-1", "map": "mAP"}[name]
        axes.plot(known.epoch, known[name], label=label, **_sparse(line, len(known)))
    if measured:
        axes.set(title="Accuracy (%)", ylim=(0, 102))
        _legend(axes, axes.get_lines())
    elif "lr" in frame:
        axes.plot(frame.epoch, frame.lr, color=style.PALETTE[0], **_dot(frame))
        axes.set(title="Learning rate", ylim=(0, None))
        axes.ticklabel_format(axis="y", style="plain")
    else:
        axes.set_axis_off()


def _dot(frame: pd.DataFrame) -> dict:
    """The marker of a curve of a single epoch, which has no line."""
    return {"marker": "o"} if len(frame) == 1 else {}


def _sparse(line: dict, points: int) -> dict:
    """The line's style with markers at about ten points only, so that they stay apart on long curves."""
    return line | {"markevery": max(1, points // 10)}


def _legend(axes: Axes, lines: Sequence, title: str | None = None) -> None:
    """A legend beside the axes, where it hides no curve, with handles long enough to show the dashes."""
    axes.legend(
        handles=list(lines),
        title=title,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        handlelength=2.6,
        borderaxespad=0.3,
        fontsize=style.SIZE - 1,
        alignment="left",
    )
