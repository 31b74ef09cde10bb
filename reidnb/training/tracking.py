"""Trackers that follow a run while it trains, by Accelerate: ``REIDNB_TRACKER=tensorboard`` or others, by commas.

A tracker never decides a result, so it is no part of an experiment.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from .experiment import Experiment

KNOWN = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT = "reidnb"


def requested_trackers() -> list[str]:
    """The trackers that ``$REIDNB_TRACKER`` names; '1' asks for TensorBoard. Its logs lie in each run's folder.

    Raises ValueError for one that is unknown or not installed.
    """
    asked = [name.strip().lower() for name in os.environ.get("REIDNB_TRACKER", "").split(",")]
    names = ["tensorboard" if name == "1" else name for name in asked if name not in ("", "0")]
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"REIDNB_TRACKER={name!r}: known are {', '.join(KNOWN)}")
        if name not in installed:
            raise ValueError(f"REIDNB_TRACKER={name!r} is not installed: pip install {name}, or unset it")
    return names


@contextmanager
def tracked(accelerator: Accelerator, experiment: Experiment, name: str) -> Iterator[None]:
    """The accelerator's trackers follow a run of this ``name``, which goes on under it after an interruption."""
    same = {"name": name, "resume": "allow"}
    starts = {"wandb": same | {"id": name}, "trackio": same, "mlflow": {"run_name": name}}
    accelerator.init_trackers(PROJECT, flat(asdict(experiment)), starts)
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()


def flat(content: dict, above: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as one level, 'recipe.lr'; what is no number is text."""
    found = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = value if isinstance(value, bool | int | float) else str(value)
    return found
