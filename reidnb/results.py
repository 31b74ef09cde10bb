"""Finished runs, one folder each in ``results/runs``, and the table of all runs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from . import weight_files
from .evaluation.scores import nan_for_null
from .files import write_atomically
from .training.experiment import Experiment, from_json


@dataclass(frozen=True)
class Run:
    """The folder of an experiment's run, and what it contains."""

    folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether the run is complete, since its metrics are written last, and undamaged."""
        return self._was_finished and not self.damage

    @property
    def _was_finished(self) -> bool:
        return (self.folder / "metrics.json").exists()

    @property
    def damage(self) -> str:
        """What is damaged of a run that was complete: its first such file and the reason; '' if there is none."""
        for name, read in FILES.items() if self._was_finished else ():
            file = self.folder / name
            if name in OPTIONAL and not file.exists():
                continue
            try:
                read(file)
            except Exception as error:  # each reader raises its own exceptions for a damaged file
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                if "allow_pickle" in reason:  # NumPy's advice to read an unknown file unsafely
                    reason = "it is no archive of arrays"
                return f"{file} is damaged ({type(error).__name__}: {reason})"
        return ""

    def set_aside(self) -> Path:
        """Move the run's files into a new folder ``damaged-N`` beside them, so that it can be trained again."""
        number = 1 + sum(1 for _ in self.folder.glob("damaged-*"))
        aside = self.folder / f"damaged-{number}"
        aside.mkdir()
        # metrics.json first: without it the run counts as unfinished, whatever happens meanwhile.
        for name in ("metrics.json", *sorted(path.name for path in self.folder.iterdir() if path.is_file())):
            if name != "lock" and (self.folder / name).exists():
                (self.folder / name).rename(aside / name)
        return aside

    @property
    def checkpoint(self) -> Path:
        """The checkpoint from which an unfinished training resumes."""
        return self.folder / "checkpoint.pt"

    @cached_property
    def metrics(self) -> dict:
        """mAP (both definitions), mINP, rank-k and other metrics in percent; ``cmc`` is a list of fractions.

        Metrics that the data set's protocol does not define, such as mAP with one gallery image per identity, are NaN.
        """
        return read_metrics(self.folder / "metrics.json")

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that was run."""
        return from_json(json.loads((self.folder / "experiment.json").read_text()))

    @cached_property
    def provenance(self) -> dict:
        """The device, software versions and times of the run."""
        return json.loads((self.folder / "provenance.json").read_text())

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per epoch."""
        return pd.read_csv(self.folder / "history.csv")

    @cached_property
    def queries(self) -> dict[str, np.ndarray]:
        """``valid`` (Q,), and for each valid query ``ap``, ``ap_trapezoid``, ``first_rank``; empty by the
        single-shot protocol, where a query has a rank for each draw of the gallery."""
        return _per_query(self.folder / "queries.npz")

    @cached_property
    def reranked_queries(self) -> dict[str, np.ndarray]:
        """As ``queries``, after re-ranking; empty where the run has not been re-ranked yet."""
        return _per_query(self.folder / "queries-reranked.npz")

    @cached_property
    def rankings(self) -> dict[str, np.ndarray]:
        """For each query: ``top`` (Q, 20) gallery rows, -1 where none, and ``right`` (Q, 20): whether each matches."""
        with np.load(self.folder / "rankings.npz", allow_pickle=False) as file:
            return dict(file)


def _check_metrics(file: Path) -> None:
    values = read_metrics(file)
    for name in ("map", "rank1"):
        float(values[name])


def _check_history(file: Path) -> None:
    history = pd.read_csv(file)
    if history.empty or not {"epoch", "loss", "seconds", "images_per_second"} <= set(history):
        raise ValueError("it has no epochs")


def _check_provenance(file: Path) -> None:
    content = json.loads(file.read_text())
    for name in ("device", "train_seconds", "evaluate_seconds", "commit"):
        content[name]
    content["packages"]["torch"]


def _check_arrays(file: Path) -> None:
    with np.load(file, allow_pickle=False) as arrays:
        for name in arrays.files:
            arrays[name]


