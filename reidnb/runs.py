"""How an experiment is run once and never again, and what else is measured on a finished run.

Each finished experiment is kept in ``results/runs/<key>``; a study that was interrupted goes on where it was.
"""

import json
import math
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import DynamoBackend
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights
from torch import nn

from . import __version__, weight_files
from .training import distributed, tracking
from .data import catalog, pixels
from . import pose
from .data.dataset import SINGLE_SHOT
from .evaluation import metrics
from .evaluation.rerank import rerank
from .training.experiments import (
    Experiment,
    Run,
    all_options,
    build,
    by_pose,
    digest,
    key,
    known,
    read_metrics,
    results_dir,
    to_json,
)
from .files import clear, write_atomically
from .models.options import check
from .training.stepping import CHOICES, choose
from .training.loop import Recipe, extract, make_accelerator, train

RANKS = (1, 5, 10, 20)
TOP = 20
"""Length of the ranking lists that a run keeps."""
KEEP = ("weights", "descriptors", "metrics")
"""What a run keeps beside metrics, history, ranking lists and provenance: the network's weights, or the test images'
descriptors in float16 (enough to re-rank them and to look at regions alone), or nothing more."""


def run(
    experiment: Experiment,
    *,
    data_root: str | Path | None = None,
    results: Path | None = None,
    cpu: bool = False,
    keep: str = "weights",
    step: str = "auto",
    after_epoch: Callable[[nn.Module, int], None] | None = None,
    planned: str = "",
    say: Callable[[str], None] = print,
) -> Run:
    """The experiment's run: read from its folder when it is finished, otherwise trained (or gone on with) now.

    ``keep`` is one of ``KEEP``, ``step`` one of ``stepping.CHOICES``: it decides how fast a step is, and nothing of the
    key. ``after_epoch`` as of ``train``, and may raise: the next call goes on from there.
    In the processes of ``accelerate launch`` or ``accelerate.notebook_launcher`` they share the work (``distributed``),
    and each returns the run.

    Raises ValueError when ``planned``, the key under which a study waits for it, is no longer its key, OSError in one
    sentence when its folder cannot be written, and what ``catalog.load``, ``pixels.decode`` and ``train`` raise.
    """
    check("keep", keep, KEEP)
    check("step", step, CHOICES)
    data = catalog.load(experiment.dataset, data_root)
    found = Run(_folder(experiment, data, results))
    if planned not in ("", found.folder.name):
        raise ValueError(f"the images of {data.name} in {data.root} are others than when the study was planned")
    if not (distributed.alone() and found.is_finished):
        follow = {"log_with": tracking.wanted() or None, "project_dir": str(found.folder)}
        accelerator = make_accelerator(experiment.recipe.precision, cpu, **follow)
        with distributed.held(found.folder, accelerator):  # a second study waits, and then finds it finished
            if not distributed.agreed(found.is_finished, accelerator):
                if accelerator.is_main_process:
                    clear(found.folder)
                with tracking.tracked(accelerator, experiment, found.folder.name):
                    _train_and_evaluate(experiment, data, found.folder, accelerator, keep, step, after_epoch, say)
    if distributed.first() and found.checkpoint.exists():  # of a run that ends now, or was killed before it was tidy
        clear(found.folder, "metrics.json")
        found.checkpoint.unlink(missing_ok=True)
    return found


def finished(experiment: Experiment, data_root: str | Path | None = None, results: Path | None = None) -> Run | None:
    """The experiment's run if it is finished."""
    found = Run(_folder(experiment, catalog.load(experiment.dataset, data_root), results))
    return found if found.is_finished else None


def _folder(experiment: Experiment, data: catalog.ReidData, results: Path | None) -> Path:
    return (results or results_dir()) / "runs" / key(experiment, data)


