"""Figures of the attention-driven network: hard pairs (figure 1), aligned parts, attention maps (figures 2 and 7), and
the parts' weights mu."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ...figures import heatmaps, style
from ...figures.pose import PART, SHOWN, outlines
from ...figures.sheet import Sheet
from .analysis import NOTHING
from .branches import PARTS, STRIPS

NAMES = {name: name.replace("_", " ") for name in PARTS}
BLOCKS = (2, 3, 4)
HATCHES = ("", "//", "..", "xx")


def aligned(images: np.ndarray, boxes: np.ndarray) -> Figure:
    """Images (n, H, W, 3) uint8 with their boxes (n, 5, 4), as of ``analysis.misaligned``: the boxes, the fixed strips,
    and the aligned parts."""
    width, space, left, top = 1.2, 0.14, 1.05, 0.1
    high, tall = width * SHOWN[0] / SHOWN[1], 4 * (width * PART[0] / PART[1] + 0.03)
    sheet = Sheet(left + len(images) * (width + space), top + high + 2 * (tall + 0.12) + 0.08)
    starts = (top, top + high + 0.12, top + high + tall + 0.24)
    for title, start, height in zip(("boxes", "strips", "aligned"), starts, (high, tall, tall), strict=True):
        sheet.text(title, left - 0.1, start + height / 2, ha="right", va="center", size=style.SIZE)
    for column, (image, parts) in enumerate(zip(images, boxes, strict=True)):
        x = left + column * (width + space)
        outlines(sheet.image(image, x, starts[0], width), parts * np.tile(SHOWN[::-1], 2))
        for regions, start in ((np.array(STRIPS), starts[1]), (parts, starts[2])):
            for number, box in enumerate(regions[1:] * np.tile(SHOWN[::-1], 2)):
                part = Image.fromarray(image).resize(PART[::-1], Image.Resampling.BILINEAR, box=tuple(box))
                sheet.image(np.array(part), x, start + number * tall / 4, width)
    return sheet.figure


def hard_pairs(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Figure 1, of ``analysis.hard_pairs``: a row for each kind; pairs of one person have a solid green border, of
    two people a dashed red one."""
    width, space, gap, left, top = 0.72, 0.14, 0.38, 1.45, 0.14
    high = width * SHOWN[0] / SHOWN[1]
    most = max(len(queries) for queries, _ in pairs.values())
    sheet = Sheet(left + most * (2 * width + space + gap), len(pairs) * (high + 0.24) + top)
    for row, (name, pictures) in enumerate(pairs.items()):
        y = top + row * (high + 0.24)
        sheet.text(name.replace(" ", "\n"), left - 0.25, y + high / 2, ha="right", va="center", size=style.SIZE)
        border = style.MISMATCH if name == "other person" else style.MATCH
        for column, pair in enumerate(zip(*pictures, strict=True)):
            for side, image in enumerate(pair):
                sheet.image(image, left + column * (2 * width + space + gap) + side * (width + space), y, width, border)
    return sheet.figure


