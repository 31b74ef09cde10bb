"""Damaged files in a results folder are named and set aside, never deleted, and end neither a training nor a report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reidnb.__main__ import main
from reidnb.papers.experiments import key
from reidnb.report.write import finished_tables
from reidnb.rescoring import reranked
from reidnb.results import Run, all_runs, update_summary
from reidnb.runs import run
from reidnb.study import plan as study
from reidnb.study import session
from reidnb.training.loop import history_of

SETTINGS = {"profile": "smoke", "datasets": "street-small", "papers": "wrcanet", "tables": "table1"}


@pytest.fixture(scope="module")
def complete(street_small, tmp_path_factory) -> Path:
    """A results folder with one finished run, that of WRCANet's table 1."""
    results = tmp_path_factory.mktemp("complete")
    (experiment,) = study.plan(study.settings(SETTINGS))["wrcanet", "street-small"].values()
    run(experiment, street_small, results=results, cpu=True, log=lambda line: None)
    return results


@pytest.fixture
def results(complete, tmp_path, monkeypatch) -> Path:
    """A copy of it, which a test may damage."""
    copy = tmp_path / "results"
    shutil.copytree(complete, copy)
    monkeypatch.setenv("REIDNB_RESULTS", str(copy))
    return copy


def only_run(results: Path) -> Run:
    (folder,) = (results / "runs").iterdir()
    return Run(folder)


def cut(file: Path) -> None:
    """Keep the first half of a file, as a full disk or a broken copy leaves it."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def header_only(file: Path) -> None:
    file.write_text(file.read_text().splitlines()[0] + "\n")


DAMAGE = [
    ("metrics.json", lambda file: file.write_text("")),
    ("metrics.json", lambda file: file.write_text("{}")),
    ("metrics.json", cut),
    ("experiment.json", cut),
    ("experiment.json", lambda file: file.write_text("[]")),
    ("experiment.json", lambda file: file.unlink()),
    ("provenance.json", cut),
    ("history.csv", header_only),
    ("history.csv", lambda file: file.write_text("")),
    ("rankings.npz", cut),
    ("rankings.npz", lambda file: np.savez(file, top=np.zeros((3, 20)))),
    ("queries.npz", lambda file: file.write_bytes(b"")),
    ("model.safetensors", cut),
]
each_damage = pytest.mark.parametrize(("name", "damage"), DAMAGE, ids=[f"{n}-{i}" for i, (n, _) in enumerate(DAMAGE)])


@each_damage
def test_a_damaged_run_is_named_and_left_out_of_the_report(results, name, damage, capsys):
    damage(only_run(results).folder / name)
    assert not only_run(results).is_finished
    log: list[str] = []
    assert all_runs(results, log.append) == [] and len(log) == 1
    assert log[0].startswith("left out: ") and f"{name} is damaged" in log[0]
    log.clear()
    assert finished_tables(study.settings(SETTINGS), log.append) == 1
    assert len(log) == 1 and f"{name} is damaged" in log[0]
    assert main(["report", "--study", json.dumps(SETTINGS)]) == 1  # as nothing else is finished
    printed = capsys.readouterr()
    assert f"{name} is damaged" in printed.out and "Traceback" not in printed.err
    assert printed.err.splitlines()[-1].startswith("reidnb: the report has no table")


def test_the_other_runs_are_reported(results, capsys):
    other = results / "runs" / "another"
    shutil.copytree(only_run(results).folder, other)
    (other / "metrics.json").write_text("")
    assert main(["report", "--study", json.dumps(SETTINGS)]) == 0
    assert "left out: " in capsys.readouterr().out
    assert list(pd.read_csv(results / "runs.csv").key.str.contains("another")) == [False]


@pytest.mark.parametrize("name", ["metrics.json", "history.csv"])
def test_a_damaged_run_is_set_aside_and_trained_again_to_the_same_result(results, street_small, name):
    before = only_run(results)
    metrics, history = before.metrics, before.history
    content = sorted(file.name for file in before.folder.iterdir() if file.name != "lock")
    cut(before.folder / name) if name == "metrics.json" else header_only(before.folder / name)
    damaged, log = (before.folder / name).read_bytes(), []
    (experiment,) = study.plan(study.settings(SETTINGS))["wrcanet", "street-small"].values()
    again = run(experiment, street_small, cpu=True, log=log.append)
    assert f"{name} is damaged" in log[0] and "damaged-1" in log[0]
    assert again.metrics == metrics
    assert list(again.history.loss) == list(history.loss)
    aside = again.folder / "damaged-1"
    assert sorted(file.name for file in aside.iterdir()) == content
    assert (aside / name).read_bytes() == damaged


def test_a_study_trains_a_damaged_run_again(results):
    (only_run(results).folder / "metrics.json").write_text("")
    log: list[str] = []
    stand = session.train(study.settings(SETTINGS), cpu=True, log=log.append)
    assert list(stand.state) == ["finished"]
    assert any("metrics.json is damaged" in line for line in log)


@pytest.mark.parametrize("damage", [cut, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"PK\3\4")])
def test_a_broken_checkpoint_is_named_and_the_training_begins_anew(complete, street_small, tmp_path, damage):
    expected = only_run(complete)

    def stop(model, epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(expected.experiment, street_small, results=tmp_path, cpu=True, after_epoch=stop, log=lambda line: None)
    checkpoint = only_run(tmp_path).checkpoint
    assert len(history_of(checkpoint)) == 1
    damage(checkpoint)
    content, log = checkpoint.read_bytes(), []
    assert history_of(checkpoint).empty
    again = run(expected.experiment, street_small, results=tmp_path, cpu=True, log=log.append)
    assert any(f"{checkpoint} is damaged" in line and "begins anew" in line for line in log)
    assert (again.folder / "checkpoint.pt.damaged").read_bytes() == content
    assert again.metrics == expected.metrics


def test_derived_metrics_that_are_damaged_are_derived_again(results, street_small):
    finished = only_run(results)
    first = reranked(finished, street_small)
    for name in ("metrics-reranked.json", "queries-reranked.npz"):
        cut(finished.folder / name)
        assert reranked(Run(finished.folder), street_small) == first
        assert (finished.folder / f"{name}.damaged").exists()
        assert len(Run(finished.folder).reranked_queries["ap"]) > 0


def test_a_damaged_table_of_runs_is_made_again(results):
    file = results / "runs.csv"
    file.write_bytes(b"")
    table = update_summary(all_runs(results), file)
    assert list(table.key) == [only_run(results).folder.name] == list(pd.read_csv(file).key)
    assert (results / "runs.csv.damaged").exists()


def test_an_undamaged_run_is_read(results, street_small):
    finished = only_run(results)
    assert finished.is_finished and finished.damage == ""
    assert finished.folder.name == key(finished.experiment, street_small)
