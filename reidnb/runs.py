"""What an experiment is, where its results lie, and how it is run once and never again.

Each finished experiment is kept in ``results/runs/<key>``; the key is made of everything that decides its result,
so an experiment that several tables share is trained once, and a study that was interrupted goes on.
"""

import hashlib
import inspect
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights
from torch import nn

from .data import catalog, pixels
from .data.augment import Augmentation
from .evaluation import metrics
from .evaluation.rerank import rerank
from .files import write_atomically
from .models.wrcanet import WRCANet
from .training import Recipe, extract, make_accelerator, train

MODELS: dict[str, type[nn.Module]] = {"wrcanet": WRCANet}
"""A paper's name to its network."""
RANKS = (1, 5, 10, 20)
TOP = 20
"""Length of the ranking lists that a run keeps."""


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
    """Initial weights of the backbone: 'imagenet', a local file, or '' (random)."""
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

    @cached_property
    def metrics(self) -> dict:
        """mAP (both definitions), mINP, rank-k and their like, in percent; ``cmc`` is a list of fractions."""
        return json.loads((self.folder / "metrics.json").read_text())

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


def results_dir() -> Path:
    """``$REIDNB_RESULTS``, or the checkout's ``results``, or ``results`` in the working directory."""
    checkout = Path(__file__).resolve().parents[1]
    default = checkout / "results" if (checkout / "pyproject.toml").exists() else Path("results")
    return Path(os.environ.get("REIDNB_RESULTS") or default).expanduser().resolve()


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
                "paper": experiment.paper,
                "options": ", ".join(f"{k}={v!r}" for k, v in experiment.options.items()) or "–",
                "dataset": experiment.dataset,
                "profile": experiment.profile,
                "weights": experiment.weights or "random",
                "seed": experiment.seed,
                **{name: run_.metrics[name] for name in ("map", "rank1")},
                **{name: where[name] for name in ("device", "train_seconds", "evaluate_seconds", "commit")},
                "torch": where["packages"]["torch"],
            }
        )
    return pd.DataFrame(rows)


def key(experiment: Experiment, data: catalog.ReidData) -> str:
    """Name of the experiment's folder: a digest of the experiment and of the data set's file names and labels."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(MODELS[experiment.paper]).parameters.items()
        if name not in _GIVEN
    }
    # With the defaults written out, so that a default that changes in the code makes another run.
    decided = asdict(experiment) | {"options": defaults | experiment.options}
    digest = hashlib.sha256(_dump(decided).encode())
    for table in (data.train, data.query, data.gallery):
        names = table.path.map(os.path.basename)
        digest.update("\n".join(f"{n} {p} {c}" for n, p, c in zip(names, table.pid, table.camid, strict=True)).encode())
    return f"{experiment.paper}-{experiment.dataset}-{digest.hexdigest()[:16]}"


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


def finished(experiment: Experiment, data_root: str | Path | None = None, results: Path | None = None) -> Run | None:
    """The experiment's run if it is finished."""
    found = Run(_folder(experiment, catalog.load(experiment.dataset, data_root), results))
    return found if found.is_finished else None


def _folder(experiment: Experiment, data: catalog.ReidData, results: Path | None) -> Path:
    return (results or results_dir()) / "runs" / key(experiment, data)


def run(
    experiment: Experiment,
    *,
    data_root: str | Path | None = None,
    results: Path | None = None,
    cpu: bool = False,
    say: Callable[[str], None] = print,
) -> Run:
    """The experiment's run: read from its folder when it is finished, otherwise trained (or gone on with) now."""
    data = catalog.load(experiment.dataset, data_root)
    found = Run(_folder(experiment, data, results))
    if not found.is_finished:
        found.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(found.folder / "lock"):  # a second study waits, and then finds the run finished
            if not found.is_finished:
                _train_and_evaluate(experiment, data, found.folder, cpu, say)
    return found


