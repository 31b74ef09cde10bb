"""Counts of data sets, and the counts that papers print of them.

Papers count in different ways, often in two ways within one table: with or without the queries, with or without the
distractors' identities. ``statistics.csv`` therefore states for each printed number which counts it is the sum of.
"""

from importlib.resources import files
from pathlib import Path

import pandas as pd

from . import catalog
from .check import count_rows
from .dataset import ReidData, count


def statistics(data: ReidData) -> dict[str, int]:
    """Counts by name: train, query, gallery and images (files), train ids, test ids, gallery ids, cameras."""
    counts = count(data)
    return {
        "train ids": counts.train_ids,
        "train": counts.train,
        "test ids": counts.query_ids,
        "query": counts.query,
        "gallery ids": counts.gallery_ids,
        "gallery": counts.gallery,
        "images": counts.images,
        "cameras": counts.cameras,
    }


def published(paper: str) -> pd.DataFrame:
    """The counts that a paper prints of its data sets: table, dataset, quantity, published, counted, note.

    ``hybrid_attention`` (table 1) and ``attention_driven`` (table 2); ValueError for a paper that prints none.
    """
    frame = pd.read_csv(files("reidnb.data") / "statistics.csv", keep_default_na=False)
    if paper not in set(frame.paper):
        raise ValueError(f"{paper!r} has no table of data sets: {' and '.join(frame.paper.unique())} have one")
    return frame[frame.paper == paper].drop(columns="paper").reset_index(drop=True)


def beside_published(paper: str, root: str | Path | None = None) -> pd.DataFrame:
    """A paper's table of data sets with ``ours``, counted from the copies under ``root``; NA where there is none.

    Rows of dataset, quantity, published, ours, counted, note. Errors as ``catalog.read``, except that a missing data
    set is no error; ValueError or OSError explains why a data set cannot be read.
    """
    frame = published(paper).drop(columns="table")
    counts = {name: statistics(data) for name in frame.dataset.unique() if (data := _read_if_present(name, root))}
    ours = [
        sum(counts[row.dataset][part] for part in row.counted.split(" + ")) if row.dataset in counts else None
        for row in frame.itertuples()
    ]
    frame.insert(3, "ours", pd.array(ours, dtype="Int64"))
    return frame


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """``beside_published`` as papers print it: a row per quantity and a column per data set of 'published (ours)'."""
    both = [
        f"{published:,}" if pd.isna(ours) else f"{published:,} ({'same' if ours == published else format(ours, ',')})"
        for published, ours in zip(frame.published, frame.ours, strict=True)
    ]
    names, quantities = frame.dataset.unique(), frame.quantity.unique()
    cells = frame.assign(both=both).pivot(index="quantity", columns="dataset", values="both")
    return cells.loc[quantities, names].reset_index().rename_axis(columns=None)


def _read_if_present(name: str, root: str | Path | None) -> ReidData | None:
    """The data set, complete or not; None if it is not under the root."""
    if not root:
        return None
    try:
        place = catalog.locate(name, root)
    except FileNotFoundError:
        return None
    data = catalog.read(name, root)
    # The root itself may be a data set. As several share a layout, only a complete copy tells which of them it is.
    if place == Path(root).expanduser().resolve():
        complete = all(row["ok"] for row in count_rows(data, catalog.data_set(name).counts))
        return data if complete else None
    return data
