"""Beyond the paper: how hard are the hard examples, and is the channel attention that makes some of them awake?"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...data import catalog, pixels
from ...data.augment import normalise
from ...evaluation.significance import bootstrap
from ...results import Run
from ...runs import load_model

BATCH = 32
NAMED = {"b": "B", "c": "C", "d": "D, the image's own identity's map"}


@torch.inference_mode()
def how_hard(run: Run, data: catalog.ReidData, count: int = 1000) -> pd.DataFrame:
    """How many of ``count`` training images a trained network names right from B, from C, and from D, in percent.

    The mask of D is made with the image's label in hand, and might tell it. So D is also made with another identity's
    map, drawn at random. 95 % bootstrap intervals over the images; the parts' logits are added.
    """
    model, labels = load_model(run, data), data.train_labels
    rows = _some(data, count)
    own = torch.from_numpy(labels[rows])
    step = np.random.default_rng(0).integers(1, data.train_ids, len(rows))
    other = (own + torch.from_numpy(step)) % data.train_ids
    right: dict[str, list[Tensor]] = {}
    for batch, true, wrong in zip(_images(run, data, rows), own.split(BATCH), other.split(BATCH), strict=True):
        output = model(batch, true)
        logits = {NAMED[name]: _summed(output.id_logits, name) for name in model.classifiers}
        if model.rsam:
            logits["D, another identity's map"] = _summed(model(batch, wrong).id_logits, "d")
        for name, values in logits.items():
            right.setdefault(name, []).append(values.argmax(1) == true)
    intervals = {name: bootstrap(torch.cat(found).numpy()) for name, found in right.items()}
    return pd.DataFrame(
        {"named from": name, "right": 100 * i.mean, "low": 100 * i.low, "high": 100 * i.high}
        for name, i in intervals.items()
    ).assign(images=len(rows))


@torch.inference_mode()
def awake(run: Run, data: catalog.ReidData, count: int = 1000) -> pd.DataFrame:
    """How many hidden units of each part's channel attention any of ``count`` training images wakes, W0 g > 0.

    A row a part: part, units, awake, and the range of 95 % of m's values over channels and images.
    """
    model = load_model(run, data)
    rows = _some(data, count)
    woken = [torch.zeros(len(part.w0.weight), dtype=torch.bool) for part in model.attention]
    for part, own in zip(model.attention, woken, strict=True):

        def look(_, __, hidden: Tensor, own: Tensor = own) -> None:
            own |= (hidden > 0).any(0)

        part.w0.register_forward_hook(look)
    values = [model(batch).maps["m"][..., 0] for batch in _images(run, data, rows)]
    low, high = np.quantile(torch.cat(values).numpy(), (0.025, 0.975), axis=(0, 1))
    return pd.DataFrame(
        {"part": n + 1, "hidden units": len(own), "awake": int(own.sum()), "m from": low[n], "m to": high[n]}
        for n, own in enumerate(woken)
    ).assign(images=len(rows))


def _some(data: catalog.ReidData, count: int) -> np.ndarray:
    """Rows of ``count`` training images, evenly spread."""
    return np.linspace(0, len(data.train) - 1, min(count, len(data.train))).astype(int)


def _images(run: Run, data: catalog.ReidData, rows: np.ndarray) -> Iterator[Tensor]:
    """Batches (``BATCH``, 3, H, W) of training images at the run's size."""
    paths, size = list(data.train.path.to_numpy()[rows]), run.experiment.recipe.size
    for start in range(0, len(paths), BATCH):
        yield normalise(torch.from_numpy(pixels.read(paths[start : start + BATCH], size)))


def _summed(logits: Mapping[str, Tensor], name: str) -> Tensor:
    return sum(value for part, value in logits.items() if part[0] == name)
