"""How well finished runs rank without and with re-ranking, exact and approximate (``performance.ipynb``)."""

import time
from pathlib import Path

import pandas as pd

from ..data.dataset import ReidData
from ..evaluation import metrics
from ..evaluation.rerank import rerank
from ..evaluation.rerank_by_graph import rerank_by_graph
from ..evaluation.scores import labels_of
from ..papers import PAPERS
from ..rescoring import NEIGHBOURS, descriptors
from ..results import Run, all_runs
from ..runs import run_of


def best_runs(data: ReidData, results: Path) -> list[Run]:
    """Each paper's finished run with the highest mAP on this data set whose descriptors can be computed or read."""
    best = {}
    for run in all_runs(results):
        has_descriptors = any((run.folder / name).exists() for name in ("model.safetensors", "descriptors.npz"))
        if has_descriptors and run.experiment.dataset == data.name and _has_its_key(run, data, results):
            name = run.experiment.paper
            if name not in best or run.metrics["map"] > best[name].metrics["map"]:
                best[name] = run
    return [best[name] for name in PAPERS if name in best]


def _has_its_key(run: Run, data: ReidData, results: Path) -> bool:
    """Whether the run is one on this copy of the data; not if its key is unknown, as its file of weights is gone."""
    try:
        return run_of(run.experiment, data, results).folder == run.folder
    except (OSError, ValueError):
        return False


def compare_reranking(runs: list[Run], data: ReidData) -> pd.DataFrame:
    """A row for each run and way of ranking: run, ranking, map and rank1 in percent, seconds from descriptors to
    scores, and the device that computed them."""
    labels, rows = labels_of(data), []
    for run in runs:
        query, gallery = descriptors(run, data)
        size = {"k1": min(26, len(query) + len(gallery))}
        ways = {
            "by distance": lambda q, g: metrics.evaluate(q, g, **labels),
            "k-reciprocal": lambda q, g: metrics.evaluate_distances(
                rerank(q, g, *(min(k, len(g)) for k in NEIGHBOURS)), **labels
            ),
            "by graph": lambda q, g, size=size: metrics.evaluate_distances(rerank_by_graph(q, g, **size), **labels),
        }
        for name, scored in ways.items():
            start = time.perf_counter()
            scores = scored(query, gallery)
            seconds = time.perf_counter() - start
            accuracy = {"map": 100 * scores.map, "rank1": 100 * scores.rank(1)}
            paper = PAPERS[run.experiment.paper].short
            rows.append({"run": paper, "ranking": name, **accuracy, "seconds": seconds, "device": gallery.device.type})
    return pd.DataFrame(rows)
