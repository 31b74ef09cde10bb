"""Finished runs compared query by query: which queries changed, by how much, and at which cameras.

Intervals are percentile bootstraps over the queries (``evaluation.significance``), paired where two runs are compared:
a query that is hard for both runs then does not widen them. They cover the choice of queries, not the randomness of
training; where there are several trainings, ``over_trainings`` and ``scores`` cover this. All scores are in percent,
AP in its plain definition.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.dataset import SINGLE_SHOT, ReidData
from ..evaluation.significance import paired_bootstrap, paired_test, statistics
from ..results import Run


@dataclass(frozen=True)
class Queries:
    """The scores of several runs on the same queries; every table has a row for each query that was evaluated."""

    about: pd.DataFrame
    """pid and camid; the index is the row in the data set's table of queries."""
    ap: pd.DataFrame
    """The average precision, a column for each run."""
    first_rank: pd.DataFrame
    """The rank of the first match, counted from 1, a column for each run."""

    def rank1(self, run: str) -> pd.Series:
        """100 where the first gallery image matches, otherwise 0."""
        return 100.0 * (self.first_rank[run] == 1)

    def check(self, *runs: str) -> None:
        """Raise ValueError for a run that is not among those compared."""
        for run in runs:
            if run not in self.ap:
                raise ValueError(f"there is no run {run!r}: compared are {', '.join(self.ap)}")


def check_choice(networks: Collection[str], base: str, other: str, data: ReidData) -> None:
    """Raise ValueError, before anything is trained, for networks or data that cannot be compared query by query."""
    for name in (base, other):
        if name not in networks:
            raise ValueError(f"there is no network {name!r}: compared are {', '.join(networks)}")
    if base == other:
        raise ValueError(f"base and other are both {base!r}: two networks are compared")
    if data.protocol == SINGLE_SHOT:
        raise ValueError(f"{data.name} is tested by the single-shot protocol, which has no scores of single queries")


def by_query(runs: Mapping[str, Run], data: ReidData) -> Queries:
    """The scores of finished runs at each query of the data set on which they were trained and tested.

    Raises ValueError for no run, a run on another data set, or one without scores of single queries, as by the
    single-shot protocol.
    """
    if not runs:
        raise ValueError("no run to compare: pass {name: run}")
    for name, run in runs.items():
        if run.experiment.dataset != data.name:
            raise ValueError(f"{name} was tested on {run.experiment.dataset}, not on {data.name}")
        if not run.queries:
            raise ValueError(f"{name} has no scores of single queries: {run.folder} lacks queries.npz")
        if len(run.queries["valid"]) != len(data.query):
            count = len(run.queries["valid"])
            raise ValueError(f"{name} was tested on {count} queries, but {data.name} has {len(data.query)}")
    # Whether a query can be evaluated depends on the gallery only, so it is the same for every run.
    rows = np.flatnonzero(next(iter(runs.values())).queries["valid"])
    about = data.query[["pid", "camid"]].reset_index(drop=True).loc[rows]
    ap = pd.DataFrame({name: 100 * run.queries["ap"] for name, run in runs.items()}, rows)
    ranks = pd.DataFrame({name: run.queries["first_rank"] for name, run in runs.items()}, rows)
    return Queries(about, ap, ranks)


def against(queries: Queries, base: str) -> pd.DataFrame:
    """Each run against the run called ``base``, which comes first, a row for each.

    map, rank1                scores
    map_difference, rank1_difference   run - base in points, each with its 95 % interval, ``*_low`` and ``*_high``
    p_value                   of the difference in mAP (sign-flip permutation test)
    better, equal, worse      queries with a higher, equal or lower AP
    gained, lost              queries whose first image matches only with this run, or only with the base
    """
    queries.check(base)
    rows = {}
    for name in dict.fromkeys((base, *queries.ap)):
        change = (queries.ap[name] - queries.ap[base]).to_numpy()
        ranked = (queries.rank1(name) - queries.rank1(base)).to_numpy()
        row = {"map": queries.ap[name].mean(), "rank1": queries.rank1(name).mean()}
        if name != base:
            row |= _interval("map", queries.ap[name], queries.ap[base])
            row |= _interval("rank1", queries.rank1(name), queries.rank1(base))
            row["p_value"] = paired_test(queries.ap[name], queries.ap[base]).p_value
        row |= {"better": int((change > 0).sum()), "equal": int((change == 0).sum()), "worse": int((change < 0).sum())}
        rows[name] = row | {"gained": int((ranked > 0).sum()), "lost": int((ranked < 0).sum())}
    return _table(rows)


def by_camera(queries: Queries, base: str, other: str) -> pd.DataFrame:
    """Two runs at the queries of each camera: queries, the mAP of both, map_difference (other - base), low, high.

    The interval of a camera with few queries is wide, and of one query it has no width.
    """
    queries.check(base, other)
    rows = {}
    for camera, index in queries.about.groupby("camid").groups.items():
        a, b = queries.ap.loc[index, other], queries.ap.loc[index, base]
        rows[camera] = {"queries": len(index), base: b.mean(), other: a.mean()} | _interval("map", a, b)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("camera")


def most_changed(queries: Queries, base: str, other: str, count: int = 3) -> pd.DataFrame:
    """The ``count`` queries that lose most AP from ``base`` to ``other``, then the ``count`` that gain most.

    Columns: pid, camid, the AP of both, difference, and the rank of the first match by both. Queries without a change
    are left out.
    """
    queries.check(base, other)
    difference = (queries.ap[other] - queries.ap[base]).rename("difference")
    ordered = difference.sort_values(kind="stable")
    chosen = pd.concat([ordered[ordered < 0].head(count), ordered[ordered > 0].tail(count)]).index
    frame = queries.about.join(queries.ap[[base, other]]).join(difference)
    for name in (base, other):
        frame[f"first match, {name}"] = queries.first_rank[name]
    return frame.loc[chosen]


def over_trainings(trainings: Sequence[Queries], base: str) -> pd.DataFrame:
    """Each run against ``base``, which comes first, over the trainings with different seeds, a row for each.

    map, map_std               mean and standard deviation of the trainings' mAP
    map_difference, difference_std, map_low, map_high    run - base of each seed in points, ``significance.statistics``
    seeds                      trainings of each
    """
    trainings[0].check(base)
    rows, mean = {}, scores(trainings)
    for name in dict.fromkeys((base, *trainings[0].ap)):
        rows[name] = {"map": mean["map"][name], "map_std": mean["std"][name]}
        if name != base:
            change = statistics([of_seed.ap[name] - of_seed.ap[base] for of_seed in trainings])
            rows[name] |= {"map_difference": change["mean"], "difference_std": change["std"]}
            rows[name] |= {"map_low": change["low"], "map_high": change["high"]}
    return _table(rows).assign(seeds=len(trainings))


def scores(trainings: Sequence[Queries]) -> pd.DataFrame:
    """The mAP of each run over its trainings, as ``significance.statistics``: map, std, low, high."""
    by_run = {name: statistics([of_seed.ap[name] for of_seed in trainings], "map") for name in trainings[0].ap}
    return pd.DataFrame(by_run).T


def _table(rows: Mapping[str, dict[str, float]]) -> pd.DataFrame:
    """The rows by their names, in the order of columns of the longest: the base's row has no difference."""
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=max(rows.values(), key=len))


def _interval(metric: str, a: pd.Series, b: pd.Series) -> dict[str, float]:
    interval = paired_bootstrap(a, b)
    return {f"{metric}_difference": interval.mean, f"{metric}_low": interval.low, f"{metric}_high": interval.high}
