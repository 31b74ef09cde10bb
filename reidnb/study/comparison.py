"""A paper's tables as data: rows that are experiments, put beside the numbers that the paper prints."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from types import ModuleType

import numpy as np
import pandas as pd

from .. import weight_files
from ..data import catalog
from ..evaluation.significance import Interval, bootstrap, over_seeds
from ..training.experiments import Experiment, Run, results_dir, weights_of
from ..training.profiles import at_profile
from ..runs import RANKS, by_region, cross_domain, reranked, run
from ..training.loop import Recipe

PAPERS = ("wrcanet", "dranet", "hybrid_attention", "attention_driven")
METRICS = ("map", "rank1", "rank5", "rank10", "rank20")


@dataclass(frozen=True)
class Row:
    """A row that the study runs: its printed name, the options of the paper's network, and changes of its recipe."""

    name: str
    options: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    """Fields of the recipe, by name; of ``augmentation``, a dict of its own fields."""
    rerank: bool = False
    region: str = ""
    """The part of the descriptor that is ranked alone, a name of the network's ``columns``; '' is all of it."""


@dataclass(frozen=True)
class Table:
    """A table of a paper."""

    name: str
    """As in ``published/*.csv``: 'table2'."""
    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...]
    """The data sets that the paper prints; 'a->b' where it trains on one and tests on another."""
    ap: str = "plain"
    """The definition of average precision that its mAP most likely has: 'plain' or 'trapezoid'."""

    @property
    def crosses(self) -> bool:
        """Whether it trains on one data set and tests on another."""
        return any("->" in name for name in self.datasets)


@dataclass(frozen=True)
class Reading:
    """A place where a paper is silent or garbled, and how it is read here: a row of the ledger."""

    option: str
    place: str
    printed: str
    default: object
    alternatives: tuple[object, ...]
    why: str
    in_recipe: bool = False
    """Whether ``option`` is a field of the recipe rather than of the network."""

    def rows(self) -> list[Row]:
        """A row for each alternative."""
        made = [{self.option: value} for value in self.alternatives]
        return [
            Row(f"{self.option} = {change[self.option]!r}", **{"recipe" if self.in_recipe else "options": change})
            for change in made
        ]


def paper(name: str) -> ModuleType:
    """The module of a paper: ``TITLE``, ``TABLES``, ``MAIN``, ``READINGS``, ``experiment(options, dataset)``.

    ``MAIN`` is the table that its notebook shows with its figures. ``WHOLE``, where it has it, are
    readings of the whole paper at once: rows that every other row can build upon.
    """
    if name not in PAPERS:
        raise ValueError(f"unknown paper {name!r}: known are {', '.join(PAPERS)}")
    return importlib.import_module(f"reidnb.papers.{name}")


def find_table(paper_name: str, table: str) -> Table:
    """A paper's table by name; 'readings' is made from its ledger."""
    module = paper(paper_name)
    if table == "readings":
        return readings_table(module.READINGS, getattr(module, "WHOLE", ()))
    tables = {t.name: t for t in module.TABLES}
    if table not in tables:
        raise ValueError(f"{paper_name} has no table {table!r}: known are {', '.join(tables)}, readings")
    return tables[table]


def possible(paper_name: str, dataset: str) -> list[Table]:
    """The paper's tables that a data set is for: those across data sets for 'a->b', otherwise the others."""
    return [table for table in paper(paper_name).TABLES if table.crosses == ("->" in dataset)]


def readings_table(readings: Sequence[Reading], whole: Sequence[Row] = ()) -> Table:
    """The full model at its defaults, once for each reading of the whole paper, and once for each alternative."""
    rows = (Row("default"), *whole, *(row for reading in readings for row in reading.rows()))
    return Table("readings", "The default reading against each alternative", rows, ())


def sides(dataset: str) -> tuple[str, str]:
    """The data sets that a model is trained and tested on: both sides of 'a->b', otherwise the same one."""
    trained, arrow, tested = dataset.partition("->")
    return trained, tested if arrow else trained


def ledger(paper_name: str) -> pd.DataFrame:
    """The ledger of readings: option, place, printed, readings, default, why."""
    return pd.DataFrame(
        {
            "option": r.option,
            "place": r.place,
            "printed": r.printed,
            "readings": ", ".join(repr(value) for value in (r.default, *r.alternatives)),
            "default": repr(r.default),
            "why": r.why,
        }
        for r in paper(paper_name).READINGS
    )


@cache
def _published(paper_name: str) -> pd.DataFrame:
    return pd.read_csv(files("reidnb.papers") / "published" / f"{paper_name}.csv")


def published(paper_name: str, table: str) -> pd.DataFrame:
    """The rows that a paper prints in a table: row, kind ('cited' or 'run'), dataset, and metrics in percent."""
    frame = _published(paper_name)
    return frame[frame.table == table].drop(columns="table").reset_index(drop=True)


