"""Where the networks of all papers look: grad-cam and each paper's attention, on the person and on its parts.

Only a synthetic street knows which pixels are a person and where its joints are, so only there can this be asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import street
from ..data import catalog
from ..data.augment import normalise
from ..data.samples import read_images
from ..evaluation import activation
from ..evaluation.significance import statistics
from ..figures.cam import cam
from ..models.output import output_of
from ..papers import PAPERS
from ..papers.experiments import experiments
from ..papers.wrcanet.network import reverse_attention_map
from ..results import Run
from ..runs import boxes_of, load_model, run

BATCH = 32
CAM, ATTENTION = "grad-cam", "attention"
MEASURES = ("fraction on the person", "points at the person", "entropy on the person")
BASELINE, FULL = "baseline", "full"
Networks = dict[tuple[str, str, int], Run]
"""Runs by paper, kind (``BASELINE`` or ``FULL``) and seed."""


@dataclass(frozen=True)
class Truth:
    """What a street knows of its queries, in their order: masks (Q, H, W) bool and parts (Q, H, W) int8."""

    masks: np.ndarray
    parts: np.ndarray


def check_street(dataset: str) -> None:
    """Raise ValueError for a data set whose ground truth is not known."""
    if dataset not in catalog.STREETS:
        raise ValueError(f"{dataset} has no person masks: only a synthetic street has them")


def truth_of(data: catalog.ReidData) -> Truth:
    """The ground truth of a street's queries. Raises ValueError for any other data set."""
    check_street(data.name)
    truth = street.truth(data.root, "query")
    row = {name: number for number, name in enumerate(truth.names)}
    rows = [row[path.rpartition("/")[2]] for path in data.query.path]
    masks = truth.masks[rows]
    return Truth(masks, street.body_parts(truth.joints[rows], masks))


def networks(
    data: catalog.ReidData,
    profile: str,
    *,
    seeds: int = 1,
    weights: str | None = None,
    log: Callable[[str], None] = print,
) -> Networks:
    """The baseline and the full network of each paper's main table, trained where no finished run exists.

    Each is trained with the seeds 0 to ``seeds`` - 1; seed 0 comes first of all.
    """
    result = {}
    for seed in range(seeds):
        for paper in PAPERS.values():
            planned = experiments(paper, paper.main, data.name, profile, [seed], weights)
            full = next(pair for pair in planned[1:] if pair[0].is_default)
            for kind, (row, experiment) in {BASELINE: planned[0], FULL: full}.items():
                log(f"{paper.short}, {kind}: {row.name}, seed {seed}")
                result[paper.name, kind, seed] = run(experiment, data, log=lambda line: None)
    return result


def _reverse_attention(model: nn.Module, images: Tensor, boxes: Tensor | None) -> Tensor | None:
    """f of WRCANet's eq. 2 before it is enlarged to the size of the image."""
    if model.wra != "image":
        return None
    first = model.backbone(images)[-1]
    return reverse_attention_map(first, first.shape[2:])


def _class_map(model: nn.Module, images: Tensor, boxes: Tensor | None) -> Tensor | None:
    """H_n of DRANet (figure 3) for the training identity n that its classifiers of B name: a query's has no class."""
    logits = model(images, None).id_logits
    named = sum(value for part, value in logits.items() if part[0] == "b").argmax(1)
    return model(images, named).maps.get("h")


def _map(name: str) -> Callable[[nn.Module, Tensor, Tensor | None], Tensor | None]:
    def read(model: nn.Module, images: Tensor, boxes: Tensor | None) -> Tensor | None:
        return output_of(model, images, boxes).maps.get(name)

    return read


ATTENTIONS: dict[str, tuple[str, Callable[[nn.Module, Tensor, Tensor | None], Tensor | None]]] = {
    "wrcanet": ("f of eq. 2", _reverse_attention),
    "dranet": ("H of RSAM, of the identity named", _class_map),
    "hybrid_attention": ("SAM of stage 4", _map("S4")),
    "attention_driven": ("whole-body mask of block 4", _map("body4")),
}
"""The attention map of each paper that is measured: its name, and a function of network, images and boxes that returns
it (B, 1, h, w), or None for a network without it. A paper without an entry is measured by grad-cam only."""


