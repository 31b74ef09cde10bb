"""The batch study's plan, its tables of what is finished, a study by the clock, the GPU of a job, and the Snakefile."""

import json
import re
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from miniatures import market_like

from reidnb import rescoring, runs
from reidnb.__main__ import main
from reidnb.data import catalog
from reidnb.files import results_dir
from reidnb.papers import PAPERS
from reidnb.papers.experiments import experiments, one_experiment
from reidnb.report.write import finished_tables
from reidnb.results import Run
from reidnb.runs import run
from reidnb.study import devices, session
from reidnb.study import plan as study
from reidnb.study.comparison import caption
from reidnb.training.recipe import learning_rate

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"profile": "smoke", "datasets": "street-small", "papers": "wrcanet"}


def test_settings_from_a_command_line():
    chosen = study.settings({"datasets": "market1501,dukemtmc", "tables": "table2", "papers": "wrcanet", "seeds": 3})
    assert chosen.datasets == ("market1501", "dukemtmc")
    assert study.chosen("wrcanet", chosen) == ["table2"]
    assert study.settings({}).papers == tuple(PAPERS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dataset": "street"}, "the study has no parameter 'dataset': it has profile, datasets"),
        ({"profile": "tiny"}, "unknown profile 'tiny': known are paper, quick, scratch, demo, smoke"),
        ({"papers": "resnet"}, "unknown paper 'resnet'"),
        ({"papers": "wrcanet", "tables": "table9"}, "no table 'table9' in wrcanet: known are readings, table1, table2"),
        ({"seeds": 0}, "seeds=0: allowed is a whole number, at least 1"),
    ],
)
def test_wrong_settings_are_one_clear_sentence(config, message):
    with pytest.raises(ValueError, match=message):
        study.settings(config)


def test_smoke_studies_a_part_of_real_data(tmp_path):
    assert study.settings({"datasets": "street,market1501", "profile": "smoke"}).datasets == (
        "street",
        "market1501_part",
    )
    for name in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / "Shop" / name).mkdir(parents=True)
    named = study.settings({"datasets": "folder,folder->street", "root": str(tmp_path / "Shop")})
    assert named.datasets == ("folder-shop", "folder-shop->street")


def test_readings_only_when_named():
    assert "readings" not in study.chosen("wrcanet", study.settings({}))
    assert study.chosen("wrcanet", study.settings({"tables": "readings"})) == ["readings"]


def test_an_experiment_of_several_tables_is_planned_once(street_small):
    planned = study.plan(study.settings(SMALL))["wrcanet", "street-small"]
    rows = [row for t in ("table1", "table2") for row in PAPERS["wrcanet"].table(t).rows]
    assert len(rows) == 7
    assert len(planned) == 5  # table 1's two rows are table 2's last, without and with re-ranking


def test_a_missing_data_set_is_found_before_anything_is_trained(tmp_path):
    with pytest.raises(FileNotFoundError, match="bounding_box_train"):
        study.plan(study.settings({"datasets": "market1501", "root": str(tmp_path)}))


def test_tables_of_what_is_finished(street_small, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))
    settings = study.settings(SMALL | {"tables": "table2"})
    (first, *_) = study.plan(settings)["wrcanet", "street-small"].values()
    lines: list[str] = []
    assert finished_tables(settings, lines.append) == 5
    assert not (results_dir() / "tables").exists()
    run(first, street_small, log=lambda line: None)
    assert finished_tables(settings, lines.append) == 4
    assert "table2, ResNet-50+WRA)" in lines[-4]
    frame = pd.read_csv(results_dir() / "tables" / "wrcanet-table2-street-small-smoke.csv")
    assert frame.set_index("row").seeds.to_dict()["ResNet-50"] == 1
    assert frame.ours_map.notna().sum() == 1
    about = (results_dir() / "tables" / "wrcanet-table2-street-small-smoke.json").read_text()
    assert "Not finished: ResNet-50+WRA, ResNet-50+WRA+GP, " in about
    claims = pd.read_csv(results_dir() / "tables" / "wrcanet-claims-street-small-smoke.csv")
    assert set(claims.table) == {"table2"} and set(claims.verdict) == {"not run"}


def test_the_most_telling_experiments_come_first(street_small):
    asked = study.settings(SMALL | {"papers": "attention_driven,wrcanet", "tables": "table1,table2,table6", "seeds": 2})
    pieces = session.in_order_of_value(asked)
    planned = {key for experiments in study.plan(asked).values() for key in experiments}
    assert len(pieces) == len(planned) and {piece.key for piece in pieces} == planned
    seeds = [piece.experiment.seed for piece in pieces]
    assert seeds == sorted(seeds)
    first = [(piece.table, piece.row) for piece in pieces if piece.experiment.seed == 0]
    assert first[:3] == [("table6", "Baseline"), ("table6", "Intra+inter"), ("table6", "Aligned")]
    others = [piece for piece in pieces if piece.experiment.paper == "wrcanet"]
    assert [piece.row for piece in others[:3]] == ["ResNet-50", "ResNet-50+WRA+MS+GP", "ResNet-50+WRA"]


