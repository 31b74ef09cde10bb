"""What the papers claim of their own tables, and whether our runs bear it out."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..evaluation.significance import Interval, over_seeds, paired_bootstrap
from ..papers.paper import Compared, Paper, Row
from ..results import Run
from .comparison import AP, Score, origin, printed_dataset, scores

HOLDS, TENDS_TO_HOLD, TENDS_AGAINST, AGAINST, UNDECIDED, NO_INTERVAL, NOT_RUN = VERDICTS = (
    *("holds", "tends to hold (1 seed)", "tends against (1 seed)", "against"),
    *("undecided", "no interval", "not run"),
)
COLUMNS = (
    *("claim", "where", "table", "metric", "published_dataset", "published"),
    *("ours", "low", "high", "over", "verdict", "better", "worse"),
)


def checklist(
    paper: Paper, dataset: str, runs: Mapping[str, Sequence[tuple[Row, Run]]], data_root: str = ""
) -> pd.DataFrame:
    """A row for each claim about the tables in ``runs`` (table to its runs) and each of the claim's metrics.

    published  by how many points the better row is better in print: on ``dataset``, or on the first data set that
               the table prints; of several pairs of rows, the one with the least difference
    ours       the same of our runs, the mean over the seeds that both rows have; ``better`` and ``worse`` name the
               pair of the least difference, ``low`` and ``high`` are its interval
               (of a claim about gains: by how many points one gain exceeds the other)
    over       what the interval is over: 'queries' of one training, so not the seeds; 'n seeds'; or '' where there is
               none, as across data sets or by the single-shot protocol with one seed, or where all seeds differ alike
    verdict    over seeds 'holds' when the intervals of all pairs lie above 0 and 'against' when one lies below; over
               the queries of one training only 'tends to hold (1 seed)' or 'tends against (1 seed)'. 'not run' when a
               row is missing, 'no interval' when a pair has none and no other decides against, otherwise 'undecided'

    The intervals of a claim of n pairs have the level 1 - 0.05 / n (Bonferroni), so that all together have 95 %.
    """
    lines = []
    for claim in paper.claims:
        if claim.table not in runs:
            continue
        table = paper.table(claim.table)
        source = printed_dataset(table, dataset)
        if claim.datasets and source not in claim.datasets:
            continue
        printed = paper.published(claim.table).query("dataset == @source and kind == 'run'").set_index("row")
        # The table itself names the runs that cannot be measured.
        by_row = scores(table, dataset, runs[claim.table], data_root, log=lambda line: None)
        for metric in claim.metrics:
            if printed[metric].notna().any():  # no mAP by the single-shot protocol
                line = {"claim": claim.text, "where": claim.where, "table": claim.table, "metric": metric}
                line |= {"published_dataset": source, "published": _printed(claim.pairs, printed[metric])}
                lines.append(line | _measured(claim.pairs, metric, by_row))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many claims of a checklist have which verdict, a claim about two metrics being one.

    It has the worse of its verdicts, so it holds only when both do.
    """
    worst = (AGAINST, TENDS_AGAINST, NOT_RUN, NO_INTERVAL, UNDECIDED, TENDS_TO_HOLD, HOLDS)
    verdicts = [min(of_claim, key=worst.index) for _, of_claim in frame.groupby("claim").verdict]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def note(paper: Paper, frame: pd.DataFrame, runs: Mapping[str, Sequence[tuple[Row, Run]]], dataset: str) -> str:
    """A checklist's caption: what its numbers are, and what its intervals cover."""
    printed = ", ".join(dict.fromkeys(frame.published_dataset))
    first = "" if dataset in set(frame.published_dataset) else ", the first that its tables print"
    covers = {
        "queries": "Intervals over queries cover the choice of queries only, not the variation between trainings:"
        " another seed can move a difference out of them.",
        "seeds": "Intervals over seeds cover the variation between trainings.",
        "": "No interval: across data sets and by the single-shot protocol no value is kept for each query.",
    }
    kinds = {over.split()[-1] if over else "" for over in frame[frame.verdict != NOT_RUN].over}
    return " ".join(
        (
            f"What the text of {paper.title} claims of its tables, in points: the better row minus the"
            f" worse. Published: on {printed}{first}.",
            origin([one for table in runs.values() for one in table], dataset),
            *dict.fromkeys(AP[paper.table(name).ap] for name in runs),
            "Holds: the whole 95 % interval lies above 0. Against: below 0. With one seed a claim only tends to hold or"
            " tends against. Of a claim about several pairs of rows the least difference is shown; it holds when all"
            " do, and their intervals together have 95 %.",
            *(text for kind, text in covers.items() if kind in kinds),
        )
    )


