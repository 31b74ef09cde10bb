"""What an experiment is, and what the folder of a finished one holds.

The folder's name is a key made of everything that decides the result, so an experiment that several tables share is
trained once.
"""

import hashlib
import inspect
import json
import math
import os
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import weight_files
from ..data import catalog
from .. import pose
from ..data.augment import Augmentation
from ..files import write_atomically
from ..papers.attention_driven.network import AttentionDriven
from ..papers.dranet.network import DRANet
from ..papers.hybrid_attention.network import HybridAttention
from ..papers.wrcanet.network import WRCANet
from .loop import Recipe

MODELS: dict[str, type[nn.Module]] = {
    "wrcanet": WRCANet,
    "dranet": DRANet,
    "hybrid_attention": HybridAttention,
    "attention_driven": AttentionDriven,
}
"""A paper's name to its network."""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a result: model and options, recipe, data set, seed."""

    paper: str
    options: dict = field(default_factory=dict)
    """Options of the paper's network, beside those that come from the rest of the experiment."""
    recipe: Recipe = field(default_factory=Recipe)
    dataset: str = "street"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    """Initial weights of the backbone: 'imagenet', 'street' (the demo's narrow ones), a local file, or '' (random).

    A file decides the result by its content, so that the key has its SHA-256 and not its path."""
    seed: int = 0
    profile: str = "paper"

    def __post_init__(self) -> None:
        if self.paper not in MODELS:
            raise ValueError(f"unknown paper {self.paper!r}: known are {', '.join(MODELS)}")
        known = set(inspect.signature(MODELS[self.paper]).parameters) - _GIVEN
        unknown = sorted(set(self.options) - known)
        if unknown:
            raise ValueError(f"{self.paper} has no option {unknown[0]!r}: its options are {', '.join(sorted(known))}")


_GIVEN = {"identities", "size", "backbone", "weights"}


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


def from_json(written: dict) -> Experiment:
    """The experiment of ``dataclasses.asdict``, after a journey through JSON."""
    recipe = dict(written["recipe"])
    recipe |= {name: tuple(recipe[name]) for name in ("size", "milestones")}
    recipe["augmentation"] = Augmentation(**recipe["augmentation"])
    return Experiment(**{**written, "recipe": Recipe(**recipe)})


def all_options(experiment: Experiment) -> dict:
    """The experiment's options and, where it says nothing, the network's defaults."""
    parameters = inspect.signature(MODELS[experiment.paper]).parameters
    return {name: p.default for name, p in parameters.items() if name not in _GIVEN} | experiment.options


def by_pose(experiment: Experiment) -> bool:
    """Whether the network looks at regions around people's joints."""
    return all_options(experiment).get("regions") == "pose"


def build(experiment: Experiment, identities: int) -> nn.Module:
    """The experiment's network with its initial weights."""
    torch.manual_seed(experiment.seed)
    return MODELS[experiment.paper](
        identities,
        size=experiment.recipe.size,
        backbone=experiment.backbone,
        weights=experiment.weights,
        **experiment.options,
    )


def key(experiment: Experiment, data: catalog.ReidData) -> str:
    """Name of the experiment's folder: a digest of the experiment and of the data set's file names and labels."""
    # With the defaults written out, so that a default that changes in the code makes another run.
    decided = asdict(experiment) | {
        "options": all_options(experiment),
        "weights": weight_files.identity(experiment.weights),
    }
    if by_pose(experiment):
        decided["joints"] = pose.source_of(data)
    return f"{experiment.paper}-{experiment.dataset}-{digest(to_json(decided), data)[:16]}"


def digest(text: str, data: catalog.ReidData) -> str:
    """Of a text and of the data set's file names and labels."""
    found = hashlib.sha256(text.encode())
    for table in (data.train, data.query, data.gallery):
        names = table.path.map(os.path.basename)
        found.update("\n".join(f"{n} {p} {c}" for n, p, c in zip(names, table.pid, table.camid, strict=True)).encode())
    return found.hexdigest()


def results_dir() -> Path:
    """``$REIDNB_RESULTS``, or the checkout's ``results``, or ``results`` in the working directory."""
    checkout = Path(__file__).resolve().parents[1]
    default = checkout / "results" if (checkout / "pyproject.toml").exists() else Path("results")
    return Path(os.environ.get("REIDNB_RESULTS") or default).expanduser().resolve()


def weights_of(run: Run) -> weight_files.Source:
    """Where a run's initial weights came from, as its provenance has it; the path's last part in runs without it."""
    if "weights" in run.provenance:
        return weight_files.Source(**run.provenance["weights"])
    return weight_files.Source(Path(run.experiment.weights).name)


def all_runs(results: Path) -> list[Run]:
    """The finished runs of a results folder."""
    return [Run(path.parent) for path in sorted((results / "runs").glob("*/metrics.json"))]


def summary(finished: list[Run]) -> pd.DataFrame:
    """A row per run: what it was, what it reached, where, how long."""
    rows = []
    for run_ in finished:
        experiment, where = run_.experiment, run_.provenance
        rows.append(
            {
                "key": run_.folder.name,
                "paper": experiment.paper,
                "options": ", ".join(f"{k}={v!r}" for k, v in experiment.options.items()) or "–",
                "dataset": experiment.dataset,
                "profile": experiment.profile,
                "weights": str(weights_of(run_)),
                "seed": experiment.seed,
                **{name: run_.metrics[name] for name in ("map", "rank1")},
                **{name: where[name] for name in ("device", "train_seconds", "evaluate_seconds", "commit")},
                "torch": where["packages"]["torch"],
            }
        )
    return pd.DataFrame(rows)


def update_summary(finished: list[Run], file: Path) -> pd.DataFrame:
    """The rows of ``summary`` put into the table of ``file``, where those of runs that lie elsewhere stay."""
    new = summary(finished)
    if file.exists():
        old = pd.read_csv(file)
        if "key" in old:
            new = pd.concat([old[~old.key.isin(new.get("key", []))], new])
    if len(new):
        new = new.sort_values(["dataset", "profile", "paper", "key"], ignore_index=True)
        write_atomically(file, lambda target: new.to_csv(target, index=False))
    return new


def to_json(content: dict) -> str:
    """As it is written beside a run."""
    return json.dumps(content, indent=1, sort_keys=True)


def read_metrics(file: Path) -> dict:
    """Metrics as they were written; what is null there is NaN."""
    return known(json.loads(file.read_text()))


def known(metrics: dict) -> dict:
    """The metrics with NaN for what a protocol does not have, which JSON writes as null."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}