def experiments(
    paper_name: str,
    table: str,
    dataset: str,
    profile: str,
    seeds: Sequence[int] = (0,),
    weights: str | None = None,
    reading: str = "",
) -> list[tuple[Row, Experiment]]:
    """The experiments of a table's rows, in printed order, for each seed; ``weights`` replaces the profile's.

    ``reading`` names one of the paper's readings as a whole, upon which the rows build; '' is the default.
    """
    module, asked = paper(paper_name), find_table(paper_name, table)
    whole = {row.name: row for row in (Row(""), *getattr(module, "WHOLE", ()))}
    if reading not in whole:
        raise ValueError(f"{paper_name} has no reading {reading!r}: known are {', '.join(map(repr, whole))}")
    if "->" not in dataset and asked.crosses:
        raise ValueError(f"{table} trains on one data set and tests on another: dataset={asked.datasets[0]!r}")
    base, found = whole[reading], []
    for row in asked.rows:
        for seed in seeds:
            stated: Experiment = module.experiment(base.options | row.options, sides(dataset)[0], seed)
            recipe = with_changes(with_changes(stated.recipe, base.recipe), row.recipe)
            found.append((row, at_profile(replace(stated, recipe=recipe), profile, weights)))
    return found


def one_experiment(
    paper_name: str,
    options: dict,
    recipe: dict,
    dataset: str,
    profile: str,
    seed: int = 0,
    weights: str | None = None,
) -> Experiment:
    """A single experiment of a paper at a profile; ``recipe`` changes fields of its recipe by name."""
    sized = at_profile(paper(paper_name).experiment(options, dataset, seed), profile, weights)
    return replace(sized, recipe=with_changes(sized.recipe, recipe))


def with_changes(recipe: Recipe, changes: dict) -> Recipe:
    """The recipe with some fields changed by name; of ``augmentation``, a dict of the fields that change."""
    known = [f.name for f in fields(recipe)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"a recipe has no field {unknown[0]!r}: its fields are {', '.join(known)}")
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    if isinstance(changes.get("augmentation"), dict):
        changes["augmentation"] = replace(recipe.augmentation, **changes["augmentation"])
    return replace(recipe, **changes)


def caption(paper_name: str, table: str, runs: Sequence[tuple[Row, Run]], dataset: str = "") -> str:
    """What a table's numbers come from: data set, profile, images, initial weights, seeds, device.

    ``dataset`` is the runs' own unless they are tested on another one ('a->b').
    """
    first, found = runs[0][1].experiment, find_table(paper_name, table)
    seeds = len({run.experiment.seed for _, run in runs})
    title = f"{paper(paper_name).TITLE}, {found.title[0].lower()}{found.title[1:]}."
    return f"{title} {origin(runs, dataset)} {_beside(found, dataset or first.dataset, first, seeds)}".strip()


def origin(runs: Sequence[tuple[Row, Run]], dataset: str = "") -> str:
    """What runs come from: data set, profile, images, initial weights, seeds, device."""
    first = runs[0][1].experiment
    start = weight_files.in_words(weights_of(runs[0][1]), results_dir())
    seeds = len({run.experiment.seed for _, run in runs})
    height, width = first.recipe.size
    return (
        f"Ours: {dataset or first.dataset},"
        f" {first.profile} profile ({first.backbone}, {height}×{width}, {first.recipe.epochs} epochs),"
        f" {start}, {seeds} seed{'s' * (seeds > 1)},"
        f" {runs[0][1].provenance['device']}."
    )


def _beside(table: Table, dataset: str, experiment: Experiment, seeds: int) -> str:
    """How our numbers may be held against the published ones."""
    if not table.datasets:
        return ""
    if reasons := not_comparable(table, dataset, experiment):
        return f"Not to be compared with the published numbers: {', '.join(reasons)}."
    covered = f"{seeds} seeds" if seeds > 1 else "the queries of one training, not over its luck"
    return f"Within, outside: whether the 95 % interval of ours, over {covered}, covers the published value."


def printed_dataset(table: Table, dataset: str) -> str:
    """The data set whose published numbers stand beside ours: the same one, or the first that the table prints."""
    return dataset if dataset in table.datasets else next(iter(table.datasets), "")


def not_comparable(table: Table, dataset: str, experiment: Experiment) -> list[str]:
    """Why our numbers do not answer the published ones, each reason in a few words; empty when they do."""
    reasons = {
        f"published on {printed_dataset(table, dataset)}": dataset not in table.datasets,
        f"{experiment.profile} profile": experiment.profile != "paper",
        "not from ImageNet weights": experiment.weights in ("", "street"),
        "initial weights of a local file": experiment.weights not in weight_files.NAMED,
    }
    return [reason for reason, applies in reasons.items() if applies]


def run_table(
    paper_name: str,
    table: str,
    dataset: str,
    profile: str,
    *,
    seeds: Sequence[int] = (0,),
    data_root: str | None = None,
    weights: str | None = None,
    reading: str = "",
    say: Callable[[str], None] = print,
    **run_options,
) -> list[tuple[Row, Run]]:
    """Run (or read) every experiment of a table."""
    planned = experiments(paper_name, table, dataset, profile, seeds, weights, reading)
    finished = []
    for number, (row, experiment) in enumerate(planned, start=1):
        say(f"[{number}/{len(planned)}] {row.name}, seed {experiment.seed}")
        finished.append((row, run(experiment, data_root=data_root, say=say, **run_options)))
    return finished


