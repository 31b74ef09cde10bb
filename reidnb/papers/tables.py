"""A paper's tables as data: rows that are experiments, put beside the numbers that the paper prints."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from types import ModuleType

import pandas as pd

from ..data import catalog
from ..profiles import at_profile
from ..runs import Experiment, Run, reranked, run

PAPERS = ("wrcanet",)
METRICS = ("map", "rank1", "rank5", "rank10", "rank20")


@dataclass(frozen=True)
class Row:
    """A row that the study runs: its printed name and the options of the paper's network."""

    name: str
    options: dict = field(default_factory=dict)
    rerank: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a paper."""

    name: str
    """As in ``published/*.csv``: 'table2'."""
    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...]
    """The data sets that the paper prints."""
    ap: str = "plain"
    """The definition of average precision that its mAP most likely has: 'plain' or 'trapezoid'."""


@dataclass(frozen=True)
class Reading:
    """A place where a paper is silent or garbled, and how it is read here: a row of the ledger."""

    option: str
    place: str
    printed: str
    default: object
    alternatives: tuple[object, ...]
    why: str


def paper(name: str) -> ModuleType:
    """The module of a paper: ``TITLE``, ``TABLES``, ``MAIN``, ``READINGS``, ``experiment(options, dataset)``."""
    if name not in PAPERS:
        raise ValueError(f"unknown paper {name!r}: known are {', '.join(PAPERS)}")
    return importlib.import_module(f"reidnb.papers.{name}")


def find_table(paper_name: str, table: str) -> Table:
    """A paper's table by name; 'readings' is made from its ledger."""
    module = paper(paper_name)
    if table == "readings":
        return readings_table(module.READINGS)
    tables = {t.name: t for t in module.TABLES}
    if table not in tables:
        raise ValueError(f"{paper_name} has no table {table!r}: known are {', '.join(tables)}, readings")
    return tables[table]


def readings_table(readings: Sequence[Reading]) -> Table:
    """The full model at its defaults, and once for each alternative reading."""
    rows = [Row("default")]
    for reading in readings:
        rows += [Row(f"{reading.option} = {value!r}", {reading.option: value}) for value in reading.alternatives]
    return Table("readings", "The default reading against each alternative", tuple(rows), ())


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
) -> list[tuple[Row, Experiment]]:
    """The experiments of a table's rows, in printed order, for each seed; ``weights`` replaces the profile's."""
    module = paper(paper_name)
    found = []
    for row in find_table(paper_name, table).rows:
        for seed in seeds:
            stated: Experiment = module.experiment(row.options, dataset, seed)
            sized = at_profile(stated, profile)
            found.append((row, sized if weights is None else replace(sized, weights=weights)))
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
    found = at_profile(paper(paper_name).experiment(options, dataset, seed), profile)
    known = [f.name for f in fields(found.recipe)]
    unknown = sorted(set(recipe) - set(known))
    if unknown:
        raise ValueError(f"a recipe has no field {unknown[0]!r}: its fields are {', '.join(known)}")
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in recipe.items()}
    if isinstance(changes.get("augmentation"), dict):
        changes["augmentation"] = replace(found.recipe.augmentation, **changes["augmentation"])
    found = replace(found, recipe=replace(found.recipe, **changes))
    return found if weights is None else replace(found, weights=weights)


def caption(paper_name: str, table: str, runs: Sequence[tuple[Row, Run]]) -> str:
    """What a table's numbers come from: data set, profile, images, initial weights, seeds, device."""
    first = runs[0][1].experiment
    start = {"": "from scratch (random initial weights)", "imagenet": "ImageNet weights"}
    seeds = len({run.experiment.seed for _, run in runs})
    height, width = first.recipe.size
    return (
        f"{paper(paper_name).TITLE}, {find_table(paper_name, table).title.lower()}. Ours: {first.dataset},"
        f" {first.profile} profile ({first.backbone}, {height}×{width}, {first.recipe.epochs} epochs),"
        f" {start.get(first.weights, 'weights of the user')}, {seeds} seed{'s' * (seeds > 1)},"
        f" {runs[0][1].provenance['device']}."
    )


def run_table(
    paper_name: str,
    table: str,
    dataset: str,
    profile: str,
    *,
    seeds: Sequence[int] = (0,),
    data_root: str | None = None,
    weights: str | None = None,
    say: Callable[[str], None] = print,
    **run_options,
) -> list[tuple[Row, Run]]:
    """Run (or read) every experiment of a table."""
    planned = experiments(paper_name, table, dataset, profile, seeds, weights)
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
    it (the synthetic street); ``published_dataset`` says which. Rows that the paper cites come first.
    """
    found = find_table(paper_name, table)
    printed = published(paper_name, table)
    source = dataset if dataset in found.datasets else next(iter(found.datasets), "")
    printed = printed[printed.dataset == source].set_index("row")
    rows = [
        {"row": name, "kind": "cited", **_prefixed("published", line)}
        for name, line in printed[printed.kind == "cited"].iterrows()
    ]
    data = catalog.load(dataset, data_root) if any(row.rerank for row in found.rows) else None
    for row in found.rows:
        measured = pd.DataFrame(_measured(r, found.ap, row.rerank, data) for own, r in runs if own == row)
        line = {"row": row.name, "kind": "run", "seeds": len(measured)}
        if row.name in printed.index:
            line |= _prefixed("published", printed.loc[row.name])
        if len(measured):
            line |= _prefixed("ours", measured.mean())
            line |= _prefixed("spread", measured.std(ddof=1))
        rows.append(line)
    columns = [f"{kind}_{m}" for m in METRICS for kind in ("published", "ours", "spread")]
    frame = pd.DataFrame(rows).reindex(columns=["row", "kind", "seeds", *columns])
    frame.insert(2, "dataset", dataset)
    frame.insert(3, "published_dataset", source)
    frame["seeds"] = frame.seeds.fillna(0).astype(int)
    return frame


def _measured(run_: Run, ap: str, rerank: bool, data: catalog.ReidData | None) -> dict[str, float]:
    found = reranked(run_, data) if rerank else run_.metrics
    return {m: found["map_trapezoid" if (m, ap) == ("map", "trapezoid") else m] for m in METRICS}


def _prefixed(prefix: str, values: pd.Series) -> dict[str, float]:
    return {f"{prefix}_{m}": values[m] for m in METRICS}
