"""Market-1501's layout, and the data sets that have it.

The layout has three folders, ``bounding_box_train``, ``query`` and ``bounding_box_test``, with file names that begin
with identity and camera, such as ``0002_c1s1_000451_03.jpg``.
"""

import re
from functools import partial
from pathlib import Path

import pandas as pd

from .dataset import DISTRACTOR, Counts, ReidData, find

SPLITS = ("bounding_box_train", "query", "bounding_box_test")

# Zheng et al. 2015. Of the 19,732 gallery images, 2,798 are distractors and 3,819 are junk.
MARKET = Counts(
    train_ids=751, train=12936, query_ids=750, query=3368, gallery_ids=750, gallery=19732, images=36036, cameras=6
)
# Zheng et al. 2017. The gallery's 1,110 identities are the queries' 702 and 408 that only one camera saw.
DUKE = Counts(
    train_ids=702, train=16522, query_ids=702, query=2228, gallery_ids=1110, gallery=17661, images=36411, cameras=8
)
DUKE_NOTICE = "DukeMTMC-reID was withdrawn by its authors: an existing copy is read, but it is never downloaded"

_NAME = re.compile(r"(-?\d+)_c(\d+)")


def holds_layout(folder: Path) -> Path | None:
    """The folder if it has any of the layout's folders (``read`` reports missing ones), else None."""
    return folder if any((folder / split).is_dir() for split in SPLITS) else None


def find_layout(root: Path, names: tuple[str, ...] = ()) -> Path:
    """The folder in this layout: ``root`` itself or one of ``names`` in it; errors as ``find``."""
    return find(root, names, holds_layout, "folder bounding_box_train")


find_market = partial(find_layout, names=("market1501", "Market-1501-v15.09.15", "Market-1501", "Market1501", "market"))
find_duke = partial(find_layout, names=("dukemtmc-reid", "DukeMTMC-reID", "dukemtmc", "DukeMTMC", "dukemtmcreid"))


def read(name: str, folder: Path) -> ReidData:
    """Read ``bounding_box_train``, ``query`` and ``bounding_box_test`` of ``folder``.

    Raises FileNotFoundError for a missing folder, ValueError for an empty one or a file name without pid and camid.
    """
    missing = [split for split in SPLITS if not (folder / split).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not in Market-1501's layout: it has no folder {' and no folder '.join(missing)}"
        )
    train, query, gallery = (_read_split(folder / split) for split in SPLITS)
    train = train[train.pid > DISTRACTOR].reset_index(drop=True)
    query = query[query.pid > DISTRACTOR].reset_index(drop=True)
    return ReidData(name, folder, train, query, gallery)


def _read_split(folder: Path) -> pd.DataFrame:
    # Hidden files are skipped: when macOS unpacks an archive, it adds a ._0002_c1s1_000451_03.jpg beside each image.
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    paths = sorted(path for path in visible if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
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
