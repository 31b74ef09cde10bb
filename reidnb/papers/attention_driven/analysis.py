"""What the figures show, and beyond the paper: with one part of every query hidden, which fusion is most robust?

Section 3.4 claims that inter-attention weights each part by its importance in the image. Hiding a part should therefore
lower its mu, and cost less accuracy than with concatenation or a fully connected fusion.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from ... import pose
from ...data import pixels
from ...data.augment import MEAN, normalise
from ...data.catalog import ReidData
from ...data.dataset import DISTRACTOR
from ...data.samples import distinct_queries, read_images
from ...evaluation.scores import evaluate
from ...figures.pose import SHOWN
from ...pose.canonical import THRESHOLD
from ...rescoring import descriptors
from ...results import Run
from ...runs import boxes_of, load_model
from ...training.extract import extract
from ...training.loop import make_accelerator
from .branches import PARTS, STRIPS

NOTHING = "nothing"


def hide(images: np.ndarray, boxes: np.ndarray, part: str) -> np.ndarray:
    """The images (N, H, W, 3) uint8 with one part's box filled with the mean colour; ``boxes`` (N, 5, 4) fractions.

    ``part`` is a name of ``PARTS``, or 'nothing'. Boxes overlap, so a strip of each neighbouring part is hidden too.
    """
    hidden = np.array(images)
    if part == NOTHING:
        return hidden
    if part not in PARTS:
        raise ValueError(f"part={part!r}: allowed are {', '.join((NOTHING, *PARTS))}")
    colour = np.rint(255 * np.array(MEAN)).astype(np.uint8)
    height, width = images.shape[1:3]
    places = np.rint(boxes[:, 1 + PARTS.index(part)] * (width, height, width, height)).astype(int)
    for image, (x0, y0, x1, y1) in zip(hidden, places, strict=True):
        image[y0:y1, x0:x1] = colour
    return hidden


@torch.inference_mode()
def weights(model: nn.Module, images: np.ndarray, boxes: np.ndarray, batch: int = 64) -> np.ndarray:
    """mu (N, 4) of eq. 8 for images (N, H, W, 3) uint8; NaN for a network without inter-attention."""
    model.eval()
    if not getattr(model, "inter", None):
        return np.full((len(images), len(PARTS)), np.nan)
    mu = []
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        output = model(normalise(torch.from_numpy(np.array(images[part]))), boxes=torch.from_numpy(boxes[part]))
        mu.append(output.maps["mu"])
    return torch.cat(mu).numpy()


def hidden_parts(runs: Mapping[str, Run], data: ReidData) -> pd.DataFrame:
    """A row for each run and hidden part: rank1 and map in percent, and the mean mu of every part (``mu_<part>``).

    The queries' boxes stay those of the unoccluded person, as if the pose were still known; the gallery is unchanged.
    """
    rows = []
    for name, run in runs.items():
        model, boxes = load_model(run, data), boxes_of(run.experiment, data)["query"]
        if boxes is None:
            raise ValueError(f"the run {name!r} takes no parts by pose, so none can be hidden")
        gallery = descriptors(run, data)[1]
        images = pixels.decode(list(data.query.path), run.experiment.recipe.size)
        accelerator = make_accelerator(run.experiment.recipe.precision)
        for part in (NOTHING, *PARTS):
            hidden = hide(images, boxes, part)
            mu = weights(model.cpu(), hidden, boxes).mean(0)
            scores = evaluate(extract(model, hidden, accelerator=accelerator, boxes=boxes), gallery, data)
            row = {"run": name, "hidden": part, "rank1": scores["rank1"], "map": scores["map"]}
            rows.append(row | {f"mu_{p}": value for p, value in zip(PARTS, mu, strict=True)})
    return pd.DataFrame(rows)


def misaligned(data: ReidData, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """The queries whose parts lie farthest from the fixed strips: images (n, H, W, 3) uint8 and boxes (n, 5, 4)."""
    boxes = _boxes(pose.complete(pose.load(data)).query)
    distance = np.abs(boxes[:, 1:] - np.array(STRIPS)[1:]).mean((1, 2))
    order = np.argsort(-distance, kind="stable")
    rows = order[~data.query.pid.iloc[order].duplicated().to_numpy()][:count]
    return read_images(data.query, rows, SHOWN), boxes[rows]


def hard_pairs(run: Run, data: ReidData, count: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Figure 1: the pairs of a query and a gallery image of another camera that are hardest for ``run``.

    'same person'    of the least cosine similarity of all images of one person
    'other person'   of the greatest similarity of all images of two
    'misaligned'     of one person, whose four parts lie farthest apart in their images

    Each has the queries and the gallery images, (count, H, W, 3) uint8, of different people; fewer if there are fewer.
    """
    query, gallery = (F.normalize(x) for x in descriptors(run, data))
    similarity = (query @ gallery.T).numpy()
    poses = pose.complete(pose.load(data))
    parts = [_boxes(split)[:, 1:, 1::2].reshape(len(split.sizes), -1) for split in (poses.query, poses.gallery)]
    offset = cdist(*parts, "cityblock")  # of the parts' upper and lower edges
    pids, others = data.query.pid.to_numpy(), data.gallery.pid.to_numpy()
    elsewhere = data.query.camid.to_numpy()[:, None] != data.gallery.camid.to_numpy()
    same = pids[:, None] == others
    different = ~same & (others > DISTRACTOR)
    hardest = {
        "same person": (-similarity, same & elsewhere),
        "other person": (similarity, different & elsewhere),
        "misaligned": (offset, same & elsewhere),
    }
    pairs = {name: _highest(score, allowed, pids, count) for name, (score, allowed) in hardest.items()}
    return {
        name: (read_images(data.query, rows, SHOWN), read_images(data.gallery, columns, SHOWN))
        for name, (rows, columns) in pairs.items()
    }


