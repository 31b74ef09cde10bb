"""Which queries to look at: each run's scores per query, filtered and sorted. Plain tables, without any widget."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.dataset import ReidData
from ..papers import KNOWN
from ..papers.experiments import digest
from ..results import Run, all_runs

KINDS = ("all queries", "A is wrong", "A is right, B is wrong")
"""Filters of ``select``. A run is right about a query when the first image of its ranking list is a match."""


def runs_of(results: Path, log: Callable[[str], None] = lambda line: None) -> dict[str, list[Run]]:
    """The finished runs that kept their ranking lists, by the name of their data set.

    ``log`` gets a line for each damaged run, one for those without ranking lists, and one for those of other papers.
    """
    by_name: dict[str, list[Run]] = {}
    without, strange = [], []
    for run in all_runs(results, log):
        if run.experiment.paper not in KNOWN:
            strange.append(run.folder.name)
        elif (run.folder / "rankings.npz").exists():
            by_name.setdefault(run.experiment.dataset, []).append(run)
        else:
            without.append(run.folder.name)
    for names, what in ((without, "that kept no ranking lists"), (strange, "of no paper of this package")):
        if names:
            log(f"left out: {len(names)} run{'s' * (len(names) > 1)} {what}: {names[0]}{', ...' * (len(names) > 1)}")
    return by_name


def misfit(run: Run, data: ReidData) -> str:
    """Why the run's ranking lists cannot be those of this copy of the data set, in one sentence; '' if they fit."""
    top, matches = run.rankings["top"], run.rankings["right"]
    if len(top) != len(data.query) or top.max() >= len(data.gallery):
        size = f"{len(data.query)} queries and {len(data.gallery)} gallery images"
        return f"{run.folder.name} ranked {len(top)} queries, but {data.name} has {size} here: another copy was used."
    pids = data.gallery.pid.to_numpy()[top]
    if ((top >= 0) & ((pids == data.query.pid.to_numpy()[:, None]) != matches)).any():
        return f"{run.folder.name} was evaluated on other identities than those of {data.name} in {data.root}."
    images = digest("", data)
    if run.provenance.get("images", images) != images:  # runs of before lack it
        return f"{run.folder.name} was evaluated on other images than those of {data.name} in {data.root}."
    return ""


def per_query(run: Run) -> pd.DataFrame:
    """A row for each query: ``ap`` in percent and ``first_rank``, NaN for a query without a match.

    By the single-shot protocol a run has no AP; ``first_rank`` is then that in the saved list, NaN beyond its end.
    """
    matches, saved = run.rankings["right"], run.queries
    if not saved:
        first = np.where(matches.any(1), matches.argmax(1) + 1.0, np.nan)
        return pd.DataFrame({"ap": np.nan, "first_rank": first})
    scores = pd.DataFrame(np.nan, range(len(matches)), ["ap", "first_rank"])
    scores.loc[saved["valid"], "ap"] = 100 * saved["ap"]
    scores.loc[saved["valid"], "first_rank"] = saved["first_rank"].astype(float)
    return scores


def select(
    query: pd.DataFrame,
    scores: Mapping[str, pd.DataFrame],
    a: str,
    b: str = "",
    *,
    kind: str = KINDS[0],
    camid: int | None = None,
    pid: int | None = None,
) -> np.ndarray:
    """Rows of the queries that pass the filters, those with A's lowest AP first; queries without a match come last.

    query      the data set's table with pid and camid
    scores     name of a run to its ``per_query``; ``a`` and ``b`` are two of these names
    kind       one of ``KINDS``

    Raises ValueError for an unknown kind, and when a filter needs a run B and has none.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown filter {kind!r}: known are {', '.join(KINDS)}")
    chosen = np.ones(len(query), bool)
    first = scores[a].first_rank
    if kind == KINDS[1]:
        chosen &= scores[a].ap.notna() & (first > 1) if scores[a].ap.notna().any() else ~(first == 1)
    if kind == KINDS[2]:
        if not b or a == b:
            raise ValueError("choose two different runs as A and B to see where A is right and B is wrong.")
        other = scores[b]
        chosen &= (first == 1) & ~(other.first_rank == 1)
    if camid is not None:
        chosen &= query.camid.to_numpy() == camid
    if pid is not None:
        chosen &= query.pid.to_numpy() == pid
    rows = np.flatnonzero(chosen)
    order = scores[a].ap if scores[a].ap.notna().any() else -first
    return rows[np.argsort(order.to_numpy()[rows], kind="stable")]
