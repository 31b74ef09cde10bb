"""Market-1501's layout, and the data sets that have it.

The layout has three folders, ``bounding_box_train``, ``query`` and ``bounding_box_test``, with file names that begin
with identity and camera, such as ``0002_c1s1_000451_03.jpg``.
"""

import os
import re
from functools import partial
from pathlib import Path

import pandas as pd

from .dataset import DISTRACTOR, Counts, ReidData, Remark, find

SPLITS = ("bounding_box_train", "query", "bounding_box_test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Files that are read as images, in any case of letters."""
SYSTEM = ("Thumbs.db", "desktop.ini")
"""Files that Windows puts beside images; nobody misses them."""

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

    Training images and queries of pid 0 (distractors) and -1 (junk), and files that are no images, are left out and
    counted in ``remarks``. Raises FileNotFoundError for a missing folder, ValueError for an empty one or a file name
    without pid and camid.
    """
    missing = [split for split in SPLITS if not (folder / split).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not in Market-1501's layout: it has no folder {' and no folder '.join(missing)}"
        )
    tables, remarks = [], []
    for split in SPLITS:
        paths, others = images_in(folder / split)
        table = _labelled(folder / split, paths)
        if split != "bounding_box_test":
            table, nobody = without_nobody(table, split)
            others += nobody
        tables.append(table)
        remarks += others
    return ReidData(name, folder, *tables, remarks=tuple(remarks))


def without_nobody(table: pd.DataFrame, split: str) -> tuple[pd.DataFrame, list[Remark]]:
    """The table without distractors and junk, which only a gallery may have, and a remark on those that it had."""
    nobody = table[table.pid <= DISTRACTOR]
    remark = Remark(
        len(nobody), f"images of pid 0 or -1 left out of {split}", *nobody.path.head(1).map(os.path.basename)
    )
    return table[table.pid > DISTRACTOR].reset_index(drop=True), [remark] if len(nobody) else []


def images_in(folder: Path) -> tuple[list[Path], list[Remark]]:
    """The images of a folder, sorted, and remarks on what else lies there; ValueError when there is no image."""
    # Hidden files are skipped: when macOS unpacks an archive, it adds a ._0002_c1s1_000451_03.jpg beside each image.
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in SYSTEM)
    paths = [path for path in visible if path.suffix.lower() in SUFFIXES]
    others = [path for path in visible if path.suffix.lower() not in SUFFIXES]
    deeper = [path for other in others if other.is_dir() for path in sorted(other.iterdir())]
    deeper = [path for path in deeper if path.suffix.lower() in SUFFIXES]
    others = [path for path in others if not path.is_dir()]
    if not paths:
        message = f"{folder} holds no image ({', '.join(SUFFIXES)})"
        if deeper:
            message += f", but folders that hold some, such as {deeper[0].relative_to(folder)}: move them up"
        elif others:
            message += f", but other files, such as {others[0].name}"
        raise ValueError(message)
    remarks = []
    if others:
        kinds = ", ".join(sorted({path.suffix.lower() or "without suffix" for path in others}))
        remarks.append(Remark(len(others), f"files of other kinds ({kinds}) left out of {folder.name}", others[0].name))
    if deeper:
        what = f"images in folders inside {folder.name} left out"
        remarks.append(Remark(len(deeper), what, str(deeper[0].relative_to(folder))))
    return paths, remarks


def _labelled(folder: Path, paths: list[Path]) -> pd.DataFrame:
    matches = matched(folder, paths, _NAME, "0001_c1s1_ or 0001_c1_")
    return pd.DataFrame(
        {
            "path": [str(path) for path in paths],
            "pid": [int(match[1]) for match in matches],
            "camid": [int(match[2]) for match in matches],
        }
    )


def matched(folder: Path, paths: list[Path], pattern: re.Pattern, like: str) -> list[re.Match]:
    """The beginning of each file's name. Raises ValueError for those that do not begin ``like`` this."""
    matches = [pattern.match(path.name) for path in paths]
    bad = [path.name for path, match in zip(paths, matches, strict=True) if not match]
    if bad:
        raise ValueError(f"{folder}: {len(bad)} file names do not begin like {like}, the first is {bad[0]}")
    return matches