def _check_rankings(file: Path) -> None:
    with np.load(file, allow_pickle=False) as arrays:
        if arrays["top"].ndim != 2 or arrays["top"].shape != arrays["right"].shape:
            raise ValueError("it has no lists")


def _check_ends(file: Path) -> None:
    # Reading all would take seconds; a file that was cut short lacks its directory, or is shorter than its header says.
    with np.load(file, allow_pickle=False) if file.suffix == ".npz" else safe_open(file, "pt"):
        pass


FILES = {
    "metrics.json": _check_metrics,
    "experiment.json": lambda file: from_json(json.loads(file.read_text())),
    "provenance.json": _check_provenance,
    "history.csv": _check_history,
    "rankings.npz": _check_rankings,
    "queries.npz": _check_arrays,
    "descriptors.npz": _check_ends,
    "model.safetensors": _check_ends,
}
"""The files of a run that is kept, and the function that raises an exception for a damaged one."""
OPTIONAL = ("rankings.npz", "queries.npz", "descriptors.npz", "model.safetensors")
"""Those that a run may do without: by the single-shot protocol, by ``keep``, or among the committed runs."""


def _per_query(file: Path) -> dict[str, np.ndarray]:
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def weights_of(run: Run) -> weight_files.Source:
    """The source of a run's initial weights, from its provenance; for runs that lack it, the last part of the path."""
    if "weights" in run.provenance:
        return weight_files.Source(**run.provenance["weights"])
    return weight_files.Source(Path(run.experiment.weights).name)


def all_runs(results: Path, log: Callable[[str], None] = lambda line: None) -> list[Run]:
    """The finished runs of a results folder; ``log`` gets a line for each that is damaged and left out."""
    runs = [Run(path.parent) for path in sorted((results / "runs").glob("*/metrics.json"))]
    damaged = {run: damage for run in runs if (damage := run.damage)}
    for damage in damaged.values():
        log(f"left out: {damage}")
    return [run for run in runs if run not in damaged]


def options_text(experiment: Experiment) -> str:
    """The experiment's options as the table of all runs shows them."""
    return ", ".join(f"{name}={value!r}" for name, value in experiment.options.items()) or "–"


def summary(runs: list[Run]) -> pd.DataFrame:
    """A row per run: its experiment, main metrics, device and times."""
    rows = []
    for run in runs:
        experiment, provenance = run.experiment, run.provenance
        rows.append(
            {
                "key": run.folder.name,
                "paper": experiment.paper,
                "options": options_text(experiment),
                "dataset": experiment.dataset,
                "profile": experiment.profile,
                "backbone": experiment.backbone,
                "epochs": experiment.recipe.epochs,
                "weights": str(weights_of(run)),
                "seed": experiment.seed,
                **{name: run.metrics[name] for name in ("map", "rank1")},
                **{name: provenance[name] for name in ("device", "train_seconds", "evaluate_seconds", "commit")},
                "torch": provenance["packages"]["torch"],
                "finished": provenance.get("finished"),
            }
        )
    return pd.DataFrame(rows)


def update_summary(runs: list[Run], file: Path) -> pd.DataFrame:
    """Update the table in ``file`` with the rows of ``summary``; rows of other runs are kept."""
    new = summary(runs)
    if file.exists():
        old = _rows_of(file)
        if "key" in old:
            new = pd.concat([old[~old.key.isin(new.get("key", []))], new])
    if len(new):
        if "epochs" in new:  # earlier rows have none, and 3.0 epochs would be odd
            new = new.astype({"epochs": "Int64"})
        new = new.sort_values(["dataset", "profile", "paper", "key"], ignore_index=True)
        write_atomically(file, lambda target: new.to_csv(target, index=False))
    return new


def _rows_of(file: Path) -> pd.DataFrame:
    """A table that was kept; one that cannot be read is renamed, and empty."""
    try:
        return pd.read_csv(file)
    except ValueError:  # pandas' parser errors, and text that is not UTF-8
        file.rename(file.with_name(f"{file.name}.damaged"))
        return pd.DataFrame()


def read_metrics(file: Path) -> dict:
    """Read a file of metrics; null becomes NaN."""
    return nan_for_null(json.loads(file.read_text()))
