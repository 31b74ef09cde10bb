"""The batch study: which experiments the chosen tables need, each once, and the tables of what is finished.

``Snakefile`` turns the plan into jobs; nothing here trains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

from .data import catalog
from .experiments import Experiment, key
from .papers import claims, tables
from .profiles import PROFILES
from .runs import finished


@dataclass(frozen=True)
class Settings:
    """What a study covers, as given by ``snakemake --config NAME=VALUE``; lists are separated by commas."""

    profile: str = "demo"
    datasets: tuple[str, ...] = ("street",)
    papers: tuple[str, ...] = tables.PAPERS
    tables: tuple[str, ...] = ()
    """Names of tables, in whichever papers have them; all but 'readings' when empty."""
    seeds: int = 1
    """Trainings of each row, with seeds 0, 1, ..."""
    root: str = ""
    """The folder that holds the data sets."""
    weights: str | None = None
    """Initial weights instead of the profile's: 'imagenet', a local file, or '' (random)."""


def settings(config: Mapping[str, object]) -> Settings:
    """Settings from a configuration. Raises ValueError for an unknown name or value."""
    known = [field.name for field in fields(Settings)]
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise ValueError(f"the study has no setting {unknown[0]!r}: it has {', '.join(known)}")
    lists = {name: _several(config[name]) for name in ("datasets", "papers", "tables") if config.get(name)}
    found = Settings(**{**config, **lists})
    if found.profile not in PROFILES:
        raise ValueError(f"unknown profile {found.profile!r}: known are {', '.join(PROFILES)}")
    if not isinstance(found.seeds, int) or found.seeds < 1:
        raise ValueError(f"seeds is the number of trainings of each row, at least 1, found {found.seeds!r}")
    printed = {name for paper in found.papers for name in _tables(paper)}
    for name in found.tables:
        if name not in printed:
            raise ValueError(f"no table {name!r} in {', '.join(found.papers)}: known are {', '.join(sorted(printed))}")
    return found


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(value.split(",") if isinstance(value, str) else value)


def _tables(paper: str) -> list[str]:
    return [*(table.name for table in tables.paper(paper).TABLES), "readings"]


def chosen(paper: str, settings: Settings, dataset: str) -> list[str]:
    """The names of a paper's tables that the study covers on a data set: those asked for, or all that can be run."""
    if settings.tables:
        return [name for name in _tables(paper) if name in settings.tables]
    return [table.name for table in tables.possible(paper, dataset)]


def plan(settings: Settings) -> dict[tuple[str, str], dict[str, Experiment]]:
    """For each (paper, data set) the experiments of its tables by their runs' keys.

    An experiment that several tables share stands under one key. Raises ValueError or FileNotFoundError for a data
    set that cannot be read, before anything is trained.
    """
    found = {}
    for paper, dataset in _pairs(settings):
        rows = [row for table in chosen(paper, settings, dataset) for row in _rows(paper, table, dataset, settings)]
        found[paper, dataset] = {key(e, _data(e.dataset, settings.root)): e for _, e in rows}
    return found


def finished_tables(settings: Settings, say: Callable[[str], None] = print) -> int:
    """Write every table of the study from the runs that are finished, and the claims about them.

    Returns how many experiments are not finished. A row without a run stands without numbers of ours.
    """
    from .figures.tables import save  # matplotlib and jinja2 are not on every machine that trains

    missing = {}
    for paper, dataset in _pairs(settings):
        claimed = {}
        for table in chosen(paper, settings, dataset):
            runs = []
            for row, experiment in _rows(paper, table, dataset, settings):
                run = finished(experiment, settings.root)
                if run:
                    runs.append((row, run))
                else:
                    missing[key(experiment, _data(experiment.dataset, settings.root))] = f"{table}, {row.name}"
            if runs:
                frame = tables.beside_published(paper, table, dataset, runs, settings.root or None)
                note = tables.caption(paper, table, runs, dataset)
                title = tables.find_table(paper, table).title
                save(frame, paper, table, dataset, settings.profile, caption=note, title=title)
                claimed[table] = runs
        frame = claims.checklist(paper, dataset, claimed, settings.root or None)
        if len(frame):
            note = claims.note(paper, frame, claimed, dataset)
            save(
                frame,
                paper,
                "claims",
                dataset,
                settings.profile,
                caption=note,
                title="What the paper says of its tables",
            )
    for name, where in missing.items():
        say(f"not finished: {name} ({where})")
    return len(missing)


def _pairs(settings: Settings) -> list[tuple[str, str]]:
    return [(paper, dataset) for paper in settings.papers for dataset in settings.datasets]


def _rows(paper: str, table: str, dataset: str, settings: Settings) -> list[tuple[tables.Row, Experiment]]:
    return tables.experiments(paper, table, dataset, settings.profile, range(settings.seeds), settings.weights)


@cache
def _data(name: str, root: str) -> catalog.ReidData:
    return catalog.load(name, root or None)
