"""Figures of a data set: how its images are distributed, what a query is compared with, what augmentation does."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..data.augment import MEAN, STD, Augmentation, augment
from ..data.dataset import DISTRACTOR, JUNK, ReidData, evenly
from ..data.samples import read_images
from . import heatmaps, style

SPLITS = ("train", "query", "gallery")
KINDS = {
    "match": "matches: other cameras",
    "same camera": "same camera, never ranked",
    "other person": "other people, wrong",
    "distractor": "distractors, wrong",
    "junk": "junk, never ranked",
}
"""The kinds of gallery images with respect to a query, and their titles."""


def counts(data: ReidData) -> pd.DataFrame:
    """Numbers of images, identities, cameras, distractors and junk images of each split."""
    rows = {}
    for split in SPLITS:
        table = getattr(data, split)
        known = table.pid[table.pid > DISTRACTOR]
        rows[split] = {
            "images": len(table),
            "identities": known.nunique(),
            "cameras": table.camid.nunique(),
            "images per identity": len(known) / max(known.nunique(), 1),
            "distractors": (table.pid == DISTRACTOR).sum(),
            "junk": (table.pid == JUNK).sum(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split").reset_index()


def _learnt(data: ReidData) -> tuple[pd.DataFrame, str]:
    """The images whose identities are counted, and what these are called: in a set to test on, the gallery's."""
    if len(data.train):
        return data.train, "training"
    return data.gallery[data.gallery.pid > DISTRACTOR], "gallery"


def distribution(data: ReidData) -> Figure:
    """Left, the number of images per training identity; right, the number of images per camera and split."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    table, kind = _learnt(data)
    numbers = table.groupby("pid").size()
    # At most about twenty bins of equal width, with integers at their centres.
    width = int(np.ceil((numbers.max() - numbers.min() + 1) / 20))
    bins = np.arange(numbers.min(), numbers.max() + width + 1, width) - 0.5
    left.hist(numbers, bins=bins, color=style.PALETTE[0], edgecolor="white", linewidth=0.6)
    left.axvline(numbers.median(), color=style.INK, linestyle=style.DASHES[1])
    label_right = numbers.median() < bins.mean()  # on the side where there is room
    words, place = f" median {numbers.median():.0f} ", (numbers.median(), 0.98)
    left.text(*place, words, transform=left.get_xaxis_transform(), va="top", ha="left" if label_right else "right")
    left.set(title="Images of an identity", xlabel="images", ylabel=f"{kind} identities")
    left.set_ylim(top=1.18 * left.get_ylim()[1])  # room for the median's label
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    left.grid(axis="x", visible=False)
    _by_camera(right, data)
    return figure


def _by_camera(axes: Axes, data: ReidData) -> None:
    cameras = sorted({*data.train.camid, *data.query.camid, *data.gallery.camid})
    for place, (split, hatch) in enumerate(zip(SPLITS, ("", "///", "..."), strict=True)):
        numbers = getattr(data, split).camid.value_counts().reindex(cameras, fill_value=0)
        at = np.arange(len(cameras)) + 0.27 * (place - 1)
        axes.bar(at, numbers, 0.25, label=split, color=style.PALETTE[place], hatch=hatch, edgecolor="white")
    axes.set(title="Images of a camera", xlabel="camera", ylabel="images")
    axes.set_xticks(range(len(cameras)), cameras)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=3, handlelength=1.4, columnspacing=1.0)


def cameras_and_identities(data: ReidData, count: int = 40) -> Figure:
    """Left, images per camera of the first training identities; right, number of identities common to two cameras."""
    images, kind = _learnt(data)
    table = images.groupby(["camid", "pid"]).size().unstack(fill_value=0)
    selected, cameras = table.iloc[:, :count], list(table.index)
    seen = (table > 0).astype(int).to_numpy()
    common = seen @ seen.T
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.9), width_ratios=(1.55, 1), layout="constrained")
    # The 98th percentile, as a few people who stand before a camera for long would make all others dark.
    most = max(1, int(np.percentile(selected, 98)))
    options = {"cmap": heatmaps.COLOURS, "aspect": "auto", "interpolation": "nearest"}
    picture = left.imshow(selected, vmin=0, vmax=most, **options)
    left.set(title="Images by identity and camera", xlabel=f"{kind} identity", ylabel="camera")
    at = np.arange(0, selected.shape[1], -(-selected.shape[1] // 8))
    left.set_xticks(at, selected.columns[at])
    bar = figure.colorbar(
        picture, ax=left, label="images", pad=0.02, extend="max" if selected.max(axis=None) > most else "neither"
    )
    bar.locator = MaxNLocator(nbins=5, integer=True)
    bar.update_ticks()
    right.imshow(common, cmap=heatmaps.COLOURS, vmin=0)
    right.set(title="Identities in both", xlabel="camera", ylabel="camera")
    right.set_xticks(range(len(cameras)), cameras)
    if len(cameras) <= 8:
        for (y, x), number in np.ndenumerate(common):
            ink = "black" if number > 0.55 * common.max() else "white"
            right.text(x, y, number, ha="center", va="center", color=ink, size=style.SIZE - 2)
    for axes in (left, right):
        axes.set_yticks(range(len(cameras)), cameras)
        axes.grid(visible=False)
    return figure


def gallery_kinds(data: ReidData, row: int) -> pd.Series:
    """The kind of each gallery image with respect to the query in ``row``: a key of ``KINDS``."""
    query, gallery = data.query.iloc[row], data.gallery
    same_person = gallery.pid == query.pid
    same_camera = gallery.camid == query.camid
    cases = [gallery.pid == JUNK, gallery.pid == DISTRACTOR, same_person & same_camera, same_person]
    return pd.Series(np.select(cases, ["junk", "distractor", "same camera", "match"], "other person"), gallery.index)


def protocol(data: ReidData, row: int, count: int = 8) -> Figure:
    """A query, and below it a row of examples for each kind of gallery image."""
    kinds = gallery_kinds(data, row)
    rows, titles = [list(read_images(data.query, [row]))], ["query"]
    for kind, words in KINDS.items():
        members = np.flatnonzero(kinds == kind)
        if len(members):
            rows.append(list(read_images(data.gallery, evenly(members, count))))
            titles.append(words)
    return heatmaps.grid(rows, titles, width=0.6)


def augmented(image: np.ndarray, augmentation: Augmentation, copies: int = 7, seed: int = 2) -> Figure:
    """An image (H, W, 3) uint8 and augmented copies: by each step alone, and by all together."""
    steps = {
        "flip": replace(augmentation, pad=0, erase=0),
        "pad and crop": replace(augmentation, flip=0, erase=0),
        "erase": replace(augmentation, flip=0, pad=0),
        "all": augmentation,
    }
    batch = torch.from_numpy(np.repeat(image[None], copies, axis=0))
    rows = []
    for step in steps.values():
        changed = augment(batch, step, torch.Generator().manual_seed(seed))
        rows.append([image, *_picture(changed)])
    return heatmaps.grid(rows, list(steps), ["image", *map(str, range(1, copies + 1))])


def _picture(batch: torch.Tensor) -> np.ndarray:
    """Normalised images (B, 3, H, W) back as uint8 (B, H, W, 3)."""
    pixels = batch.permute(0, 2, 3, 1).numpy() * np.array(STD) + np.array(MEAN)
    return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
