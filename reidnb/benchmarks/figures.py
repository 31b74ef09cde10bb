"""Tables and figures of the measurements of ``evaluation``, ``training`` and ``cost``."""

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter

from ..figures import style
from ..papers import PAPERS
from .evaluation import PACKAGES
from .training import OTHER_STEPS

PRODUCT = "matrix product"


def compared(measured: pd.DataFrame) -> pd.DataFrame:
    """A row for each size and task: seconds and megabytes of each package, and how many times faster reidnb is, on the
    CPU, than torchreid.

    Columns are NaN where nothing was measured; a package that is not there, or a GPU, has none.
    """
    done = measured.dropna(subset="seconds")
    wide = done[done.task != PRODUCT].pivot_table(
        index=["task", "queries", "gallery", "dimensions"],
        columns="package",
        values=["seconds", "megabytes"],
        dropna=False,
        observed=True,
    )
    wide = wide.dropna(how="all")
    packages = [name for name in PACKAGES if name in set(measured.package)]
    columns = [(value, package) for value in ("seconds", "megabytes") for package in packages]
    wide = wide.reindex(columns=pd.MultiIndex.from_tuples(columns))
    if "torchreid" in packages:
        wide[("times faster", "")] = wide[("seconds", "torchreid")] / wide[("seconds", "reidnb")]
    return wide


def overhead(measured: pd.DataFrame) -> pd.DataFrame:
    """Seconds of evaluation and of the bare matrix product that it contains, and their ratio, on CPU and GPU."""
    ours = measured[measured.package.isin(PACKAGES[:2])].dropna(subset="seconds")
    ours = ours.set_index(["package", "queries", "gallery", "dimensions", "task"]).seconds
    both = ours.unstack("task")[[PRODUCT, "evaluation"]].dropna()
    return both.assign(ratio=both["evaluation"] / both[PRODUCT])


def growth(measured: pd.DataFrame, task: str) -> Figure:
    """Time and memory of one task over the gallery's size, on logarithmic axes, with a curve per package.

    Projected times continue a curve as a dotted line with hollow markers.
    Problems whose dimensions differ from the first are separate markers. Raises ValueError if the task was not
    measured.
    """
    rows = measured[measured.task == task]
    if rows.empty:
        raise ValueError(f"{task!r} was not measured, only {', '.join(measured.task.unique())}")
    curves = dict(list(rows.groupby("package", sort=False)))
    if task == "evaluation":
        products = measured[measured.task == PRODUCT].groupby("package", sort=False)
        curves |= {name.replace("reidnb", "bare matrix product"): frame for name, frame in products}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained")
    for (name, frame), line_style in zip(curves.items(), style.lines(len(curves)), strict=True):
        _curve(left, frame, "seconds", name, line_style)
        if not name.startswith("bare"):
            _curve(right, frame, "megabytes", name, line_style)
    left.set(ylabel="seconds", title=f"{task.capitalize()}: time")
    right.set(ylabel="MB above the inputs", title="peak memory")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="gallery images")
        axes.margins(x=0.12, y=0.15)
        axes.set_xlim(measured.gallery.min() / 1.5, 1.5 * measured.gallery.max())
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            axis.set_major_locator(_ticks(*limits))
            axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
            axis.set_minor_formatter(NullFormatter())
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), handlelength=2.6)
    return figure


def _ticks(low: float, high: float) -> Locator:
    """Ticks of a logarithmic axis: powers of ten, or closer ones where the axis has hardly two of them."""
    decades = math.log10(high / low) if low > 0 else math.inf
    return MaxNLocator(4) if decades < 1 else LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=8)


