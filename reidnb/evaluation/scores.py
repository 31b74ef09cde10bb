"""The metrics of a data set under its protocol, in the form in which a run stores them."""

import math

import numpy as np
import torch

from ..data.dataset import DISTRACTOR, SINGLE_SHOT, ReidData
from . import metrics

RANKS = (1, 5, 10, 20)


def check_rankable(data: ReidData) -> None:
    """Raise ValueError when no query has an image of its person from another camera in the gallery."""
    cameras_of = data.gallery[data.gallery.pid > DISTRACTOR].groupby("pid").camid.agg(set)
    pairs = zip(data.query.pid, data.query.camid, strict=True)
    if not any(cameras_of.get(pid, set()) - {camid} for pid, camid in pairs):
        cameras = sorted({*data.query.camid, *data.gallery.camid})
        raise ValueError(
            f"{data.name} in {data.root} cannot be evaluated: no query has a gallery image of its identity from"
            f" another camera (cameras found: {', '.join(map(str, cameras))})"
        )


def evaluate(query: torch.Tensor, gallery: torch.Tensor, data: ReidData) -> dict:
    """The metrics, in the form of ``Run.metrics``, from the descriptors of a data set's queries and gallery."""
    return summarise(score(query, gallery, data))


def score(query: torch.Tensor, gallery: torch.Tensor, data: ReidData) -> metrics.Scores | metrics.SingleShot:
    """The scores under the data set's protocol: single-shot CMC, or each query's AP and first rank."""
    by_protocol = metrics.single_shot_cmc if data.protocol == SINGLE_SHOT else metrics.evaluate
    return by_protocol(query, gallery, **labels_of(data))


def labels_of(data: ReidData) -> dict[str, np.ndarray]:
    """The labels that ``evaluation.metrics`` takes, by name: query_pids, query_camids, gallery_pids, gallery_camids."""
    tables = {"query": data.query, "gallery": data.gallery}
    return {f"{name}_{label}s": table[label].to_numpy() for name, table in tables.items() for label in ("pid", "camid")}


def summarise(scores: metrics.Scores | metrics.SingleShot) -> dict:
    """Metrics in percent, None for those that the protocol does not define; ``cmc`` is a list of fractions."""
    summary = {name: getattr(scores, name, None) for name in ("map", "map_trapezoid", "minp")}
    summary |= {f"rank{k}": scores.rank(k) for k in RANKS}
    summary = {name: None if value is None else round(100 * float(value), 4) for name, value in summary.items()}
    summary |= {"queries": int(scores.queries), "left_out": int(scores.left_out)}
    return summary | {"cmc": [round(float(c), 6) for c in scores.cmc]}


def nan_for_null(metrics: dict) -> dict:
    """The metrics with NaN in place of None (null in JSON), for metrics that the protocol does not define."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}
