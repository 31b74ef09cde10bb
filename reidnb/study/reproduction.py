"""Whether a study reproduced the committed results, and how the committed results are replaced.

The committed tables and figures lie in ``results/reference``; a study writes beside them and leaves them alone.
"""

import shutil
from pathlib import Path

import pandas as pd

from ..results import all_runs, update_summary

METRICS = {"map": "mAP", "rank1": "rank-1"}
TOLERANCE = {"map": 3.0, "rank1": 5.0}
"""Points between two machines that are no sign of a mistake. On the street, between bfloat16 and float32 on one
machine, mAP moved by 0.6 on average and 3.4 at most, rank-1 by 1.9 and 9.6; of its 195 queries one is half a point of
rank-1."""
COPIED = ("tables", "figures")
EQUAL, WITHIN, OUTSIDE = "equal", "within tolerance", "outside"


def compare(results: Path, reference: Path) -> pd.DataFrame:
    """Each number of ours in a table of ``results`` beside that of the committed table of the same name.

    A row for each table, row and metric that both have: table, row, metric, committed, new, difference (points), and
    whether that is 'equal', 'within tolerance' or 'outside'.
    """
    lines = []
    for path in sorted((results / "tables").glob("*.csv")):
        if not (other := reference / "tables" / path.name).exists():
            continue
        new, committed = _ours(path), _ours(other)
        for place in new.index.intersection(committed.index, sort=False):
            difference = new[place] - committed[place]
            row, metric = place
            outcome = EQUAL if difference == 0 else WITHIN if abs(difference) <= TOLERANCE[metric] else OUTSIDE
            line = {"table": path.stem, "row": row, "metric": METRICS[metric], "committed": committed[place]}
            lines.append(line | {"new": new[place], "difference": difference, "outcome": outcome})
    columns = ["table", "row", "metric", "committed", "new", "difference", "outcome"]
    return pd.DataFrame(lines, columns=columns)


def in_a_line(comparison: pd.DataFrame) -> str:
    """What a comparison shows, in one sentence."""
    if comparison.empty:
        return "reproduced: no committed table has the numbers of this study"
    counts = comparison.outcome.value_counts()
    inside = len(comparison) - counts.get(OUTSIDE, 0)
    tolerance = " and ".join(f"{points:g} points of {METRICS[metric]}" for metric, points in TOLERANCE.items())
    text = (
        f"reproduced: {inside} of {len(comparison)} committed numbers within {tolerance},"
        f" {counts.get(EQUAL, 0)} of them equal to the last digit"
    )
    if counts.get(OUTSIDE, 0):
        text += " (of 208, nine were outside on a machine that trained in float32 instead of bfloat16)"
    return text


def publish(results: Path, reference: Path) -> None:
    """Put what ``results`` has into the committed results; what those have besides stays.

    PDFs stay out, as those with pictures are large; the report draws its few again.
    """
    for folder in COPIED:
        if (results / folder).is_dir():
            without = shutil.ignore_patterns("*.pdf")
            shutil.copytree(results / folder, reference / folder, dirs_exist_ok=True, ignore=without)
    for file in [*results.glob("readings-*.csv"), *results.glob("contradictions-*.csv")]:
        shutil.copy(file, reference / file.name)
    update_summary(all_runs(results), reference / "runs.csv")


def _ours(path: Path) -> pd.Series:
    """The numbers of ours in a saved table, by row and metric; empty for a table of another kind."""
    frame = pd.read_csv(path)
    columns = {f"ours_{metric}": metric for metric in METRICS}
    if not {"row", *columns} <= set(frame):
        return pd.Series(dtype=float)
    by_row = frame.drop_duplicates("row").set_index("row")[list(columns)].rename(columns=columns)
    return by_row.stack().dropna()
