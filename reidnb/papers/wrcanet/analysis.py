"""What the figures draw of a trained WRCANet."""

import numpy as np
import torch

from ...data.augment import normalise
from ...data.dataset import ReidData
from ...results import Run
from ...runs import load_model


@torch.inference_mode()
def reverse_attention(run: Run, data: ReidData, images: np.ndarray) -> tuple[np.ndarray, float]:
    """f of eq. 2 (n, H, W) for images (n, H, W, 3) uint8, and lambda of eq. 3."""
    model = load_model(run, data)
    return model(normalise(torch.from_numpy(images))).maps["f"][:, 0].numpy(), model.strength
