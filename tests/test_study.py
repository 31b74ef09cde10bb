"""The batch study's plan, its tables of what is finished, the GPU of a job, and the Snakefile that uses them."""

import multiprocessing
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reidnb import devices, study
from reidnb.experiments import results_dir
from reidnb.papers import tables
from reidnb.runs import run

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"profile": "smoke", "datasets": "street-small", "papers": "wrcanet"}


def test_settings_from_a_command_line():
    found = study.settings({"datasets": "market1501,dukemtmc", "tables": "table2", "papers": "wrcanet", "seeds": 3})
    assert found.datasets == ("market1501", "dukemtmc")
    assert study.chosen("wrcanet", found) == ["table2"]
    assert study.settings({}).papers == tables.PAPERS


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dataset": "street"}, "the study has no setting 'dataset': it has profile, datasets"),
        ({"profile": "tiny"}, "unknown profile 'tiny': known are paper, demo, smoke"),
        ({"papers": "resnet"}, "unknown paper 'resnet'"),
        ({"papers": "wrcanet", "tables": "table9"}, "no table 'table9' in wrcanet: known are readings, table1, table2"),
        ({"seeds": 0}, "seeds is the number of trainings of each row, at least 1, found 0"),
    ],
)
def test_wrong_settings_are_one_clear_sentence(config, message):
    with pytest.raises(ValueError, match=message):
        study.settings(config)


def test_readings_only_when_named():
    assert "readings" not in study.chosen("wrcanet", study.settings({}))
    assert study.chosen("wrcanet", study.settings({"tables": "readings"})) == ["readings"]


def test_an_experiment_of_several_tables_is_planned_once(street_small):
    planned = study.plan(study.settings(SMALL))["wrcanet", "street-small"]
    rows = [row for t in ("table1", "table2") for row in tables.find_table("wrcanet", t).rows]
    assert len(rows) == 7
    assert len(planned) == 5  # table 1's two rows are table 2's last, without and with re-ranking


def test_a_missing_data_set_is_found_before_anything_is_trained(tmp_path):
    with pytest.raises(FileNotFoundError, match="bounding_box_train"):
        study.plan(study.settings({"datasets": "market1501", "root": str(tmp_path)}))


def test_tables_of_what_is_finished(street_small, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))
    settings = study.settings(SMALL | {"tables": "table2"})
    (first, *_) = study.plan(settings)["wrcanet", "street-small"].values()
    said: list[str] = []
    assert study.finished_tables(settings, said.append) == 5
    assert not (results_dir() / "tables").exists()
    run(first, say=lambda line: None)
    assert study.finished_tables(settings, said.append) == 4
    assert "table2, ResNet-50+WRA)" in said[-4]
    frame = pd.read_csv(results_dir() / "tables" / "wrcanet-table2-street-small-smoke.csv")
    assert frame.set_index("row").seeds.to_dict()["ResNet-50"] == 1
    assert frame.ours_map.notna().sum() == 1


def _hold(names, told):
    with devices.one_gpu(names) as name:
        told.send(name)
        time.sleep(3600)  # until it is killed


def test_jobs_hold_gpus_of_their_own_and_a_killed_one_leaves_its_own():
    context = multiprocessing.get_context("spawn")
    ears, jobs = [], []

    def start() -> None:
        ear, told = context.Pipe(duplex=False)
        ears.append(ear)
        jobs.append(context.Process(target=_hold, args=(["0", "1"], told), daemon=True))
        jobs[-1].start()

    start(), start()
    held = [ear.recv() for ear in ears]
    assert sorted(held) == ["0", "1"]
    start()
    assert not ears[2].poll(2)  # it waits
    jobs[0].kill()
    assert ears[2].recv() == held[0]
    for job in jobs:
        job.kill()


def test_slurm_jobs_that_are_each_shown_gpu_0_do_not_wait_for_each_other(monkeypatch):
    def hold() -> None:
        with devices.one_gpu(["0"]):
            pass

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with devices.one_gpu(["0"]):
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        other = threading.Thread(target=hold, daemon=True)
        other.start()
        other.join(20)
        assert not other.is_alive()


def test_gpus_are_those_that_cuda_shows(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert devices.gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.gpus() == []
    with pytest.raises(ValueError, match="this machine has none to give"), devices.one_gpu([]):
        pass


def _snakemake(*config: str) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "snakemake", "--dry-run", "--config", *config]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_snakefile_has_a_job_for_each_experiment(street_small):
    done = _snakemake("profile=smoke", "datasets=street-small", "papers=wrcanet")
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in (done.stdout + done.stderr).splitlines() if line.startswith("experiment "))
    assert counts == {"experiment": "5"}


@pytest.mark.slow
def test_snakefile_says_what_is_wrong_in_a_sentence():
    done = _snakemake("profil=smoke")
    assert done.returncode != 0
    assert "the study has no setting 'profil'" in done.stdout + done.stderr


def test_a_table_across_data_sets_goes_to_each_other_one_of_the_study(monkeypatch):
    named = study.settings({"papers": "hybrid_attention", "datasets": "dukemtmc,market1501", "tables": "table8"})
    assert study.main_table("hybrid_attention", "dukemtmc", named) == ("table8", "dukemtmc->market1501")
    assert study.main_table("hybrid_attention", "market1501", named) == ("table8", "market1501->dukemtmc")
    whole = study.settings({"papers": "hybrid_attention"})
    assert study.main_table("hybrid_attention", "street", whole) == ("table6", "street")
    assert study.main_table("hybrid_attention", "street", replace(whole, tables=("table8",))) == (
        "table8",
        "street->street-other",
    )


def test_a_table_across_data_sets_needs_two():
    alone = study.settings({"papers": "hybrid_attention", "datasets": "market1501", "tables": "table8"})
    with pytest.raises(ValueError, match="table8 tests on another data set than it trains on: name two"):
        study.plan(alone)


def test_a_table_across_data_sets_trains_nothing_of_its_own(street_small):
    small = SMALL | {"papers": "hybrid_attention", "datasets": "street-small,street-other"}
    both = study.settings(small | {"tables": "table6,table8"})
    planned = study._planned("hybrid_attention", "street-small", both)
    assert planned == [("table6", "street-small"), ("table8", "street-small->street-other")]
    rows = {table: study._rows("hybrid_attention", table, where, both) for table, where in planned}
    assert [e for _, e in rows["table6"]] == [e for _, e in rows["table8"]]
