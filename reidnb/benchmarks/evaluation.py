"""Time and memory of evaluation and re-ranking, on the CPU and on a GPU if there is one, beside torchreid's if
installed (`performance.ipynb`).

Descriptors are random, so no images are needed. Each measurement runs in a new process, which creates its inputs, warms
up on a small problem, and only then starts the clock and resets the memory's high-water mark. What would take too long
is projected from the measurement before it.
"""

import importlib.util
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..evaluation.distances import row_blocks
from ..evaluation.metrics import evaluate, evaluate_distances
from ..evaluation.rerank import rerank
from ..evaluation.rerank_by_graph import rerank_by_graph

TASKS = ("matrix product", "scores from distances", "evaluation", "re-ranking", "re-ranking by graph")
GPU = "reidnb, GPU"
PACKAGES = ("reidnb", GPU, "torchreid")
SIZES = {"market1501": (3368, 19732), "msmt17": (11659, 82161)}
"""Numbers of queries and gallery images."""
LARGE = (100_000, 1_000_000)
"""Galleries beyond those of the data sets, with as many queries as the data set, to see how time grows."""

Size = tuple[int, int, int]
"""Numbers of queries, gallery images, and dimensions."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Random descriptors and labels: query (Q, D), gallery (G, D), squared distances (Q, G) if computed."""

    query: Tensor
    gallery: Tensor
    ids: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """query_pids, query_camids, gallery_pids, gallery_camids."""
    distances: Tensor | None

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """The labels as keyword arguments of ``metrics``."""
        return dict(zip(("query_pids", "query_camids", "gallery_pids", "gallery_camids"), self.ids, strict=True))

    def to(self, device: str) -> "Problem":
        """The problem with its tensors on a device."""
        moved = (None if x is None else x.to(device) for x in (self.query, self.gallery, self.distances))
        query, gallery, distances = moved
        return Problem(query, gallery, self.ids, distances)


