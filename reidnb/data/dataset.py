"""A data set in memory, the counts of a complete copy, and the search for its folder under the user's data root."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

JUNK = -1
"""pid of gallery images that are never ranked (poor boxes, parts of people)."""
DISTRACTOR = 0
"""pid of gallery images that are ranked but match no query (false detections and people without a query)."""

MARKET, SINGLE_SHOT = "market", "single-shot"
"""The protocols: all gallery images are ranked, with mAP; or one random image of each identity, with rank-k only."""


@dataclass(frozen=True)
class Remark:
    """What a reader of the data set should know of ``count`` of its images or identities; ``example`` names one."""

    count: int
    what: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.count:,} {self.what}" + (f", such as {self.example}" if self.example else "")


@dataclass(frozen=True)
class ReidData:
    """A data set: tables with the columns path (str), pid (int) and camid (int), one row per image."""

    name: str
    root: Path
    train: pd.DataFrame
    query: pd.DataFrame
    gallery: pd.DataFrame
    protocol: str = MARKET
    """The evaluation protocol: ``MARKET`` or ``SINGLE_SHOT``."""
    remarks: tuple[Remark, ...] = ()
    """What is not in the tables, though it lies in the folder, and what was renumbered."""

    @property
    def train_ids(self) -> int:
        """Number of training identities."""
        return self.train.pid.nunique()

    @property
    def train_labels(self) -> np.ndarray:
        """(N,) int64: class labels 0..train_ids-1 of the training images."""
        return np.unique(self.train.pid, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Counts:
    """The counts of a complete copy of a data set; None where no count is published."""

    train_ids: int | None = None
    train: int | None = None
    query_ids: int | None = None
    query: int | None = None
    gallery_ids: int | None = None
    """Identities in the gallery, including distractors that have a pid of their own (DukeMTMC-reID)."""
    gallery: int | None = None
    images: int | None = None
    """Distinct files in the three tables."""
    cameras: int | None = None


def count(data: ReidData) -> Counts:
    """The counts of a data set in memory."""
    images = pd.concat([data.train, data.query, data.gallery])
    gallery_pids = data.gallery.pid[data.gallery.pid > DISTRACTOR]
    return Counts(
        train_ids=data.train_ids,
        train=len(data.train),
        query_ids=data.query.pid.nunique(),
        query=len(data.query),
        gallery_ids=gallery_pids.nunique(),
        gallery=len(data.gallery),
        images=images.path.nunique(),
        cameras=images.camid.nunique(),
    )


def of_little_use(data: ReidData) -> list[Remark]:
    """Images that the tables have, but that a training or an evaluation can make little of."""
    remarks = []
    images = data.train.groupby("pid").size()
    if single := int((images == 1).sum()):
        remarks.append(Remark(single, "training identities with a single image", f"pid {images.index[images == 1][0]}"))
    cameras = data.gallery[data.gallery.pid > DISTRACTOR].groupby("pid").camid.agg(set)
    pairs = zip(data.query.pid, data.query.camid, strict=True)
    unmatched = data.query.path[[not cameras.get(pid, set()) - {camid} for pid, camid in pairs]]
    if len(unmatched):
        what = "queries without a gallery image of their person from another camera, left out of the scores"
        remarks.append(Remark(len(unmatched), what, Path(unmatched.iloc[0]).name))
    strangers = data.gallery[(data.gallery.pid > DISTRACTOR) & ~data.gallery.pid.isin(data.query.pid)]
    if len(strangers):
        what = "gallery images of people who are no query, ranked as distractors are"
        remarks.append(Remark(len(strangers), what, Path(strangers.path.iloc[0]).name))
    return remarks


PART_IDS = {"train": 32, "test": 16}
"""Identities in a part of a data set."""
PART_OTHERS = 200
"""Gallery images of other people in a part of a data set."""


def part_of(data: ReidData) -> ReidData:
    """A part of the data set, for quick trials: the first identities of training and test, and some other images.

    Its numbers are no results: with fewer images to confuse, ranking is easier.
    """
    kept = {"train": _first_ids(data.train, PART_IDS["train"]), "query": _first_ids(data.query, PART_IDS["test"])}
    matches = data.gallery.pid.isin(kept["query"].pid)
    others = np.flatnonzero(~matches)
    others = evenly(others, PART_OTHERS)
    gallery = data.gallery.iloc[np.sort(np.concatenate([np.flatnonzero(matches), others]))].reset_index(drop=True)
    totals = {"train": data.train_ids, "query": data.query.pid.nunique()}
    remarks = [
        Remark(table.pid.nunique(), f"of {totals[split]:,} {words} taken: a part, for quick trials")
        for split, words in (("train", "training identities"), ("query", "identities of the queries"))
        if (table := kept[split]).pid.nunique() < totals[split]
    ]
    return replace(data, **kept, gallery=gallery, remarks=(*data.remarks, *remarks))


def evenly(values: np.ndarray, count: int) -> np.ndarray:
    """``count`` of the values (N,) at even distances, the first and the last among them; all if there are fewer."""
    return values[np.linspace(0, len(values) - 1, min(count, len(values))).astype(int)]


def _first_ids(table: pd.DataFrame, count: int) -> pd.DataFrame:
    return table[table.pid.isin(sorted(table.pid.unique())[:count])].reset_index(drop=True)


def check_counts(data: ReidData, expected: Counts) -> None:
    """Raise ValueError that lists every count that differs from a complete copy's."""
    actual = count(data)
    triples = [(f.name.replace("_", " "), getattr(actual, f.name), getattr(expected, f.name)) for f in fields(Counts)]
    deviations = [
        f"{name} {number} instead of {complete}"
        for name, number, complete in triples
        if complete is not None and number != complete
    ]
    if deviations:
        raise ValueError(
            f"{data.root} is not a complete {data.name}: {', '.join(deviations)}"
            " (to use a subset, load it as data set 'folder')"
        )


