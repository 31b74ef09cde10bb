"""Tables and curves of what `evaluation.performance` measured."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from . import style

PRODUCT = "matrix product"


def compared(measured: pd.DataFrame) -> pd.DataFrame:
    """A row for each size and task: seconds and megabytes of each package, and how many times faster reidnb is.

    Columns that need torchreid are empty (NaN) where it was not measured.
    """
    wide = measured[measured.task != PRODUCT].pivot_table(
        index=["task", "queries", "gallery", "dimensions"],
        columns="package",
        values=["seconds", "megabytes"],
        dropna=False,
        observed=True,
    )
    wide = wide.dropna(how="all")
    columns = [(value, package) for value in ("seconds", "megabytes") for package in ("reidnb", "torchreid")]
    wide = wide.reindex(columns=pd.MultiIndex.from_tuples(columns))
    wide[("times faster", "")] = wide[("seconds", "torchreid")] / wide[("seconds", "reidnb")]
    return wide


def overhead(measured: pd.DataFrame) -> pd.DataFrame:
    """What evaluation takes beside the bare matrix product that it contains: seconds of both, and their ratio."""
    ours = measured[measured.package == "reidnb"].set_index(["queries", "gallery", "dimensions", "task"]).seconds
    both = ours.unstack("task")[[PRODUCT, "evaluation"]]
    return both.assign(ratio=both["evaluation"] / both[PRODUCT])


def growth(measured: pd.DataFrame, task: str) -> Figure:
    """Time and memory of one task over the gallery's size, both axes logarithmic, a curve a package.

    Sizes of other dimensions than the first are marks of their own. Raises ValueError when the task was not measured.
    """
    rows = measured[measured.task == task]
    if rows.empty:
        raise ValueError(f"{task!r} was not measured: there is {', '.join(measured.task.unique())}")
    curves = dict(list(rows.groupby("package", sort=False)))
    if task == "evaluation":
        curves["bare matrix product"] = measured[measured.task == PRODUCT]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
    for (name, some), look in zip(curves.items(), style.lines(len(curves)), strict=True):
        _curve(left, some, "seconds", name, look)
        if name != "bare matrix product":
            _curve(right, some, "megabytes", name, look)
    left.set(ylabel="seconds", title=f"{task.capitalize()}: time")
    right.set(ylabel="MB above the inputs", title="peak memory")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="gallery images")
        axes.set_xticks(sorted(measured.gallery.unique()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x < 1000 else f"{x / 1000:,.3g}k"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.12, y=0.15)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), handlelength=2.6)
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, value: str, name: str, look: dict) -> None:
    for dimensions, some in rows.groupby("dimensions", sort=False):
        first = dimensions == rows.dimensions.iloc[0]
        style_of = look if first else look | {"linestyle": "none", "markerfacecolor": "white", "markersize": 8}
        axes.plot(some.gallery, some[value].clip(lower=1e-6), label=name if first else None, **style_of)
