"""WRCANet's figures: the two streams of weak reverse attention."""

import numpy as np
from matplotlib.figure import Figure

from ...figures import heatmaps


def two_streams(images: np.ndarray, f: np.ndarray, strength: float) -> Figure:
    """The streams on uint8 images (n, H, W, 3): the input, f (eq. 2), by how much eq. 3 dims, and I_new.

    ``f`` (n, H, W) and lambda are those of ``analysis.reverse_attention``.

    f is drawn over each image's own range, the dimming lambda sigma(f) from lambda/2 to lambda, which is all that eq. 3
    can give.
    """
    # Eq. 3 on the pixels, which shrink towards black; the network dims the normalised image, towards the mean colour.
    dimming = 1 - strength / (1 + np.exp(-f))
    new = (images * dimming[..., None]).astype(np.uint8)
    limits = (strength / 2, strength)
    dimmed_by = [heatmaps.colour(1 - m, limits=limits) for m in dimming]
    rows = [list(images), [heatmaps.colour(m) for m in f], dimmed_by, list(new)]
    return heatmaps.grid(rows, ["$I$", "$f$", f"dimmed by\n{limits[0]:g} to {limits[1]:g}", "$I_{new}$"])