def beside_published(
    paper_name: str, table: str, dataset: str, runs: Sequence[tuple[Row, Run]], data_root: str | None = None
) -> pd.DataFrame:
    """A table's rows with ``published_m``, ``ours_m`` (mean over seeds, percent), ``spread_m`` for each metric m.

    The published numbers are those of ``dataset``, or of the first data set the paper prints when it has none for
    it (the synthetic street); ``published_dataset`` says which. Rows that the paper cites come first. With a dataset
    'a->b' the models trained on a are tested on b. Where ours are ``comparable`` with the published numbers,
    ``low_m`` and ``high_m`` are the 95 % interval of ours: over the seeds, or over the queries of a single training.
    """
    found = find_table(paper_name, table)
    printed = published(paper_name, table)
    source = printed_dataset(found, dataset)
    comparable = bool(runs) and not any(not_comparable(found, dataset, run_.experiment) for _, run_ in runs)
    printed = printed[printed.dataset == source].set_index("row")
    rows = [
        {"row": name, "kind": "cited", **_prefixed("published", line)}
        for name, line in printed[printed.kind == "cited"].iterrows()
    ]
    measured = scores(found, dataset, runs, data_root)
    for row in found.rows:
        own = measured[row.name]
        line = {"row": row.name, "kind": "run", "seeds": len(own)}
        if row.name in printed.index:
            line |= _prefixed("published", printed.loc[row.name])
        if own:
            means = pd.DataFrame(score.mean for score in own)
            line |= _prefixed("ours", means.mean())
            line |= _prefixed("spread", means.std(ddof=1))
            for m in METRICS if comparable else ():
                if interval := _interval(own, m):
                    line |= {f"low_{m}": interval.low, f"high_{m}": interval.high}
        rows.append(line)
    columns = [f"{kind}_{m}" for m in METRICS for kind in ("published", "ours", "spread", "low", "high")]
    frame = pd.DataFrame(rows).reindex(columns=["row", "kind", "seeds", *columns])
    frame.insert(2, "dataset", dataset)
    frame.insert(3, "published_dataset", source)
    frame.insert(4, "comparable", comparable)
    frame["seeds"] = frame.seeds.fillna(0).astype(int)
    return frame


@dataclass(frozen=True)
class Score:
    """What one run is worth in a row of a table, in percent."""

    seed: int
    mean: dict[str, float]
    """For each metric."""
    queries: dict[str, np.ndarray]
    """For each metric its value at each query; empty where the run does not keep them, as after re-ranking."""


def scores(
    table: Table, dataset: str, runs: Sequence[tuple[Row, Run]], data_root: str | None = None
) -> dict[str, list[Score]]:
    """The scores of each row of a table by its name, one for each run: none where the row was not run."""
    look = _measure(table, dataset, data_root) if runs else None
    found: dict[str, list[Score]] = {row.name: [] for row in table.rows}
    for row, run_ in runs:
        as_run = not (row.rerank or row.region or "->" in dataset)
        queries = _by_query(run_, table.ap) if as_run else {}
        found[row.name].append(Score(run_.experiment.seed, look(row, run_), queries))
    return found


def _by_query(run_: Run, ap: str) -> dict[str, np.ndarray]:
    kept = run_.queries
    if not kept:
        return {}
    values = {"map": kept["ap_trapezoid" if ap == "trapezoid" else "ap"]}
    values |= {f"rank{k}": kept["first_rank"] <= k for k in RANKS}
    return {m: 100.0 * value for m, value in values.items()}


def _interval(own: Sequence[Score], metric: str) -> Interval | None:
    means = [score.mean[metric] for score in own]
    if np.isnan(means).any():  # a metric that the protocol does not have
        return None
    if len(own) > 1:
        return over_seeds(means)
    return bootstrap(own[0].queries[metric]) if own[0].queries else None


def by_definition(table: Table, found: dict[str, float], metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """A run's metrics as a table shows them: its mAP is that of the table's definition of average precision."""
    return {m: found["map_trapezoid" if (m, table.ap) == ("map", "trapezoid") else m] for m in metrics}


def _measure(table: Table, dataset: str, data_root: str | None) -> Callable[[Row, Run], dict[str, float]]:
    """How a row's run is measured for a table: as it was, re-ranked, by a region alone, or on another data set."""
    trained, tested = sides(dataset)
    needed = trained != tested or any(row.rerank or row.region for row in table.rows)
    data = catalog.load(trained, data_root) if needed else None
    other = catalog.load(tested, data_root) if trained != tested else None

    def look(row: Row, run_: Run) -> dict[str, float]:
        if other:
            found = cross_domain(run_, data, other)
        elif row.region:
            found = by_region(run_, data)[row.region]
        else:
            found = reranked(run_, data) if row.rerank else run_.metrics
        return by_definition(table, found)

    return look


def _prefixed(prefix: str, values: pd.Series) -> dict[str, float]:
    return {f"{prefix}_{m}": values[m] for m in METRICS}
