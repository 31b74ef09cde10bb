"""From the name of a data set to tables of its images.

``load("market1501", root)`` finds the data set under the user's data root, checks it against the numbers
its authors give, and returns three pandas tables (train, query, gallery) of path, pid and camid.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

JUNK = -1
"""pid of gallery images that are never ranked (bad boxes, parts of people)."""
DISTRACTOR = 0
"""pid of gallery images that are ranked and never right (people who are nobody's query)."""


@dataclass(frozen=True)
class ReidData:
    """A data set: tables with the columns path (str), pid (int) and camid (int), a row per image."""

    name: str
    root: Path
    train: pd.DataFrame
    query: pd.DataFrame
    gallery: pd.DataFrame

    @property
    def train_ids(self) -> int:
        """Number of training identities."""
        return self.train.pid.nunique()


@dataclass(frozen=True)
class Counts:
    """What a complete copy of a data set holds."""

    train_ids: int
    train: int
    query: int
    gallery: int
    gallery_ids: int


MARKET = Counts(train_ids=751, train=12936, query=3368, gallery=19732, gallery_ids=750)

STREETS: dict[str, dict] = {
    "street": {},
    "street-small": {"train_ids": 8, "test_ids": 8, "cameras": 3, "size": (64, 32)},
}
"""The synthetic sets: name to the arguments of ``street.make``. The small one is for tests."""


def cache_dir() -> Path:
    """Where made and decoded data is kept: ``$REIDNB_CACHE``, or ``~/.cache/reidnb``."""
    return Path(os.environ.get("REIDNB_CACHE") or Path.home() / ".cache" / "reidnb").expanduser()


def load(name: str, root: str | Path | None = None) -> ReidData:
    """The data set ``name``: a synthetic street, ``market1501`` or ``folder``.

    ``root`` is the folder that holds the data sets (or the data set's own folder); the street needs none.
    Raises ValueError for an unknown name or a copy that is not complete, FileNotFoundError for a missing folder.
    """
    if name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}: known are {', '.join(sorted(DATA_SETS))}")
    if name in STREETS:
        from . import street  # needs OpenCV, which a machine that only trains may lack

        folder = street.make(cache_dir() / name, **STREETS[name])
        return read_market_layout(name, folder)
    if not root:
        raise ValueError(f"data set {name!r} needs data_root, the folder that holds it")
    return DATA_SETS[name](Path(root).expanduser().resolve())


def _market1501(root: Path) -> ReidData:
    """Market-1501 (Zheng et al. 2015) under any of the folder names in the wild."""
    data = read_market_layout("market1501", find_folder(root, ("Market-1501-v15.09.15", "market1501", "Market-1501")))
    check_counts(data, MARKET)
    return data


def _folder(root: Path) -> ReidData:
    """Any folder in Market-1501's layout, with names that begin like ``0001_c1s1_`` or ``0001_c1_``."""
    return read_market_layout("folder", root)


DATA_SETS: dict[str, Callable[[Path], ReidData] | None] = {
    "market1501": _market1501,
    "folder": _folder,
    **dict.fromkeys(STREETS),
}


def find_folder(root: Path, names: tuple[str, ...]) -> Path:
    """The data set's folder: ``root`` itself, or one of ``names`` in it (or one level deeper in one of these)."""
    if not root.is_dir():
        raise FileNotFoundError(f"data_root {root} is not a folder")
    candidates = [root, *(root / name for name in names), *(root / a / b for a in names for b in names)]
    for folder in candidates:
        if (folder / "bounding_box_train").is_dir():
            return folder
    raise FileNotFoundError(f"no folder bounding_box_train in {root}, nor in a folder of it named {' or '.join(names)}")


def read_market_layout(name: str, folder: Path) -> ReidData:
    """Read ``bounding_box_train``, ``query`` and ``bounding_box_test`` of ``folder``.

    Raises FileNotFoundError for a missing folder and ValueError for an empty one or a name without pid and camid.
    """
    splits = ("bounding_box_train", "query", "bounding_box_test")
    missing = [split for split in splits if not (folder / split).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not in Market-1501's layout: it has no folder {' and no folder '.join(missing)}"
        )
    train, query, gallery = (_read_split(folder / split) for split in splits)
    train = train[train.pid > DISTRACTOR].reset_index(drop=True)
    query = query[query.pid > DISTRACTOR].reset_index(drop=True)
    return ReidData(name, folder, train, query, gallery)


def check_counts(data: ReidData, expected: Counts) -> None:
    """Raise ValueError with every number that differs from a complete copy's."""
    found = Counts(
        data.train_ids,
        len(data.train),
        len(data.query),
        len(data.gallery),
        data.gallery.pid[data.gallery.pid > DISTRACTOR].nunique(),
    )
    wrong = [
        f"{field.replace('_', ' ')} {getattr(found, field)} instead of {getattr(expected, field)}"
        for field in Counts.__dataclass_fields__
        if getattr(found, field) != getattr(expected, field)
    ]
    if wrong:
        raise ValueError(
            f"{data.root} is not a complete {data.name}: {', '.join(wrong)}"
            " (to use a subset, load it as data set 'folder')"
        )


_NAME = re.compile(r"(-?\d+)_c(\d+)")


def _read_split(folder: Path) -> pd.DataFrame:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise ValueError(f"{folder} holds no .jpg or .png image")
    matches = [_NAME.match(path.name) for path in paths]
    bad = [path.name for path, match in zip(paths, matches, strict=True) if not match]
    if bad:
        raise ValueError(
            f"{folder}: {len(bad)} file names do not begin like 0001_c1s1_ or 0001_c1_, the first is {bad[0]}"
        )
    return pd.DataFrame(
        {
            "path": [str(path) for path in paths],
            "pid": [int(match[1]) for match in matches],
            "camid": [int(match[2]) for match in matches],
        }
    )
