"""What descriptors tell beyond a ranking list: distances of pairs, mAP by cameras, and a flat map of images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..data.dataset import JUNK, ReidData, evenly
from ..evaluation import metrics
from ..evaluation.distances import descriptors
from ..evaluation.scores import labels_of

BLOCK = 256
"""Queries whose distances to the gallery are in memory at once."""
METHODS = ("t-SNE", "UMAP", "PCA")
"""The ways of ``flat_map``."""


@dataclass(frozen=True)
class Pairs:
    """The Euclidean distances of all pairs of a query and a gallery image, as two histograms with the same edges."""

    edges: np.ndarray
    """(bins + 1,)"""
    matches: np.ndarray
    """(bins,): pairs of one person seen by two cameras."""
    others: np.ndarray
    """(bins,): pairs of two persons, distractors included."""

    @property
    def extent(self) -> tuple[float, float]:
        """The edges around all pairs."""
        used = np.flatnonzero(self.matches + self.others)
        return float(self.edges[used[0]]), float(self.edges[used[-1] + 1])


def pair_distances(query: Tensor, gallery: Tensor, data: ReidData, bins: int = 1000) -> Pairs:
    """The distances of the pairs that the protocol ranks: no junk, no pair of one person and one camera.

    query (Q, D) and gallery (G, D) are descriptors of ``data``. Raises ValueError as ``evaluation.distances``.
    """
    query, gallery = descriptors(query, gallery)
    labels = {name: torch.from_numpy(x.copy()) for name, x in labels_of(data).items()}
    centre = gallery.mean(0)
    high = sum(torch.linalg.vector_norm(x - centre, dim=1).max() for x in (query, gallery))
    step = float(high) / bins or 1.0  # one bin holds all where all descriptors are equal
    counts = torch.zeros(2, bins, dtype=torch.int64)
    ranked = labels["gallery_pids"] != JUNK
    for start in range(0, len(query), BLOCK):
        chunk = slice(start, start + BLOCK)
        place = (torch.cdist(query[chunk], gallery) / step).long().clamp_(max=bins - 1)
        same = labels["query_pids"][chunk, None] == labels["gallery_pids"]
        excluded = same & (labels["query_camids"][chunk, None] == labels["gallery_camids"]) | ~ranked
        for kind, pairs in zip(counts, (same & ~excluded, ~same & ~excluded), strict=True):
            kind += torch.bincount(place[pairs], minlength=bins)
    return Pairs(np.arange(bins + 1) * step, counts[0].numpy(), counts[1].numpy())


def roc(pairs: Pairs) -> pd.DataFrame:
    """The ROC of 'the same person if the distance is below the threshold', a row for each edge of the histogram.

    ``accepted_matches`` is the true positive rate, ``accepted_others`` the false positive rate, both as fractions.
    """
    rates = [np.r_[0, counts.cumsum()] / max(counts.sum(), 1) for counts in (pairs.matches, pairs.others)]
    return pd.DataFrame({"threshold": pairs.edges, "accepted_matches": rates[0], "accepted_others": rates[1]})


def area(curve: pd.DataFrame) -> float:
    """The area under the ROC: the probability that a matching pair is nearer than another pair."""
    return float(np.trapezoid(curve.accepted_matches, curve.accepted_others))


def equal_error(curve: pd.DataFrame) -> float:
    """The threshold at which as large a fraction of matches is refused as of other pairs is accepted."""
    return float(curve.threshold[(1 - curve.accepted_matches - curve.accepted_others).abs().argmin()])


def by_cameras(query: Tensor, gallery: Tensor, data: ReidData) -> pd.DataFrame:
    """mAP in percent of the queries of one camera (rows) among the gallery images of another (columns).

    NaN where no query has a match, as on the diagonal, since a person's images from the query's camera are not ranked.
    """
    query, gallery = descriptors(query, gallery)
    labels = labels_of(data)
    rows, columns = np.unique(labels["query_camids"]), np.unique(labels["gallery_camids"])
    table = pd.DataFrame(
        np.nan, pd.Index(rows, name="camera of the query"), pd.Index(columns, name="camera of the gallery")
    )
    for row in rows:
        for column in columns[columns != row]:
            asked, ranked = labels["query_camids"] == row, labels["gallery_camids"] == column
            part = {name: x[asked if name.startswith("query") else ranked] for name, x in labels.items()}
            # Only queries with a match: the evaluation warns where most queries have none, which is usual here.
            has_match = np.isin(part["query_pids"], part["gallery_pids"])
            if has_match.any():
                part |= {name: part[name][has_match] for name in ("query_pids", "query_camids")}
                chosen = torch.from_numpy(np.flatnonzero(asked)[has_match]), torch.from_numpy(np.flatnonzero(ranked))
                table.loc[row, column] = 100 * metrics.evaluate(query[chosen[0]], gallery[chosen[1]], **part).map
    return table


def images_of_people(data: ReidData, count: int, most: int = 40) -> pd.DataFrame:
    """Query and gallery images of ``count`` identities: path, pid, camid, split, and row in its table.

    At most ``most`` images of a person, since distances of thousands of images cannot be shown in one picture.
    """
    pids = evenly(data.query.pid.unique(), count)
    parts = {"query": data.query, "gallery": data.gallery}
    tables = [x[x.pid.isin(pids)].assign(split=split).reset_index(names="row") for split, x in parts.items()]
    return pd.concat(tables).groupby("pid").head(most).reset_index(drop=True)


def flat_map(x: Tensor, method: str = "t-SNE") -> np.ndarray:
    """Positions (N, 2), each axis in [0, 1], of descriptors (N, D) by one of ``METHODS``.

    t-SNE (van der Maaten and Hinton 2008) and UMAP (McInnes et al. 2018, by umap-learn) keep neighbours together, while
    distances between groups mean little; both start from PCA, so that the same descriptors give the same map. Raises
    ValueError for fewer than five images, another method, UMAP without the package umap-learn, or where it has no map.
    """
    if method not in METHODS:
        raise ValueError(f"a map is made by {', '.join(METHODS[:-1])} or {METHODS[-1]}, got {method!r}")
    if len(x) < 5:
        raise ValueError(f"a map needs at least five images, got {len(x)}")
    values = (x - x.mean(0)).double().cpu().numpy()
    left, scale, _ = np.linalg.svd(values, full_matrices=False)
    places = np.zeros((len(x), 2))
    places[:, : len(scale)] = left[:, :2] * scale[:2]
    if method != "PCA":
        places = _by_neighbours(values, places / (places[:, 0].std() or 1), method)
    if not np.isfinite(places).all():  # as of UMAP, where all descriptors are equal
        raise ValueError(f"{method} has no map of these descriptors: choose another method.")
    extent = np.ptp(places, axis=0)
    return (places - places.min(0)) / np.where(extent > 0, extent, 1)


def _by_neighbours(values: np.ndarray, start: np.ndarray, method: str) -> np.ndarray:
    """Positions (N, 2) by t-SNE or UMAP, from a start of unit width; either is imported here, which takes seconds."""
    if method == "t-SNE":
        from sklearn.manifold import TSNE

        perplexity = min(30, (len(values) - 1) / 3)
        return TSNE(init=start * 1e-4, perplexity=perplexity, random_state=0).fit_transform(values)
    try:
        from umap import UMAP
    except ImportError as error:
        raise ValueError("UMAP needs the package umap-learn: pip install umap-learn, or choose t-SNE.") from error
    neighbours = min(15, len(values) - 1)
    # One thread, without which a seed does not decide the result.
    return UMAP(n_neighbors=neighbours, init=10 * start, random_state=0, n_jobs=1).fit_transform(values)
