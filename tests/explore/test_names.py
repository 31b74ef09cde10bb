"""Runs have names that a reader understands and that tell them apart."""

import json
from dataclasses import asdict, replace

import pytest

from reidnb.explore import names
from reidnb.papers import KNOWN, dranet, hybrid_attention, ide, wrcanet
from reidnb.papers.experiments import experiments, one_experiment
from reidnb.results import Run


@pytest.fixture
def saved(tmp_path):
    """A function that writes the files of a run that its name depends on."""

    def save(experiment, finished="2026-01-01 10:00 UTC") -> Run:
        folder = tmp_path / f"{experiment.paper}-{len(list(tmp_path.iterdir())):016d}"
        folder.mkdir()
        (folder / "experiment.json").write_text(json.dumps(asdict(experiment)))
        (folder / "provenance.json").write_text(json.dumps({"finished": finished}))
        return Run(folder)

    return save


def small(paper, options, recipe=None, seed=0):
    return one_experiment(paper.PAPER, options, recipe or {}, "street-small", "smoke", seed)


@pytest.mark.parametrize(
    ("paper", "options", "name"),
    [
        (wrcanet, {}, "WRCANet: full network (smoke, seed 0)"),
        (wrcanet, wrcanet.PAPER.baseline, "WRCANet: baseline (smoke, seed 0)"),
        (wrcanet, {"gp": False}, "WRCANet: ResNet-50+WRA+MS (smoke, seed 0)"),
        (wrcanet, {"gp": False, "ms": True}, "WRCANet: ResNet-50+WRA+MS (smoke, seed 0)"),
        (ide, {}, "IDE: IDE, pool5 (smoke, seed 0)"),
        (dranet, {"alpha_c": 0.25}, "DRANet: alpha_c=0.25 (smoke, seed 0)"),
    ],
)
def test_a_name_is_the_papers_row_or_the_options(paper, options, name, saved):
    assert list(names.labels([saved(small(paper, options))])) == [name]


def test_a_backbone_that_is_not_the_profiles_is_named(saved):
    other = one_experiment(ide.PAPER, {}, {}, "street-small", "smoke", backbone="osnet")
    assert list(names.labels([saved(other)])) == ["IDE: IDE, pool5 (smoke, seed 0, backbone=osnet)"]


def test_a_row_under_a_complete_reading_names_the_reading(saved):
    reading = hybrid_attention.PAPER.complete_readings[0].name
    _, experiment = experiments(
        hybrid_attention.PAPER, hybrid_attention.PAPER.main, "street-small", "smoke", reading=reading
    )[-1]
    (name,) = names.labels([saved(experiment)])
    assert f", {reading} (smoke, seed 0)" in name


def test_runs_of_one_name_tell_in_what_they_differ(saved):
    base = small(wrcanet, {})
    runs = [
        saved(base),
        saved(small(wrcanet, {}, {"epochs": 3})),
        saved(replace(base, recipe=replace(base.recipe, schedule=replace(base.recipe.schedule, warmup=0.1)))),
        saved(replace(base, seed=1)),
    ]
    assert list(names.labels(runs)) == [
        "WRCANet: full network (smoke, seed 0, epochs=2, schedule.warmup=0.1)",
        "WRCANet: full network (smoke, seed 0, epochs=2, schedule.warmup=0.3)",
        "WRCANet: full network (smoke, seed 0, epochs=3, schedule.warmup=0.3)",
        "WRCANet: full network (smoke, seed 1)",
    ]


def test_equal_experiments_on_other_data_are_told_apart(saved):
    base = small(wrcanet, {})
    first, second = saved(base), saved(base, "2026-01-02 10:00 UTC")
    assert list(names.labels([first, second, first])) == [
        "WRCANet: full network (smoke, seed 0, 2026-01-01 10:00 UTC)",
        "WRCANet: full network (smoke, seed 0, 2026-01-02 10:00 UTC)",
    ]
    assert len(names.labels([first, saved(base)])) == 2


@pytest.mark.parametrize("paper", KNOWN)
def test_every_row_of_a_table_has_a_name(paper, saved):
    rows = experiments(KNOWN[paper], KNOWN[paper].main, "street-small", "smoke")
    distinct = {json.dumps(asdict(experiment), sort_keys=True): experiment for _, experiment in rows}
    labelled = names.labels([saved(experiment) for experiment in distinct.values()])
    assert len(labelled) == len(distinct) and not any("=False" in name.split(" (")[0] for name in labelled)
