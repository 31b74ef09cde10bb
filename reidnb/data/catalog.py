"""The data sets by name.

``load("market1501", root)`` finds the data set under the user's data root, checks it against the counts that its
authors give, and returns three pandas tables (train, query, gallery) with the columns path, pid and camid.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..files import cache_dir, create_once, reporting_damage
from . import cuhk03, folders, market, msmt17
from .dataset import DISTRACTOR, JUNK, Counts, ReidData, check_counts, of_little_use, part_of

__all__ = [
    "DATA_SETS",
    "DISTRACTOR",
    "JUNK",
    "STREETS",
    "Counts",
    "DataSet",
    "ReidData",
    "data_set",
    "load",
    "locate",
    "read",
    "resolve",
]

PART = "_part"
"""Ending of the name of a part of a data set, for quick trials: 'market1501_part'."""

STREETS: dict[str, dict] = {
    "street": {},
    "street-other": {"seed": 2, "train_ids": 1, "test_ids": 16},
    "street-pretraining": {"seed": 1, "train_ids": 240, "test_ids": 32},
    "street-small": {"train_ids": 8, "test_ids": 8, "cameras": 3, "size": (64, 32)},
}
"""The synthetic sets: name to the arguments of ``street.make``.

'street-other' is a target domain for models trained on 'street'; 'street-pretraining' is the set on which the demo's
initial weights were trained; 'street-small' is for tests.
"""


@dataclass(frozen=True)
class DataSet:
    """How a data set is located and read, and the counts of a complete copy."""

    find: Callable[[Path], Path]
    """Maps the data root to the data set's folder or file."""
    read: Callable[[str, Path], ReidData]
    """Maps the data set's name and its folder or file to its tables."""
    counts: Counts | None = None
    notice: str = ""
    """A warning to every user of the data set."""


def _street(name: str) -> DataSet:
    def make(root: Path | None) -> Path:
        from .. import street  # needs OpenCV, which a machine that only trains may lack

        folder = cache_dir() / name
        with create_once(folder, name):  # make also checks the parameters of an existing street
            return street.make(folder, **STREETS[name])

    return DataSet(make, _read_street)


def _read_street(name: str, folder: Path) -> ReidData:
    """The street's tables.

    Raises FileNotFoundError when a file was deleted after the street was made, ValueError for a damaged one.
    """
    remedy = f"delete {folder} to have it made again"
    for split in market.SPLITS:
        file = folder / "truth" / f"{split}.npz"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; {remedy}")
        with reporting_damage(file, remedy), np.load(file, allow_pickle=False) as truth:
            missing = [image for image in truth["names"] if not (folder / split / image).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} images of {name} are missing, the first is {folder / split / missing[0]}; {remedy}"
            )
    return market.read(name, folder)


def _cuhk03(boxes: str) -> dict[str, DataSet]:
    new_protocol, classic = f"cuhk03np-{boxes}", f"cuhk03-{boxes}"
    return {
        new_protocol: DataSet(
            partial(cuhk03.find_new_protocol, boxes=boxes),
            partial(cuhk03.read_new_protocol, boxes=boxes),
            cuhk03.COUNTS[new_protocol],
        ),
        classic: DataSet(cuhk03.find_mat, partial(cuhk03.read_classic, boxes=boxes), cuhk03.COUNTS[classic]),
    }


DATA_SETS: dict[str, DataSet] = {
    "market1501": DataSet(market.find_market, market.read, market.MARKET),
    "dukemtmc": DataSet(market.find_duke, market.read, market.DUKE, market.DUKE_NOTICE),
    **_cuhk03("labeled"),
    **_cuhk03("detected"),
    "msmt17": DataSet(msmt17.find_msmt17, msmt17.read, msmt17.MSMT17),
    **{name: DataSet(folders.find_folder, folders.read) for name in folders.PREFIXES},
    **{name: _street(name) for name in STREETS},
}
"""All data sets by name.

``data_set`` also accepts the other classic splits of CUHK03 (``cuhk03-labeled-2``, ...), the user's data sets by
their folder (``folder-shop``), and parts (``market1501_part``).
"""


def data_set(name: str) -> DataSet:
    """The data set called ``name``. Raises ValueError for an unknown name."""
    if name in DATA_SETS:
        return DATA_SETS[name]
    if name.endswith(PART):
        complete = data_set(name.removesuffix(PART))
        return DataSet(complete.find, lambda part, place: part_of(complete.read(part, place)), None, complete.notice)
    if split := re.fullmatch(r"(cuhk03-(?:labeled|detected))-(\d+)", name):
        first_split = DATA_SETS[split[1]]
        return DataSet(first_split.find, partial(first_split.read, split=int(split[2])), first_split.counts)
    if named := re.fullmatch(rf"({'|'.join(folders.PREFIXES)})-([^\W_]+(?:-[^\W_]+)*)", name):
        return DataSet(partial(folders.find_folder, named=named[2]), folders.read)
    raise ValueError(f"unknown data set {name!r}: known are {', '.join(sorted(DATA_SETS))}")


def resolve(name: str, root: str | Path | None = None, profile: str = "") -> str:
    """The complete name of a data set, which keys, tables and captions show; of 'a->b', that of both.

    'folder' becomes 'folder-shop' after its folder, so that each of the user's sets has separate tables. The profile
    'smoke' takes a part of any set but the synthetic streets: 'market1501_part'. Errors as ``locate``.
    """
    if "->" in name:
        return "->".join(resolve(each, root, profile) for each in name.split("->"))
    complete = name.removesuffix(PART)
    data_set(complete)
    if complete in folders.PREFIXES:
        complete = f"{complete}-{folders.short(locate(complete, root))}"
    is_part = name.endswith(PART) or (profile == "smoke" and complete not in STREETS)
    return complete + PART * is_part


def locate(name: str, root: str | Path | None = None) -> Path:
    """The path of a data set: its folder, or ``cuhk-03.mat``. Errors as ``load``, but the content is not checked."""
    entry = data_set(name)
    if name.removesuffix(PART) in STREETS:
        return entry.find(None)
    if not root:
        raise ValueError(f"data set {name!r} needs data_root, the folder that holds it")
    return entry.find(Path(root).expanduser().resolve())


def read(name: str, root: str | Path | None = None) -> ReidData:
    """As ``load``, without the check that the copy is complete, and without a word on what was left out."""
    return data_set(name).read(resolve(name, root), locate(name, root))


def load(name: str, root: str | Path | None = None) -> ReidData:
    """The data set ``name``: one of ``DATA_SETS``, or another name that ``data_set`` accepts.

    ``root`` is the folder that holds the data sets (or the data set's own folder); the street needs none. Prints a line
    when something in the folder was left out or renumbered, and what is of little use in a set of the user's.
    Raises ValueError for an unknown name or an incomplete copy, FileNotFoundError for a missing folder.
    """
    data, entry = read(name, root), data_set(name)
    if entry.counts:
        check_counts(data, entry.counts)
    if entry.notice:
        warnings.warn(entry.notice, stacklevel=2)
    remarks = list(data.remarks) + (of_little_use(data) if name.startswith(folders.PREFIXES) else [])
    if remarks:
        print(f"{data.name}: {'; '.join(map(str, remarks))}", flush=True)
    return data
