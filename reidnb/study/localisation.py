"""Where do trained networks look, and how much of that is the person?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ..data import catalog
from ..data.augment import normalise
from ..data.samples import read_images
from ..evaluation import activation
from ..figures.cam import cam
from ..results import Run
from ..runs import load_model
from .attention import truth_of

BATCH = 32


def activation_maps(run: Run, data: catalog.ReidData, images: np.ndarray) -> np.ndarray:
    """Activation maps (n, H, W) of uint8 images (n, H, W, 3) at a run's last stage (``cam.cam``)."""
    model = load_model(run, data)
    batches = (normalise(torch.from_numpy(images[i : i + BATCH])) for i in range(0, len(images), BATCH))
    return np.concatenate([cam(model, model.last_stage, batch) for batch in batches])


def where_they_look(runs: Mapping[str, Run], data: catalog.ReidData) -> pd.DataFrame:
    """How much of the activation lies on the person, and how evenly, for each run (``activation.compare``).

    Computed over all queries of a synthetic street, whose ground truth has the person's mask. Raises ValueError for any
    other data set.
    """
    people = truth_of(data).masks
    activations = {}
    for name, run in runs.items():
        images = read_images(data.query, data.query.index.to_numpy(), run.experiment.recipe.size)
        maps = torch.from_numpy(activation_maps(run, data, images))[:, None]
        # The maps are resized, not the masks, whose edges are exact at their size only.
        activations[name] = F.interpolate(maps, people.shape[1:], mode="bilinear", align_corners=False)[:, 0].numpy()
    return activation.compare(activations, people)
