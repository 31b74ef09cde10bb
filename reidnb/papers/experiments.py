"""Build the experiments of a paper's table, and the network and key of an experiment.

Settings are applied in a fixed order: the paper's recipe, the complete reading, the row's changes, the profile, then
the user's overrides.
"""

import hashlib
import inspect
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import get_type_hints

import torch
from torch import nn

from .. import pose, weight_files
from ..data.dataset import ReidData
from ..models.backbone import street_identity
from ..parameters import COUNT, FLAG, FRACTION, NOT_NEGATIVE, NUMBER, OBJECT, ROWS, TEXT, Kind, require, take
from ..training.experiment import Experiment, to_json
from ..training.profiles import at_profile
from ..training.recipe import PARTS, SIZE, Recipe, converted, with_changes
from . import find_paper
from .paper import Paper, Row, Table

SUPPLIED = {"identities", "size", "backbone", "weights"}
"""Parameters of a network that other fields of the experiment supply; they are not among its options."""

KINDS = {bool: FLAG, int: COUNT, float: NOT_NEGATIVE, str: TEXT}
"""What a network's options can be, by their type; the networks check what is narrower."""
ODD = Kind(int, "an odd whole number", lambda value: value > 0 and value % 2 == 1)
KINDS_BY_NAME = dict.fromkeys(("dropout", "drop_height", "drop_width", "smoothing", "strength"), FRACTION)
KINDS_BY_NAME |= dict.fromkeys(("fusion_kernel", "sam_kernel"), ODD) | {"hidden": NUMBER}


def experiments(
    paper: Paper,
    table: str,
    dataset: str,
    profile: str,
    seeds: Sequence[int] = (0,),
    weights: str | None = None,
    reading: str = "",
    rows: str | Sequence[str] = "",
    recipe: Mapping[str, object] | None = None,
) -> list[tuple[Row, Experiment]]:
    """The experiments of a table's rows, in printed order, for each seed; ``weights`` replaces the profile's.

    ``reading`` names the complete reading of the paper to which the rows' changes are applied; '' is the default.
    ``rows`` chooses rows (``chosen_rows``), and ``recipe`` changes fields of every row's recipe by name, last.
    """
    selected = paper.table(table)
    complete = {row.name: row for row in (Row(""), *paper.complete_readings)}
    if reading not in complete:
        raise ValueError(f"{paper.name} has no reading {reading!r}: known are {', '.join(map(repr, complete))}")
    if "->" not in dataset and selected.is_cross_domain:
        raise ValueError(f"{table} trains on one data set and tests on another: dataset={selected.datasets[0]!r}")
    base = complete[reading]
    return [
        (row, _experiment(paper, base, row, train_set(dataset), profile, seed, weights, recipe or {}))
        for row in chosen_rows(selected, rows)
        for seed in seeds
    ]


def _experiment(
    paper: Paper,
    base: Row,
    row: Row,
    dataset: str,
    profile: str,
    seed: int,
    weights: str | None,
    changes: Mapping[str, object],
    backbone: str | None = None,
) -> Experiment:
    stated = paper.experiment(base.options | row.options, dataset, seed)
    recipe = with_changes(with_changes(stated.recipe, base.recipe), row.recipe)
    sized = checked(at_profile(replace(stated, recipe=recipe), profile, weights, backbone))
    return replace(sized, recipe=with_changes(sized.recipe, converted(take("recipe", changes, OBJECT))))


def chosen_rows(table: Table, rows: str | Sequence[str]) -> list[Row]:
    """The named rows of a table, in the table's order and each once; all of them where ``rows`` is empty.

    ``rows`` is a list of names, or text with names separated by commas. A name may have commas itself, so text is read
    from left to right, each time as the longest name that fits. Raises ValueError for a name that no row has.
    """
    names = {_pieces(row.name): row for row in table.rows}
    if isinstance(rows, str) and not rows.strip().startswith("["):
        chosen = _longest_names(_pieces(rows), names)
    else:
        chosen = [_pieces(name) for name in take("rows", rows, Kind(tuple[str, ...], ROWS.allowed))]
    for name in chosen:
        if name not in names:
            known = "; ".join(row.name for row in table.rows)
            raise ValueError(f"{table.name} has no row {', '.join(name)!r}: its rows are {known}")
    return [row for name, row in names.items() if name in chosen or not chosen]


def _pieces(text: str) -> tuple[str, ...]:
    """The text between commas, without the spaces around it."""
    return tuple(piece.strip() for piece in text.split(",") if piece.strip())


