"""Beyond the paper: how hard are the hard examples, and are the channel attention's hidden units active? Also what the
figures draw: a network's masks during and after training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ...data import catalog, pixels
from ...data.augment import normalise
from ...data.dataset import evenly
from ...data.samples import read_images
from ...evaluation.significance import bootstrap
from ...results import Run
from ...runs import load_model
from ...training.experiment import Experiment
from ...training.loop import make_accelerator, train
from ..experiments import all_options, build
from ..paper import Row

BATCH = 32
NAMED = {"b": "B", "c": "C", "d": "D, the image's own identity's map"}


@torch.inference_mode()
def how_hard(run: Run, data: catalog.ReidData, count: int = 1000) -> pd.DataFrame:
    """Training accuracy in percent of a trained network on ``count`` training images, from B, from C, and from D.

    The mask of D depends on the image's label and might leak it, so D is also built from the class map of another,
    randomly drawn identity. Intervals are 95 % bootstrap intervals over the images; the parts' logits are summed.
    """
    model, labels = load_model(run, data), data.train_labels
    rows = evenly(np.arange(len(data.train)), count)
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


def awake(run: Run, data: catalog.ReidData, count: int = 1000) -> pd.DataFrame:
    """How many hidden units of each part's channel attention are active (W0 g > 0) on any of ``count`` training images.

    One row per part: part, hidden units, awake (the active ones), and the central 95 % range of m over channels and
    images.
    """
    active, m = _attention(run, data, count)
    low, high = np.quantile(m, (0.025, 0.975), axis=(0, 1))
    return pd.DataFrame(
        {"part": n + 1, "hidden units": len(units), "awake": int(units.sum()), "m from": low[n], "m to": high[n]}
        for n, units in enumerate(active)
    ).assign(images=len(m))


def channel_attention(runs: Sequence[tuple[Row, Run]], data: catalog.ReidData, count: int = 1000) -> pd.DataFrame:
    """What the channel attention does in each run, one line per run: row, seed, mAP, and where it has RCAM

    hidden units   of the channel attention, of all parts together
    awake          those that are active (W0 g > 0) on any of ``count`` training images
    std of m       over channels and images, the mean over the parts
    L(C) / L(B)      the loss of C divided by that of B, in the last epoch of training
    """
    lines = []
    for row, run in runs:
        line = {"row": row.name, "seed": run.experiment.seed, "mAP": run.metrics["map"]}
        if all_options(run.experiment)["rcam"]:
            active, m = _attention(run, data, count)
            units = np.concatenate(active)
            line |= {"hidden units": len(units), "awake": int(units.sum()), "std of m": m.std((0, 1)).mean()}
        if "loss_id_c" in run.history:
            last = run.history.iloc[-1]
            line["L(C) / L(B)"] = last.loss_id_c / last.loss_id_b * all_options(run.experiment)["weight_b"]
        lines.append(line)
    columns = ["row", "seed", "hidden units", "awake", "std of m", "L(C) / L(B)", "mAP"]
    return pd.DataFrame(lines, columns=columns).astype({"hidden units": "Int64", "awake": "Int64"})


@torch.inference_mode()
def _attention(run: Run, data: catalog.ReidData, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """For each part which hidden units any of ``count`` training images activates; and m (images, channels, parts)."""
    model = load_model(run, data)
    active = [torch.zeros(len(part.w0.weight), dtype=torch.bool) for part in model.attention]
    for part, units in zip(model.attention, active, strict=True):

        def record_active(_, __, hidden: Tensor, units: Tensor = units) -> None:
            units |= (hidden > 0).any(0)

        part.w0.register_forward_hook(record_active)
    values = [model(batch).maps["m"][..., 0] for batch in _images(run, data, evenly(np.arange(len(data.train)), count))]
    return [units.numpy() for units in active], torch.cat(values).numpy()


def _images(run: Run, data: catalog.ReidData, rows: np.ndarray) -> Iterator[Tensor]:
    """Batches (``BATCH``, 3, H, W) of training images at the run's size."""
    paths, size = list(data.train.path.to_numpy()[rows]), run.experiment.recipe.size
    for start in range(0, len(paths), BATCH):
        yield normalise(torch.from_numpy(pixels.read(paths[start : start + BATCH], size)))


def _sum_of_parts(logits: Mapping[str, Tensor], name: str) -> Tensor:
    return sum(value for part, value in logits.items() if part[0] == name)


def training_images(data: catalog.ReidData, size: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, H, W, 3) uint8 of ``count`` training identities, the same in every call, and their labels (n,)."""
    labels = data.train_labels
    rows = evenly(np.unique(labels, return_index=True)[1], count)
    return read_images(data.train, rows, size), labels[rows]


@torch.inference_mode()
def masks(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, Tensor]:
    """DRANet's maps (``DRANet.forward``) of uint8 images (n, H, W, 3), on the CPU; sets it to evaluation mode."""
    device = next(model.parameters()).device
    maps = model.eval()(normalise(torch.from_numpy(images).to(device)), torch.as_tensor(labels, device=device)).maps
    return {name: value.float().cpu() for name, value in maps.items()}


def watch(
    experiment: Experiment, data: catalog.ReidData, images: np.ndarray, labels: np.ndarray, epochs: int = 6
) -> dict[int, dict[str, Tensor]]:
    """The ``masks`` of some images after 0, 1, ... epochs of a short training; nothing else of it is kept."""
    recipe = replace(experiment.recipe, epochs=min(epochs, experiment.recipe.epochs))
    model = build(experiment, data.train_ids)
    by_epoch = {0: masks(model, images, labels)}
    train(
        model,
        pixels.decode(list(data.train.path), recipe.size),
        data.train_labels,
        recipe,
        seed=experiment.seed,
        accelerator=make_accelerator(recipe.precision),
        after_epoch=lambda trained, epoch: by_epoch.update({epoch: masks(trained, images, labels)}),
        log=lambda line: None,
    )
    return by_epoch
