"""A paper as data: its network, recipe, tables, claims and readings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from importlib.resources import files
from itertools import pairwise

import pandas as pd
from torch import nn

from ..training.experiment import Experiment
from ..training.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """A row that the study trains: its printed name, the network's options, and changes to the recipe."""

    name: str
    options: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    """Changed fields of the recipe by name; for sampler, schedule and augmentation, a dict of their fields."""
    rerank: bool = False
    region: str = ""
    """The part of the descriptor that is ranked, a name of the network's ``columns``; '' ranks the full descriptor."""

    @property
    def is_default(self) -> bool:
        """Whether it changes nothing: the network and the recipe as the paper's defaults have them."""
        return not self.options and not self.recipe


@dataclass(frozen=True)
class Table:
    """A table of a paper."""

    name: str
    """As in ``published.csv``: 'table2'."""
    title: str
    rows: tuple[Row, ...]
    datasets: tuple[str, ...]
    """The data sets for which the paper gives results; 'a->b' is trained on a and tested on b."""
    ap: str = "plain"
    """The definition of average precision most likely behind its mAP: 'plain' or 'trapezoid'."""

    @property
    def is_cross_domain(self) -> bool:
        """Whether its models are trained on one data set and tested on another."""
        return any("->" in name for name in self.datasets)


@dataclass(frozen=True)
class Reading:
    """A place where a paper is silent or ambiguous, and how this study reads it: a row of the ledger."""

    option: str
    place: str
    printed: str
    default: object
    alternatives: tuple[object, ...]
    why: str
    of: str = "network"
    """What ``option`` belongs to: the 'network', the 'recipe', the recipe's 'schedule', or the 'study' where the
    reading is fixed, without alternatives."""

    def rows(self) -> list[Row]:
        """A row for each alternative."""
        return [self._row({self.option: value}) for value in self.alternatives]

    def _row(self, change: dict) -> Row:
        name = f"{self.option} = {change[self.option]!r}"
        if self.of == "network":
            return Row(name, options=change)
        return Row(name, recipe=change if self.of == "recipe" else {self.of: change})


Compared = str | tuple[str, str]
"""What a claim compares: the score of a row, by its name, or the gain (row, base) of a row over another one."""


@dataclass(frozen=True)
class Claim:
    """One statement of a paper about rows of one of its tables: each better row scores higher than its worse one."""

    text: str
    where: str
    table: str
    pairs: tuple[tuple[Compared, Compared], ...]
    """(better row, worse row), as the rows are named in the table, or (greater gain, smaller gain)."""
    metrics: tuple[str, ...] = ("map", "rank1")
    datasets: tuple[str, ...] = ()
    """The printed data sets to which the claim refers; empty if it refers to all."""


@dataclass(frozen=True)
class Contradiction:
    """Two places of a paper that say different things, or one that its tables contradict."""

    place: str
    printed: str
    but: str


def above(best: Compared, *others: Compared) -> tuple[tuple[Compared, Compared], ...]:
    """The (better, worse) pairs of a claim that one row, or one gain, is better than each of the others."""
    return tuple((best, other) for other in others)


def rising(*rows: str) -> tuple[tuple[str, str], ...]:
    """The (better, worse) pairs of a claim that each row is better than the one before it."""
    return tuple((better, worse) for worse, better in pairwise(rows))


@dataclass(frozen=True)
class Paper:
    """A paper of the study. Its code is in ``papers/<name>``, its tutorial in ``notebooks/<name>.ipynb``."""

    name: str
    short: str
    """How headings call it."""
    title: str
    citation: str
    """Authors, title, venue, year."""
    link: str
    network: type[nn.Module]
    experiment: Callable[[dict, str, int], Experiment]
    """A function of a row's options, a data set and a seed that returns the experiment as the paper states it."""
    tables: tuple[Table, ...]
    main: str
    """The table that the notebook reproduces."""
    claims: tuple[Claim, ...] = ()
    readings: tuple[Reading, ...] = ()
    baseline: dict = field(default_factory=dict)
    """The options with which the network is the baseline."""
    contradictions: tuple[Contradiction, ...] = ()
    """What the paper says twice and differently."""
    beyond: tuple[Table, ...] = ()
    """Tables of this study about the paper's network, not of the paper; like 'readings' trained only when named."""
    complete_readings: tuple[Row, ...] = ()
    """Named readings of all open places together; any row can be trained under one of them."""

    def table(self, name: str) -> Table:
        """Return the table with this name; 'readings' is built from the ledger. Raises ValueError if there is none."""
        if name == "readings":
            return readings_table(self.readings, self.complete_readings)
        tables = {table.name: table for table in (*self.tables, *self.beyond)}
        if name not in tables:
            raise ValueError(f"{self.name} has no table {name!r}: known are {', '.join(tables)}, readings")
        return tables[name]

    def tables_for(self, dataset: str) -> list[Table]:
        """The tables that can be run on a data set: the cross-domain ones for 'a->b', otherwise all others."""
        return [table for table in self.tables if table.is_cross_domain == ("->" in dataset)]

    @cached_property
    def _published(self) -> pd.DataFrame:
        return pd.read_csv(files("reidnb.papers") / self.name / "published.csv")

    def published(self, table: str) -> pd.DataFrame:
        """The published rows of a table: row, kind, dataset, and metrics in percent.

        kind  'cited' from another paper, 'run' by this one, or 'computed' from gains that its text prints
        """
        frame = self._published
        return frame[frame.table == table].drop(columns="table").reset_index(drop=True)

    def contradictions_table(self) -> pd.DataFrame:
        """What the paper says twice and differently: place, printed, but."""
        return pd.DataFrame([vars(each) for each in self.contradictions], columns=["place", "printed", "but"])

    def ledger(self) -> pd.DataFrame:
        """The ledger of readings: option, place, printed, readings, default, why."""
        rows = [
            {
                "option": r.option,
                "place": r.place,
                "printed": r.printed,
                "readings": ", ".join(map(_written, (r.default, *r.alternatives))),
                "default": _written(r.default),
                "why": r.why,
            }
            for r in self.readings
        ]
        return pd.DataFrame(rows, columns=["option", "place", "printed", "readings", "default", "why"])


def recipe_readings(recipe: Recipe, place: str, printed: str, why: str, *names: str) -> tuple[Reading, ...]:
    """Readings of recipe fields that a paper does not print: each with its value, no alternative and one reason."""
    return tuple(Reading(name, place, printed, getattr(recipe, name), (), why, of="recipe") for name in names)


def _written(value: object) -> str:
    """A value as code; a long decimal as the fraction that it stands for, such as 5/48."""
    if isinstance(value, float) and len(repr(value)) > 8:
        return str(Fraction(value).limit_denominator(100))
    return repr(value)


def readings_table(readings: Sequence[Reading], complete: Sequence[Row] = ()) -> Table:
    """The full network with its defaults, under each complete reading, and under each alternative reading."""
    rows = (Row("default"), *complete, *(row for reading in readings for row in reading.rows()))
    return Table("readings", "The default reading against each alternative", rows, ())
