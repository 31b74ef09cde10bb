"""DRANet's reverse attention in pictures: its masks during training, what they leave, and where the network looks."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ...figures import heatmaps, style

LOSSES = {"loss_id_b": "B", "loss_id_c": "C (channels hidden)", "loss_id_d": "D (locations hidden)"}


def at_epochs(by_epoch: Mapping[int, object], count: int) -> list[int]:
    """``count`` of the recorded epochs, the first and the last among them."""
    epochs = sorted(by_epoch)
    return [epochs[i] for i in sorted(set(np.linspace(0, len(epochs) - 1, count).round().astype(int)))]


def spatial_masks(by_epoch: Mapping[int, dict[str, Tensor]], images: np.ndarray, count: int = 3) -> Figure:
    """For each image, at ``count`` epochs: H_n overlaid on the image, and the image times the reverse mask H'_n."""
    epochs = at_epochs(by_epoch, count)
    rows = []
    for i, image in enumerate(images):
        row = [image]
        for epoch in epochs:
            row += [
                heatmaps.overlay(image, by_epoch[epoch]["h"][i, 0].numpy()),
                dimmed(image, by_epoch[epoch]["reverse_h"][i]),
            ]
        rows.append(row)
    return heatmaps.grid(rows, None, ["image", *(f"{name} epoch {e}" for e in epochs for name in ("H,", "kept,"))])


def dimmed(image: np.ndarray, mask: Tensor) -> np.ndarray:
    """An image (H, W, 3) uint8 times a mask (1, h, w) in [0, 1], resized to the image."""
    resized = F.interpolate(mask[None], image.shape[:2], mode="bilinear", align_corners=False)[0, 0].numpy()
    return (image * resized[..., None]).round().astype(np.uint8)


def channel_masks(by_epoch: Mapping[int, dict[str, Tensor]], count: int = 4) -> Figure:
    """The sorted values of m and of its reverse over channels, parts and images, one curve per epoch."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    epochs = at_epochs(by_epoch, count)
    for axes, name, title in zip(panels, ("m", "reverse_m"), ("m", "its reverse"), strict=True):
        for epoch, line in zip(epochs, style.lines(len(epochs)), strict=True):
            quantiles = np.quantile(by_epoch[epoch][name].numpy(), np.linspace(0, 1, 101))
            axes.plot(quantiles, label=f"epoch {epoch}", markevery=20, **line)
        axes.set(title=title, xlabel="channels (%), sorted", ylim=(-0.02, 1.02))
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("value of the mask")
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=2.6)
    return figure


def losses(history: pd.DataFrame) -> Figure:
    """The ID losses of B, C and D over the epochs, and by how much the hard examples' losses exceed that of B."""
    names = [name for name in LOSSES if name in history]
    figure, (left_axes, right_axes) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for name, line in zip(names, style.lines(len(names)), strict=True):
        line = line | {"markevery": max(1, len(history) // 8)}
        left_axes.plot(history.epoch, history[name], label=LOSSES[name], **line)
        if name != "loss_id_b":
            right_axes.plot(history.epoch, history[name] - history.loss_id_b, **line)
    right_axes.axhline(0, color=style.MUTED, linewidth=1)
    left_axes.set(title="ID loss", xlabel="epoch")
    right_axes.set(title="above that of B", xlabel="epoch")
    for axes in (left_axes, right_axes):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.grid(axis="x", visible=False)
    figure.legend(*left_axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=2.6)
    return figure


def examples(maps: Mapping[str, Tensor], images: np.ndarray) -> Figure:
    """A, B and the hard examples C and D (``analysis.masks``), averaged over channels and overlaid on the images."""
    names = [name for name in "abcd" if name in maps]
    rows = [
        [image, *(heatmaps.overlay(image, maps[name][i, 0].numpy()) for name in names)]
        for i, image in enumerate(images)
    ]
    return heatmaps.grid(rows, None, ["image", *(name.upper() for name in names)])
