"""What a training step costs: each paper's full network beside its baseline, on this machine (`performance.ipynb`).

A batch of random images stays on the device, so that network, losses and optimiser are all there is to measure; what
the whole training loop reaches is set beside it. The networks take turns, so that whatever else the machine does meets
all of them.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from ..data.augment import normalise
from ..papers import PAPERS
from ..papers.experiments import build, by_pose, experiments, one_experiment
from ..training.experiment import Experiment
from ..training.loop import make_accelerator, prepared, train
from ..training.recipe import PK, Recipe
from ..training.stepping import CAPTURED, CHOICES, Stepper
from . import cost

IDENTITIES = 751
"""Market-1501's, for the classifiers."""
OTHER_STEPS = tuple(choice for choice in CHOICES if choice not in ("auto", "eager"))
"""torch.compile's modes by the names of our columns: kernels fused; and replayed as one CUDA graph as well."""
BOXES = ((0, 0, 1, 1), (0.2, 0, 0.8, 0.25), (0.1, 0.2, 0.9, 0.5), (0.15, 0.45, 0.85, 0.75), (0.2, 0.7, 0.8, 1))
"""Regions R0 to R4 of every random image, where a network cuts some out."""


def networks(profile: str, precision: str = "") -> dict[tuple[str, str], Experiment]:
    """By paper and name: of each paper the first row of its main table, its baseline, and the full network.

    ``precision`` replaces the profile's; initial weights are random.
    """
    found = {}
    for name, paper in PAPERS.items():
        planned = experiments(paper, paper.main, "market1501", profile, weights="")
        full = one_experiment(paper, {}, {}, "market1501", profile, weights="")
        found |= {(name, "baseline"): planned[0][1], (name, "full network"): full}
    changes = {"precision": precision} if precision else {}
    return {name: replace(e, recipe=replace(e.recipe, **changes)) for name, e in found.items()}


def measure(
    found: dict[tuple[str, str], Experiment], *, steps: int = 20, rounds: int = 5, compiled: bool = False
) -> pd.DataFrame:
    """A row for each network: paper, network, height, width, batch, and images a second.

    images_per_second   fed one batch, the median over the rounds of as many steps
    OTHER_STEPS         the same with the steps taken so (``stepping``); NaN unless ``compiled`` asks for them, and for
                        graphs without a GPU
    loop                in the whole training loop, on as many batches
    share               loop / images_per_second, the median over the rounds
    times               time of a step, in those of the first ResNet baseline with images of that size
    floor               images a second that this machine's memory and arithmetic allow (``cost.floor``)
    of_floor            images_per_second / floor
    bound               which of the two sets the floor: 'memory' or 'arithmetic'
    """
    precision = next(iter(found.values())).recipe.precision
    accelerator = make_accelerator(precision)
    machine = cost.limits(accelerator.device, precision)
    takers = {name: {"images_per_second": _fed(experiment, accelerator)} for name, experiment in found.items()}
    for name, experiment in found.items():
        for choice in [c for c in OTHER_STEPS if compiled and (c not in CAPTURED or accelerator.device.type == "cuda")]:
            takers[name][choice] = _fed(experiment, accelerator, choice)
        takers[name] |= {"loop": _loop(experiment, accelerator)}
    for taker in tqdm([t for own in takers.values() for t in own.values()], desc="warming up"):
        taker(min(steps, 3))
    rates = pd.DataFrame(
        {"name": name, "kind": kind, "round": turn, "rate": taker(steps)}
        for turn in tqdm(range(rounds), desc="measuring")
        for name, own in takers.items()
        for kind, taker in own.items()
    ).pivot(index=["name", "round"], columns="kind", values="rate")
    rates["share"] = rates.loop / rates.images_per_second
    medians = rates.groupby("name").median().reindex(columns=["images_per_second", *OTHER_STEPS, "loop", "share"])
    rows, plain = [], {}
    for (paper, network), experiment in found.items():
        height, width = experiment.recipe.size
        rate = medians.loc[[(paper, network)]].iloc[0]
        if experiment.backbone.startswith("resnet") and network == "baseline":
            plain.setdefault((height, width), rate.images_per_second)
        row = {"paper": paper, "network": network, "height": height, "width": width, "batch": experiment.recipe.batch}
        row |= rate.to_dict() | {"times": plain.get((height, width), np.nan) / rate.images_per_second}
        rows.append(row | _floor(experiment, rate.images_per_second, machine))
    return pd.DataFrame(rows)


def _floor(experiment: Experiment, rate: float, machine: cost.Limits) -> dict[str, float | str]:
    """The last columns of ``measure``."""
    operations = cost.step_operations(experiment, IDENTITIES)
    seconds = cost.floor(operations, experiment.recipe.batch, machine)
    bound = max(("memory", "arithmetic"), key=seconds.get)
    return {"floor": 1 / seconds["floor"], "of_floor": rate * seconds["floor"], "bound": bound}


def _fed(experiment: Experiment, accelerator: Accelerator, choice: str = "eager") -> Callable[[int], float]:
    """A function that trains so many steps on one batch and returns images a second."""
    recipe, device = experiment.recipe, accelerator.device
    model = build(experiment, IDENTITIES)
    losses_of, optimizer = prepared(model, recipe, accelerator)
    losses_of.train()
    stepper = Stepper(choice, losses_of, optimizer, accelerator)
    batch = {
        "images": normalise(torch.from_numpy(_pixels(recipe.batch, recipe.size)).to(device)),
        "labels": torch.arange(recipe.batch, device=device) // _images_each(recipe),
    }
    batch |= {"boxes": torch.tensor(BOXES, device=device).expand(recipe.batch, -1, -1)} if by_pose(experiment) else {}

    def taken(steps: int) -> float:
        _wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            stepper(**batch)
        _wait(device)
        return steps * recipe.batch / (time.perf_counter() - start)

    return taken


def _loop(experiment: Experiment, accelerator: Accelerator) -> Callable[[int], float]:
    """The same of ``train``: its second epoch, as the first one chooses kernels."""

    def taken(steps: int) -> float:
        recipe = replace(experiment.recipe, epochs=2)
        count = steps * recipe.batch
        boxes = np.tile(np.float32(BOXES), (count, 1, 1)) if by_pose(experiment) else None
        with tempfile.TemporaryDirectory() as folder:
            history = train(
                build(experiment, IDENTITIES),
                _pixels(count, recipe.size),
                np.arange(count) // _images_each(recipe) % IDENTITIES,
                recipe,
                seed=0,
                accelerator=accelerator,
                checkpoint=Path(folder) / "checkpoint.pt",
                boxes=boxes,
                log=lambda line: None,
            )
        return float(history.images_per_second.iloc[1])

    return taken


def _images_each(recipe: Recipe) -> int:
    """Images of each identity in a batch."""
    return recipe.sampler.images if isinstance(recipe.sampler, PK) else 1


def _pixels(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