def _boxes(split: pose.Split) -> np.ndarray:
    """R0..R4 (N, 5, 4) as fractions of the images, of completed poses."""
    return pose.as_fractions(pose.boxes(*split), split.sizes)


def _highest(score: np.ndarray, allowed: np.ndarray, pids: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the highest allowed scores (Q, G), at most one of each pid and of each column."""
    rows, columns = [], []
    score = np.where(allowed, score, -np.inf)
    for _ in range(count):
        row, column = np.unravel_index(score.argmax(), score.shape)
        if not np.isfinite(score[row, column]):
            break
        rows.append(int(row))
        columns.append(int(column))
        score[pids == pids[row]] = -np.inf
        score[:, column] = -np.inf
    return rows, columns


@torch.inference_mode()
def region_masks(run: Run, data: ReidData, count: int = 8) -> tuple[np.ndarray, np.ndarray, dict[str, Tensor]]:
    """``count`` queries as they are shown, their boxes (the strips without pose), and the network's maps."""
    queries = distinct_queries(data, count)
    images = read_images(data.query, queries, run.experiment.recipe.size)
    of_queries = boxes_of(run.experiment, data)["query"]
    strips = np.tile(np.array(STRIPS, np.float32), (len(queries), 1, 1))
    boxes = strips if of_queries is None else of_queries[queries]
    maps = load_model(run, data)(normalise(torch.from_numpy(images)), boxes=torch.from_numpy(boxes)).maps
    return read_images(data.query, queries, SHOWN), boxes, maps


def visibility(run: Run, data: ReidData) -> tuple[np.ndarray, np.ndarray]:
    """mu (N, 4) of every query and gallery image, and the fraction (N, 4) of each part's joints that were detected."""
    mu, detected = [], []
    poses, boxes, model = pose.load(data), boxes_of(run.experiment, data), load_model(run, data)
    for split in ("query", "gallery"):
        images = pixels.decode(list(getattr(data, split).path), run.experiment.recipe.size)
        mu.append(weights(model, images, boxes[split]))
        confident = getattr(poses, split).joints[..., 2] >= THRESHOLD
        regions = list(pose.REGIONS.values())[1:]
        detected.append(np.stack([confident[:, list(joints)].mean(1) for joints in regions], 1))
    return np.concatenate(mu), np.concatenate(detected)