def _short(value: float) -> str:
    """A tick in three digits: 0.05, 600, 20k, 1M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def costs(measured: pd.DataFrame) -> pd.DataFrame:
    """The table of ``training.measure`` for display, without columns that were not measured."""
    table = _titled(measured).dropna(axis=1, how="all")
    order = ["paper", "network", "images", "batch", "images_per_second", *OTHER_STEPS, "loop", "fraction", "times"]
    return table[[name for name in order if name in table]].rename(columns={"images_per_second": "images/s"})


def steps(measured: pd.DataFrame) -> Figure:
    """Images per second of each paper's baseline and full network (``training.measure``): one batch, and the loop.

    Beside each bar is the duration of a step relative to a plain ResNet.
    """
    figure, axes = plt.subplots(figsize=(9, 0.75 * len(measured) + 1.3), layout="constrained")
    places = [-(place + 0.9 * (place // 2)) for place in range(len(measured))]  # in pairs, with room for a heading
    bars = axes.barh(places, measured.images_per_second, 0.8, color=style.PALETTE[5], label="fed one batch")
    axes.plot(measured["loop"], places, "D", color=style.INK, markersize=8, label="in the training loop")
    most = measured[["images_per_second", "loop"]].max(axis=None)
    for place, (_, row) in zip(places, measured.iterrows(), strict=True):
        end = max(row.images_per_second, row["loop"])
        axes.text(end + most / 25, place, f"step × {row.times:.2f}", va="center", color=style.MUTED)
    for place, paper in zip(places[::2], measured.paper[::2], strict=True):
        axes.text(0, place + 0.55, PAPERS[paper].short, weight="bold")
    axes.set_yticks(places, measured.network)
    axes.set(xlabel="images per second", xlim=(0, 1.25 * most), ylim=(min(places) - 0.6, 1.1))
    axes.grid(axis="y", visible=False)
    figure.legend(handles=[bars, *axes.get_lines()], loc="outside lower center", ncols=2)
    return figure


def floors(measured: pd.DataFrame) -> pd.DataFrame:
    """Images per second of ``training.measure``, the floor, their ratio in percent, and what determines the floor."""
    table = _titled(measured).assign(percent=100 * measured.of_floor)
    table = table[["paper", "network", "images", "batch", "images_per_second", "floor", "percent", "bound"]]
    return table.rename(columns={"images_per_second": "images/s", "floor": "floor allows", "percent": "reached in %"})


def _titled(measured: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``training.measure`` with the papers' titles, and the size of the images in one column."""
    size = [f"{row.height}×{row.width}" for row in measured.itertuples()]
    return measured.assign(paper=[PAPERS[name].short for name in measured.paper], images=size)


def operations(kinds: pd.DataFrame) -> pd.DataFrame:
    """The table of ``cost.by_kind`` in readable units, with its sums."""
    table = pd.concat([kinds, kinds.sum().to_frame("all").T])
    return pd.DataFrame(
        {
            "launches": table.launches,
            "MB": table.bytes / 1e6,
            "MB of the floor": table.floor_bytes / 1e6,
            "10⁹ multiply-adds": table.multiply_adds / 1e9,
        }
    )


def kinds(counted: pd.DataFrame) -> Figure:
    """Percentages of a step's bytes and launches by kind (``cost.by_kind``), with the kind of most bytes on top."""
    percent = (100 * counted[["bytes", "launches"]] / counted[["bytes", "launches"]].sum()).sort_values("bytes")
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(percent) + 1.2), layout="constrained")
    bars = {"launches": (-0.2, style.PALETTE[4], "//"), "bytes": (0.2, style.PALETTE[0], "")}
    for column, (shift, colour, hatch) in bars.items():
        places = [place + shift for place in range(len(percent))]
        axes.barh(places, percent[column], 0.4, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=column)
    axes.set_yticks(range(len(percent)), percent.index)
    axes.set(xlabel="percent of the step's bytes, and of its launches", ylim=(-0.6, len(percent) - 0.4))
    axes.grid(axis="y", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower right")
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, value: str, name: str, line_style: dict) -> None:
    """One package's curve; hollow markers are other dimensions, or, on a dotted line, projected seconds."""
    unmeasured = rows.seconds.isna()
    if value == "seconds" and unmeasured.any() and not unmeasured.all():
        line = rows[unmeasured | (rows.index == rows.index[~unmeasured][-1])]
        projected = line.projected.fillna(line.seconds)
        axes.plot(line.gallery, projected, **line_style | {"linestyle": ":", "markerfacecolor": "white"})
    rows = rows[~unmeasured]
    for dimensions, group in rows.groupby("dimensions", sort=False):
        first = dimensions == rows.dimensions.iloc[0]
        curve = line_style if first else line_style | {"linestyle": "none", "markerfacecolor": "white", "markersize": 8}
        axes.plot(group.gallery, group[value].clip(lower=1e-6), label=name if first else None, **curve)
