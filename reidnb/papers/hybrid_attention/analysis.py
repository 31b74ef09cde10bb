"""Beyond the paper: robustness to bad boxes, and accuracy of each window alone (both are saved in the run's folder);
the distances on which the triplet loss acts; what each row of a table contains."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import street
from ...data import catalog, pixels
from ...data.augment import normalise
from ...data.catalog import ReidData
from ...data.samples import SHOWN, read_images
from ...evaluation.scores import evaluate
from ...files import write_atomically
from ...models.losses import batch_hard_triplet
from ...papers.experiments import all_options, build, experiments
from ...papers.paper import Table
from ...rescoring import descriptors
from ...results import Run
from ...runs import load_model
from ...training.experiment import Experiment
from ...training.loop import make_accelerator, train
from ...training.recipe import epoch_batches
from . import PAPER

KINDS = ("shift", "scale")
CHECK = "✓"
COMPETITORS = {
    ("table2", "market1501", "rank1"): (1, "'the best performance on rank-1'"),
    ("table2", "market1501", "map"): (None, "'competitive'; 'GCP obtains the highest accuracy'"),
    ("table3", "dukemtmc", "rank1"): (1, "the best, 'by a large margin'"),
    ("table3", "dukemtmc", "map"): (1, "the best, 'by a large margin'"),
    ("table4", "cuhk03np-labeled", "rank1"): (1, "'surpasses all competing algorithms'"),
    ("table4", "cuhk03np-labeled", "map"): (2, "'the second best result'"),
    ("table4", "cuhk03np-detected", "rank1"): (1, "'surpasses all competing algorithms'"),
    ("table4", "cuhk03np-detected", "map"): (2, "'the second best result'"),
    ("table5", "msmt17", "rank1"): (2, "'the second best'"),
    ("table5", "msmt17", "map"): (2, "'the second best'"),
}
"""What section 4.3 says of the network among cited methods, by table, data set and metric: its place, and the words."""
AMOUNTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)


def bad_boxes(images: np.ndarray, kind: str, amount: float, random: np.random.Generator) -> np.ndarray:
    """Images (n, H, W, 3) uint8 as a detector with worse boxes would have cut them.

    shift   each box is displaced vertically by ``amount`` of its height and horizontally by ``amount`` of its width
    scale   each box is enlarged or reduced about its centre by the factor 1 + ``amount``

    The directions are drawn from ``random`` for each image. Beyond the image's border its edge pixels are repeated.
    Raises ValueError for another kind or an amount outside [0, 1).
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: allowed are {', '.join(map(repr, KINDS))}")
    if not 0 <= amount < 1:
        raise ValueError(f"amount is a fraction of the box and must lie in [0, 1), got {amount}")
    signs = torch.from_numpy(random.choice([-1.0, 1.0], (len(images), 2)).astype(np.float32))
    box = torch.zeros(len(images), 2, 3)  # affine maps from the new image to the old one, which spans -1 to 1
    box[:, 0, 0] = box[:, 1, 1] = 1
    if kind == "shift":
        box[:, :, 2] = 2 * amount * signs
    else:
        box[:, :, :2] *= torch.exp(math.log1p(amount) * signs[:, :1, None])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    x = F.grid_sample(x, F.affine_grid(box, x.shape, align_corners=False), padding_mode="border", align_corners=False)
    return x.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def misfits(data: ReidData, size: tuple[int, int] = SHOWN, count: int = 4) -> np.ndarray:
    """People whose two boxes fit them differently, as in figure 1: images (2 count, H, W, 3) uint8, in pairs.

    A pair is a query and a gallery image of the same person from another camera; of all pairs of a person that one in
    which nose and ankles lie at the most different heights of the box, and of all people the ``count`` with the most
    different ones. Raises ValueError for a data set that is no synthetic street: its joints are not known.
    """
    if data.name not in catalog.STREETS:
        raise ValueError(f"{data.name} does not tell where people stand in their boxes: only a synthetic street does")
    query, gallery = _heights(data, "query"), _heights(data, "gallery")
    apart = np.abs(query[:, None] - gallery[None]).sum(2)
    same_pid, same_camid = (
        data.query[name].to_numpy()[:, None] == data.gallery[name].to_numpy() for name in ("pid", "camid")
    )
    apart[~same_pid | same_camid] = -1
    order = np.argsort(-apart.max(1), kind="stable")
    rows = order[~data.query.pid.iloc[order].duplicated().to_numpy()][:count]
    pairs = read_images(data.query, rows, size), read_images(data.gallery, apart[rows].argmax(1), size)
    return np.stack(pairs, 1).reshape(-1, *size, 3)