def find(root: Path, names: tuple[str, ...], holds: Callable[[Path], Path | None], needs: str) -> Path:
    """The data set under the user's data root.

    root   the folder of all data sets, or the data set's own
    names  usual names of its folder; one may be nested in another, as in ``msmt17/MSMT17_V1``
    holds  maps a folder to the data set's path in it (the folder itself, or a file), or to None
    needs  what ``holds`` looks for, for the error message

    Raises FileNotFoundError; where the data set lies one level up or down, the message suggests that folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data_root {root} is {'a file, not' if root.exists() else 'not'} a folder")
    if path := _find_by_name(root, names, holds) or holds(root):
        return path
    message = f"no {needs} in data_root {root}"
    if names:
        message += f", nor in a folder of it named {', '.join(names[:3])} or similar"
    folders = [child for child in sorted(root.iterdir()) if os.access(child, os.R_OK | os.X_OK) and child.is_dir()]
    nearby = (_find_by_name(folder, names, holds) for folder in (*folders, root.parent))
    if suggestion := next(filter(None, nearby), None) or holds(root.parent):
        raise FileNotFoundError(f"{message}; did you mean {suggestion if suggestion.is_dir() else suggestion.parent}?")
    if candidates := [child.name for child in folders if holds(child)]:
        raise FileNotFoundError(f"{message}; folders there that have one: {', '.join(candidates)}")
    if archives := _archives(root, names):
        raise FileNotFoundError(f"{message}; unpack {archives[0]} first")
    raise FileNotFoundError(message)


def _find_by_name(root: Path, names: tuple[str, ...], holds: Callable[[Path], Path | None]) -> Path | None:
    folders = (*(root / name for name in names), *(root / a / b for a, b in product(names, names)))
    return next(filter(None, (holds(folder) for folder in folders if folder.is_dir())), None)


def _archives(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Archives in the data set's folders, and those in the root whose names begin like the data set's."""
    folders = [root / name for name in names if (root / name).is_dir()]
    files = [p for p in root.iterdir() if p.name.lower().startswith(tuple(name.lower() for name in names))]
    files += [p for folder in folders for p in folder.iterdir()]
    return sorted(p for p in files if p.suffix in (".zip", ".gz", ".tgz", ".tar", ".rar", ".7z"))