def _in_pieces(seconds: float, keep: str = "weights") -> pd.DataFrame:
    """Table 1 of WRCANet, one training, by a clock that goes on by a second whenever it is looked at."""
    clock = count()
    asked = study.settings(SMALL | {"tables": "table1"})
    return session.train(asked, seconds / 60, keep, cpu=True, clock=lambda: next(clock), log=lambda line: None)


def test_a_study_in_pieces_of_time_ends_as_an_uninterrupted_one(street_small, tmp_path, monkeypatch):
    ends = {}
    for name, times, keep in (("at once", [100], "weights"), ("pieces", [0, 1.5, 1.5, 0], "descriptors")):
        monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path / name))
        states = [_in_pieces(seconds, keep).state.item() for seconds in times]
        ends[name] = Run(next((tmp_path / name / "runs").iterdir()))
    assert states == ["not begun", "stopped at epoch 1 of 2", "finished", "finished"]
    at_once, pieces = ends.values()
    assert pieces.metrics == at_once.metrics
    np.testing.assert_array_equal(pieces.history.loss, at_once.history.loss)

    names = {file.name for file in pieces.folder.iterdir()}
    assert "descriptors.npz" in names and not names & {"model.safetensors", "checkpoint.pt"}
    for small, full in zip(*(rescoring.descriptors(run_, street_small) for run_ in (pieces, at_once)), strict=True):
        np.testing.assert_allclose(small, full, atol=1e-3, rtol=1e-2)
    assert rescoring.reranked(pieces, street_small)["map"] == pytest.approx(
        rescoring.reranked(at_once, street_small)["map"], abs=1
    )

    for file in ("descriptors.npz", "metrics-reranked.json"):  # as if only the metrics had been kept
        (pieces.folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=r"was kept without model\.safetensors: remove it and train again"):
        runs.load_model(pieces, street_small)
    lines: list[str] = []
    finished_tables(study.settings(SMALL | {"tables": "table1"}), lines.append)
    assert lines[0].startswith("table1, Ours + re-ranking, seed 0 is left out: ")
    written = pd.read_csv(results_dir() / "tables" / "wrcanet-table1-street-small-smoke.csv").set_index("row").ours_map
    assert written["Ours"] == pytest.approx(pieces.metrics["map"]) and np.isnan(written["Ours + re-ranking"])


def test_a_piece_is_shown_beside_its_published_numbers():
    """DRANet's baseline on Market-1501: 91.5 rank-1, 77.5 mAP (table 4)."""
    asked = study.Settings(profile="paper")
    row, experiment = study.rows("dranet", "table4", "market1501", asked)[0]
    piece = session.Piece("no-such-run", "table4", row.name, experiment)
    line = session._row(piece, Run(Path("no-such-run")), "")
    assert (line["published map"], line["published rank1"]) == ("77.50", "91.50")
    assert {line[name] for name in ("map", "rank1", "minutes", "images/s")} == {""}
    assert line["state"] == "not begun"
    scores = {"map": 20.0, "map_trapezoid": 10.0, "rank1": 30.0}
    done = SimpleNamespace(
        is_finished=True,
        metrics=scores,
        history=pd.DataFrame({"seconds": [60.0, 30.0], "images_per_second": [5.0, 7.0]}),
    )
    line = session._row(piece, done, "")
    assert [line[name] for name in ("map", "rank1", "minutes", "images/s")] == ["20.00", "30.00", "1.5", "6"]
    other = replace(piece, table="table6", experiment=replace(experiment, paper="hybrid_attention", options={}))
    assert session._row(other, done, "")["map"] == "10.00"  # by the definition of that paper
    unprinted = replace(piece, row="a row of ours")
    assert session._row(unprinted, Run(Path("no-such-run")), "")["published map"] == ""


def test_an_experiment_that_fails_is_named_and_the_others_continue(street_small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))

    def fail(experiment, data, **options):
        if experiment.options.get("wra") == "":
            raise MemoryError("too little memory")

    monkeypatch.setattr(session, "run", fail)
    arguments = [f"--{name}={value}" for name, value in SMALL.items()]
    assert main(["study", *arguments, "--tables=table2"]) == 1
    table = capsys.readouterr().out.splitlines()[-6:]
    assert "failed: too little memory" in table[1] and all("not begun" in line for line in table[2:])


