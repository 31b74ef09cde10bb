"""Figures of the hybrid-attention network: its stages, attention maps and windows, and its robustness to bad boxes."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...figures import heatmaps, style
from .network import window_rows


def alignment(maps: Mapping[str, torch.Tensor], image: np.ndarray) -> Figure:
    """The stages of ``analysis.maps`` on one image (H, W, 3) uint8, averaged over channels.

    Each stage is shown at its own size, max-pooled to the fused map's size (as the network does), and average-pooled.
    """
    stages = [maps[name] for name in sorted(maps) if name.startswith("stage")]
    shape = maps["fused"].shape[2:]
    kinds = {
        "not pooled": lambda a: a,
        "maximum (MFF)": lambda a: F.adaptive_max_pool2d(a, shape),
        "average": lambda a: F.adaptive_avg_pool2d(a, shape),
    }
    rows = [[_squares(pool(a)[0].mean(0).numpy(), image.shape[:2]) for a in stages] for pool in kinds.values()]
    sizes = ["×".join(map(str, a.shape[2:])) for a in stages]
    columns = [f"stage {n} ({size})" for n, size in enumerate(sizes, 1)]
    rows = [[image, *rows[0]], *([np.full_like(image, 255), *row] for row in rows[1:])]
    return heatmaps.grid(rows, list(kinds), ["image", *columns], width=1.1)


def _squares(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A small map enlarged to about ``size`` without interpolation, so that its pixels stay visible."""
    coloured = heatmaps.colour(heat)
    factors = [max(1, -(-large // small)) for large, small in zip(size, heat.shape, strict=True)]
    return coloured.repeat(factors[0], 0).repeat(factors[1], 1)


def spatial(maps: Mapping[str, torch.Tensor], images: np.ndarray) -> Figure:
    """Where SAM attends (eq. 1), of ``analysis.maps``: images (n, H, W, 3) uint8 above each stage's weights on them."""
    names = sorted(name for name in maps if name.startswith("S"))
    rows = [[heatmaps.overlay(i, m) for i, m in zip(images, maps[name][:, 0].numpy(), strict=True)] for name in names]
    titles = [f"stage {name[1:]}" if name[1:] else "fused" for name in names]
    ranges = [f"{float(maps[name].min()):.2f} to {float(maps[name].max()):.2f}" for name in names]
    return heatmaps.grid([list(images), *rows], ["image", *(f"{t}: {r}" for t, r in zip(titles, ranges, strict=True))])


def channels(maps: Mapping[str, torch.Tensor], fused: Sequence[int]) -> Figure:
    """Which channels CAM keeps (eq. 2), of ``analysis.maps``: those of each fused stage sorted by weight, averaged over
    the images."""
    weights = maps["C"][:, :, 0, 0].mean(0)
    sizes = [maps[f"stage{stage}"].shape[1] for stage in fused]
    figure, axes = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
    lines = style.lines(len(sizes))
    for stage, part, line in zip(fused, weights.split(sizes), lines, strict=True):
        values = np.sort(part.numpy())[::-1]
        percent = 100 * (np.arange(len(values)) + 0.5) / len(values)
        axes.plot(percent, values, label=f"stage {stage} ({len(values)})", markevery=max(1, len(values) // 8), **line)
    axes.set(xlabel="channels, from the greatest weight to the least (%)", ylabel="weight", xlim=(0, 100), ylim=(0, 1))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="channels of")
    return figure


def on_person(image: np.ndarray, windows: Sequence[tuple[int, int]], stripes: int) -> Figure:
    """The windows of eq. 3 on an image (H, W, 3) uint8, one row per level; the image is faded outside the window."""
    rows: dict[int, list[np.ndarray]] = {}
    for window in windows:
        first, last = window_rows(window, stripes, len(image))
        faded = (0.2 * image + 0.8 * 255).astype(np.uint8)
        faded[first:last] = image[first:last]
        rows.setdefault(window[1] - window[0], []).append(faded)
    titles = [f"{level} stripe{'s' * (level > 1)}" for level in rows]
    return heatmaps.grid(list(rows.values()), titles, width=0.55)


def pyramid(frame: pd.DataFrame, image: np.ndarray) -> Figure:
    """The rank-1 of each window's feature alone, as a pyramid of windows beside a person (H, W, 3) uint8.

    ``frame`` comes from the analysis ``windows``. Each window is at the height of its centre, in the column of its
    number of stripes.
    """
    stripes, values = int(frame["last"].max()), frame.rank1
    colours = mpl.colormaps["viridis"]
    scale = Normalize(values.min(), values.max() if values.max() > values.min() else values.min() + 1)
    height = 4.4
    figure, (person, axes) = plt.subplots(
        1,
        2,
        figsize=(8.8, height),
        width_ratios=(image.shape[1] / image.shape[0] * stripes, stripes),
        layout="constrained",
    )
    person.imshow(image, extent=(0, image.shape[1] / image.shape[0] * stripes, stripes, 0))
    for stripe in range(1, stripes):
        person.axhline(stripe, color="white", linewidth=1.2, linestyle="dashed")
    person.set_axis_off()
    for window, value in zip(frame.itertuples(), values, strict=True):
        level, centre = window.last - window.first, (window.first + window.last) / 2
        colour = colours(scale(value))
        axes.add_patch(Rectangle((level - 0.47, centre - 0.47), 0.94, 0.94, facecolor=colour, edgecolor="white"))
        ink = "white" if scale(value) < 0.6 else "black"
        axes.text(level, centre, f"{value:.1f}", ha="center", va="center", color=ink, size=style.SIZE)
    axes.set(xlim=(0.4, stripes + 0.6), ylim=(stripes, 0), xlabel="stripes in the window", yticks=[])
    axes.set_xticks(range(1, stripes + 1))
    axes.set_title("rank-1 (%) of each window alone")
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    return figure


def robustness(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Rank-1 with worse boxes (the analysis ``boxes``): a curve per model over the amount, a panel per kind."""
    first = next(iter(frames.values()))
    kinds = list(dict.fromkeys(first.kind))
    titles = {"shift": "boxes shifted", "scale": "boxes too large or too small"}
    figure, panels = plt.subplots(1, len(kinds), figsize=(9.2, 4.2), sharey=True, layout="constrained", squeeze=False)
    for axes, kind in zip(panels[0], kinds, strict=True):
        for (name, frame), line in zip(frames.items(), style.lines(len(frames)), strict=True):
            rows = frame[frame.kind == kind]
            axes.plot(100 * rows.amount, rows.rank1, label=name, **line)
        axes.set(title=titles.get(kind, kind), xlabel="by (% of the box)")
    panels[0, 0].set(ylabel="rank-1 (%)", ylim=(0, None))
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=3)
    return figure


def distances(fc: pd.DataFrame, bn: pd.DataFrame, margin: float = 1.0) -> Figure:
    """What the triplet loss does to the features (the analysis ``watch_distances``): compared='fc' against 'bn'.

    Left, the mean distance between identities; right, the loss of the features that it compares. Each point is the mean
    of the nine steps around it.
    """
    curves = {
        "'fc': before BN, compared": (fc.before, fc.triplet),
        "'bn': after BN, compared": (bn.after, bn.triplet),
        "'bn': before BN": (bn.before, None),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 4.4), layout="constrained")
    for (label, (distance, loss)), line in zip(curves.items(), style.lines(len(curves)), strict=True):
        for axes, values in ((left, distance), (right, loss)):
            if values is not None:
                smooth = values.rolling(9, center=True, min_periods=1).mean()
                axes.plot(range(1, len(values) + 1), smooth, label=label, markevery=max(1, len(values) // 6), **line)
    right.axhline(margin, color=style.MUTED, linewidth=1.5, linestyle="dotted")
    right.annotate("margin", (1, margin), (0, 4), textcoords="offset points", color=style.MUTED)
    left.set(title="distance between identities", xlabel="step", ylim=(0, None))
    right.set(title="triplet loss", xlabel="step", ylim=(0, None))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=3)
    return figure


def worse_boxes(changed: Mapping[str, Sequence[np.ndarray]], amounts: Sequence[float]) -> Figure:
    """A person in increasingly worse boxes: a row per kind of error, a column per amount."""
    rows = [list(pictures) for pictures in changed.values()]
    return heatmaps.grid(rows, list(changed), [f"{100 * a:.0f} %" for a in amounts])
