"""Further metrics of finished runs, without training: re-ranked, on another data set, or for single regions."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F

from .data import pixels
from .data.dataset import SINGLE_SHOT, ReidData
from .evaluation import metrics
from .evaluation.rerank import rerank
from .evaluation.scores import check_rankable, evaluate, labels_of, nan_for_null, summarise
from .papers.experiments import build, digest
from .results import Run, read_metrics
from .runs import boxes_of, extract_descriptors, load_model, save_queries, write_json
from .training.extract import has_room
from .training.loop import make_accelerator

NEIGHBOURS = (20, 6)
"""k1 and k2 of re-ranking, as Zhong et al. print them: the sizes of neighbourhoods."""


def descriptors(
    run: Run,
    data: ReidData,
    other: ReidData | None = None,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    log: Callable[[str], None] = print,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Query (Q, D) and gallery (G, D) descriptors by a finished run's model of its ``data``, or of ``other``, on the
    device where they are computed if there is room.

    ``change`` is applied to each batch of decoded images (n, H, W, 3), first of the queries; ``log`` gets lines of
    progress.
    """
    recipe = run.experiment.recipe
    accelerator = make_accelerator(recipe.precision)
    saved = run.folder / "descriptors.npz"
    if saved.exists() and other is None and change is None:
        with np.load(saved, allow_pickle=False) as file:
            halves = [torch.from_numpy(file[split]) for split in ("query", "gallery")]
        room = has_room(4 * sum(half.numel() for half in halves), accelerator.device)
        return tuple(half.to(accelerator.device if room else "cpu").float() for half in halves)
    model = load_model(run, data)
    tested = other or data
    boxes = boxes_of(run.experiment, tested)
    splits = {"query": tested.query, "gallery": tested.gallery}
    return tuple(
        extract_descriptors(
            model, pixels.decode(list(table.path), recipe.size), recipe, accelerator, boxes[split], change, log
        )
        for split, table in splits.items()
    )


def reranked(run: Run, data: ReidData) -> dict:
    """The run's metrics after k-reciprocal re-ranking (Zhong et al. 2017), cached in its folder.

    All NaN by the single-shot protocol, where one gallery image per identity gives no reciprocal neighbours. In a
    gallery with fewer images than neighbourhoods have, these are as large as the gallery (``limited_reranking``).
    """
    if data.protocol == SINGLE_SHOT:
        return dict.fromkeys(run.metrics, math.nan)
    file = run.folder / "metrics-reranked.json"
    per_query = run.folder / "queries-reranked.npz"
    if not _is_kept(file) or (per_query.exists() and not _is_kept(per_query)):
        query, gallery = descriptors(run, data)
        k1, k2 = (min(k, len(gallery)) for k in NEIGHBOURS)
        scores = metrics.evaluate_distances(rerank(query, gallery, k1, k2), **labels_of(data))
        save_queries(per_query, scores)
        write_json(file, summarise(scores) | ({} if (k1, k2) == NEIGHBOURS else {"k1": k1, "k2": k2}))
    return {name: value for name, value in read_metrics(file).items() if name not in ("k1", "k2")}


def limited_reranking(run: Run) -> str:
    """In words, the k1 and k2 of a re-ranked run whose gallery is too small for the usual ones; '' otherwise."""
    file = run.folder / "metrics-reranked.json"
    limited = read_metrics(file) if file.exists() else {}
    if "k1" not in limited:
        return ""
    k1, k2 = NEIGHBOURS
    return (
        f"Re-ranked with k1 = {limited['k1']} and k2 = {limited['k2']}, as the gallery is too small for {k1} and {k2}."
    )


def cross_domain(run: Run, data: ReidData, other: ReidData) -> dict:
    """The metrics on ``other`` of a run that was trained on ``data``, cached in the run's folder."""
    file = run.folder / f"metrics-on-{other.name}-{digest('', other)[:8]}.json"
    if not _is_kept(file):
        check_rankable(other)
        query, gallery = descriptors(run, data, other)
        write_json(file, evaluate(query, gallery, other))
    return read_metrics(file)


def by_region(run: Run, data: ReidData) -> dict[str, dict]:
    """The metrics of each region's part of the run's descriptor, L2-normalised, cached in the run's folder.

    The regions are the ``columns`` of the run's network.
    """
    file = run.folder / "metrics-regions.json"
    if not _is_kept(file):
        columns = build(replace(run.experiment, weights=""), data.train_ids).columns
        query, gallery = descriptors(run, data)
        by_name = {
            name: evaluate(F.normalize(query[:, part]), F.normalize(gallery[:, part]), data)
            for name, part in columns.items()
        }
        write_json(file, by_name)
    return {name: nan_for_null(values) for name, values in json.loads(file.read_text()).items()}


def _is_kept(file: Path) -> bool:
    """Whether a file of derived metrics is there; one that is damaged is renamed, and derived again."""
    if not file.exists():
        return False
    try:
        if file.suffix == ".npz":
            np.load(file, allow_pickle=False).close()
        else:
            json.loads(file.read_text()).items()
    except (AttributeError, BadZipFile, EOFError, ValueError):
        file.replace(file.with_name(f"{file.name}.damaged"))
        return False
    return True
