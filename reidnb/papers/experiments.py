"""Build the experiments of a paper's table, and the network and key of an experiment.

Settings are applied in a fixed order: the paper's recipe, the complete reading, the row's changes, the profile, then
the user's overrides.
"""

import hashlib
import inspect
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import get_type_hints

import torch
from torch import nn

from .. import pose, weight_files
from ..data.dataset import ReidData
from ..models.backbone import street_identity
from ..parameters import COUNT, FLAG, FRACTION, NOT_NEGATIVE, NUMBER, OBJECT, TEXT, Kind, require, take
from ..training.experiment import Experiment, to_json
from ..training.profiles import at_profile
from ..training.recipe import SIZE, Recipe, as_meant, with_changes
from . import find_paper
from .paper import Paper, Row

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
) -> list[tuple[Row, Experiment]]:
    """The experiments of a table's rows, in printed order, for each seed; ``weights`` replaces the profile's.

    ``reading`` names the complete reading of the paper to which the rows' changes are applied; '' is the default.
    """
    selected = paper.table(table)
    complete = {row.name: row for row in (Row(""), *paper.complete_readings)}
    if reading not in complete:
        raise ValueError(f"{paper.name} has no reading {reading!r}: known are {', '.join(map(repr, complete))}")
    if "->" not in dataset and selected.is_cross_domain:
        raise ValueError(f"{table} trains on one data set and tests on another: dataset={selected.datasets[0]!r}")
    base = complete[reading]
    return [
        (row, _experiment(paper, base, row, train_set(dataset), profile, seed, weights))
        for row in selected.rows
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
    backbone: str | None = None,
) -> Experiment:
    stated = paper.experiment(base.options | row.options, dataset, seed)
    recipe = with_changes(with_changes(stated.recipe, base.recipe), row.recipe)
    return checked(at_profile(replace(stated, recipe=recipe), profile, weights, backbone))


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
    Options and recipe are taken as they are meant (``parameters``). Raises ValueError for those that cannot be.
    """
    options = take("options", options, OBJECT)
    kinds = option_kinds(paper.name) | {"size": SIZE}
    meant = {name: take(name, value, kinds[name]) if kinds.get(name) else value for name, value in options.items()}
    sized = _experiment(paper, Row(""), Row("", meant), dataset, profile, seed, weights, backbone)
    return replace(sized, recipe=with_changes(sized.recipe, as_meant(take("recipe", recipe, OBJECT))))


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
