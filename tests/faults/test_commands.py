"""A user's mistake ends a command in one sentence with its true cause; relative paths start from the current folder."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from reidnb.__main__ import main
from reidnb.files import absolute, cache_dir, fix_folders, results_dir
from reidnb.study import plan as study

ROOT = Path(__file__).resolve().parents[2]
SMOKE = {"dataset": "street-small", "profile": "smoke"}


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch) -> Path:
    """The current folder of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REIDNB_RESULTS", "results")
    return tmp_path


@pytest.fixture
def error_of(capsys):
    """Run a command that must fail: the sentence that it ends with."""

    def run(*arguments: str) -> str:
        assert main([str(each) for each in arguments]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert not any("Traceback" in line for line in lines)
        assert lines[-1].startswith("reidnb: ")
        return lines[-1].removeprefix("reidnb: ")

    return run


def notebook(code: str, kernel: str | None = "python3") -> Path:
    """A small notebook in the user's folder."""
    book = new_notebook(cells=[new_code_cell("value = 0", metadata={"tags": ["parameters"]}), new_code_cell(code)])
    if kernel:
        book.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    Path("books").mkdir(exist_ok=True)
    nbformat.write(book, "books/small.ipynb")
    return Path("books/small.ipynb")


def test_a_notebook_that_is_missing_or_none(error_of):
    assert error_of("notebook", "gone.ipynb", "out.ipynb", "{}") == "there is no notebook gone.ipynb"
    for content in ("{}", "# a page", ""):
        Path("page.ipynb").write_text(content)
        assert error_of("notebook", "page.ipynb", "out.ipynb", "{}").startswith("page.ipynb is not a notebook: ")
    assert not Path("out.ipynb").exists()


@pytest.mark.parametrize("kernel", ["torch310", None])
def test_a_notebook_without_an_installed_kernel_is_executed_here_in_the_users_folder(kernel, user_folder):
    path = notebook("import sys, pathlib\npathlib.Path('written').write_text(f'{value} {sys.executable}')", kernel)
    assert main(["notebook", str(path), "out.ipynb", '{"value": 3}']) == 0
    assert (user_folder / "written").read_text() == f"3 {sys.executable}"


def test_a_cell_that_stops_is_named_in_a_sentence_and_debug_shows_where(error_of, capsys):
    path = str(notebook("raise FileNotFoundError('no such set')"))
    assert error_of("notebook", path, "out.ipynb", "{}") == "small.ipynb stopped, FileNotFoundError: no such set"
    assert main(["notebook", path, "out.ipynb", "{}", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_shows_where_and_a_fault_of_the_package_always_does(capsys, monkeypatch):
    assert main(["weights", "gone.pth"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    for arguments in (["--debug", "weights", "gone.pth"], ["weights", "gone.pth", "--debug"]):
        assert main(arguments) == 1
        assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr("reidnb.weight_files.existing_file", lambda path: {}["a fault"])
    assert main(["weights", "gone.pth"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1] == "reidnb: KeyError: 'a fault'"


@pytest.mark.parametrize(
    ("argument", "message"),
    [("{'seed': 3}", "the argument is no JSON"), ("[3]", "the argument=[3]: allowed is a JSON object")],
)
def test_an_argument_that_is_no_json_object(argument, message, capsys):
    for arguments in (["run", argument], ["notebook", "a.ipynb", "b.ipynb", argument], ["report", "--study", argument]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": "two"}, "seed='two': allowed is a whole number, at least 0"),
        ({"recipe": {"epochs": 0}}, "epochs=0: allowed is a whole number, at least 1"),
        ({"recipe": {"size": 64}}, "size=64: allowed is height and width, at least 16 pixels, as [256, 128]"),
        ({"options": "strength"}, "options='strength': allowed is a JSON object"),
        ({"experiment": {"paper": "dranet"}}, "dataset='street-small' is not used beside an experiment"),
        (
            {"backbone": "osnet", "recipe": {"size": [64, 32], "sampler": {"images": 0}, "schedule": {"warmup": 0}}},
            "sampler.images=0: allowed is a whole number, at least 1",
        ),
        (
            {"recipe": {"schedule": {"kind": ["Steps"]}}},
            "unknown kind of schedule ('Steps',): known are",
        ),
    ],
)
def test_wrong_parameters_of_run(wrong, message, error_of):
    assert error_of("run", json.dumps(SMOKE | wrong)).startswith(message)


def test_an_experiment_without_its_recipe(error_of):
    sentence = error_of("run", json.dumps({"experiment": {"paper": "dranet", "recipe": {}}}))
    assert sentence.startswith("recipe={}: allowed is a recipe as")


@pytest.mark.parametrize("minutes", ["-3", "nan"])
def test_a_time_that_is_none(minutes, error_of):
    assert error_of("study", "--minutes", minutes).endswith("allowed is a number, at least 0")


def test_a_loss_that_is_infinite(error_of, street_small):
    sentence = error_of("run", json.dumps(SMOKE | {"recipe": {"lr": 1e30}}))
    assert sentence.startswith("the loss ") and "epoch" in sentence and "step" in sentence


def test_imagenet_weights_that_cannot_be_had(error_of, street_small, user_folder, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(user_folder / "torch"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    asked = json.dumps({"paper": "dranet", "dataset": "street-small", "profile": "paper"})
    file = user_folder / "torch/hub/checkpoints/resnet50-0676ba61.pth"
    sentence = error_of("run", asked)
    assert "cannot be fetched" in sentence and f"put {file.name} at {file}" in sentence
    file.parent.mkdir(parents=True, exist_ok=True)
    for content in (b"PK\3\4" + bytes(1000), b"<html>please log in</html>"):
        file.write_bytes(content)
        assert error_of("run", asked).startswith(f"{file} is not the published file")


def test_no_home_directory(error_of, monkeypatch):
    def unknown(user):
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("REIDNB_CACHE")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    sentence = error_of("run", json.dumps(SMOKE))
    assert "HOME is not set" in sentence and "set REIDNB_CACHE" in sentence
    assert "cannot find ~/reid" in error_of("data", "list", "--root", "~/reid")


def test_a_cache_that_cannot_be_used(error_of, street_small, user_folder, monkeypatch):
    (user_folder / "file").write_text("the user's own")
    monkeypatch.setenv("REIDNB_CACHE", "file")
    assert error_of("run", json.dumps(SMOKE)) == f"cannot write in {user_folder / 'file'}: it is a file"
    shutil.copytree(street_small.root, user_folder / "cache/street-small")
    monkeypatch.setenv("REIDNB_CACHE", "cache")
    for content in (b"", b"PK\3\4"):
        file = user_folder / "cache/street-small/truth/query.npz"
        file.write_bytes(content)
        sentence = error_of("run", json.dumps(SMOKE))
        assert sentence.startswith(f"{file} is damaged (") and f"delete {file.parents[1]} to have it" in sentence


def test_a_report_without_a_table_is_a_failure(error_of, user_folder):
    sentence = f"the report has no table: nothing is finished in {user_folder / 'results/runs'}"
    assert error_of("report") == sentence
    assert error_of("report", "--study", json.dumps({"profile": "smoke", "datasets": "street-small"})) == sentence
    assert (user_folder / "results/index.html").exists()


def test_paths_start_where_the_user_stands(user_folder, monkeypatch):
    assert study.settings({"root": "mine", "weights": "w.pth"}).root == str(user_folder / "mine")
    assert study.settings({"weights": "w.pth"}).weights == str(user_folder / "w.pth")
    assert study.settings({"root": None, "weights": "None"}) == study.settings({})
    monkeypatch.setenv("REIDNB_CACHE", "cache")
    fix_folders()
    monkeypatch.chdir("/")  # as a job that starts elsewhere
    assert results_dir() == user_folder / "results"
    assert cache_dir() == user_folder / "cache"
    assert absolute("a") == Path("/a")


@pytest.mark.slow
def test_a_batch_study_refuses_braces_in_the_path_of_results(tmp_path):
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "REIDNB_RESULTS": str(tmp_path / "x{y}")}
    done = subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and not (tmp_path / "x{y}").exists()
    assert f"results folder {tmp_path / 'x{y}'}: snakemake takes braces for wildcards" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_batch_study_in_an_awkward_place_with_relative_paths(user_folder, street_small, monkeypatch):
    """First with a broken image, which the job's log names; then, the image mended, to its end. Paths are relative to a
    folder whose name has spaces, a quote and an umlaut, and a stranger's file of a part of its name is kept."""
    home = user_folder / "it's a place, für alle"
    home.mkdir()
    (user_folder / "it's").write_text("not ours")
    monkeypatch.chdir(home)
    shutil.copytree(street_small.root, home / "data/mine")
    image = next((home / "data/mine/bounding_box_train").glob("*.jpg"))
    content = image.read_bytes()
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--retries", "0"]
    call += ["--config", "profile=smoke", "papers=dranet", "tables=table1", "datasets=folder", "root=data/mine"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"REIDNB_RESULTS": "my results", "REIDNB_CACHE": "cache {0}"}

    def snakemake() -> subprocess.CompletedProcess:
        return subprocess.run(call, env=environment, capture_output=True, text=True, timeout=600)

    image.write_bytes(content[:20])
    done = snakemake()
    assert done.returncode == 1
    (log,) = (home / "my results/notebooks/runs").glob("*.log")
    last = log.read_text().splitlines()
    assert any("run.ipynb stopped, ValueError: 1 of" in line for line in last) and "Traceback" not in log.read_text()
    assert "the report has no table" in done.stdout + done.stderr

    image.write_bytes(content)
    done = snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    results = home / "my results"
    assert (results / "index.html").exists() and list((results / "notebooks").glob("dranet-*.ipynb"))
    table = np.genfromtxt(next((results / "tables").glob("dranet-table1-*.csv")), delimiter=",", dtype=str)
    assert len(table) > 1
    assert not (ROOT / "notebooks/results").exists()
    assert (user_folder / "it's").read_text() == "not ours"
    assert sorted(path.name for path in user_folder.iterdir()) == ["it's", home.name]
