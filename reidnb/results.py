"""Finished runs as they lie in ``results/runs``, a folder each, and the table of all of them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from . import weight_files
from .evaluation.scores import nan_for_null
from .files import write_atomically
from .training.experiment import Experiment, from_json


@dataclass(frozen=True)
class Run:
    """A finished experiment's folder."""

    folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether the folder is whole: its metrics are written last."""
        return (self.folder / "metrics.json").exists()

    @property
    def checkpoint(self) -> Path:
        """Where its training goes on from, until it is finished."""
        return self.folder / "checkpoint.pt"

    @cached_property
    def metrics(self) -> dict:
        """mAP (both definitions), mINP, rank-k and their like, in percent; ``cmc`` is a list of fractions.

        What the data set's protocol does not have, such as mAP with one gallery image of each identity, is NaN.
        """
        return read_metrics(self.folder / "metrics.json")

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment as it was written."""
        return from_json(json.loads((self.folder / "experiment.json").read_text()))

    @cached_property
    def provenance(self) -> dict:
        """Where and with what it ran."""
        return json.loads((self.folder / "provenance.json").read_text())

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per epoch."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def queries(self) -> dict[str, np.ndarray]:
        """``valid`` (Q,), and for each valid query ``ap``, ``ap_trapezoid``, ``first_rank``; empty where a query has
        a rank for each draw of the gallery (the single-shot protocol)."""
        file = self.folder / "queries.npz"
        if not file.exists():
            return {}
        with np.load(file, allow_pickle=False) as kept:
            return dict(kept)

    @cached_property
    def rankings(self) -> dict[str, np.ndarray]:
        """For each query: ``top`` (Q, 20) gallery rows, -1 where none, and whether each is ``right`` (Q, 20)."""
        with np.load(self.folder / "rankings.npz", allow_pickle=False) as file:
            return dict(file)


def weights_of(run: Run) -> weight_files.Source:
    """Where a run's initial weights came from, as its provenance has it; the path's last part in runs without it."""
    if "weights" in run.provenance:
        return weight_files.Source(**run.provenance["weights"])
    return weight_files.Source(Path(run.experiment.weights).name)


def all_runs(results: Path) -> list[Run]:
    """The finished runs of a results folder."""
    return [Run(path.parent) for path in sorted((results / "runs").glob("*/metrics.json"))]


def summary(runs: list[Run]) -> pd.DataFrame:
    """A row per run: what it was, what it reached, where, how long."""
    rows = []
    for run in runs:
        experiment, where = run.experiment, run.provenance
        rows.append(
            {
                "key": run.folder.name,
                "paper": experiment.paper,
                "options": ", ".join(f"{k}={v!r}" for k, v in experiment.options.items()) or "–",
                "dataset": experiment.dataset,
                "profile": experiment.profile,
                "weights": str(weights_of(run)),
                "seed": experiment.seed,
                **{name: run.metrics[name] for name in ("map", "rank1")},
                **{name: where[name] for name in ("device", "train_seconds", "evaluate_seconds", "commit")},
                "torch": where["packages"]["torch"],
            }
        )
    return pd.DataFrame(rows)


def update_summary(runs: list[Run], file: Path) -> pd.DataFrame:
    """The rows of ``summary`` put into the table of ``file``, where those of runs that lie elsewhere stay."""
    new = summary(runs)
    if file.exists():
        old = pd.read_csv(file)
        if "key" in old:
            new = pd.concat([old[~old.key.isin(new.get("key", []))], new])
    if len(new):
        new = new.sort_values(["dataset", "profile", "paper", "key"], ignore_index=True)
        write_atomically(file, lambda target: new.to_csv(target, index=False))
    return new


def read_metrics(file: Path) -> dict:
    """Metrics as they were written; what is null there is NaN."""
    return nan_for_null(json.loads(file.read_text()))