def test_a_study_says_what_is_wrong_in_a_sentence(capsys):
    assert main(["study", "--papers", "resnet"]) == 1
    assert main(["study", "--keep", "all"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("reidnb: unknown paper 'resnet'")
    assert lines[1] == "reidnb: keep='all': allowed are 'weights', 'descriptors', 'metrics'"


def test_one_experiment_from_the_command_line(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(catalog, "load", lambda name, root: (name, root))
    done = SimpleNamespace(metrics={"map": 12.345, "rank1": 50.0}, folder=tmp_path)
    monkeypatch.setattr(runs, "run", lambda experiment, data: asked.append((experiment, data)) or done)
    expected = one_experiment(PAPERS["dranet"], {"rsam": False}, {"epochs": 3}, "street-small", "smoke", 2)
    given = {"paper": "dranet", "options": {"rsam": False}, "recipe": {"epochs": 3}, "profile": "smoke", "seed": 2}
    assert main(["run", json.dumps(given | {"dataset": "street-small", "data_root": "here"})]) == 0
    assert main(["run", json.dumps(asdict(expected))]) == 0
    assert main(["run", json.dumps({"experiment": asdict(expected)})]) == 0
    assert main(["run", json.dumps(given | {"dataset": "street-small", "backbone": "osnet"})]) == 0
    assert [experiment for experiment, _ in asked] == [expected] * 3 + [replace(expected, backbone="osnet")]
    assert asked[0][1] == ("street-small", str(Path("here").absolute()))
    assert "mAP 12.35, rank-1 50.00" in capsys.readouterr().out
    assert main(["run", '{"papers": "dranet"}']) == 1
    assert "run has no parameter 'papers': it has paper, options" in capsys.readouterr().err


def test_from_scratch_is_the_stated_network_on_one_schedule_for_all_rows():
    rows = experiments(PAPERS["hybrid_attention"], "table6", "market1501", "scratch")
    stated = experiments(PAPERS["hybrid_attention"], "table6", "market1501", "paper")
    assert len({(e.recipe.epochs, e.recipe.lr, e.recipe.schedule, e.recipe.optimizer) for _, e in rows}) == 1
    for (_, ours), (_, theirs) in zip(rows, stated, strict=True):
        assert (ours.weights, ours.backbone, ours.options) == ("", theirs.backbone, theirs.options)
        assert (ours.recipe.size, ours.recipe.batch) == (theirs.recipe.size, theirs.recipe.batch)
        assert ours.recipe.augmentation == theirs.recipe.augmentation
    rates = [learning_rate(rows[0][1].recipe, epoch) for epoch in (0, 36, 120)]  # up for 0.3 of 120 epochs, then down
    assert rates == pytest.approx([1e-3 / 25, 1e-3, 1e-7])
    made = SimpleNamespace(experiment=rows[0][1], provenance={"device": "a GPU"})
    assert "from scratch (random initial weights)" in caption(
        PAPERS["hybrid_attention"], "table6", [(rows[0][0], made)]
    )


@pytest.mark.slow
def test_a_study_needs_only_what_trains():
    lacking = ["matplotlib", "papermill", "snakemake", "pytorch_grad_cam", "jinja2", "h5py", "cv2", "IPython"]
    lines = [
        "import sys",
        f"sys.modules.update(dict.fromkeys({lacking}))",
        "import reidnb.__main__, reidnb.study.session",
    ]
    lines += ["import reidnb.papers"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_job_holds_another_gpu():
    """That a killed job frees its GPU is tested among the faults."""
    with devices.one_gpu(["0", "1"]) as first, devices.one_gpu(["0", "1"]) as second:
        assert {first, second} == {"0", "1"}


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


def _snakemake(*config: str, target: str = "all") -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "snakemake", target, "--dry-run", "--config", *config]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "jobs"),
    [("scratch", {"experiment": 13}), ("smoke", {"first_experiments": 1, "experiments": 1})],
)
def test_snakefile_has_a_job_for_each_experiment_or_for_several_small_ones(street_small, profile, jobs):
    done = _snakemake(f"profile={profile}", "datasets=street-small", "papers=hybrid_attention", "tables=table6,table9")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    counts = {words[0]: int(words[1]) for words in lines if len(words) == 2 and "experiment" in words[0]}
    assert counts == jobs


def test_small_trainings_share_jobs_and_the_table_of_the_notebook_comes_first(street_small):
    asked = study.settings({"profile": "smoke", "datasets": "street-small", "papers": "hybrid_attention,dranet"})
    jobs = session.shared_jobs(asked)
    assert list(jobs) == [("hybrid_attention", "street-small"), ("dranet", "street-small")]
    for (paper, _), parts in jobs.items():
        keys = [piece.key for part in parts for piece in part]
        assert len(keys) == len(set(keys))
        assert set(keys) == set(study.plan(asked)[paper, "street-small"])
        assert all(0 < len(part) <= session.SHARED for part in parts)
        assert {piece.table for piece in parts[0]} == {PAPERS[paper].main}


def test_a_job_trains_its_part_of_a_study(street_small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))
    asked = {"profile": "smoke", "datasets": ["street-small"], "papers": ["dranet"], "tables": ["table4"]}
    first, second, *_ = session.in_order_of_value(study.settings(asked))
    command = ["study", "--settings", json.dumps(asked), "--to", str(tmp_path / "part.csv"), "--only"]
    assert main([*command, f"{first.key},{second.key}"]) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {first.key, second.key}
    assert len(list((tmp_path / "runs").glob("*/metrics.json"))) == 2
    assert list(pd.read_csv(tmp_path / "part.csv").row) == [first.row, second.row]
    assert main([*command, "dranet-street-small-0123"]) == 1
    message = "the study has no experiment dranet-street-small-0123: have its images changed since it was planned?"
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_pages_execute_every_notebook_that_a_study_leaves_out(street_small):
    done = _snakemake("profile=smoke", "datasets=street-small", "seeds=2", target="pages")
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    counts = dict(line.split() for line in text.splitlines() if re.fullmatch(r"(other|paper|pages|report) +\d+", line))
    assert counts == {"other": "8", "paper": "4", "pages": "1"}
    left_out = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - set(PAPERS) - {"start"}
    assert set(re.findall(r"output: \S+/notebooks/(\w+)\.ipynb", text)) == left_out