def _printed(pairs: Sequence[tuple[Compared, Compared]], values: pd.Series) -> float:
    def value(compared: Compared) -> float:
        if isinstance(compared, str):
            return values.get(compared, math.nan)
        return value(compared[0]) - value(compared[1])

    differences = [value(better) - value(worse) for better, worse in pairs]
    return round(min((d for d in differences if not math.isnan(d)), default=math.nan), 2)


def _scores(compared: Compared, by_row: Mapping[str, Sequence[Score]]) -> Sequence[Score]:
    """The scores of a row, or of a gain: for each seed that both of its rows have, the difference."""
    if isinstance(compared, str):
        return by_row[compared]
    return [
        Score(
            row.seed,
            {metric: row.mean[metric] - base.mean[metric] for metric in row.mean},
            {m: row.queries[m] - base.queries[m] for m in row.queries} if base.queries else {},
        )
        for row in by_row[compared[0]]
        for base in by_row[compared[1]]
        if row.seed == base.seed
    ]


def _name(compared: Compared) -> str:
    return compared if isinstance(compared, str) else f"({compared[0]} over {compared[1]})"


def _measured(
    pairs: Sequence[tuple[Compared, Compared]], metric: str, by_row: Mapping[str, Sequence[Score]]
) -> dict[str, object]:
    level = 1 - 0.05 / len(pairs)
    compared = {pair: _compare(*(_scores(each, by_row) for each in pair), metric, level) for pair in pairs}
    if None in compared.values():
        return {"verdict": NOT_RUN, "over": ""}
    better, worse = least = min(compared, key=lambda pair: compared[pair][0])
    difference, interval, over = compared[least]
    line = {"ours": round(difference, 2), "better": _name(better), "worse": _name(worse), "over": over}
    if interval:
        line |= {"low": round(interval.low, 2), "high": round(interval.high, 2)}
    return line | {"verdict": _verdict([interval for _, interval, _ in compared.values()], one_seed=over == "queries")}


def _verdict(intervals: Sequence[Interval | None], one_seed: bool) -> str:
    """The verdict on a claim from the intervals of its pairs of rows, None where a pair has none."""
    if any(interval and interval.high < 0 for interval in intervals):
        return TENDS_AGAINST if one_seed else AGAINST
    if None in intervals:
        return NO_INTERVAL
    if all(interval.low > 0 for interval in intervals):
        return TENDS_TO_HOLD if one_seed else HOLDS
    return UNDECIDED


def _compare(
    better: Sequence[Score], worse: Sequence[Score], metric: str, level: float
) -> tuple[float, Interval | None, str] | None:
    """By how much one row is better, the interval of it and what that is over; None where no seed has both."""
    pairs = [(a, b) for a in better for b in worse if a.seed == b.seed and np.isfinite(a.mean[metric] - b.mean[metric])]
    if not pairs:
        return None
    differences = [a.mean[metric] - b.mean[metric] for a, b in pairs]
    if len(pairs) > 1:
        if np.ptp(differences) < 1e-9:  # as happens by rank-1 of few queries: the spread is not 0 but unknown
            return differences[0], None, ""
        interval = over_seeds(differences, level=level)
        return interval.mean, interval, f"{len(pairs)} seeds"
    ((a, b),) = pairs
    if not (a.queries and b.queries):
        return differences[0], None, ""
    return differences[0], paired_bootstrap(a.queries[metric], b.queries[metric], level=level), "queries"
