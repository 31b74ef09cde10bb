"""Beyond the paper: how hard are the hard examples, and how many hidden units of the channel attention are active?"""

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
    """Training accuracy in percent of a trained network on ``count`` training images, from B, from C, and from D.

    The mask of D depends on the image's label and might leak it, so D is also built from the class map of another,
    randomly drawn identity. Intervals are 95 % bootstrap intervals over the images; the parts' logits are summed.
    """
    model, labels = load_model(run, data), data.train_labels
    rows = _sample_rows(data, count)
    labels_of_images = torch.from_numpy(labels[rows])
    offset = np.random.default_rng(0).integers(1, data.train_ids, len(rows))
    others = (labels_of_images + torch.from_numpy(offset)) % data.train_ids
    correct: dict[str, list[Tensor]] = {}
    batches = zip(_images(run, data, rows), labels_of_images.split(BATCH), others.split(BATCH), strict=True)
    for batch, true, wrong in batches:
        output = model(batch, true)
        logits = {NAMED[name]: _sum_of_parts(output.id_logits, name) for name in model.classifiers}
        if model.rsam:
            logits["D, another identity's map"] = _sum_of_parts(model(batch, wrong).id_logits, "d")
        for name, values in logits.items():
            correct.setdefault(name, []).append(values.argmax(1) == true)
    intervals = {name: bootstrap(torch.cat(values).numpy()) for name, values in correct.items()}
    return pd.DataFrame(
        {"named from": name, "right": 100 * i.mean, "low": 100 * i.low, "high": 100 * i.high}
        for name, i in intervals.items()
    ).assign(images=len(rows))


@torch.inference_mode()
def awake(run: Run, data: catalog.ReidData, count: int = 1000) -> pd.DataFrame:
    """How many hidden units of each part's channel attention are active (W0 g > 0) on any of ``count`` training images.

    One row per part: part, hidden units, awake (the active ones), and the central 95 % range of m over channels and
    images.
    """
    model = load_model(run, data)
    rows = _sample_rows(data, count)
    active = [torch.zeros(len(part.w0.weight), dtype=torch.bool) for part in model.attention]
    for part, units in zip(model.attention, active, strict=True):

        def record_active(_, __, hidden: Tensor, units: Tensor = units) -> None:
            units |= (hidden > 0).any(0)

        part.w0.register_forward_hook(record_active)
    values = [model(batch).maps["m"][..., 0] for batch in _images(run, data, rows)]
    low, high = np.quantile(torch.cat(values).numpy(), (0.025, 0.975), axis=(0, 1))
    return pd.DataFrame(
        {"part": n + 1, "hidden units": len(units), "awake": int(units.sum()), "m from": low[n], "m to": high[n]}
        for n, units in enumerate(active)
    ).assign(images=len(rows))


def _sample_rows(data: catalog.ReidData, count: int) -> np.ndarray:
    """Rows of ``count`` evenly spaced training images."""
    return np.linspace(0, len(data.train) - 1, min(count, len(data.train))).astype(int)


def _images(run: Run, data: catalog.ReidData, rows: np.ndarray) -> Iterator[Tensor]:
    """Batches (``BATCH``, 3, H, W) of training images at the run's size."""
    paths, size = list(data.train.path.to_numpy()[rows]), run.experiment.recipe.size
    for start in range(0, len(paths), BATCH):
        yield normalise(torch.from_numpy(pixels.read(paths[start : start + BATCH], size)))


def _sum_of_parts(logits: Mapping[str, Tensor], name: str) -> Tensor:
    return sum(value for part, value in logits.items() if part[0] == name)