def _heights(data: ReidData, split: str) -> np.ndarray:
    """Where the nose and the ankles of each image lie, (N, 2), as fractions of the box's height from its top."""
    truth = street.truth(data.root, {"query": "query", "gallery": "bounding_box_test"}[split])
    row = {name: n for n, name in enumerate(truth.names)}
    y = truth.joints[[row[Path(path).name] for path in getattr(data, split).path], :, 1] / truth.masks.shape[1]
    return np.stack([y[:, street.JOINTS.index("nose")], y[:, -2:].mean(1)], 1)


def boxes(run: Run, data: ReidData, seed: int = 0) -> pd.DataFrame:
    """A run's mAP and rank-1 in percent for each kind of bad boxes at each of ``AMOUNTS``, in queries and gallery."""

    def measure() -> pd.DataFrame:
        rows = []
        for kind in KINDS:
            for amount in AMOUNTS:
                # The same directions at every amount.
                change = partial(bad_boxes, kind=kind, amount=amount, random=np.random.default_rng(seed))
                rows.append({"kind": kind, "amount": amount, **_scores(*descriptors(run, data, change=change), data)})
        return pd.DataFrame(rows)

    return _cached(run.folder / f"probe-boxes-{seed}.csv", measure)


def windows(run: Run, data: ReidData) -> pd.DataFrame:
    """The accuracy of each window of a hybrid-attention run's network alone: a row per window, in descriptor order.

    The columns are first and last (first stripe, and stripe after the last), map, map_trapezoid and rank1 in percent.
    """

    def measure() -> pd.DataFrame:
        spans = load_model(run, data).windows
        query, gallery = (x.view(len(x), len(spans), -1) for x in descriptors(run, data))
        rows = []
        for n, (first, last) in enumerate(spans):
            parts = F.normalize(query[:, n]), F.normalize(gallery[:, n])
            rows.append({"first": first, "last": last, **_scores(*parts, data)})
        return pd.DataFrame(rows)

    return _cached(run.folder / "probe-windows.csv", measure)


def _scores(query: torch.Tensor, gallery: torch.Tensor, data: ReidData) -> dict[str, float]:
    scores = evaluate(query, gallery, data)
    return {name: scores[name] for name in ("map", "map_trapezoid", "rank1")}


