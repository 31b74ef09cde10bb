"""Pictures of the explorer: thumbnails as text for a web page, plots, and the heat maps of a query and a match."""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from textwrap import shorten

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from ..data import pixels
from ..data.augment import normalise
from ..data.samples import SHOWN
from ..figures import heatmaps, style
from ..models.output import output_of
from .distances import Pairs, area, roc

HIDDEN = np.full((*SHOWN, 3), 214, np.uint8)
"""Shown in place of a picture of a real person."""
SHAPES = ("border-radius:50%", "", "clip-path:polygon(50% 0,100% 100%,0 100%)")
"""Circle, square, triangle."""
MAP_STYLE = (
    ".reid-map{width:640px;max-width:96%;height:560px;border:1px solid #ddd;background:#fff;padding:22px;"
    "box-sizing:border-box}.reid-map>div{position:relative;width:100%;height:100%}"
    ".reid-map i{position:absolute;width:14px;height:14px;margin:-7px}.reid-map i:hover{z-index:9}"
    ".reid-map b{position:absolute;inset:0}.reid-map u{display:none;position:absolute;padding:3px;background:#fff;"
    "border:1px solid #222;font:12px/16px sans-serif;color:#222;text-decoration:none;white-space:nowrap;"
    f"width:{max(SHOWN[1], 76)}px;text-align:center}}.reid-map i:hover u{{display:block}}"
    f".reid-map img{{width:{SHOWN[1]}px;height:{SHOWN[0]}px;max-width:none;display:block;margin:auto}}"
)


@lru_cache(4096)
def thumbnail(path: str) -> str:
    """An image file at the size of figures, as a data URI. Raises OSError for a file that is no image."""
    return data_uri(pixels.read([path], SHOWN)[0])


def data_uri(image: np.ndarray) -> str:
    """An image (H, W, 3) uint8 as the text of a JPEG's data URI."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def decode(name: str, content: bytes) -> Image.Image:
    """The picture in a file's content. Raises ValueError, in one sentence, for a file that is no image."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return pixels.rgb(image)
    except pixels.BROKEN as error:
        raise ValueError(f"{name} is not an image that can be read.") from error


def png(figure: Figure) -> bytes:
    """A figure as PNG at the resolution of a screen; the figure is closed."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, bbox_inches="tight", pad_inches=0.06)
    plt.close(figure)
    return file.getvalue()


def pair_maps(model: nn.Module, images: np.ndarray, boxes: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Heat maps (2, H, W) of two images (2, H, W, 3) uint8, by name, on the CPU.

    'heat' explains each image's descriptor, 'agreement' the cosine similarity to the other image's descriptor: LayerCAM
    at the network's last stage (``figures.cam``), the other descriptor held fixed, as in Stylianou et al. 2019. Spatial
    attention maps of the network, (2, 1, h, w), follow under their names in its output. ``boxes`` (2, 5, 4) are the
    regions of a network that takes some.
    """
    from ..figures.cam import cam  # its import takes seconds

    batch, regions = normalise(torch.from_numpy(images)), None if boxes is None else torch.from_numpy(np.array(boxes))
    model.eval().to(device="cpu", memory_format=torch.contiguous_format)  # it may have described images on a GPU
    with torch.inference_mode():
        output = output_of(model, batch, regions)
    result = {"heat": cam(model, model.last_stage, batch, regions), "agreement": []}
    for one, other in ((0, 1), (1, 0)):
        similarity = partial(F.cosine_similarity, output.descriptor[other].clone(), dim=0)
        its_regions = None if regions is None else regions[[one]]
        result["agreement"].append(cam(model, model.last_stage, batch[[one]], its_regions, target=similarity))
    result["agreement"] = np.concatenate(result["agreement"])
    spatial = {name: x for name, x in output.maps.items() if x.ndim == 4 and x.shape[1] == 1 and x.shape[2] > 1}
    # The body's masks lie over its box, not over the image.
    return result | {name: x[:, 0].float().numpy() for name, x in spatial.items() if boxes is None and name != "mu"}


def pair_figure(images: np.ndarray, maps: dict[str, np.ndarray], names: Sequence[str] = ("query", "result")) -> Figure:
    """A row for each of two images (2, H, W, 3) uint8: the image, then each of ``pair_maps`` over it."""
    rows = [[image] + [heatmaps.overlay(image, heat[n]) for heat in maps.values()] for n, image in enumerate(images)]
    return heatmaps.grid(rows, list(names), ["image", *maps], width=1.05)


