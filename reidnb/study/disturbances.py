"""What networks rely on: their ranking with the background exchanged, and with a part of the person hidden.

Both change the queries of a synthetic street, where the person's mask is known; the gallery stays as it is. A query is
compared with itself, so that differences are paired.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .. import street
from ..data import catalog, pixels
from ..data.augment import MEAN
from ..evaluation import metrics
from ..evaluation.scores import labels_of
from ..evaluation.significance import statistics
from ..papers import PAPERS
from ..rescoring import descriptors
from ..results import Run
from ..runs import boxes_of, extract_descriptors, load_model
from ..training.loop import make_accelerator
from .attention import Networks, truth_of

BACKGROUNDS = AS_IT_IS, OTHER_PLACE, OTHER_CAMERA = "as it is", "another place", "another camera"
"""The background of a query: unchanged, a place elsewhere in its camera's view, or a place that another camera sees."""
SIDES = ("bottom", "top")
AMOUNTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
TOP = 10


def next_camera(camids: ArrayLike) -> np.ndarray:
    """For each image the camera after its own among those of all images, so that every camera is chosen as often."""
    cameras, number = np.unique(np.asarray(camids), return_inverse=True)
    return cameras[(number + 1) % len(cameras)]


def pasted(images: np.ndarray, masks: np.ndarray, backgrounds: np.ndarray) -> np.ndarray:
    """The people of images (N, H, W, 3) uint8, cut out by masks (N, H, W) bool, on other backgrounds (N, H, W, 3)."""
    if not images.shape == backgrounds.shape == (*masks.shape, 3):
        raise ValueError(
            f"images and backgrounds have the masks' shape and 3 colours, got {images.shape}, {backgrounds.shape}"
            f" and masks {masks.shape}"
        )
    return np.where(masks[..., None], images, backgrounds)


def hide(images: np.ndarray, masks: np.ndarray, amount: float, side: str = "bottom") -> np.ndarray:
    """Images (N, H, W, 3) uint8 whose rows are covered from one side until ``amount`` of the person is hidden.

    The fewest rows are covered that hold this fraction of the mask's pixels (N, H, W) bool; they take the mean colour,
    as random erasing does. Raises ValueError for another side or an amount outside [0, 1].
    """
    if side not in SIDES:
        raise ValueError(f"side={side!r}: allowed are {', '.join(map(repr, SIDES))}")
    if not 0 <= amount <= 1:
        raise ValueError(f"amount is a fraction of the person and must lie in [0, 1], got {amount}")
    hidden, height = np.array(images), images.shape[1]
    in_row = masks.sum(2) if side == "top" else masks.sum(2)[:, ::-1]  # (N, H), from the covered side
    before = np.cumsum(in_row, 1) - in_row
    covered = before < amount * in_row.sum(1, keepdims=True)
    rows = covered if side == "top" else covered[:, ::-1]
    hidden[rows.reshape(-1, height)] = np.rint(255 * np.array(MEAN)).astype(np.uint8)
    return hidden


def queries_of(data: catalog.ReidData) -> tuple[np.ndarray, np.ndarray]:
    """A street's query images (Q, H, W, 3) uint8 at the size at which they were rendered, and their masks (Q, H, W)."""
    masks = truth_of(data).masks
    return pixels.read(list(data.query.path), masks.shape[1:]), masks


def with_backgrounds(data: catalog.ReidData) -> dict[str, np.ndarray]:
    """A street's queries with each of ``BACKGROUNDS``, (Q, H, W, 3) uint8; the other camera is ``next_camera``.

    Where something stood before the person its place in the mask is background too.
    """
    images, masks = queries_of(data)
    camids = {OTHER_PLACE: data.query.camid.to_numpy(), OTHER_CAMERA: next_camera(data.query.camid)}
    walls = {name: street.empty_street(data.root, of) for name, of in camids.items()}
    return {AS_IT_IS: images} | {name: pasted(images, masks, wall) for name, wall in walls.items()}


def score_queries(run: Run, data: catalog.ReidData, variants: Mapping[object, np.ndarray]) -> dict:
    """For each variant of a data set's queries (Q, H, W, 3) uint8, a frame with a row for each query with a match.

    Columns: query, ap (plain average precision), ``next camera``, the fraction of the first ten gallery images that the
    ``next_camera`` of the query took, and ``seen there``, whether that camera has images of the query's person. The
    people's boxes stay those of the undisturbed queries.
    """
    model, recipe, labels = load_model(run, data), run.experiment.recipe, labels_of(data)
    chosen = next_camera(data.query.camid)
    seen = pd.MultiIndex.from_arrays([data.query.pid, chosen]).isin(
        pd.MultiIndex.from_frame(data.gallery[["pid", "camid"]])
    )
    gallery, boxes = descriptors(run, data)[1], boxes_of(run.experiment, data)["query"]
    accelerator, camids = make_accelerator(recipe.precision), data.gallery.camid.to_numpy()
    frames = {}
    for name, images in variants.items():
        query = extract_descriptors(model, pixels.resize(images, recipe.size), recipe, accelerator, boxes)
        scores = metrics.evaluate(query, gallery, **labels)
        top = metrics.ranking(query, gallery, **labels, top=TOP)
        taken = (camids[top] == chosen[:, None]) & (top >= 0)
        columns = {"query": np.flatnonzero(scores.valid), "ap": scores.ap, "seen there": seen[scores.valid]}
        columns["next camera"] = (taken.sum(1) / (top >= 0).sum(1).clip(1))[scores.valid]
        frames[name] = pd.DataFrame(columns)
    return frames


