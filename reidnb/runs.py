"""Train and evaluate each experiment once.

Each finished run is kept in ``results/runs/<key>``; an interrupted study resumes where it stopped.
"""

import os
import platform
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import DynamoBackend
from safetensors.torch import load_file
from safetensors.torch import load_model as load_weights
from safetensors.torch import save_model as save_weights
from torch import nn

from . import __version__, estimates, pose, weight_files
from .data import pixels
from .data.catalog import PART
from .data.dataset import SINGLE_SHOT, ReidData, of_little_use
from .data.folders import PREFIXES
from .evaluation import metrics
from .evaluation.scores import check_rankable, labels_of, score, summarise
from .files import clear, results_dir, write_atomically
from .models.options import check
from .papers.experiments import all_options, build, by_pose, digest, key
from .results import Run
from .training import distributed, tracking
from .training.experiment import Experiment, to_json
from .training.extract import extract
from .training.loop import make_accelerator, train
from .training.profiles import SMALLER
from .training.recipe import Recipe, epoch_batches
from .training.stepping import CHOICES, choose

TOP = 20
"""Length of the ranking lists that a run saves."""
KEEP = ("weights", "descriptors", "metrics")
"""What a run saves besides metrics, history, ranking lists and provenance: the network's weights, or the test images'
descriptors in float16 (enough to re-rank them and to evaluate single regions), or nothing more."""
SPLITS = ("train", "query", "gallery")


def run(
    experiment: Experiment,
    data: ReidData,
    *,
    results: Path | None = None,
    cpu: bool = False,
    keep: str = "weights",
    step: str = "auto",
    after_epoch: Callable[[nn.Module, int], None] | None = None,
    planned: str = "",
    log: Callable[[str], None] = print,
) -> Run:
    """The experiment's run: read from its folder if it is finished, otherwise trained or resumed now.

    The files of a damaged run are set aside in its folder, and it is trained again.

    ``keep`` is one of ``KEEP``; ``step``, one of ``stepping.CHOICES``, affects the speed only and is not part of the
    key. ``after_epoch`` as in ``train``; if it raises, the next call resumes from there. The processes of ``accelerate
    launch`` or ``accelerate.notebook_launcher`` divide the work among them (``distributed``), and each returns the run.

    Raises ValueError if the key differs from ``planned``, the key that a study expects, OSError if the run's folder
    cannot be written, and what ``pixels.decode`` and ``train`` raise.
    """
    check("keep", keep, KEEP)
    check("step", step, CHOICES)
    if not len(data.train):
        raise ValueError(
            f"{data.name} in {data.root} has no training images: train on another data set and test on this one,"
            f" as in dataset = 'market1501->{data.name.removesuffix(PART)}'"
        )
    result = run_of(experiment, data, results)
    if planned not in ("", result.folder.name):
        raise ValueError(f"the images of {data.name} in {data.root} have changed since the study was planned")
    if distributed.is_distributed() or not result.is_finished:
        options = {"log_with": tracking.requested_trackers() or None, "project_dir": str(result.folder)}
        accelerator = make_accelerator(experiment.recipe.precision, cpu, **options)
        with distributed.exclusive_run(result.folder, accelerator):  # a second study waits until it is finished
            if not distributed.broadcast(result.is_finished, accelerator):
                if accelerator.is_main_process:
                    clear(result.folder)
                    if damage := result.damage:
                        log(f"{damage}: its files are now in {result.set_aside()}, and it is trained again")
                with (
                    tracking.tracked(accelerator, experiment, result.folder.name),
                    threads_for(experiment, accelerator),
                ):
                    _train_and_evaluate(experiment, data, result.folder, accelerator, keep, step, after_epoch, log)
    # The checkpoint of this run, or of one that was killed before it could remove it.
    if distributed.is_main_process() and result.checkpoint.exists():
        clear(result.folder, "metrics.json")
        result.checkpoint.unlink(missing_ok=True)
    return result


def run_of(experiment: Experiment, data: ReidData, results: Path | None = None) -> Run:
    """The experiment's run, finished or not; nothing is created on disk."""
    return Run((results or results_dir()) / "runs" / key(experiment, data))


