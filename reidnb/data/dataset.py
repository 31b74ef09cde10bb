"""What a data set is once it is read, and how its folder is found under the user's data root."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

JUNK = -1
"""pid of gallery images that are never ranked (bad boxes, parts of people)."""
DISTRACTOR = 0
"""pid of gallery images that are ranked and never right (people who are nobody's query)."""

MARKET, SINGLE_SHOT = "market", "single-shot"
"""The protocols: all gallery images, with mAP; or one random image of each gallery identity, rank-k alone."""


@dataclass(frozen=True)
class ReidData:
    """A data set: tables with the columns path (str), pid (int) and camid (int), a row per image."""

    name: str
    root: Path
    train: pd.DataFrame
    query: pd.DataFrame
    gallery: pd.DataFrame
    protocol: str = MARKET
    """How it is evaluated: ``MARKET`` or ``SINGLE_SHOT``."""

    @property
    def train_ids(self) -> int:
        """Number of training identities."""
        return self.train.pid.nunique()

    @property
    def train_labels(self) -> np.ndarray:
        """(N,) int64: the training images' identities as 0..train_ids-1."""
        return np.unique(self.train.pid, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Counts:
    """What a complete copy of a data set holds; None where nobody says."""

    train_ids: int | None = None
    train: int | None = None
    query_ids: int | None = None
    query: int | None = None
    gallery_ids: int | None = None
    """Identities in the gallery, distractors with a pid of their own among them (DukeMTMC-reID)."""
    gallery: int | None = None
    images: int | None = None
    """Different files in all three tables."""
    cameras: int | None = None


def count(data: ReidData) -> Counts:
    """What a data set that was read holds."""
    whole = pd.concat([data.train, data.query, data.gallery])
    known = data.gallery.pid[data.gallery.pid > DISTRACTOR]
    return Counts(
        train_ids=data.train_ids,
        train=len(data.train),
        query_ids=data.query.pid.nunique(),
        query=len(data.query),
        gallery_ids=known.nunique(),
        gallery=len(data.gallery),
        images=whole.path.nunique(),
        cameras=whole.camid.nunique(),
    )


def check_counts(data: ReidData, expected: Counts) -> None:
    """Raise ValueError with every number that differs from a complete copy's."""
    found = count(data)
    pairs = [(f.name.replace("_", " "), getattr(found, f.name), getattr(expected, f.name)) for f in fields(Counts)]
    wrong = [f"{name} {has} instead of {wants}" for name, has, wants in pairs if wants is not None and has != wants]
    if wrong:
        raise ValueError(
            f"{data.root} is not a complete {data.name}: {', '.join(wrong)}"
            " (to use a subset, load it as data set 'folder')"
        )


def find(root: Path, names: tuple[str, ...], holds: Callable[[Path], Path | None], needs: str) -> Path:
    """The data set under the user's data root.

    root   the folder of all data sets, or the data set's own
    names  folders that it has been called by; each may lie in another of them, as ``msmt17/MSMT17_V1`` does
    holds  a folder to what is found in it (the folder itself, or a file), or None
    needs  what ``holds`` looks for, in words

    Raises FileNotFoundError that names the folder that was meant, where one lies a level up or down.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data_root {root} is {'a file, not' if root.exists() else 'not'} a folder")
    if found := _named(root, names, holds) or holds(root):
        return found
    looked = f"no {needs} in data_root {root}"
    if names:
        looked += f", nor in a folder of it named {', '.join(names[:3])} or the like"
    inside = [child for child in sorted(root.iterdir()) if os.access(child, os.R_OK | os.X_OK) and child.is_dir()]
    named = (_named(folder, names, holds) for folder in (*inside, root.parent))
    if meant := next(filter(None, named), None) or holds(root.parent):
        raise FileNotFoundError(f"{looked}; did you mean {meant if meant.is_dir() else meant.parent}?")
    if alike := [child.name for child in inside if holds(child)]:
        raise FileNotFoundError(f"{looked}; folders there that have one: {', '.join(alike)}")
    if packed := _archives(root, names):
        raise FileNotFoundError(f"{looked}; unpack {packed[0]} first")
    raise FileNotFoundError(looked)


def _named(root: Path, names: tuple[str, ...], holds: Callable[[Path], Path | None]) -> Path | None:
    folders = (*(root / name for name in names), *(root / a / b for a, b in product(names, names)))
    return next(filter(None, (holds(folder) for folder in folders if folder.is_dir())), None)


def _archives(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Archives in the data set's folders, and those in the root that are called like it."""
    homes = [root / name for name in names if (root / name).is_dir()]
    files = [p for p in root.iterdir() if p.name.lower().startswith(tuple(name.lower() for name in names))]
    files += [p for home in homes for p in home.iterdir()]
    return sorted(p for p in files if p.suffix in (".zip", ".gz", ".tgz", ".tar", ".rar", ".7z"))