def placed(maps: Tensor, boxes: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Maps (N, h, w) of regions of images, laid where the regions lie: (N, H, W), zero outside the region.

    ``boxes`` (N, 4) are x0, y0, x1, y1 as fractions of the image; None is the full image. Each cell of a map
    keeps its value all over its place. Bilinear enlargement would move the maximum of a coarse map to the border: that
    of a map of two columns could never lie in the middle, where the person is.
    """
    if boxes is None:
        return F.interpolate(maps[:, None], size, mode="nearest-exact")[:, 0].numpy()
    result = np.zeros((len(maps), *size), np.float32)
    for image, heat, box in zip(result, maps, boxes, strict=True):
        x0, y0, x1, y1 = np.rint(box * (size[1], size[0], size[1], size[0])).astype(int)
        if x1 > x0 and y1 > y0:
            region = F.interpolate(heat[None, None], (y1 - y0, x1 - x0), mode="nearest-exact")
            image[y0:y1, x0:x1] = region[0, 0].numpy()
    return result


def body_boxes(run: Run, data: catalog.ReidData) -> np.ndarray | None:
    """The region (Q, 4) of each query that a run's network takes for the body; None where that is the full image."""
    boxes = boxes_of(run.experiment, data)["query"]
    return None if boxes is None else boxes[:, 0]


def maps_of(run: Run, data: catalog.ReidData, rows: Sequence[int], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Grad-cam at the last stage, and the paper's attention where the network has one: (n, H, W) of queries ``rows``.

    Both are laid into images of ``size`` (H, W); a network that cuts the body out looks nowhere else.
    """
    model, rows = load_model(run, data), np.asarray(rows)
    boxes = boxes_of(run.experiment, data)["query"]
    attention = ATTENTIONS[run.experiment.paper][1] if run.experiment.paper in ATTENTIONS else None
    seen: dict[str, list[Tensor]] = {CAM: [], ATTENTION: []}
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        batch = normalise(torch.from_numpy(read_images(data.query, part, run.experiment.recipe.size)))
        regions = None if boxes is None else torch.from_numpy(boxes[part])
        seen[CAM].append(torch.from_numpy(cam(model, model.last_stage, batch, regions, resized=False)))
        with torch.inference_mode():
            looked = attention(model, batch, regions) if attention else None
        if looked is not None:
            seen[ATTENTION].append(looked[:, 0].float().clone())
    body = None if boxes is None else boxes[rows, 0]
    return {name: placed(torch.cat(maps), body, size) for name, maps in seen.items() if maps}


def measured(maps: np.ndarray, truth: Truth) -> pd.DataFrame:
    """A row for each query: the measures of its map (H, W) as fractions, NaN for a map that is zero.

    fraction on the person  that of the map's sum on the person (``activation.fraction_inside``)
    points at the person    whether its maximum lies on the person (``activation.pointing``)
    entropy on the person   how evenly it lies there (``activation.evenness``)
    head ... lower legs     the fraction of the map's sum on each part of the person
    """
    values = {
        MEASURES[0]: activation.fraction_inside(maps, truth.masks),
        MEASURES[1]: activation.pointing(maps, truth.masks),
        MEASURES[2]: activation.evenness(maps, truth.masks),
    }
    parts = {part: activation.fraction_inside(maps, truth.parts == number) for number, part in enumerate(street.PARTS)}
    return pd.DataFrame(values | parts)


def look(runs: Networks, data: catalog.ReidData) -> pd.DataFrame:
    """The ``measured`` of every query, network and map: columns paper, network, seed, heat, query and the measures.

    The rows of ``heat`` 'even' are those of a map that is 1 all over the region that the network takes for the body.
    """
    truth, frames = truth_of(data), []
    size = truth.masks.shape[1:]
    for (paper, kind, seed), one in runs.items():
        maps = maps_of(one, data, range(len(data.query)), size)
        maps["even"] = placed(torch.ones(len(data.query), 1, 1), body_boxes(one, data), size)
        for name, values in maps.items():
            columns = {"paper": paper, "network": kind, "seed": seed, "heat": name, "query": range(len(values))}
            frames.append(pd.DataFrame(columns).join(measured(values, truth)))
    return pd.concat(frames, ignore_index=True)


def summary(looks: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """A row for each network, map and measure of ``look``: mean, std, low and high in percent, and an even map's mean.

    Mean, standard deviation and 95 % interval are those of ``significance.statistics``, for the queries whose map is
    not zero; ``queries`` counts them in one training.
    """
    even = looks[looks.heat == "even"].groupby(["paper", "network"], sort=False)[list(measures)].mean()
    rows = []
    for (paper, kind, name), group in looks[looks.heat != "even"].groupby(["paper", "network", "heat"], sort=False):
        for measure in measures:
            values = [100 * of_seed for _, of_seed in group[measure].dropna().groupby(group.seed)]
            row = {"paper": PAPERS[paper].short, "network": kind, "heat": name, "measure": measure}
            row |= statistics(values) | {"even map": 100 * even.loc[(paper, kind), measure]}
            rows.append(row | {"queries": max(map(len, values)), "seeds": len(values)})
    return pd.DataFrame(rows)


def where_they_look(runs: Mapping[str, Run], data: catalog.ReidData) -> pd.DataFrame:
    """How much of the grad-cam lies on the person, and how evenly, for each run by name (``activation.compare``).

    Computed over all queries of a synthetic street. Raises ValueError for any other data set.
    """
    people = truth_of(data).masks
    rows, size = range(len(data.query)), people.shape[1:]
    return activation.compare({name: maps_of(one, data, rows, size)[CAM] for name, one in runs.items()}, people)


def branches(runs: Networks, data: catalog.ReidData) -> pd.DataFrame:
    """The ``part_branches`` of the full attention-driven networks among ``runs``, with a column seed."""
    chosen = {seed: one for (paper, kind, seed), one in runs.items() if (paper, kind) == ("attention_driven", FULL)}
    return pd.concat([part_branches(one, data).assign(seed=seed) for seed, one in chosen.items()], ignore_index=True)


@torch.inference_mode()
def part_branches(run: Run, data: catalog.ReidData) -> pd.DataFrame:
    """What each part's branch of the attention-driven network looks at: a row for each query and part.

    on its part    the fraction of the mask of block 4 on the person's part for which the branch is
    even           the same of an even map in the branch's box
    entropy, body  how evenly this mask, and the whole body's, lie in their boxes

    Raises ValueError for a network that has no masks of parts.
    """
    truth, model, boxes = truth_of(data), load_model(run, data), boxes_of(run.experiment, data)["query"]
    size, frames = truth.masks.shape[1:], []
    for start in range(0, len(data.query), BATCH):
        rows = np.arange(start, min(start + BATCH, len(data.query)))
        images = normalise(torch.from_numpy(read_images(data.query, rows, run.experiment.recipe.size)))
        maps = output_of(model, images, None if boxes is None else torch.from_numpy(boxes[rows])).maps
        if "parts4" not in maps or boxes is None:
            raise ValueError(f"{run.experiment.paper} with {run.experiment.options} has no attention to posed parts")
        body = activation.evenness(maps["body4"][:, 0].numpy())
        for number, part in enumerate(street.PARTS):
            masks, places, heat = truth.parts[rows] == number, boxes[rows, 1 + number], maps["parts4"][:, number]
            columns = {"query": rows, "part": part, "entropy": activation.evenness(heat.numpy()), "body": body}
            columns["on its part"] = activation.fraction_inside(placed(heat, places, size), masks)
            columns["even"] = activation.fraction_inside(placed(torch.ones(len(rows), 1, 1), places, size), masks)
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)