def _train_and_evaluate(
    experiment: Experiment, data: catalog.ReidData, folder: Path, accelerator, keep: str, step: str, after_epoch, say
) -> None:
    recipe = experiment.recipe
    say = say if accelerator.is_main_process else lambda line: None
    # What can go wrong at once comes first: the network and its weights, then the slow decoding.
    distributed.share(recipe.batch, accelerator)
    choose(step, accelerator)
    with accelerator.local_main_process_first():  # the others find in the cache what it has made
        model = build(experiment, data.train_ids)
        weights = weight_files.record(experiment.weights)  # now, as the file may be gone in the end
        check_rankable(data)
        splits = ("train", "query", "gallery")
        store = {split: pixels.decode(list(getattr(data, split).path), recipe.size) for split in splits}
        boxes = boxes_of(experiment, data)
    if accelerator.is_main_process:
        _write_json(folder / "experiment.json", asdict(experiment))
    history = train(
        model,
        store["train"],
        data.train_labels,
        recipe,
        seed=experiment.seed,
        accelerator=accelerator,
        checkpoint=Run(folder).checkpoint,
        boxes=boxes["train"],
        after_epoch=after_epoch,
        step=step,
        say=say,
    )
    start = time.perf_counter()
    query, gallery = (
        _extract(model, store[split], recipe, accelerator, boxes[split]) for split in ("query", "gallery")
    )
    if not accelerator.is_main_process:
        return
    ids = labels_of(data)
    scores = _scores(query, gallery, data)
    seconds = time.perf_counter() - start
    top = metrics.ranking(query, gallery, **ids, top=TOP)
    right = (ids["gallery_pids"][top] == ids["query_pids"][:, None]) & (top >= 0)

    write_atomically(folder / "history.csv", lambda file: history.to_csv(file, index=False))
    if keep == "weights":
        write_atomically(folder / "model.safetensors", lambda file: _save_weights(model, file))
    if keep == "descriptors":
        small = {"query": query.half().numpy(), "gallery": gallery.half().numpy()}
        write_atomically(folder / "descriptors.npz", lambda file: _save_npz(file, **small))
    write_atomically(folder / "rankings.npz", lambda file: _save_npz(file, top=top, right=right))
    if data.protocol != SINGLE_SHOT:  # whose queries have a rank for each draw of the gallery
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
    provenance = _provenance(accelerator, train_seconds, seconds, history.attrs["step"])
    _write_json(folder / "provenance.json", {"weights": weights} | provenance)
    # Written last: a folder with metrics.json is a finished run.
    summary = _summary(scores)
    _write_json(folder / "metrics.json", summary)
    accelerator.log({name: value for name, value in summary.items() if isinstance(value, float)}, step=recipe.epochs)


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


def load_model(run: Run, data: catalog.ReidData) -> nn.Module:
    """A finished run's trained network, in evaluation mode, on the CPU.

    Raises FileNotFoundError for a run that was kept without its weights.
    """
    if not (run.folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{run.folder} was kept without model.safetensors: remove it and train again with keep='weights'"
        )
    model = build(replace(run.experiment, weights=""), data.train_ids)
    load_weights(model, run.folder / "model.safetensors")
    return model.eval()


def boxes_of(experiment: Experiment, data: catalog.ReidData) -> dict[str, np.ndarray | None]:
    """Each split's regions R0..R4 (N, 5, 4), x0, y0, x1, y1 as fractions of the image; None where none are needed."""
    if not by_pose(experiment):
        return dict.fromkeys(("train", "query", "gallery"))
    beta = all_options(experiment)["beta"]
    poses = pose.complete(pose.load(data))
    found = {split: getattr(poses, split) for split in ("train", "query", "gallery")}
    return {name: pose.shares(pose.boxes(*split, beta=beta), split.sizes) for name, split in found.items()}


