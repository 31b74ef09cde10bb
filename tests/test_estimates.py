"""How long a training will take, from runs whose times are known."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reidnb import estimates
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.runs import run
from reidnb.study import plan as study
from reidnb.study import session
from reidnb.training.experiment import Experiment, to_json

CPU, GPU = "CPU, 1 thread", "NVIDIA H100 80GB HBM3"


def experiment(dataset: str = "street-small", profile: str = "smoke", **options) -> Experiment:
    return one_experiment(PAPERS["wrcanet"], options, {}, dataset, profile)


def finished(results: Path, one: Experiment, train: float, evaluate: float, device: str = CPU) -> Path:
    """The folder of a run that took these seconds."""
    number = len(list(results.glob("runs/*")))
    folder = results / "runs" / f"{one.paper}-{one.dataset}-{number:016x}"
    folder.mkdir(parents=True)
    times = {"device": device, "train_seconds": train, "evaluate_seconds": evaluate}
    (folder / "experiment.json").write_text(to_json(asdict(one)))
    (folder / "provenance.json").write_text(json.dumps(times))
    (folder / "metrics.json").write_text("{}")
    return folder


def test_runs_of_the_same_options_count_and_otherwise_all_of_the_paper(tmp_path):
    for train in (10, 20, 60):
        finished(tmp_path, experiment(), train, 2)
    finished(tmp_path, experiment(wra="stage"), 100, 2)
    assert estimates.seconds(experiment(), CPU, tmp_path) == 22
    assert estimates.seconds(experiment(wra="stage"), "CPU, 2 threads", tmp_path) == 102
    assert estimates.seconds(experiment(ms=False), CPU, tmp_path) == (20 + 60) / 2 + 2


def test_another_number_of_epochs_takes_as_much_longer(tmp_path):
    one = experiment()
    finished(tmp_path, one, 10, 3)
    longer = replace(one, recipe=replace(one.recipe, epochs=4 * one.recipe.epochs))
    assert estimates.seconds(longer, CPU, tmp_path) == 43


def test_other_devices_profiles_data_sets_and_damaged_runs_do_not_count(tmp_path):
    finished(tmp_path, experiment(), 10, 1, GPU)
    finished(tmp_path, experiment(profile="demo"), 10, 1)
    finished(tmp_path, replace(experiment(), dataset="street-small-b"), 10, 1)
    (finished(tmp_path, experiment(), 10, 1) / "provenance.json").write_text("{")
    assert estimates.seconds(experiment(), CPU, tmp_path) is None
    assert estimates.in_a_line(experiment(), CPU, tmp_path) == estimates.NOTHING_KNOWN
    assert estimates.seconds(experiment(), GPU, tmp_path) == 11
    assert estimates.seconds(replace(experiment(), backbone="osnet"), GPU, tmp_path) is None


def test_committed_runs_count_where_there_are_none_here(tmp_path, monkeypatch):
    (tmp_path / "runs.csv").write_text(
        "paper,options,dataset,profile,device,train_seconds,evaluate_seconds\n"
        'wrcanet,–,market1501,demo,"CPU, 1 thread",1200,60\n'
    )
    monkeypatch.setattr(estimates, "reference_dir", lambda: tmp_path)
    one = experiment("market1501", "demo")
    assert estimates.in_a_line(one, CPU, tmp_path) == "about 21 min, as finished runs like it took"
    finished(tmp_path, one, 50, 10)
    assert estimates.seconds(one, CPU, tmp_path) == 60


def test_committed_runs_of_another_recipe_count_by_their_epochs(tmp_path, monkeypatch):
    """One of 2 epochs, and one from before the table had them, of as many as the profile has: 12."""
    (tmp_path / "runs.csv").write_text(
        "paper,options,dataset,profile,epochs,device,train_seconds,evaluate_seconds\n"
        'wrcanet,–,market1501,demo,2,"CPU, 1 thread",200,60\n'
        'wrcanet,–,market1501,demo,,"CPU, 1 thread",1200,60\n'
    )
    monkeypatch.setattr(estimates, "reference_dir", lambda: tmp_path)
    assert estimates.seconds(experiment("market1501", "demo"), CPU, tmp_path) == 1260
    short = one_experiment(PAPERS["wrcanet"], {}, {"epochs": 3}, "market1501", "demo")
    assert estimates.seconds(short, CPU, tmp_path) == 360


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "nothing to train: every run is finished"),
        (["known"], "1 training to do: about 12 s, as finished runs like them took"),
        (
            ["known", "unknown"],
            "2 trainings to do: about 12 s for 1, as finished runs like them took; nothing is known of the others",
        ),
        (["unknown"], f"1 training to do: {estimates.NOTHING_KNOWN}"),
    ],
)
def test_the_line_of_a_study(options, line, tmp_path):
    finished(tmp_path, experiment(), 10, 2)
    those = {"known": experiment(), "unknown": experiment("street-other")}
    assert estimates.of_several([those[name] for name in options], CPU, tmp_path) == line


def test_a_training_and_a_study_begin_with_it(street_small, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))
    monkeypatch.setattr(estimates, "reference_dir", lambda: tmp_path / "none")
    lines, one = [], experiment(ms=False)
    for seed in (1, 2):  # the study's is 0
        run(replace(one, seed=seed), street_small, log=lines.append, cpu=True)
    printed = [line for line in lines if not line.startswith("epoch")]
    assert printed[0] == lines[0] == estimates.NOTHING_KNOWN
    assert printed[1].startswith("about ")
    settings = study.settings({"profile": "smoke", "datasets": "street-small", "papers": "wrcanet"})
    session.train(settings, minutes=0, cpu=True, log=(of_study := []).append)
    assert of_study[0].startswith(f"{len(session.in_order_of_value(settings))} trainings to do: about ")
