"""Estimates of how long a training will take, from the times of finished runs like it.

Alike are runs of the same paper, data set, profile, backbone and device (any CPU is one device), and of the same
options where there are some. Runs on this machine count first, those of the committed results where there are none.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .files import reference_dir, results_dir
from .papers import find_paper
from .papers.experiments import one_experiment
from .progress import in_words
from .results import Run, options_text
from .training.experiment import Experiment

NOTHING_KNOWN = "no finished run tells how long this takes: the first epoch will"
COLUMNS = ["paper", "dataset", "profile", "backbone", "options", "device"]
COLUMNS += ["epochs", "train_seconds", "evaluate_seconds"]


def seconds(experiment: Experiment, device: str, results: Path | None = None) -> float | None:
    """The median seconds of training and evaluation of finished runs like it, at its number of epochs; None without.

    ``device`` is that of ``Run.provenance``: 'CPU, 2 threads', or the name of a GPU.
    """
    for table in (_runs_here(experiment, results or results_dir()), _committed(experiment, reference_dir())):
        alike = table[
            (table.paper == experiment.paper)
            & (table.dataset == experiment.dataset)
            & (table.profile == experiment.profile)
            & (table.backbone == experiment.backbone)
            & (table.device.map(_kind) == _kind(device))
        ]
        same = alike[alike.options == options_text(experiment)]
        if len(alike):
            chosen = same if len(same) else alike
            per_epoch = chosen.train_seconds / chosen.epochs
            return float((per_epoch * experiment.recipe.epochs + chosen.evaluate_seconds).median())
    return None


def in_a_line(experiment: Experiment, device: str, results: Path | None = None) -> str:
    """A sentence about one training."""
    expected = seconds(experiment, device, results)
    return NOTHING_KNOWN if expected is None else f"about {in_words(expected)}, as finished runs like it took"


def of_several(experiments: Sequence[Experiment], device: str, results: Path | None = None) -> str:
    """A sentence about all trainings of a study that are still to be done."""
    expected = [seconds(experiment, device, results) for experiment in experiments]
    known = [each for each in expected if each is not None]
    count = f"{len(experiments)} training{'s' * (len(experiments) != 1)} to do"
    if not known:
        return f"{count}: {NOTHING_KNOWN}" if experiments else "nothing to train: every run is finished"
    time = f"about {in_words(sum(known))}"
    if len(known) < len(expected):
        return f"{count}: {time} for {len(known)}, as finished runs like them took; nothing is known of the others"
    return f"{count}: {time}, as finished runs like them took"


def _kind(device: str) -> str:
    return device.partition(",")[0]


def _runs_here(experiment: Experiment, results: Path) -> pd.DataFrame:
    """The times of this machine's runs of the experiment's paper and data set; damaged ones are left out."""
    rows = []
    for file in sorted((results / "runs").glob(f"{experiment.paper}-{experiment.dataset}-*/metrics.json")):
        run = Run(file.parent)
        try:
            one, provenance = run.experiment, run.provenance
            times = (float(provenance["train_seconds"]), float(provenance["evaluate_seconds"]))
            about = (one.paper, one.dataset, one.profile, one.backbone, options_text(one), provenance["device"])
            rows.append((*about, one.recipe.epochs, *times))
        except (OSError, ValueError, TypeError, LookupError):
            continue
    return pd.DataFrame(rows, columns=COLUMNS)


def _committed(experiment: Experiment, reference: Path) -> pd.DataFrame:
    """The times of the committed runs; where backbone and epochs are not recorded, they were those of the profile."""
    if not (reference / "runs.csv").exists():
        return pd.DataFrame(columns=COLUMNS)
    stated = one_experiment(find_paper(experiment.paper), {}, {}, experiment.dataset, experiment.profile)
    table = pd.read_csv(reference / "runs.csv")
    unrecorded = {"backbone": stated.backbone, "epochs": stated.recipe.epochs}
    table = table.reindex(columns=[*table, *(unrecorded.keys() - set(table))])
    return table.astype({"backbone": object}).fillna(unrecorded)