def distances_figure(pairs: Pairs, threshold: float) -> Figure:
    """The distances of matches and of other pairs, and the ROC, with the threshold in both."""
    curve = roc(pairs)
    here = curve.iloc[(curve.threshold - threshold).abs().argmin()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1.35, 1), layout="constrained")
    # A hundred bars are readable; the ROC keeps all bins.
    starts = np.arange(0, len(pairs.matches), max(1, len(pairs.matches) // 100))
    edges = np.r_[pairs.edges[starts], pairs.edges[-1]]
    styles = {"matches": (style.PALETTE[0], "-"), "others": (style.PALETTE[1], "--")}
    for name, (colour, dash) in styles.items():
        counts = np.add.reduceat(getattr(pairs, name), starts)
        heights = counts / max(counts.sum(), 1)
        label = f"{'the same person' if name == 'matches' else 'another person'} ({counts.sum():,} pairs)"
        left.stairs(heights, edges, color=colour, fill=True, alpha=0.18)
        left.stairs(heights, edges, color=colour, linestyle=dash, lw=2, label=label)
    left.axvline(threshold, color=style.INK, lw=1.5)
    left.set(xlim=pairs.extent, ylim=(0, None), yticks=[])
    left.set(xlabel="distance of the descriptors", ylabel="fraction of the pairs", title="Distances")
    # On white, as the threshold may pass behind it.
    box = {"frameon": True, "facecolor": "white", "edgecolor": "none", "framealpha": 1}
    left.legend(loc="upper left", fontsize=style.SIZE - 2, **box)
    left.set_ylim(0, left.get_ylim()[1] * 1.3)  # room for the legend
    right.plot(curve.accepted_others, curve.accepted_matches, color=style.PALETTE[0])
    right.plot([0, 1], [0, 1], color=style.MUTED, lw=1, linestyle=":")
    right.plot(here.accepted_others, here.accepted_matches, "o", color=style.INK, markersize=9)
    right.set(xlabel="other persons accepted", ylabel="matches accepted", title=f"ROC, area {area(curve):.3f}")
    right.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return figure


def cameras_figure(table: pd.DataFrame) -> Figure:
    """mAP in percent for each camera of the query (rows) and of the gallery (columns); grey where there is none."""
    side = 0.75 * max(table.shape) + 1.8
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    axes.set_facecolor("#E4E4E4")
    sns.heatmap(
        table, annot=True, fmt=".0f", cmap="cividis", square=True, linewidths=1.5, ax=axes, cbar_kws={"label": "mAP, %"}
    )
    axes.grid(visible=False)
    axes.set(title="mAP by cameras")
    axes.tick_params(length=0, rotation=0)
    return figure


def map_page(places: np.ndarray, images: pd.DataFrame, pictures: Sequence[str]) -> str:
    """The map of descriptors as HTML: a mark for each image, in the colour and shape of its identity.

    places     (N, 2) in [0, 1]
    images     a row for each, with pid, camid and split; queries have a black edge
    pictures   data URIs, shown by the browser alone when the pointer is on a mark
    """
    marks_of = {pid: (style.PALETTE[n % 6], SHAPES[n // 6 % 3]) for n, pid in enumerate(images.pid.unique())}
    marks = []
    for (x, y), image, picture in zip(places, images.itertuples(), pictures, strict=True):
        colour, shape = marks_of[image.pid]
        edge = style.INK if image.split == "query" else "#fff"
        # The card opens towards the middle, so that nothing is cut off at the edge.
        side, up = "left:18px" if x < 0.5 else "right:18px", f"top:{-SHOWN[0] * (1 - y):.0f}px"
        marks.append(
            f"<i style='left:{100 * x:.2f}%;top:{100 - 100 * y:.2f}%'><b style='background:{edge};{shape}'></b>"
            f"<b style='background:{colour};{shape};scale:.72'></b>"
            f"<u style='{side};{up}'><img src='{picture}'>id {image.pid}, c{image.camid}</u></i>"
        )
    return f"<style>{MAP_STYLE}</style><div class='reid-map'><div>{''.join(marks)}</div></div>"


def bars(values: Mapping[str, pd.Series], x: str, y: str) -> Figure:
    """Grouped bars: for each run, by name, a series with an index in common, such as the mean AP by camera."""
    frame = pd.concat(values, names=["run", x]).rename(y).reset_index()
    figure, axes = plt.subplots(figsize=(8.5, 0.6 * len(values) + 3.6), layout="constrained")
    sns.barplot(frame, x=x, y=y, hue="run", palette=style.PALETTE[: len(values)], ax=axes)
    for hatch, container in zip(("", "//", "..", "xx", "\\\\"), axes.containers, strict=False):
        for bar in container:
            bar.set(hatch=hatch, edgecolor="white")
    axes.grid(axis="x", visible=False)
    names = [shorten(name, 60, placeholder=" …") for name in values]
    axes.legend(axes.containers, names, loc="lower left", bbox_to_anchor=(0, 1), fontsize=style.SIZE - 2)
    plt.close(figure)
    return figure


def search_result(query: str, paths: Sequence[str], distances: Sequence[float], is_shown: bool) -> Figure:
    """A query image and the images of its list, nearest first, with their distances; grey cards where not shown."""
    images = pixels.read([query, *paths], SHOWN) if is_shown else np.stack([HIDDEN] * (1 + len(paths)))
    titles = ["query", *(f"{distance:.3f}" for distance in distances)]
    figure = heatmaps.grid([list(images)], None, titles, width=0.72)
    plt.close(figure)  # the notebook draws what a cell returns; an open figure it would draw again
    return figure
