"""Heat maps: attention and activation maps as pictures, and overlaid on their images."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from . import style
from .sheet import LINE, Sheet, widest, wrap

# Lightness rises evenly from black to yellow, so that maps are readable in grey and with colour blindness.
COLOURS = "inferno"


def colour(
    heat: np.ndarray, size: tuple[int, int] | None = None, limits: tuple[float, float] | None = None
) -> np.ndarray:
    """A map (h, w) as a picture (H, W, 3) uint8, from dark to bright over its own range or between ``limits``.

    It is enlarged bilinearly to ``size`` (H, W); a constant map becomes 0 without limits. Raises ValueError for a wrong
    shape, or for NaN or infinite values.
    """
    heat = np.asarray(heat, np.float32)
    if heat.ndim != 2 or 0 in heat.shape:
        raise ValueError(f"a heat map must have shape (h, w), got {heat.shape}")
    if not np.isfinite(heat).all():
        raise ValueError("the heat map contains NaN or infinite values")
    if size is not None and size != heat.shape:
        resized = F.interpolate(torch.from_numpy(heat.copy())[None, None], size, mode="bilinear", align_corners=False)
        heat = resized[0, 0].numpy()
    low, high = limits or (float(heat.min()), float(heat.max()))
    heat = ((heat - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(heat)
    return mpl.colormaps[COLOURS](heat, bytes=True)[..., :3].copy()


def overlay(image: np.ndarray, heat: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """Overlay a map on an image (H, W, 3) uint8 (h, w): ``(1 - alpha) * image + alpha * colour(heat)``, uint8."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    blend = (1 - alpha) * image + alpha * colour(heat, image.shape[:2])
    return np.rint(blend).astype(np.uint8)


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    *,
    width: float = 0.8,
) -> Figure:
    """Pictures (H, W, 3) uint8 or maps (H, W) in rows and columns, each ``width`` inches wide at its aspect ratio.

    Rows may have different lengths. Raises ValueError if there is no picture or a title is missing.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("a grid needs at least one picture")
    for titles, count, name in ((row_titles, len(rows), "row"), (column_titles, columns, "column")):
        if titles is not None and len(titles) != count:
            raise ValueError(f"{count} {name} titles expected, got {len(titles)}")
    space, margin = 0.07, 0.08
    per_letter = style.SIZE * 0.6 / 72
    left_titles = [wrap(title, 14) for title in row_titles or ()]
    top_titles = [wrap(title, max(4, int(width / per_letter))) for title in column_titles or ()]
    left = margin + (widest(left_titles) + 0.1 if left_titles else 0)
    top = margin + max((t.count("\n") + 1 for t in top_titles), default=0) * LINE
    heights = [max((width * p.shape[0] / p.shape[1] for p in row), default=0) for row in rows]
    sheet = Sheet(
        left + columns * (width + space) - space + margin, top + sum(heights) + space * (len(rows) - 1) + margin
    )
    for column, title in enumerate(top_titles):
        centre = left + column * (width + space) + width / 2
        sheet.text(title, centre, top - 0.06, ha="center", va="bottom", size=style.SIZE - 1)
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if left_titles:
            sheet.text(left_titles[number], left - 0.1, top + height / 2, ha="right", va="center", size=style.SIZE)
        for column, picture in enumerate(row):
            sheet.image(picture, left + column * (width + space), top, width)
        top += height + space
    return sheet.figure
