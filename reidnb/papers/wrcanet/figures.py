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
    """The streams on uint8 images (n, H, W, 3): the input, f (eq. 2), and I_new (eq. 3)."""
    model = load_model(run, data)
    with torch.inference_mode():
        f = model(normalise(torch.from_numpy(images))).maps["f"][:, 0].numpy()
    # Eq. 3 on the pixels, which shrink towards black; the network dims the normalised image, towards the mean colour.
    dimming = 1 - model.strength / (1 + np.exp(-f))
    new = (images * dimming[..., None]).astype(np.uint8)
    rows = [list(images), [heatmaps.colour(m) for m in f], list(new)]
    return heatmaps.grid(rows, ["I", "f", "new I"], None)
