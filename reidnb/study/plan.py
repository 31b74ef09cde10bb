"""The batch study: which experiments the chosen tables need, each once, and the tables of what is finished.

``Snakefile`` turns the plan into jobs, ``session`` trains as much of it as there is time for; nothing here trains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache

from ..data import catalog
from ..papers import PAPERS, find_paper
from ..papers.experiments import experiments, key, test_set, train_set
from ..papers.paper import Row
from ..parameters import Kind, check_names, checked, take
from ..results import Run
from ..runs import run_of
from ..training.experiment import Experiment
from ..training.profiles import check_profile

NAMES = Kind(str, "names by commas")
ELSEWHERE = {"street": "street-other"}
"""Where a study of this data set alone tests the models of a table that trains on one and tests on another."""


Runs = list[tuple[Row, Run]]
"""Rows of a table, each with a finished run; a row appears once for each seed."""


@dataclass(frozen=True)
class Settings:
    """What a study covers, as given by ``snakemake --config NAME=VALUE``; lists are separated by commas."""

    profile: str = "demo"
    datasets: tuple[str, ...] = ("street",)
    papers: tuple[str, ...] = tuple(PAPERS)
    tables: tuple[str, ...] = ()
    """Names of tables, in whichever papers have them; all that the papers print when empty."""
    seeds: int = 1
    """Trainings of each row, with seeds 0, 1, ..."""
    root: str = ""
    """The folder that holds the data sets."""
    weights: str | None = None
    """Initial weights instead of the profile's: 'imagenet', a local file, or '' (random)."""


def settings(config: Mapping[str, object]) -> Settings:
    """Settings from a configuration, paths made absolute. Raises ValueError for an unknown name or value."""
    check_names("the study", config, [field.name for field in fields(Settings)])
    lists = {name: _several(name, config[name]) for name in ("datasets", "papers", "tables") if config.get(name)}
    rest = {name: value for name, value in config.items() if name not in ("datasets", "papers", "tables")}
    result = Settings(**checked(rest, asdict(Settings())), **lists)
    check_profile(result.profile)
    printed = {name for paper in result.papers for name in _tables(paper)}
    for name in result.tables:
        if name not in printed:
            raise ValueError(f"no table {name!r} in {', '.join(result.papers)}: known are {', '.join(sorted(printed))}")
    names = tuple(catalog.resolve(name, result.root, result.profile) for name in result.datasets)
    return replace(result, datasets=names)


def _several(name: str, value: object) -> tuple[str, ...]:
    """Names by commas, or a list of them; a number is a name too, as a shell does not tell."""
    items = value if isinstance(value, list | tuple) else take(name, value, NAMES).split(",")
    return tuple(take(name, item, NAMES).strip() for item in items)


def _tables(paper: str) -> list[str]:
    return [*_printed(paper), *(table.name for table in find_paper(paper).beyond), "readings"]


def _printed(paper: str) -> list[str]:
    return [table.name for table in find_paper(paper).tables]


def chosen(paper: str, settings: Settings) -> list[str]:
    """The names of a paper's tables that the study covers."""
    return [table for table in _tables(paper) if table in (settings.tables or _printed(paper))]


def plan(settings: Settings) -> dict[tuple[str, str], dict[str, Experiment]]:
    """For each (paper, data set) the experiments of its tables by their runs' keys.

    An experiment that several tables share has one key. Raises ValueError or FileNotFoundError for a data
    set that cannot be read, before anything is trained.
    """
    result = {}
    for paper, dataset in pairs(settings):
        tables = planned(paper, dataset, settings)
        result[paper, dataset] = {
            key(experiment, data(experiment.dataset, settings.root)): experiment
            for table, where in tables
            for _, experiment in rows(paper, table, where, settings)
        }
        for name in {tested for _, where in tables for tested in (train_set(where), test_set(where))}:
            data(name, settings.root)
    return result


def planned(paper: str, dataset: str, settings: Settings) -> list[tuple[str, str]]:
    """The tables of models trained on a data set, each with the data set that it shows: this one, or 'a->b'.

    A cross-domain table is planned for each other data set of the study; the street alone is tested on another street.
    """
    others = [name for name in settings.datasets if name != dataset] or [ELSEWHERE.get(dataset)]
    across = [f"{dataset}->{name}" for name in others if name]
    result = []
    for table in chosen(paper, settings):
        is_cross_domain = find_paper(paper).table(table).is_cross_domain
        result += [(table, where) for where in (across if is_cross_domain else [dataset])]
    if settings.tables and not result and chosen(paper, settings):
        raise ValueError(f"{chosen(paper, settings)[0]} tests on another data set than it trains on: name two")
    return result


def main_table(paper: str, dataset: str, settings: Settings) -> tuple[str, str]:
    """The table that a paper's notebook shows, its main one where the study has it, and the name of what it shows."""
    tables = planned(paper, dataset, settings)
    return next((pair for pair in tables if pair[0] == find_paper(paper).main), tables[0])


def finished_rows(paper: str, table: str, where: str, settings: Settings) -> tuple[Runs, dict[str, str]]:
    """A table's finished runs; and of the others the keys, with their table and row."""
    runs, lacking = [], {}
    for row, experiment in rows(paper, table, where, settings):
        run = run_of(experiment, data(experiment.dataset, settings.root))
        if run.is_finished:
            runs.append((row, run))
        else:
            lacking[run.folder.name] = f"{table}, {row.name}" + (f": {run.damage}" if run.damage else "")
    return runs, lacking


def pairs(settings: Settings) -> list[tuple[str, str]]:
    """Each paper with each data set."""
    return [(paper, dataset) for paper in settings.papers for dataset in settings.datasets]


def rows(
    paper: str, table: str, dataset: str, settings: Settings, seeds: Sequence[int] | None = None
) -> list[tuple[Row, Experiment]]:
    """A table's rows and experiments as the study has them, with all of its seeds or some."""
    seeds = range(settings.seeds) if seeds is None else seeds
    return experiments(find_paper(paper), table, dataset, settings.profile, seeds, settings.weights)


@cache
def data(name: str, root: str) -> catalog.ReidData:
    """A data set, read once."""
    return catalog.load(name, root)
