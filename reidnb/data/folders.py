"""The user's data sets: a folder in Market-1501's layout, or with a table of its images, ``images.csv``.

Identities and cameras may be any text; what is no plain number, or would be taken for junk or a distractor, is
renumbered. A set without training images can be tested on.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from .dataset import DISTRACTOR, JUNK, ReidData, Remark, find
from .market import SPLITS, images_in, matched, without_nobody

TABLE = "images.csv"
COLUMNS = ("path", "pid", "camid", "split")
PARTS = ("train", "query", "gallery")
PREFIXES = ("folder", "market-folder")
"""Names of these data sets: in ``market-folder`` pid 0 marks distractors, as in Market-1501; in ``folder`` it is a
person, unless the gallery also has Market-1501's junk, pid -1."""

_NAME = re.compile(r"(.+?)_c(\d+)")


def holds_images(folder: Path) -> Path | None:
    """The folder if it has ``images.csv`` or any of the layout's folders (``read`` reports missing ones), else None."""
    return folder if (folder / TABLE).is_file() or any((folder / split).is_dir() for split in SPLITS) else None


def short(folder: Path) -> str:
    """The folder's name as part of a data set's name: letters, digits and hyphens."""
    return re.sub(r"[\W_]+", "-", folder.resolve().name).strip("-").lower() or "unnamed"


def find_folder(root: Path, named: str = "") -> Path:
    """The folder of this ``short`` name, ``root`` or one in it; ``root`` without a name. Errors as ``find``."""
    needs = f"folder bounding_box_train and no {TABLE}"
    if not named or (short(root) == named and holds_images(root)):
        return find(root, (), holds_images, needs)
    children = sorted(root.iterdir()) if root.is_dir() else []
    return find(root, tuple(child.name for child in children if short(child) == named), _in_child(root), needs)


def _in_child(root: Path) -> Callable[[Path], Path | None]:
    """As ``holds_images``, but not for the root, which has another name."""
    return lambda folder: None if folder == root else holds_images(folder)


def read(name: str, folder: Path) -> ReidData:
    """The data set in ``folder``; ``name`` begins with one of ``PREFIXES``.

    Raises FileNotFoundError for a missing folder or image, ValueError for a file name or a line of ``images.csv`` that
    does not give identity and camera, both naming the first.
    """
    tables, remarks = _from_table(folder) if (folder / TABLE).is_file() else _from_layout(folder)
    as_market = name.startswith("market-folder") or "-1" in set(tables["gallery"].pid)
    remarks += _number(tables, as_market)
    for part, split in (("train", "training"), ("query", "the queries")):
        tables[part], nobody = without_nobody(tables[part], split)
        remarks += nobody
    if not len(tables["query"]) or not len(tables["gallery"]):
        lacking = "query" if not len(tables["query"]) else "gallery image"
        raise ValueError(f"{folder} has no {lacking}: a data set has both, and training images if it is to train on")
    if not len(tables["train"]):
        remarks.append(Remark(0, "training images: a set to test on"))
    return ReidData(name, folder, *(tables[part] for part in PARTS), remarks=tuple(remarks))


def _from_layout(folder: Path) -> tuple[dict[str, pd.DataFrame], list[Remark]]:
    missing = [split for split in SPLITS[1:] if not (folder / split).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not in Market-1501's layout: it has no folder {' and no folder '.join(missing)}"
        )
    tables, remarks = {}, []
    for part, split in zip(PARTS, SPLITS, strict=True):
        paths: list[Path] = []
        if (folder / split).is_dir():
            paths, others = images_in(folder / split)
            remarks += others
        matches = matched(folder / split, paths, _NAME, "0001_c1s1_ or 0001_c1_")
        labels = {"pid": [match[1] for match in matches], "camid": [match[2] for match in matches]}
        tables[part] = pd.DataFrame({"path": [str(path) for path in paths], **labels}, dtype=object)
    return tables, remarks


def _from_table(folder: Path) -> tuple[dict[str, pd.DataFrame], list[Remark]]:
    file = folder / TABLE
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, UnicodeError) as error:
        raise ValueError(f"{file} cannot be read as comma-separated UTF-8: {str(error).splitlines()[0]}") from None
    if lacking := [column for column in COLUMNS if column not in rows]:
        raise ValueError(
            f"{file} has no column {lacking[0]!r}: it has {', '.join(rows)}; needed are {', '.join(COLUMNS)}"
        )
    rows = rows[list(COLUMNS)].apply(lambda column: column.str.strip())
    empty = (rows == "").any(axis=1)
    wrong = ~rows.split.isin(PARTS) if not empty.any() else empty
    if wrong.any():
        line = int(np.argmax(wrong))
        content = ", ".join(rows.iloc[line])
        raise ValueError(f"{file}, line {line + 2}: path, pid, camid and one of {', '.join(PARTS)}, found {content!r}")
    rows["path"] = [str(folder / path) for path in rows.path]
    if missing := [path for path in rows.path if not Path(path).is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(rows)} images of {file} are missing, the first is {missing[0]}"
        )
    twice = rows.duplicated(["path", "split"])
    remarks = [Remark(int(twice.sum()), f"lines that repeat an image in {TABLE} left out")] if twice.any() else []
    rows = rows[~twice]
    tables = {part: rows[rows.split == part].drop(columns="split").reset_index(drop=True) for part in PARTS}
    return tables, remarks


def _number(tables: dict[str, pd.DataFrame], as_market: bool) -> list[Remark]:
    """Turn identities and cameras from text into int64, in place; remarks on those that were renumbered."""
    remarks = []
    nobody = {"-1": JUNK} | ({"0": DISTRACTOR} if as_market else {})
    for column, singular, special in (("pid", "identities", nobody), ("camid", "cameras", {})):
        texts = pd.concat([table[column] for table in tables.values()])
        numbers, renumbered = _numbers(texts, column, special)
        if renumbered:
            # The texts' order is that of the numbers, so that the same files have the same numbers everywhere.
            count = len({number for number in numbers.values() if number > DISTRACTOR or column == "camid"})
            why = "pid 0 is a person here" if column == "pid" and "0" in map(_plain, texts) and not as_market else ""
            remarks.append(Remark(count, f"{singular} renumbered from 1" + (f", as {why}" if why else "")))
        for table in tables.values():
            table[column] = np.array([numbers[text] for text in table[column]], np.int64)
    return remarks


def _numbers(texts: pd.Series, column: str, special: dict[str, int]) -> tuple[dict[str, int], bool]:
    """A number for each text, and whether they are other numbers than the texts."""
    plain = {text: _plain(text) for text in texts.unique()}
    people = {text: value for text, value in plain.items() if value not in special}
    values = set(people.values())
    digits = all(re.fullmatch(r"\d{1,40}", value) for value in values)
    least = 1 if column == "pid" else 0
    if digits and all(least <= int(value) < 2**63 for value in values):
        numbers = {value: int(value) for value in values}
    else:
        order = sorted(values, key=int if digits else str)
        numbers = {value: number for number, value in enumerate(order, 1)}
    renumbered = any(str(number) != value for value, number in numbers.items())
    return {text: special[value] if value in special else numbers[value] for text, value in plain.items()}, renumbered


def _plain(text: str) -> str:
    """A number without leading zeros; other text as it is."""
    return str(int(text)) if re.fullmatch(r"-?[0-9]{1,40}", text) else text