def sizes(profile: str, dataset: str) -> list[Size]:
    """Problems of increasing size, up to that of the data set (Market-1501's if it is not in `SIZES`).

    "smoke" and "demo" stop at a fraction of it, "quick" reaches it, and "paper" adds MSMT17's size; all but "smoke"
    then continue with `LARGE` galleries. Raises ValueError for an unknown profile.
    """
    full = 2048, (4, 2, 1)
    profiles = {"smoke": (16, (64, 32)), "demo": (512, (8, 4, 2)), "quick": full, "paper": full}
    if profile not in profiles:
        raise ValueError(f"unknown profile {profile!r}: known are {', '.join(profiles)}")
    queries, images = SIZES.get(dataset, SIZES["market1501"])
    dimensions, divisors = profiles[profile]
    problems = [(queries // divisor, images // divisor, dimensions) for divisor in divisors]
    if profile == "paper":
        problems.append((*SIZES["msmt17"], 512))
    return problems if profile == "smoke" else problems + [(queries, large, dimensions) for large in LARGE]


def random_problem(size: Size, distances: bool = False) -> Problem:
    """Random descriptors, clustered by person, with ratios of people and distractors to images as in Market-1501."""
    queries, images, dimensions = size
    rng = np.random.default_rng(0)
    people = max(2, images // 26)
    query_pids, gallery_pids = rng.integers(1, people + 1, queries), rng.integers(1, people + 1, images)
    gallery_pids[: images // 3] = 0
    centres = rng.standard_normal((people + 1, dimensions), np.float32)
    query, gallery = (rng.standard_normal((n, dimensions), np.float32) for n in (queries, images))
    query += 0.4 * centres[query_pids]
    gallery[images // 3 :] += 0.4 * centres[gallery_pids[images // 3 :]]
    query, gallery = torch.from_numpy(query), torch.from_numpy(gallery)
    squared = torch.cdist(query, gallery).square_() if distances else None
    return Problem(
        query, gallery, (query_pids, rng.integers(6, size=queries), gallery_pids, rng.integers(6, size=images)), squared
    )


def torchreid_path() -> str:
    """The installed implementation of torchreid's evaluation: "Cython", "Python", or "" if it is not installed."""
    if not _file("metrics/rank.py"):
        return ""
    return "Cython" if _file("metrics/rank_cylib/rank_cy*.so") else "Python"


def measure_all(problems: list[Size], *, threads: int = 2, repeats: int = 3, limit: float = 60.0) -> pd.DataFrame:
    """A row for each size, task and package.

    Columns: queries, gallery, dimensions, task, package, seconds (minimum over the repeats), megabytes (peak above the
    inputs; NaN except on Linux), map, projected (seconds, where they were not measured), and a note on why not. What
    would take more than `limit` seconds, or more memory than there is, is projected from the last measurement of the
    same task and package by the number of operations.
    """
    rows, latest = [], {}
    missing = [package for package, is_there in ((GPU, _has_gpu()), ("torchreid", torchreid_path())) if not is_there]
    todo = [(s, t, p) for s in problems for t in TASKS for p in PACKAGES if p not in missing and _exists(t, p)]
    for size, task, package in tqdm(todo, desc="measuring"):
        result = dict.fromkeys(("seconds", "megabytes", "map", "projected"), math.nan) | {"note": ""}
        seconds = _projected(size, task, latest.get((task, package)))
        needed, usable = _needed(size, task, package), 0.9 * _available(package)
        if needed > usable:
            result["note"] = f"needs about {needed / 1e9:.1f} GB; {usable / 1e9:.1f} GB can be used"
        elif seconds > limit:
            result["note"] = f"would take more than {limit:g} s"
        else:
            result |= measure(size, task, package, threads=threads, repeats=repeats)
        if math.isnan(result["seconds"]):
            result["projected"] = seconds
        else:
            latest[task, package] = size, result["seconds"]
        rows.append(
            dict(zip(("queries", "gallery", "dimensions"), size, strict=True))
            | {"task": task, "package": package}
            | result
        )
    return pd.DataFrame(rows)


def _exists(task: str, package: str) -> bool:
    """Whether a package has a task: torchreid has neither the bare product nor re-ranking by graph."""
    return package != "torchreid" or task in TASKS[1:4]


def _projected(size: Size, task: str, latest: tuple[Size, float] | None) -> float:
    """Seconds from the latest measurement (size, seconds), by the number of operations; NaN without one."""
    return math.nan if latest is None else latest[1] * _operations(size, task) / _operations(latest[0], task)


def _operations(size: Size, task: str) -> float:
    """Operations up to a constant: of the matrix products, or one per distance where distances are given."""
    queries, images, dimensions = size
    if "re-ranking" in task:
        return (queries + images) ** 2 * dimensions
    return queries * images * (1 if task == "scores from distances" else dimensions)


def measure(size: Size, task: str, package: str, *, threads: int = 2, repeats: int = 3) -> dict:
    """The measured columns of one row of `measure_all`, in a separate process."""
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload([__name__])  # imported once, not for each measurement
    # A new process would run the caller's script again, which need not ask for its __name__; this module is enough.
    script = patch.dict(sys.modules, {"__main__": ModuleType("__main__")})
    with script, ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, size, task, package, threads, repeats).result()
        except BrokenProcessPool:
            return {"note": "its process was killed: out of memory?"}


def _measure(size: Size, task: str, package: str, threads: int, repeats: int) -> dict:
    torch.set_num_threads(threads)
    work = _torchreid(task) if package == "torchreid" else WORK[task]
    distances, device = task == TASKS[1], "cuda" if package == GPU else "cpu"
    work(random_problem((40, 100, 16), distances).to(device))
    problem = random_problem(size, distances).to(device)
    before = _peak(device, reset=True)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        score = work(problem)
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "megabytes": (_peak(device) - before) / 1e6, "map": score}


def _product(p: Problem) -> float:
    """The product alone, in the blocks in which `evaluate` computes it."""
    for _, rows, block in row_blocks(p.query, len(p.gallery), None):
        torch.mm(rows, p.gallery.T, out=block)
    if p.gallery.is_cuda:
        torch.cuda.synchronize()
    return math.nan


WORK: dict[str, Callable[[Problem], float]] = {
    "matrix product": _product,
    "scores from distances": lambda p: evaluate_distances(p.distances, **p.labels).map,
    "evaluation": lambda p: evaluate(p.query, p.gallery, **p.labels).map,
    "re-ranking": lambda p: evaluate_distances(rerank(p.query, p.gallery), **p.labels).map,
    "re-ranking by graph": lambda p: evaluate_distances(rerank_by_graph(p.query, p.gallery), **p.labels).map,
}


def _torchreid(task: str) -> Callable[[Problem], float]:
    """A task with torchreid's functions, called as in its engine."""
    score, distances, re_ranking = _torchreid_functions()

    def scored(matrix: np.ndarray, p: Problem) -> float:
        query_pids, query_camids, gallery_pids, gallery_camids = p.ids
        return float(score(matrix, query_pids, gallery_pids, query_camids, gallery_camids, 50)[1])

    def reranked(p: Problem) -> float:
        pairs = (p.query, p.gallery), (p.query, p.query), (p.gallery, p.gallery)
        # Roots, since torchreid squares the already squared distances: so both compute the published algorithm.
        roots = [distances(a, b).clamp_(min=0).sqrt_().numpy() for a, b in pairs]
        return scored(re_ranking(*roots), p)

    return {
        "scores from distances": lambda p: scored(p.distances.numpy(), p),
        "evaluation": lambda p: scored(distances(p.query, p.gallery).numpy(), p),
        "re-ranking": reranked,
    }[task]


def _torchreid_functions() -> tuple[Callable, Callable, Callable]:
    """torchreid's scoring, distances and re-ranking, imported file by file, as the package has many dependencies."""
    patterns = ("metrics/rank.py", "metrics/rank_cylib/rank_cy*.so", "metrics/distance.py", "utils/rerank.py")
    files = [_file(pattern) for pattern in patterns]
    with patch.dict(sys.modules, {"torchreid": None}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rank, cython, distance, reranking = (file and _load(file) for file in files)
    score = cython.evaluate_cy if cython else rank.evaluate_rank
    return score, distance.compute_distance_matrix, reranking.re_ranking


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.name.split(".")[0], file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _file(pattern: str) -> Path | None:
    """A file of torchreid, wherever its version has it; None if it is not installed. Imports nothing."""
    spec = importlib.util.find_spec("torchreid")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.rglob(pattern))), None)


def _needed(size: Size, task: str, package: str) -> float:
    """Approximate bytes needed, extrapolated from measurements at Market-1501's size."""
    queries, images, dimensions = size
    total, pairs = queries + images, queries * images
    descriptors = (16 if "re-ranking" in task else 8) * total * dimensions
    if package == "torchreid":
        return descriptors + (24 * total**2 if task == "re-ranking" else 24 * pairs)
    if task in ("matrix product", "evaluation"):
        return descriptors + 1e9
    return descriptors + 1e9 + (12 * pairs if task == TASKS[1] else 4 * pairs)


def _has_gpu() -> bool:
    return torch.cuda.is_available()


def _available(package: str) -> float:
    """Bytes of memory available to a new process; infinity if the system does not report it."""
    if package == GPU:
        return torch.cuda.mem_get_info()[0]
    return _kilobytes("/proc/meminfo", "MemAvailable", math.inf) * 1024


def _peak(device: str, reset: bool = False) -> float:
    """Peak memory of this process in bytes, since the last reset; NaN if the system does not report it."""
    if device == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if reset and Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    return _kilobytes("/proc/self/status", "VmHWM", math.nan) * 1024


def _kilobytes(file: str, name: str, default: float) -> float:
    try:
        return next(float(line.split()[1]) for line in Path(file).read_text().splitlines() if line.startswith(name))
    except (OSError, StopIteration):
        return default
