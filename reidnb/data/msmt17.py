"""MSMT17 (Wei et al. 2018): 15 cameras, and text files that list the images of each split.

Version 1 has the folders ``train`` and ``test``; version 2, with blurred faces, ``mask_train_v2`` and ``mask_test_v2``.
"""

import os
import re
from functools import partial
from pathlib import Path

import pandas as pd

from .dataset import Counts, ReidData, find

MSMT17 = Counts(
    train_ids=1041, train=32621, query_ids=3060, query=11659, gallery_ids=3060, gallery=82161, images=126441, cameras=15
)
LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))

_LINE = re.compile(r"(\S*?\d+_\d+_(\d+)_\S*)\s+(\d+)\s*")


def _holds(folder: Path) -> Path | None:
    """The folder if it has any of the lists (``read`` reports missing ones), else None."""
    return folder if any((folder / name).is_file() for name in LISTS) else None


find_msmt17 = partial(
    find, names=("msmt17", "MSMT17", "MSMT17_V1", "MSMT17_V2"), holds=_holds, needs="list_train.txt (MSMT17's)"
)


def read(name: str, folder: Path) -> ReidData:
    """Read the four lists of ``folder`` and the images they name.

    The training set is the union of ``list_train`` and ``list_val``, with 1,041 identities and 32,621 images as
    published. The lists number the identities of training and test separately from 0; here they are numbered
    consecutively from 1.
    Raises FileNotFoundError for a missing list, folder or image, ValueError for a line without file name and pid.
    """
    missing = [n for n in LISTS if not (folder / n).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} is not a complete MSMT17: it has no {' and no '.join(missing)}")
    pairs = [(folder / a, folder / b) for a, b in FOLDERS if (folder / a).is_dir() and (folder / b).is_dir()]
    if not pairs:
        alternatives = " nor ".join(" and ".join(pair) for pair in FOLDERS)
        raise FileNotFoundError(f"{folder} is not a complete MSMT17: it has neither folders {alternatives}")
    train_dir, test_dir = pairs[0]
    train, val = (_read_list(folder / n, train_dir, 1) for n in LISTS[:2])
    train = pd.concat([train, val], ignore_index=True)
    query, gallery = (_read_list(folder / n, test_dir, 1 + train.pid.max()) for n in LISTS[2:])
    return ReidData(name, folder, train, query, gallery)


def _read_list(file: Path, folder: Path, first_pid: int) -> pd.DataFrame:
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    matches = [_LINE.fullmatch(line) for line in lines]
    bad = [line for line, match in zip(lines, matches, strict=True) if not match]
    if bad or not lines:
        example = f"{bad[0]!r}" if bad else "an empty file"
        raise ValueError(f"{file}: a line is like '0000/0000_000_01_0303morning_0008_0.jpg 0', found {example}")
    paths = [str(folder / match[1]) for match in matches]
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images of {file} are missing, the first is {missing[0]}"
        )
    return pd.DataFrame(
        {
            "path": paths,
            "pid": [int(match[3]) + first_pid for match in matches],
            "camid": [int(match[2]) for match in matches],
        }
    )
