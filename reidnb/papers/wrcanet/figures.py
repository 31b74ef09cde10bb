"""WRCANet's figures: the two streams of weak reverse attention."""

import numpy as np
import torch
from matplotlib.figure import Figure

from ...data.augment import normalise
from ...data.dataset import ReidData
from ...figures import heatmaps
from ...results import Run
from ...runs import load_model


def two_streams(run: Run, data: ReidData, images: np.ndarray) -> Figure:
    """The streams on uint8 images (n, H, W, 3): the input, f (eq. 2), by how much eq. 3 dims, and I_new.

    f is drawn over each image's own range, the dimming lambda sigma(f) from lambda/2 to lambda, which is all that eq. 3
    can give.
    """
    model = load_model(run, data)
    with torch.inference_mode():
        f = model(normalise(torch.from_numpy(images))).maps["f"][:, 0].numpy()
    # Eq. 3 on the pixels, which shrink towards black; the network dims the normalised image, towards the mean colour.
    dimming = 1 - model.strength / (1 + np.exp(-f))
    new = (images * dimming[..., None]).astype(np.uint8)
    limits = (model.strength / 2, model.strength)
    dimmed_by = [heatmaps.colour(1 - m, limits=limits) for m in dimming]
    rows = [list(images), [heatmaps.colour(m) for m in f], dimmed_by, list(new)]
    return heatmaps.grid(rows, ["I", "f", f"dimmed by\n{limits[0]:g} to {limits[1]:g}", "new I"], None)
