"""Experiment trackers, through Accelerate: ``REIDNB_TRACKER=tensorboard``, or several separated by commas.

A tracker does not affect results, so it is not part of an experiment.
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
    """The trackers named in ``$REIDNB_TRACKER``; '1' means TensorBoard, whose logs are written to each run's folder.

    Raises ValueError for a tracker that is unknown or not installed.
    """
    requested = [name.strip().lower() for name in os.environ.get("REIDNB_TRACKER", "").split(",")]
    names = ["tensorboard" if name == "1" else name for name in requested if name not in ("", "0")]
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"REIDNB_TRACKER={name!r}: known are {', '.join(KNOWN)}")
        if name not in installed:
            raise ValueError(f"REIDNB_TRACKER={name!r} is not installed: pip install {name}, or unset it")
    return names


@contextmanager
def tracked(accelerator: Accelerator, experiment: Experiment, name: str) -> Iterator[None]:
    """Log a run called ``name`` to the accelerator's trackers; an interrupted run resumes under the same name."""
    resumable = {"name": name, "resume": "allow"}
    options = {"wandb": resumable | {"id": name}, "trackio": resumable, "mlflow": {"run_name": name}}
    accelerator.init_trackers(PROJECT, flat(asdict(experiment)), options)
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()


def flat(content: dict, prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as one level, such as 'recipe.lr'; values that are not numbers become text."""
    result = {}
    for name, value in content.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value if isinstance(value, bool | int | float) else str(value)
    return result