def _train_and_evaluate(experiment: Experiment, data: catalog.ReidData, folder: Path, cpu: bool, say) -> None:
    recipe = experiment.recipe
    accelerator = make_accelerator(recipe.precision, cpu)
    # What can go wrong at once comes first: the network and its weights, then the slow decoding.
    model = build(experiment, data.train_ids)
    check_rankable(data)
    _write_json(folder / "experiment.json", asdict(experiment))
    store = {
        split: pixels.decode(list(getattr(data, split).path), recipe.size) for split in ("train", "query", "gallery")
    }
    labels = np.unique(data.train.pid, return_inverse=True)[1].astype(np.int64)
    history = train(
        model,
        store["train"],
        labels,
        recipe,
        seed=experiment.seed,
        accelerator=accelerator,
        checkpoint=folder / "checkpoint.pt",
        say=say,
    )
    start = time.perf_counter()
    model = accelerator.unwrap_model(model)
    query, gallery = (extract(model, store[split], accelerator=accelerator) for split in ("query", "gallery"))
    ids = _labels(data)
    scores = metrics.evaluate(query, gallery, *ids)
    seconds = time.perf_counter() - start
    top = metrics.ranking(query, gallery, *ids, top=TOP)
    right = (ids[2][top] == ids[0][:, None]) & (top >= 0)

    write_atomically(folder / "history.csv", lambda file: history.to_csv(file, index=False))
    write_atomically(folder / "model.safetensors", lambda file: _save_weights(model, file))
    write_atomically(folder / "rankings.npz", lambda file: _save_npz(file, top=top, right=right))
    write_atomically(
        folder / "queries.npz",
        lambda file: _save_npz(
            file,
            valid=scores.valid,
            ap=scores.ap,
            ap_trapezoid=scores.ap_trapezoid,
            first_rank=scores.first_rank,
        ),
    )
    train_seconds = float(history.seconds.sum())
    _write_json(folder / "provenance.json", _provenance(accelerator, train_seconds, seconds))
    # Written last: a folder with metrics.json is a finished run.
    _write_json(folder / "metrics.json", _summary(scores))
    (folder / "checkpoint.pt").unlink(missing_ok=True)


def check_rankable(data: catalog.ReidData) -> None:
    """Raise ValueError when no query has an image of its person from another camera in the gallery."""
    seen = data.gallery[data.gallery.pid > catalog.DISTRACTOR].groupby("pid").camid.agg(set)
    pairs = zip(data.query.pid, data.query.camid, strict=True)
    if not any(seen.get(pid, set()) - {camid} for pid, camid in pairs):
        cameras = sorted({*data.query.camid, *data.gallery.camid})
        raise ValueError(
            f"{data.name} in {data.root} cannot be evaluated: no query has a gallery image of its identity from"
            f" another camera (cameras found: {', '.join(map(str, cameras))})"
        )


def reranked(run: Run, data: catalog.ReidData) -> dict:
    """The run's metrics after k-reciprocal re-ranking (Zhong et al. 2017), kept beside them."""
    file = run.folder / "metrics-reranked.json"
    if not file.exists():
        query, gallery = descriptors(run, data)
        scores = metrics.evaluate_distances(rerank(query, gallery), *_labels(data))
        _write_json(file, _summary(scores))
    return json.loads(file.read_text())


def descriptors(run: Run, data: catalog.ReidData) -> tuple[torch.Tensor, torch.Tensor]:
    """Query (Q, D) and gallery (G, D) descriptors of a finished run's model."""
    recipe = run.experiment.recipe
    accelerator = make_accelerator(recipe.precision)
    model = load_model(run, data)
    return tuple(
        extract(model, pixels.decode(list(table.path), recipe.size), accelerator=accelerator)
        for table in (data.query, data.gallery)
    )


def load_model(run: Run, data: catalog.ReidData) -> nn.Module:
    """A finished run's trained network, in evaluation mode, on the CPU."""
    model = build(replace(run.experiment, weights=""), data.train_ids)
    load_weights(model, run.folder / "model.safetensors")
    return model.eval()


def _labels(data: catalog.ReidData) -> tuple[np.ndarray, ...]:
    return tuple(table[c].to_numpy() for table in (data.query, data.gallery) for c in ("pid", "camid"))


def _summary(scores: metrics.Scores) -> dict:
    summary = {"map": scores.map, "map_trapezoid": scores.map_trapezoid, "minp": scores.minp}
    summary |= {f"rank{k}": scores.rank(k) for k in RANKS}
    summary = {name: round(100 * float(value), 4) for name, value in summary.items()}
    summary |= {"queries": int(scores.queries), "left_out": int(scores.left_out)}
    return summary | {"cmc": [round(float(c), 6) for c in scores.cmc]}


def _provenance(accelerator, train_seconds: float, evaluate_seconds: float) -> dict:
    cuda = accelerator.device.type == "cuda"
    packages = ("reidnb", "torch", "torchvision", "accelerate", "numpy", "pandas", "pillow")
    return {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": {name: version(name) for name in packages},
        "commit": _commit(),
        "train_seconds": round(train_seconds, 1),
        "evaluate_seconds": round(evaluate_seconds, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _commit() -> str:
    """The checkout's commit, or '' outside a checkout."""
    call = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _save_weights(model: nn.Module, path: Path) -> None:
    """Every parameter once, also where two modules share it (which the library finds in plain memory order only)."""
    save_weights(model.to("cpu", memory_format=torch.contiguous_format), str(path))


def _save_npz(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _write_json(path: Path, content: dict) -> None:
    write_atomically(path, lambda file: file.write_text(_dump(content)))


def _dump(content: dict) -> str:
    return json.dumps(content, indent=1, sort_keys=True)
