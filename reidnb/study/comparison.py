"""Tables of a paper beside the numbers that it prints: what our runs are worth in each row."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import weight_files
from ..data import catalog
from ..evaluation.scores import RANKS
from ..evaluation.significance import Interval, bootstrap, over_seeds
from ..files import results_dir
from ..papers.experiments import experiments, recipe_changes, test_set, train_set
from ..papers.paper import Paper, Row, Table
from ..rescoring import by_region, cross_domain, limited_reranking, reranked
from ..results import Run, weights_of
from ..runs import run
from ..training.experiment import Experiment
from ..training.recipe import OneCycle

METRICS = ("map", "rank1", "rank5", "rank10", "rank20")
FAILURES = (ArithmeticError, MemoryError, OSError, RuntimeError, ValueError)
"""What one experiment or row may raise without ending the others."""
AP = {
    "plain": "mAP: the mean of plain average precision.",
    "trapezoid": "mAP: by trapezoids under the precision-recall curve, as in Market-1501's original code.",
}
"""A table's definition of average precision, in words."""
PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}


def caption(paper: Paper, table: str, runs: Sequence[tuple[Row, Run]], dataset: str = "") -> str:
    """What a table's numbers come from: data set, profile, images, initial weights, seeds, device; and how many of its
    rows were not trained, if any.

    ``dataset`` is that of the runs unless they are tested on another one ('a->b').
    """
    first, described = runs[0][1].experiment, paper.table(table)
    seeds = len({run.experiment.seed for _, run in runs})
    title = f"{paper.title}, {described.title[0].lower()}{described.title[1:]}. {AP[described.ap]}"
    count = len(described.rows)
    lacking = count - len({row.name for row, _ in runs})
    part = f"{lacking} of {count} rows {'was' if lacking == 1 else 'were'} not trained." if lacking else ""
    limited = dict.fromkeys(limited_reranking(run) for row, run in runs if row.rerank)
    where = dataset or first.dataset
    beside = _beside(described, where, *runs[0], seeds), _computed(paper, described, where)
    return " ".join(filter(None, (title, origin(runs, dataset), part, *limited, *beside)))


def origin(runs: Sequence[tuple[Row, Run]], dataset: str = "") -> str:
    """What runs come from: data set, profile, images, initial weights, seeds, device, precision, added warm-up, and
    what a user changed in their recipe."""
    first = runs[0][1].experiment
    start = weight_files.in_words(weights_of(runs[0][1]), results_dir())
    seeds = len({run.experiment.seed for _, run in runs})
    height, width = first.recipe.size
    epochs = first.recipe.epochs
    return (
        f"Ours: {dataset or first.dataset},"
        f" {first.profile} profile ({first.backbone}, {height}×{width}, {epochs} epoch{'s' * (epochs > 1)}),"
        f" {start}, {seeds} seed{'s' * (seeds > 1)},"
        f" {runs[0][1].provenance['device']}, {PRECISIONS[first.recipe.precision]}.{_warm_up(runs)}{_changed(runs)}"
    )


def _warm_up(runs: Sequence[tuple[Row, Run]]) -> str:
    """A sentence where rows that the paper trains without a warm-up have one, by the profile's one-cycle schedule."""
    affected = dict.fromkeys(
        row.name
        for row, run in runs
        if row.recipe.get("schedule", {}).get("warmup") == 0 and isinstance(run.experiment.recipe.schedule, OneCycle)
    )
    return f" The one-cycle schedule warms up in every row, also in {', '.join(affected)}." if affected else ""


def _changed(runs: Sequence[tuple[Row, Run]]) -> str:
    """A sentence where a user changed fields of the recipe."""
    changes: dict[str, object] = {}
    for row, one in runs:
        changes |= recipe_changes(one.experiment, row)
    listed = ", ".join(f"{name}={value!r}" for name, value in changes.items())
    return f" The recipe was changed: {listed}." if listed else ""