@pytest.mark.slow
def test_pages_need_a_street(street_small, tmp_path):
    market_like(tmp_path / "shop", street_small, ".png")
    config = ("profile=smoke", "datasets=folder", "papers=dranet", f"root={tmp_path / 'shop'}")
    done = _snakemake(*config, target="pages")
    assert done.returncode != 0
    assert "pages are made on a street only: datasets=folder-shop_part names none" in done.stdout + done.stderr


@pytest.mark.slow
def test_snakefile_says_what_is_wrong_in_a_sentence():
    done = _snakemake("profil=smoke")
    assert done.returncode != 0
    assert "the study has no parameter 'profil'" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_study_of_a_comparison_network_has_no_notebook_of_it():
    done = _snakemake("profile=smoke", "datasets=street-small", "papers=pcb")
    assert done.returncode == 0 and "pcb-street-small-smoke-0.csv" in done.stdout
    assert "pcb-street-small-smoke.ipynb" not in done.stdout
    assert "rule other" not in done.stdout  # those are pages, which a study leaves out


def test_the_report_covers_comparison_networks_where_they_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_RESULTS", str(tmp_path))
    asked = {"profile": "smoke", "datasets": "street-small", "papers": "ide"}
    session.train(study.settings(asked), cpu=True, log=lambda line: None)
    assert main(["report"]) == 1  # a report without a table
    assert not list(tmp_path.glob("*-ide.csv")) and "Identity embedding" not in (tmp_path / "index.html").read_text()
    assert main(["report", "--study", json.dumps(asked)]) == 0
    page = (tmp_path / "index.html").read_text()
    assert (tmp_path / "readings-ide.csv").exists() and "recipe" in page and "IDE, pool5" in page


def test_a_table_across_data_sets_goes_to_each_other_one_of_the_study(monkeypatch):
    named = study.settings({"papers": "hybrid_attention", "datasets": "dukemtmc,market1501", "tables": "table8"})
    assert study.main_table("hybrid_attention", "dukemtmc", named) == ("table8", "dukemtmc->market1501")
    assert study.main_table("hybrid_attention", "market1501", named) == ("table8", "market1501->dukemtmc")
    default = study.settings({"papers": "hybrid_attention"})
    assert study.main_table("hybrid_attention", "street", default) == ("table6", "street")
    assert study.main_table("hybrid_attention", "street", replace(default, tables=("table8",))) == (
        "table8",
        "street->street-other",
    )


def test_a_table_across_data_sets_needs_two():
    single = study.settings({"papers": "hybrid_attention", "datasets": "market1501", "tables": "table8"})
    with pytest.raises(ValueError, match="table8 tests on another data set than it trains on: name two"):
        study.plan(single)


def test_a_table_across_data_sets_trains_nothing_of_its_own(street_small):
    small = SMALL | {"papers": "hybrid_attention", "datasets": "street-small,street-other"}
    both = study.settings(small | {"tables": "table6,table8"})
    planned = study.planned("hybrid_attention", "street-small", both)
    assert planned == [("table6", "street-small"), ("table8", "street-small->street-other")]
    rows = {table: study.rows("hybrid_attention", table, where, both) for table, where in planned}
    assert [e for _, e in rows["table6"]] == [e for _, e in rows["table8"]]