@contextmanager
def threads_for(experiment: Experiment, accelerator: Accelerator) -> Iterator[None]:
    """One thread for a narrow network on a CPU, unless ``OMP_NUM_THREADS`` decides; the number is restored.

    A narrow network's steps are so short that threads mostly wait for each other: on a machine with other work, two
    were ten times slower than one. As the number depends on the network alone, a run has the same result each time.
    """
    before = torch.get_num_threads()
    narrow = {name for sizes in SMALLER.values() for name in sizes.values()}
    if accelerator.device.type == "cpu" and experiment.backbone in narrow and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_and_evaluate(
    experiment: Experiment,
    data: ReidData,
    folder: Path,
    accelerator: Accelerator,
    keep: str,
    step: str,
    after_epoch: Callable[[nn.Module, int], None] | None,
    log: Callable[[str], None],
) -> None:
    recipe = experiment.recipe
    # Fast checks come first, then the network and its weights, then the slow decoding.
    distributed.local_rows(recipe.batch, accelerator)
    choose(step, accelerator)
    epoch_batches(recipe, data.train_labels, experiment.seed, 0)
    with accelerator.local_main_process_first():  # the other processes then read from the cache
        model = build(experiment, data.train_ids)
        weights = weight_files.record(experiment.weights)  # now, as the file may be gone after the training
        check_rankable(data)
        images = {split: pixels.decode(list(getattr(data, split).path), recipe.size) for split in SPLITS}
        boxes = boxes_of(experiment, data)
    if accelerator.is_main_process:
        _warn_of_namesake(data, folder.parent)
        write_json(folder / "experiment.json", asdict(experiment))
        log(estimates.in_a_line(experiment, device_name(accelerator), folder.parent.parent))
    history = train(
        model,
        images["train"],
        data.train_labels,
        recipe,
        seed=experiment.seed,
        accelerator=accelerator,
        checkpoint=Run(folder).checkpoint,
        boxes=boxes["train"],
        after_epoch=after_epoch,
        step=step,
        log=log if accelerator.is_main_process else lambda line: None,
    )
    start = time.perf_counter()
    query, gallery = (
        extract_descriptors(model, images[split], recipe, accelerator, boxes[split], log=log) for split in SPLITS[1:]
    )
    if not accelerator.is_main_process:
        return
    scores = score(query, gallery, data)
    seconds = {"train": float(history.seconds.sum()), "evaluate": time.perf_counter() - start}
    remarks = [str(remark) for remark in (*data.remarks, *of_little_use(data))]
    provenance = {"weights": weights, "data": remarks, "images": digest("", data)} | _provenance(
        accelerator, history.attrs["step"], seconds
    )
    _save_run(folder, data, model, history, (query, gallery), scores, provenance, keep)
    summary = summarise(scores)
    accelerator.log({name: value for name, value in summary.items() if isinstance(value, float)}, step=recipe.epochs)


def _warn_of_namesake(data: ReidData, runs: Path) -> None:
    """Warn of finished runs on another folder with this data set's name, or on other images of this folder."""
    images = digest("", data)
    if not data.name.startswith(PREFIXES):
        return
    for run in (Run(file.parent) for file in sorted(runs.glob(f"*-{data.name}-*/metrics.json"))):
        if run.is_finished and run.experiment.dataset == data.name and run.provenance.get("images", images) != images:
            warnings.warn(
                f"{run.folder} was trained on other images under the name {data.name}, and the tables of both have the"
                " same file names: rename the data set's folder, or set REIDNB_RESULTS to another results folder",
                stacklevel=2,
            )
            return


def _save_run(
    folder: Path,
    data: ReidData,
    model: nn.Module,
    history: pd.DataFrame,
    descriptors: tuple[torch.Tensor, torch.Tensor],
    scores: metrics.Scores | metrics.SingleShot,
    provenance: dict,
    keep: str,
) -> None:
    query, gallery = descriptors
    labels = labels_of(data)
    top = metrics.ranking(query, gallery, **labels, top=TOP)
    matches = (labels["gallery_pids"][top] == labels["query_pids"][:, None]) & (top >= 0)
    write_atomically(folder / "history.csv", lambda file: history.to_csv(file, index=False))
    if keep == "weights":
        write_atomically(folder / "model.safetensors", lambda file: _save_weights(model, file))
    if keep == "descriptors":
        half = {"query": query.half().cpu().numpy(), "gallery": gallery.half().cpu().numpy()}
        write_atomically(folder / "descriptors.npz", lambda file: _save_npz(file, **half))
    write_atomically(folder / "rankings.npz", lambda file: _save_npz(file, top=top, right=matches))
    if data.protocol != SINGLE_SHOT:  # there a query has a rank for each draw of the gallery
        save_queries(folder / "queries.npz", scores)
    write_json(folder / "provenance.json", provenance)
    # Written last: a folder with metrics.json is a finished run.
    write_json(folder / "metrics.json", summarise(scores))