def global_and_parts(images: np.ndarray, boxes: np.ndarray, maps: Mapping[str, Tensor], block: int = 4) -> Figure:
    """Figure 2, of ``analysis.region_masks``: the mask of the whole body, the same at each part, and the part's own.

    Masks are those of ``block``, each over its own range: the second column shows what the whole body's mask leaves of
    a part, the third the mask of the part's branch.
    """
    width, space, top, columns = 1.3, 0.1, 0.62, 2
    tall, each = width * PART[0] / PART[1] + 0.04, 3 * (width + space) + 0.3
    high = 4 * tall - 0.04
    rows = -(-len(images) // columns)
    sheet = Sheet(min(columns, len(images)) * each, top + rows * (high + 0.2))
    body, parts = (maps[f"{region}{block}"].numpy() for region in ("body", "parts"))
    for number, (image, places) in enumerate(zip(images, boxes, strict=True)):
        x, y = number % columns * each + 0.15, top + number // columns * (high + 0.2)
        if number < columns:
            for column, title in enumerate(("whole body", "whole body,\nat the parts", "the parts'\nown")):
                centre = x + column * (width + space) + width / 2
                sheet.text(title, centre, top - 0.08, ha="center", va="bottom", size=style.SIZE - 1)
        attended = heatmaps.overlay(image, paste(body[number], places[:1], image.shape[:2]))
        sheet.image(attended, x, y + (high - width * SHOWN[0] / SHOWN[1]) / 2, width)
        for part, box in enumerate(places[1:] * np.tile(image.shape[1::-1], 2)):
            crops = [
                np.array(Image.fromarray(picture).resize(PART[::-1], Image.Resampling.BILINEAR, box=tuple(box)))
                for picture in (attended, image)
            ]
            crops[1] = heatmaps.overlay(crops[1], parts[number, part])
            for column, crop in enumerate(crops, start=1):
                sheet.image(crop, x + column * (width + space), y + part * tall, width)
    return sheet.figure


def masks(images: np.ndarray, boxes: np.ndarray, maps: Mapping[str, Tensor]) -> Figure:
    """Figure 7, of ``analysis.region_masks``: the masks of blocks 2 to 4 (means over channels), whole body above parts.

    Each mask is placed at its region of the image; the masks of the four parts share one picture and are averaged where
    boxes overlap.
    """
    rows, titles = [list(images)], ["image"]
    for region, places in (("body", boxes[:, :1]), ("parts", boxes[:, 1:])):
        for block in BLOCKS:
            values = maps[f"{region}{block}"].numpy()
            heats = [paste(m, b, images.shape[1:3]) for m, b in zip(values, places, strict=True)]
            rows.append([heatmaps.overlay(i, h) for i, h in zip(images, heats, strict=True)])
            titles.append(f"{region}, block {block}")
    return heatmaps.grid(rows, titles, None, width=0.75)


def paste(maps: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Paste maps (n, h, w) at their boxes (n, 4), in fractions, into one map (H, W); averaged where boxes overlap.

    Each map is first min-max normalised to [0, 1]. The result is 0 outside all boxes.
    """
    total, count = np.zeros(size), np.zeros(size)
    for heat, box in zip(maps, boxes, strict=True):
        x0, y0, x1, y1 = np.rint(box * (size[1], size[0], size[1], size[0])).astype(int)
        if x1 <= x0 or y1 <= y0:
            continue
        low, high = heat.min(), heat.max()
        scaled = (heat - low) / max(high - low, 1e-12)
        resized = Image.fromarray(scaled.astype(np.float32)).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
        total[y0:y1, x0:x1] += np.asarray(resized)
        count[y0:y1, x0:x1] += 1
    return total / np.maximum(count, 1)


def importance(mu: np.ndarray, detected: np.ndarray) -> Figure:
    """mu (N, 4) of images for each part, against the fraction (N, 4) of the part's joints that were detected
    (``analysis.visibility``).

    A dot is an image; a line joins the means of the images with few (below a third), half and most of the joints.
    """
    figure, panels = plt.subplots(1, 4, figsize=(9.5, 3.8), sharey=True, layout="constrained")
    jitter = np.random.default_rng(0).uniform(-0.09, 0.09, len(mu))
    groups = (
        ("few", detected < 1 / 3),
        ("half", (detected >= 1 / 3) & (detected <= 2 / 3)),
        ("most", detected > 2 / 3),
    )
    for i, (axes, part) in enumerate(zip(panels, PARTS, strict=True)):
        places, means = [], []
        for place, (_, group) in enumerate(groups):
            values = mu[group[:, i], i]
            axes.plot(place + jitter[group[:, i]], values, ".", color=style.PALETTE[5], ms=4, alpha=0.5)
            if len(values):
                places.append(place)
                means.append(values.mean())
        axes.plot(places, means, "D-", color=style.INK, ms=7)
        counts = [f"{name}\n{int(group[:, i].sum())}" for name, group in groups]
        axes.set_xticks(range(3), counts)
        axes.set(title=NAMES[part], xlim=(-0.4, 2.4))
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("weight μ")
    figure.supxlabel("how many of the part's joints are detected, and number of images", size=style.SIZE)
    return figure


def occlusion(frame: pd.DataFrame) -> Figure:
    """The analysis ``hidden_parts``: rank-1 of each run by hidden part (left), and the change of mu (right)."""
    names = [NOTHING, *PARTS]
    labels = [NAMES.get(name, name).replace(" ", "\n") for name in names]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")
    runs = list(frame.run.unique())
    width = 0.8 / len(runs)
    for number, name in enumerate(runs):
        rows = frame[frame.run == name].set_index("hidden").loc[names]
        places = np.arange(5) + (number - (len(runs) - 1) / 2) * width
        bar_style = {"color": style.PALETTE[number], "hatch": HATCHES[number % len(HATCHES)], "edgecolor": "white"}
        left.bar(places, rows.rank1, width * 0.92, label=name, **bar_style)
    left.set(ylabel="rank-1 (%)", xlabel="hidden part of the query")
    figure.legend(loc="outside upper left", ncols=len(runs))
    attended = frame[frame[f"mu_{PARTS[0]}"].notna()]
    if len(attended):
        mu = attended[attended.run == attended.run.iloc[0]].set_index("hidden")
        change = mu.loc[list(PARTS), [f"mu_{p}" for p in PARTS]] - mu.loc[NOTHING, [f"mu_{p}" for p in PARTS]]
        _changes(right, change.to_numpy(float))
        right.set_title(f"Change of μ, {attended.run.iloc[0]}")
    else:
        right.set_axis_off()
    left.set_xticks(range(5), labels)
    left.grid(axis="x", visible=False)
    return figure


def _signed(value: float) -> str:
    return "0" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "−")


def _changes(axes: plt.Axes, change: np.ndarray) -> None:
    """A heat map with its numbers: a row per hidden part, a column per weight."""
    limit = max(np.abs(change).max(), 1e-6)
    axes.imshow(change, cmap="PuOr", vmin=-limit, vmax=limit)
    for (row, column), value in np.ndenumerate(change):
        dark = abs(value) > 0.65 * limit
        axes.text(
            column,
            row,
            _signed(value),
            ha="center",
            va="center",
            color="white" if dark else style.INK,
            size=style.SIZE,
        )
    short = [NAMES[p].replace(" ", "\n") for p in PARTS]
    axes.set_xticks(range(4), short)
    axes.set_yticks(range(4), [NAMES[p] for p in PARTS])
    axes.set(xlabel="weight of", ylabel="hidden")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