def _beside(table: Table, dataset: str, row: Row, run: Run, seeds: int) -> str:
    """A sentence on how our numbers compare with the published ones."""
    if not table.datasets:
        return ""
    if reasons := not_comparable(table, dataset, row, run.experiment):
        return f"Not to be compared with the published numbers: {', '.join(reasons)}."
    covered = f"{seeds} seeds" if seeds > 1 else "the queries of one training, not over seeds"
    return f"Within, outside: whether the 95 % interval of ours, over {covered}, covers the published value."


def _computed(paper: Paper, table: Table, dataset: str) -> str:
    """What the marked numbers of a table are, if it has any."""
    printed = paper.published(table.name)
    marked = (printed.kind == "computed") & (printed.dataset == printed_dataset(table, dataset))
    return "* In no table: computed from the gains that the text prints." if marked.any() else ""


def printed_dataset(table: Table, dataset: str) -> str:
    """The data set whose published numbers are shown beside ours: the same one, or the first that the table prints."""
    return dataset if dataset in table.datasets else next(iter(table.datasets), "")


def not_comparable(table: Table, dataset: str, row: Row, experiment: Experiment) -> list[str]:
    """Why our numbers do not answer the published ones, each reason in a few words; empty when they do."""
    reasons = {
        f"published on {printed_dataset(table, dataset)}": dataset not in table.datasets,
        f"{experiment.profile} profile": experiment.profile != "paper",
        "changed recipe": bool(recipe_changes(experiment, row)),
        "not from ImageNet weights": experiment.weights in ("", "street"),
        "initial weights of a local file": experiment.weights not in weight_files.NAMED,
    }
    return [reason for reason, applies in reasons.items() if applies]


def run_table(
    paper: Paper,
    table: str,
    dataset: str,
    profile: str,
    *,
    seeds: Sequence[int] = (0,),
    data_root: str = "",
    weights: str | None = None,
    reading: str = "",
    rows: str | Sequence[str] = "",
    recipe: Mapping[str, object] | None = None,
    among: Container[Experiment] | None = None,
    log: Callable[[str], None] = print,
    **run_options,
) -> list[tuple[Row, Run]]:
    """Run (or read) every experiment of a table; ``rows`` and ``recipe`` as for ``papers.experiments.experiments``.

    Of a table that shows no others than those that a reader chose in another one, ``among`` has the chosen experiments.
    """
    planned = experiments(paper, table, dataset, profile, seeds, weights, reading, rows, recipe)
    planned = [pair for pair in planned if among is None or pair[1] in among]
    data, finished = catalog.load(train_set(dataset), data_root), []
    for number, (row, experiment) in enumerate(planned, start=1):
        log(f"[{number}/{len(planned)}] {row.name}, seed {experiment.seed}")
        finished.append((row, run(experiment, data, log=log, **run_options)))
    return finished