def _cached(file: Path, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if not file.exists():
        frame = measure()
        write_atomically(file, lambda path: frame.to_csv(path, index=False))
    return pd.read_csv(file)


def distance_between_identities(features: Tensor, labels: Tensor) -> float:
    """Mean Euclidean distance between images of different identities of features (N, B, D); labels (B,)."""
    different = labels[:, None] != labels[None]
    return torch.cdist(features, features)[:, different].mean().item()


def watch_distances(experiment: Experiment, data: ReidData, steps: int = 100) -> pd.DataFrame:
    """What the triplet loss does to the features in the first steps of a training, of which nothing is kept.

    A row per step, for at least ``steps`` steps, with the mean over the windows of
    before, after   ``distance_between_identities`` in the batch, before and after MPFE's last batch normalisation
    triplet         the triplet loss of those that ``compared`` selects
    """
    labels, recipe = data.train_labels, experiment.recipe
    epochs = -(-steps // len(epoch_batches(recipe, labels, experiment.seed, 0)))
    recipe = replace(recipe, epochs=epochs)
    batches = iter(np.concatenate([epoch_batches(recipe, labels, experiment.seed, e) for e in range(epochs)]))
    model, rows = build(experiment, data.train_ids), []

    def measure(_: nn.Module, __: tuple, features: tuple[Tensor, Tensor]) -> None:
        of_batch = torch.from_numpy(labels[next(batches)])
        before, after = (x.detach().float().cpu().transpose(0, 1) for x in features)
        compared = after if model.compared == "bn" else before
        rows.append(
            {
                "step": len(rows) + 1,
                "before": distance_between_identities(before, of_batch),
                "after": distance_between_identities(after, of_batch),
                "triplet": batch_hard_triplet(compared, of_batch, model.margin).item(),
            }
        )

    model.extractor.register_forward_hook(measure)
    train(
        model,
        pixels.decode(list(data.train.path), recipe.size),
        labels,
        recipe,
        seed=experiment.seed,
        accelerator=make_accelerator(recipe.precision),
        step="eager",  # a replayed graph would not call the hook
        log=lambda line: None,
    )
    return pd.DataFrame(rows)


@torch.inference_mode()
def maps(run: Run, data: ReidData, images: np.ndarray) -> dict[str, torch.Tensor]:
    """A run's maps (``HybridAttention.forward``) of images (n, H, W, 3) uint8: stages, attention weights, fused map."""
    return load_model(run, data)(normalise(torch.from_numpy(images))).maps


def fused_stages(run: Run) -> list[int]:
    """The stages that a run's network fuses."""
    return [int(stage) for stage in all_options(run.experiment)["stages"]]


def contents(table: Table) -> pd.DataFrame:
    """What each row of a table contains: a row each, with the parts of the network, its losses and the tricks."""
    lines = []
    for row, experiment in experiments(PAPER, table.name, "market1501", "paper"):
        options, recipe = all_options(experiment), experiment.recipe
        has_mpfe = options["extractor"] == "mpfe"
        lines.append(
            {
                "row": row.name,
                "last stride": str(options["last_stride"]),
                "stages": options["stages"],
                "SAM": CHECK if "S" in options["order"].split("+") else "",
                "CAM": CHECK if "C" in options["order"].split("+") else "",
                "windows": {"mgo": "21 (MGO)", "pcb": "6 (PCB)", "": "1"}[options["local"]],
                "MPFE": CHECK if has_mpfe else "",
                "triplet loss": CHECK if has_mpfe else "",
                "BN before classifier": CHECK if has_mpfe or options["neck"] else "",
                "label smoothing": CHECK if options["smoothing"] else "",
                "random erasing": CHECK if recipe.augmentation.erase else "",
                "warm-up": CHECK if recipe.schedule.warmup else "",
            }
        )
    return pd.DataFrame(lines)


def against_cited() -> pd.DataFrame:
    """Section 4.3 checked in print: where the network stands among the cited rows of tables 2 to 5.

    place       1 + the number of cited rows with a higher number
    borne out   whether that is the place which the text claims; a dash if it claims none
    """
    lines = []
    for (table, dataset, metric), (claimed, words) in COMPETITORS.items():
        printed = PAPER.published(table).query("dataset == @dataset").set_index("row")[metric].dropna()
        ours, cited = printed["Ours"], printed.drop("Ours")
        place = 1 + int((cited > ours).sum())
        lines.append(
            {
                "data set": dataset,
                "metric": {"rank1": "rank-1", "map": "mAP"}[metric],
                "this paper": f"{ours:.1f}",
                "best cited": f"{cited.idxmax()} {cited.max():.1f}",
                "place": place,
                "the text": words,
                "borne out": "–" if claimed is None else "yes" if claimed == place else "no",
            }
        )
    return pd.DataFrame(lines)
