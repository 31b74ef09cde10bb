"""Speed of a training step: each paper's full network and baseline, on this machine (`performance.ipynb`).

A batch of random images stays on the device, so that only network, losses and optimiser are measured; the speed of the
complete training loop is measured as well. The networks take turns, so that other load on the machine affects all of
them alike.
"""

import time
from collections.abc import Callable
from dataclasses import replace

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
"""Training identities of Market-1501, for the classifiers."""
OTHER_STEPS = tuple(choice for choice in CHOICES if choice not in ("auto", "eager"))
"""Further choices of ``stepping``, which are also the names of their columns."""
BOXES = ((0, 0, 1, 1), (0.2, 0, 0.8, 0.25), (0.1, 0.2, 0.9, 0.5), (0.15, 0.45, 0.85, 0.75), (0.2, 0.7, 0.8, 1))
"""Regions R0 to R4 of every random image, for networks that crop regions."""


def networks(profile: str, precision: str = "") -> dict[tuple[str, str], Experiment]:
    """The experiments of each paper's baseline (the first row of its main table) and full network.

    Keys are (paper, network). ``precision`` replaces the profile's; initial weights are random.
    """
    result = {}
    for name, paper in PAPERS.items():
        planned = experiments(paper, paper.main, "market1501", profile, weights="")
        full = one_experiment(paper, {}, {}, "market1501", profile, weights="")
        result |= {(name, "baseline"): planned[0][1], (name, "full network"): full}
    changes = {"precision": precision} if precision else {}
    return {name: replace(e, recipe=replace(e.recipe, **changes)) for name, e in result.items()}


def measure(
    by_name: dict[tuple[str, str], Experiment], *, steps: int = 20, rounds: int = 5, compiled: bool = False
) -> pd.DataFrame:
    """A row for each network: paper, network, height, width, batch, and images per second.

    images_per_second   on one repeated batch in eager mode, the median over ``rounds`` of ``steps`` each
    OTHER_STEPS         the same with these kinds of step (``stepping``); NaN unless ``compiled``, and for graphs
                        without a GPU
    loop                in the complete training loop, on as many batches
    fraction            loop / images_per_second, the median over the rounds
    times               duration of a step relative to the first ResNet baseline with images of the same size
    floor               images per second that this machine's memory and arithmetic allow (``cost.floor``)
    of_floor            images_per_second / floor
    bound               which of the two determines the floor: 'memory' or 'arithmetic'
    """
    precision = next(iter(by_name.values())).recipe.precision
    accelerator = make_accelerator(precision)
    machine = cost.limits(accelerator.device, precision)
    runners = {
        name: {"images_per_second": _repeated_batch(experiment, accelerator)} for name, experiment in by_name.items()
    }
    for name, experiment in by_name.items():
        for choice in [c for c in OTHER_STEPS if compiled and (c not in CAPTURED or accelerator.device.type == "cuda")]:
            runners[name][choice] = _repeated_batch(experiment, accelerator, choice)
        runners[name] |= {"loop": _loop(experiment, accelerator)}
    for run_steps in tqdm([run for kinds in runners.values() for run in kinds.values()], desc="warming up"):
        run_steps(min(steps, 3))
    rates = pd.DataFrame(
        {"name": name, "kind": kind, "round": turn, "rate": run_steps(steps)}
        for turn in tqdm(range(rounds), desc="measuring")
        for name, kinds in runners.items()
        for kind, run_steps in kinds.items()
    ).pivot(index=["name", "round"], columns="kind", values="rate")
    rates["fraction"] = rates.loop / rates.images_per_second
    medians = rates.groupby("name").median().reindex(columns=["images_per_second", *OTHER_STEPS, "loop", "fraction"])
    rows, plain = [], {}
    for (paper, network), experiment in by_name.items():
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


def _repeated_batch(experiment: Experiment, accelerator: Accelerator, choice: str = "eager") -> Callable[[int], float]:
    """A function that trains a number of steps on one batch and returns images per second."""
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

    def run_steps(steps: int) -> float:
        _wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            stepper(**batch)
        _wait(device)
        return steps * recipe.batch / (time.perf_counter() - start)

    return run_steps


def _loop(experiment: Experiment, accelerator: Accelerator) -> Callable[[int], float]:
    """The same for ``train``: measures its second epoch, as kernels are selected in the first."""

    def run_steps(steps: int) -> float:
        recipe = replace(experiment.recipe, epochs=2)
        count = steps * recipe.batch
        boxes = np.tile(np.float32(BOXES), (count, 1, 1)) if by_pose(experiment) else None
        history = train(
            build(experiment, IDENTITIES),
            _pixels(count, recipe.size),
            np.arange(count) // _images_each(recipe) % IDENTITIES,
            recipe,
            seed=0,
            accelerator=accelerator,
            boxes=boxes,
            log=lambda line: None,
        )
        return float(history.images_per_second.iloc[1])

    return run_steps


def _images_each(recipe: Recipe) -> int:
    """Images of each identity in a batch."""
    return recipe.sampler.images if isinstance(recipe.sampler, PK) else 1


def _pixels(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