def load_model(run: Run, data: ReidData | None = None) -> nn.Module:
    """A finished run's trained network, in evaluation mode, on the CPU.

    Without ``data``, its training set, the identities are counted in the weights. Raises FileNotFoundError for a run
    that was saved without its weights.
    """
    if not (run.folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{run.folder} was kept without model.safetensors: remove it and train again with keep='weights'"
        )
    experiment = replace(run.experiment, weights="")
    model = build(experiment, data.train_ids if data else trained_identities(run))
    load_weights(model, run.folder / "model.safetensors")
    return model.eval()


def trained_identities(run: Run) -> int:
    """The number of training identities, from the shapes of a run's weights: each classifier has a row for each.

    Raises ValueError when these weights cannot be those of the run's experiment.
    """
    saved = load_file(run.folder / "model.safetensors")
    built = build(replace(run.experiment, weights=""), 2).state_dict()
    pairs = [(saved[name].shape, value.shape) for name, value in built.items() if name in saved]
    counts = {n for one, other in pairs for n, m in zip(one, other, strict=False) if n != m}
    if len(counts) > 1 or any(len(one) != len(other) for one, other in pairs):
        raise ValueError(f"{run.folder / 'model.safetensors'} does not hold the network of experiment.json beside it")
    return counts.pop() if counts else 2


def boxes_of(experiment: Experiment, data: ReidData) -> dict[str, np.ndarray | None]:
    """Each split's regions R0..R4 (N, 5, 4), x0, y0, x1, y1 as fractions of the image; None if unused."""
    if not by_pose(experiment):
        return dict.fromkeys(SPLITS)
    beta = all_options(experiment)["beta"]
    poses = pose.complete(pose.load(data))
    complete = {split: getattr(poses, split) for split in SPLITS}
    return {name: pose.as_fractions(pose.boxes(*split, beta=beta), split.sizes) for name, split in complete.items()}


def extract_descriptors(
    model: nn.Module, images: np.ndarray, recipe: Recipe, accelerator, boxes=None, change=None, log=print
) -> torch.Tensor:
    """The descriptors with which the recipe's test ranks images."""
    options = {"flip": recipe.flip_test, "unit": recipe.normalise_test, "change": change, "log": log}
    return extract(model, images, accelerator=accelerator, boxes=boxes, **options)


def device_name(accelerator: Accelerator) -> str:
    """The GPU's name, or 'CPU' with the number of threads."""
    threads = torch.get_num_threads()
    is_gpu = accelerator.device.type == "cuda"
    return torch.cuda.get_device_name() if is_gpu else f"CPU, {threads} thread{'s' * (threads > 1)}"


def _provenance(accelerator: Accelerator, step: str, seconds: dict[str, float]) -> dict:
    device, processes = device_name(accelerator), accelerator.num_processes
    plugin = accelerator.state.dynamo_plugin  # set by ACCELERATE_DYNAMO_BACKEND
    dynamo = "" if plugin.backend == DynamoBackend.NO else f", {plugin.backend.value}, {plugin.mode}"
    instructions = torch.backends.cpu.get_cpu_capability()  # such as 'AVX2'; they decide a result's last digits
    packages = ("torch", "torchvision", "accelerate", "numpy", "pandas", "pillow")
    return {
        "device": device if processes == 1 else f"{processes} processes, each on {device}",
        "machine": f"{platform.system()} {platform.machine()}, {instructions}, Python {platform.python_version()}",
        # Not from importlib.metadata, as the package may run from a checkout without installation.
        "packages": {"reidnb": __version__} | {name: version(name) for name in packages},
        "commit": _commit(),
        "step": step + dynamo.lower(),
        "train_seconds": round(seconds["train"], 1),
        "evaluate_seconds": round(seconds["evaluate"], 1),
        "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _commit() -> str:
    """The checkout's commit, with '-dirty' if the package differs from it, or '' outside a checkout."""
    package = str(Path(__file__).parent)

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", package, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        # Only the package is compared, since a study writes its results into the checkout.
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", package) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _save_weights(model: nn.Module, path: Path) -> None:
    """Save every parameter once, also if modules share it, which safetensors detects for contiguous tensors only."""
    save_weights(model.to("cpu", memory_format=torch.contiguous_format), str(path))


def save_queries(path: Path, scores: metrics.Scores) -> None:
    """Write each query's average precision and first rank, as of ``Run.queries``."""
    names = ("valid", "ap", "ap_trapezoid", "first_rank")
    per_query = {name: getattr(scores, name) for name in names}
    write_atomically(path, lambda file: _save_npz(file, **per_query))


def _save_npz(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_json(path: Path, content: dict) -> None:
    """Write a dict as JSON into a run's folder, atomically."""
    write_atomically(path, lambda file: file.write_text(to_json(content)))