def exchanged(runs: Networks, data: catalog.ReidData) -> pd.DataFrame:
    """``score_queries`` of each network for each of ``BACKGROUNDS``: columns paper, network, seed, background, ..."""
    return _scored(runs, data, {(name,): images for name, images in with_backgrounds(data).items()}, "background")


def occluded(runs: Networks, data: catalog.ReidData) -> pd.DataFrame:
    """``score_queries`` of each network with growing parts of the person hidden: columns paper, network, seed, side,
    amount, query, ..."""
    images, masks = queries_of(data)
    variants = {(side, amount): hide(images, masks, amount, side) for side in SIDES for amount in AMOUNTS}
    return _scored(runs, data, variants, "side", "amount")


def _scored(runs: Networks, data: catalog.ReidData, variants: Mapping[tuple, np.ndarray], *names: str) -> pd.DataFrame:
    """``score_queries`` of each network; the columns ``names`` have the values of each variant's key."""
    return pd.concat(
        [
            frame.assign(paper=paper, network=kind, seed=seed, **dict(zip(names, key, strict=True)))
            for (paper, kind, seed), one in runs.items()
            for key, frame in score_queries(one, data, variants).items()
        ],
        ignore_index=True,
    )


def by_value(frame: pd.DataFrame, column: str, value: str = "ap") -> dict:
    """Of one training's rows: for each value of ``column`` the queries' ``value``, in percent, indexed by query."""
    return {name: 100 * group.set_index("query")[value] for name, group in frame.groupby(column)}


def kept(disturbed: pd.Series, undisturbed: pd.Series) -> pd.Series:
    """For each query a value, in percent, whose mean is the fraction of its mAP that a network keeps.

    The fraction is a ratio of means, r = mean(disturbed) / mean(undisturbed), and a query's value is its linearisation
    r + (disturbed - r undisturbed) / mean(undisturbed) (the delta method), so that it can be bootstrapped as a mean.
    A loss in points would favour weak networks, which have less to lose. Raises ValueError if nothing can be kept.
    """
    if not undisturbed.mean() > 0:
        raise ValueError("the mAP of the undisturbed queries is 0, so no fraction of it can be kept")
    ratio = disturbed.mean() / undisturbed.mean()
    return 100 * (ratio + (disturbed - ratio * undisturbed) / undisturbed.mean())


def background_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each network of ``exchanged`` and each question, in points, with their ``significance.statistics``.

    follows           by how many points more of the first ten images are of the camera of the new background
    mAP ... was seen  what mAP gains by the new background, of queries whose person that camera has seen, and of others

    Each compares another camera with another place of the query's own camera, so that the seam of the cut counts in
    neither; ``from`` and ``to`` are the two means, ``change`` is that of their difference.
    """
    rows = []
    for (paper, kind), group in frame.groupby(["paper", "network"], sort=False):
        trainings = [_answers(of_seed) for _, of_seed in group.groupby("seed")]
        for measure in trainings[0]:
            pairs = [answers[measure] for answers in trainings]
            row = {"paper": PAPERS[paper].short, "network": kind, "measure": measure}
            row |= {"queries": len(pairs[0]), "seeds": len(pairs)}
            row |= {end: np.mean([pair[end].mean() for pair in pairs]) for end in ("from", "to")}
            if len(pairs[0]):
                row |= statistics([pair["to"] - pair["from"] for pair in pairs], "change")
            rows.append(row)
    return pd.DataFrame(rows)


def _answers(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Of one training: for each question of ``background_table`` its queries' values, ``from`` and ``to``."""
    seen = rows[rows.background == AS_IT_IS].set_index("query")["seen there"]
    taken, ap = by_value(rows, "background", "next camera"), by_value(rows, "background")
    asked = {"follows": (taken, seen | True), "mAP, person seen there": (ap, seen), "mAP, not seen": (ap, ~seen)}
    return {
        measure: pd.DataFrame({"from": values[OTHER_PLACE], "to": values[OTHER_CAMERA]})[chosen]
        for measure, (values, chosen) in asked.items()
    }


def occlusion_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each network, side and amount of ``occluded``: mAP, and the fraction ``kept``, with its std, low, high.

    All in percent, the latter those of ``significance.statistics``.
    """
    rows = []
    for (paper, kind, side), group in frame.groupby(["paper", "network", "side"], sort=False):
        trainings = [by_value(of_seed, "amount") for _, of_seed in group.groupby("seed")]
        for amount in trainings[0]:
            row = {"paper": PAPERS[paper].short, "network": kind, "side": side, "hidden": 100 * amount}
            row |= {"seeds": len(trainings), "mAP": np.mean([ap[amount].mean() for ap in trainings])}
            rows.append(row | statistics([kept(ap[amount], ap[0.0]) for ap in trainings], "kept"))
    return pd.DataFrame(rows)
