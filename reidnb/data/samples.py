"""A few images of a data set, for figures: the same ones every time."""

import numpy as np
import pandas as pd

from . import pixels
from .dataset import ReidData, evenly

SHOWN = (128, 64)
"""Size (H, W) at which people are shown."""


def read_images(table: pd.DataFrame, rows: np.ndarray | list[int], size: tuple[int, int] = SHOWN) -> np.ndarray:
    """The images (n, H, W, 3) uint8 of some rows of a table; white where the row is -1."""
    rows = np.asarray(rows)
    images = np.full((len(rows), *size, 3), 255, np.uint8)
    present = rows >= 0
    if present.any():
        # Straight from the files: a figure shows a few images, the cache would decode all.
        images[present] = pixels.read(list(table.path.to_numpy()[rows[present]]), size)
    return images


def distinct_queries(data: ReidData, count: int) -> np.ndarray:
    """Rows of ``count`` queries of different identities, at even distances in the table."""
    return evenly(data.query.drop_duplicates("pid").index.to_numpy(), count)


def query_images(data: ReidData, size: tuple[int, int] = SHOWN, count: int = 6) -> np.ndarray:
    """Images (n, H, W, 3) uint8 of ``count`` queries of different identities."""
    return read_images(data.query, distinct_queries(data, count), size)