def beside_published(
    paper: Paper,
    table: str,
    dataset: str,
    runs: Sequence[tuple[Row, Run]],
    data_root: str = "",
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """A table's rows with ``published_m``, ``ours_m`` (mean over seeds, percent), ``std_m`` for each metric m.

    The published numbers are those of ``dataset``, or of the first data set the paper prints when it has none for
    it (the synthetic street); ``published_dataset`` says which. Rows that the paper cites come first. With a dataset
    'a->b' the models trained on a are tested on b. Where ours are ``comparable`` with the published numbers,
    ``low_m`` and ``high_m`` are the 95 % interval of ours: over the seeds, or over the queries of a single training.
    A table that has published numbers computed from printed gains says in ``computed`` which rows have them.
    """
    described, printed = paper.table(table), paper.published(table)
    source = printed_dataset(described, dataset)
    comparable = bool(runs) and not any(not_comparable(described, dataset, row, one.experiment) for row, one in runs)
    printed = printed[printed.dataset == source].set_index("row")
    rows = [
        {"row": name, "kind": "cited", **_prefixed("published", line)}
        for name, line in printed[printed.kind == "cited"].iterrows()
    ]
    measured = scores(described, dataset, runs, data_root, log)
    for row in described.rows:
        of_row = measured[row.name]
        line = {"row": row.name, "kind": "run", "seeds": len(of_row)}
        if row.name in printed.index:
            line |= _prefixed("published", printed.loc[row.name])
        if of_row:
            means = pd.DataFrame(score.mean for score in of_row)
            line |= _prefixed("ours", means.mean())
            line |= _prefixed("std", means.std(ddof=1))
            for m in METRICS if comparable else ():
                if interval := _interval(of_row, m):
                    line |= {f"low_{m}": interval.low, f"high_{m}": interval.high}
        rows.append(line)
    columns = [f"{kind}_{m}" for m in METRICS for kind in ("published", "ours", "std", "low", "high")]
    frame = pd.DataFrame(rows).reindex(columns=["row", "kind", "seeds", *columns])
    frame.insert(2, "dataset", dataset)
    frame.insert(3, "published_dataset", source)
    frame.insert(4, "comparable", comparable)
    frame["seeds"] = frame.seeds.fillna(0).astype(int)
    if (computed := printed.index[printed.kind == "computed"]).size:
        frame["computed"] = frame.row.isin(computed)
    return frame


@dataclass(frozen=True)
class Score:
    """What one run is worth in a row of a table, in percent."""

    seed: int
    mean: dict[str, float]
    """For each metric."""
    queries: dict[str, np.ndarray]
    """For each metric its value at each query; empty where the run does not keep them, as on another data set."""


def scores(
    table: Table,
    dataset: str,
    runs: Sequence[tuple[Row, Run]],
    data_root: str = "",
    log: Callable[[str], None] = print,
) -> dict[str, list[Score]]:
    """The scores of each row of a table by its name, one for each run: none where the row was not run.

    A run that cannot be measured, for example because its weights were not kept, is named and left out.
    """
    measure = _measure(table, dataset, data_root) if runs else None
    by_row: dict[str, list[Score]] = {row.name: [] for row in table.rows}
    for row, one in runs:
        try:
            mean = measure(row, one)  # re-ranks where that is asked for
        except FAILURES as error:
            log(f"{table.name}, {row.name}, seed {one.experiment.seed} is left out: {error}")
            continue
        queries = {}
        if not (row.region or "->" in dataset):
            queries = _by_query(one.reranked_queries if row.rerank else one.queries, table.ap)
        by_row[row.name].append(Score(one.experiment.seed, mean, queries))
    return by_row


def _by_query(per_query: dict[str, np.ndarray], ap: str) -> dict[str, np.ndarray]:
    if not per_query:
        return {}
    values = {"map": per_query["ap_trapezoid" if ap == "trapezoid" else "ap"]}
    values |= {f"rank{k}": per_query["first_rank"] <= k for k in RANKS}
    return {m: 100.0 * value for m, value in values.items()}


def _interval(scores_: Sequence[Score], metric: str) -> Interval | None:
    means = [score.mean[metric] for score in scores_]
    if np.isnan(means).any():  # a metric that the protocol does not have
        return None
    if len(scores_) > 1:
        return over_seeds(means)
    return bootstrap(scores_[0].queries[metric]) if scores_[0].queries else None


def by_definition(table: Table, values: dict[str, float], metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """A run's metrics as a table shows them: its mAP is that of the table's definition of average precision."""
    return {m: values["map_trapezoid" if (m, table.ap) == ("map", "trapezoid") else m] for m in metrics}


def _measure(table: Table, dataset: str, data_root: str) -> Callable[[Row, Run], dict[str, float]]:
    """How a row's run is measured for a table: as it was, re-ranked, by a region alone, or on another data set."""
    trained, tested = train_set(dataset), test_set(dataset)
    needed = trained != tested or any(row.rerank or row.region for row in table.rows)
    data = catalog.load(trained, data_root) if needed else None
    other = catalog.load(tested, data_root) if trained != tested else None

    def measure(row: Row, run: Run) -> dict[str, float]:
        if other:
            values = cross_domain(run, data, other)
        elif row.region:
            values = by_region(run, data)[row.region]
        else:
            values = reranked(run, data) if row.rerank else run.metrics
        return by_definition(table, values)

    return measure


def _prefixed(prefix: str, values: pd.Series) -> dict[str, float]:
    return {f"{prefix}_{m}": values[m] for m in METRICS}