def _longest_names(pieces: tuple[str, ...], names: Container[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The pieces joined into names; a piece with which no name begins is kept alone."""
    result = []
    while pieces:
        length = next((n for n in range(len(pieces), 0, -1) if pieces[:n] in names), 1)
        result.append(pieces[:length])
        pieces = pieces[length:]
    return result


def recipe_changes(experiment: Experiment, row: Row) -> dict[str, object]:
    """What a user changed in the recipe of a row's experiment: the fields that the row does not have at its profile.

    A field of a part is named after both, 'sampler.images'. Of the paper's complete readings the one counts from which
    the recipe differs least.
    """
    paper, given, differences = find_paper(experiment.paper), _flat(experiment.recipe), []
    settings = (experiment.dataset, experiment.profile, experiment.seed, experiment.weights)
    for base in (Row(""), *paper.complete_readings):
        stated = _flat(_experiment(paper, base, row, *settings, {}, experiment.backbone).recipe)
        differences.append({name: value for name, value in given.items() if (name, value) not in stated.items()})
    return min(differences, key=len)


def _flat(recipe: Recipe) -> dict[str, object]:
    """A recipe's fields by name, those of its parts too; the kind of a part counts as one of its fields."""
    result = asdict(recipe)
    for name in PARTS:
        part = {"kind": type(getattr(recipe, name)).__name__} | result.pop(name)
        result |= {f"{name}.{field}": value for field, value in part.items()}
    return result


def one_experiment(
    paper: Paper,
    options: dict,
    recipe: dict,
    dataset: str,
    profile: str,
    seed: int = 0,
    weights: str | None = None,
    backbone: str | None = None,
) -> Experiment:
    """A single experiment of a paper at a profile; ``recipe`` changes fields of its recipe by name.

    ``weights`` and ``backbone`` replace the profile's (``at_profile``).
    Options and recipe are converted as all ``parameters`` are. Raises ValueError for those that cannot be.
    """
    options = take("options", options, OBJECT)
    kinds = option_kinds(paper.name) | {"size": SIZE}
    options = {name: take(name, value, kinds[name]) if kinds.get(name) else value for name, value in options.items()}
    return _experiment(paper, Row(""), Row("", options), dataset, profile, seed, weights, recipe, backbone)


def full_networks(
    papers: Iterable[Paper],
    dataset: str,
    profile: str,
    *,
    seed: int = 0,
    weights: str | None = None,
    recipe: Recipe | None = None,
) -> dict[str, Experiment]:
    """The full network of each paper by the paper's short name, under its recipe, or all of them under ``recipe``.

    ``recipe`` is one as a paper states it, at the paper's size; the profile is applied to it as to the papers'.
    """
    stated = {paper.short: paper.experiment({}, dataset, seed) for paper in papers}
    if recipe:
        stated = {name: replace(experiment, recipe=recipe) for name, experiment in stated.items()}
    return {name: checked(at_profile(experiment, profile, weights)) for name, experiment in stated.items()}


def train_set(dataset: str) -> str:
    """The data set on which a model is trained: a of 'a->b'."""
    return dataset.partition("->")[0]


def test_set(dataset: str) -> str:
    """The data set on which a model is tested: b of 'a->b'."""
    return dataset.partition("->")[2] or dataset


def all_options(experiment: Experiment) -> dict:
    """The experiment's options, completed with the network's defaults."""
    return _defaults(experiment.paper) | experiment.options


def _defaults(paper: str) -> dict:
    """The options of a paper's network, by name, with their defaults."""
    parameters = inspect.signature(find_paper(paper).network).parameters
    return {name: p.default for name, p in parameters.items() if name not in SUPPLIED}


def checked(experiment: Experiment) -> Experiment:
    """Return the experiment. Raises ValueError for an unknown paper or an option that its network does not take."""
    known = set(_defaults(experiment.paper))
    unknown = sorted(set(experiment.options) - known)
    if unknown:
        raise ValueError(f"{experiment.paper} has no option {unknown[0]!r}: its options are {', '.join(sorted(known))}")
    kinds = option_kinds(experiment.paper)
    for name, value in experiment.options.items():
        if kinds[name]:
            require(name, value, kinds[name])
    return experiment


def option_kinds(paper: str) -> dict[str, Kind | None]:
    """What each option of a paper's network can be; None where its type does not say."""
    hints = get_type_hints(find_paper(paper).network.__init__)
    return {name: KINDS_BY_NAME.get(name) or KINDS.get(hints.get(name)) for name in _defaults(paper)}


def by_pose(experiment: Experiment) -> bool:
    """Whether the network takes regions that are cut out around the body joints."""
    return all_options(experiment).get("regions") == "pose"


def build(experiment: Experiment, identities: int) -> nn.Module:
    """Build the experiment's network with its initial weights."""
    torch.manual_seed(experiment.seed)
    return find_paper(experiment.paper).network(
        identities,
        size=experiment.recipe.size,
        backbone=experiment.backbone,
        weights=experiment.weights,
        **experiment.options,
    )


def key(experiment: Experiment, data: ReidData) -> str:
    """Name of the experiment's folder, with a digest of the experiment and of the data set's file names and labels."""
    checked(experiment)
    # The defaults are written out, so that a changed default in the code leads to a new run.
    settings = asdict(experiment) | {
        "options": all_options(experiment),
        "weights": weight_files.identity(experiment.weights),
    }
    if experiment.weights == "street":
        settings["weights"] = street_identity(experiment.backbone)
    if by_pose(experiment):
        settings["joints"] = pose.source_of(data)
    return f"{experiment.paper}-{experiment.dataset}-{digest(to_json(settings), data)[:16]}"


def digest(text: str, data: ReidData) -> str:
    """SHA-256, in hexadecimal, of a text and of the data set's file names and labels."""
    result = hashlib.sha256(text.encode())
    for table in (data.train, data.query, data.gallery):
        names = table.path.map(os.path.basename)
        result.update("\n".join(f"{n} {p} {c}" for n, p, c in zip(names, table.pid, table.camid, strict=True)).encode())
    return result.hexdigest()