def descriptors(
    run: Run,
    data: catalog.ReidData,
    other: catalog.ReidData | None = None,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Query (Q, D) and gallery (G, D) descriptors of a finished run's model: of ``other``, or of its own ``data``.

    ``change`` is done to each batch of decoded images (n, H, W, 3), query first.
    """
    kept = run.folder / "descriptors.npz"
    if kept.exists() and other is None and change is None:
        with np.load(kept, allow_pickle=False) as file:
            return tuple(torch.from_numpy(file[split]).float() for split in ("query", "gallery"))
    recipe = run.experiment.recipe
    accelerator = make_accelerator(recipe.precision)
    model = load_model(run, data)
    tested = other or data
    boxes = boxes_of(run.experiment, tested)
    splits = {"query": tested.query, "gallery": tested.gallery}
    return tuple(
        _extract(model, pixels.decode(list(table.path), recipe.size), recipe, accelerator, boxes[split], change)
        for split, table in splits.items()
    )


def _extract(
    model: nn.Module, images: np.ndarray, recipe: Recipe, accelerator, boxes=None, change=None
) -> torch.Tensor:
    """The descriptors that the recipe's test ranks with."""
    how = {"flip": recipe.flip_test, "unit": recipe.normalise_test, "change": change}
    return extract(model, images, accelerator=accelerator, boxes=boxes, **how)


def evaluate(query: torch.Tensor, gallery: torch.Tensor, data: catalog.ReidData) -> dict:
    """The metrics, as of ``Run.metrics``, of descriptors of a data set's queries and gallery."""
    return _summary(_scores(query, gallery, data))


def _scores(query: torch.Tensor, gallery: torch.Tensor, data: catalog.ReidData) -> metrics.Scores | metrics.SingleShot:
    score = metrics.single_shot_cmc if data.protocol == SINGLE_SHOT else metrics.evaluate
    return score(query, gallery, **labels_of(data))


def reranked(run: Run, data: catalog.ReidData) -> dict:
    """The run's metrics after k-reciprocal re-ranking (Zhong et al. 2017), kept beside them.

    All NaN by the single-shot protocol: one image of an identity has no neighbours to be reciprocal with.
    """
    if data.protocol == SINGLE_SHOT:
        return dict.fromkeys(run.metrics, math.nan)
    file = run.folder / "metrics-reranked.json"
    if not file.exists():
        query, gallery = descriptors(run, data)
        scores = metrics.evaluate_distances(rerank(query, gallery), **labels_of(data))
        _write_json(file, _summary(scores))
    return read_metrics(file)


def cross_domain(run: Run, data: catalog.ReidData, other: catalog.ReidData) -> dict:
    """The metrics on ``other`` of a run that was trained on ``data``, kept beside the run; nothing is trained."""
    file = run.folder / f"metrics-on-{other.name}-{digest('', other)[:8]}.json"
    if not file.exists():
        check_rankable(other)
        query, gallery = descriptors(run, data, other)
        _write_json(file, evaluate(query, gallery, other))
    return read_metrics(file)


def by_region(run: Run, data: catalog.ReidData) -> dict[str, dict]:
    """The metrics of each region's part of the run's descriptor alone, L2-normalised, kept beside the run's.

    Its model names the regions' ``columns``; nothing is trained.
    """
    file = run.folder / "metrics-regions.json"
    if not file.exists():
        columns = build(replace(run.experiment, weights=""), data.train_ids).columns
        query, gallery = descriptors(run, data)
        found = {}
        for name, own in columns.items():
            region = (F.normalize(x[:, own]) for x in (query, gallery))
            found[name] = evaluate(*region, data)
        _write_json(file, found)
    return {name: known(metrics_) for name, metrics_ in json.loads(file.read_text()).items()}


def labels_of(data: catalog.ReidData) -> dict[str, np.ndarray]:
    """The labels that ``evaluation.metrics`` takes, by name: query_pids, query_camids, gallery_pids, gallery_camids."""
    tables = {"query": data.query, "gallery": data.gallery}
    return {f"{name}_{label}s": table[label].to_numpy() for name, table in tables.items() for label in ("pid", "camid")}


def _summary(scores: metrics.Scores | metrics.SingleShot) -> dict:
    summary = {name: getattr(scores, name, None) for name in ("map", "map_trapezoid", "minp")}
    summary |= {f"rank{k}": scores.rank(k) for k in RANKS}
    summary = {name: None if value is None else round(100 * float(value), 4) for name, value in summary.items()}
    summary |= {"queries": int(scores.queries), "left_out": int(scores.left_out)}
    return summary | {"cmc": [round(float(c), 6) for c in scores.cmc]}


def _provenance(accelerator, train_seconds: float, evaluate_seconds: float, step: str = "eager") -> dict:
    cuda = accelerator.device.type == "cuda"
    threads, processes = torch.get_num_threads(), accelerator.num_processes
    device = torch.cuda.get_device_name() if cuda else f"CPU, {threads} thread{'s' * (threads > 1)}"
    plugin = accelerator.state.dynamo_plugin  # of ACCELERATE_DYNAMO_BACKEND
    by_accelerate = "" if plugin.backend == DynamoBackend.NO else f", {plugin.backend.value}, {plugin.mode}"
    packages = ("torch", "torchvision", "accelerate", "numpy", "pandas", "pillow")
    return {
        "device": device if processes == 1 else f"{processes} processes, each on {device}",
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        # Our own version is known without an installation: a bare checkout can train.
        "packages": {"reidnb": __version__} | {name: version(name) for name in packages},
        "commit": _commit(),
        "step": step + by_accelerate.lower(),
        "train_seconds": round(train_seconds, 1),
        "evaluate_seconds": round(evaluate_seconds, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _commit() -> str:
    """The checkout's commit, with '-dirty' where the package differs from it, or '' outside a checkout."""
    package = str(Path(__file__).parent)

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", package, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        # Not of the whole checkout: a study writes its results into it.
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", package) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _save_weights(model: nn.Module, path: Path) -> None:
    """Every parameter once, also where two modules share it (which the library finds in plain memory order only)."""
    save_weights(model.to("cpu", memory_format=torch.contiguous_format), str(path))


def _save_npz(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _write_json(path: Path, content: dict) -> None:
    write_atomically(path, lambda file: file.write_text(to_json(content)))
