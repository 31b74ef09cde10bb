"""The root files agree with each other."""

import re
import subprocess
import tomllib
from datetime import date
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import reidnb

ROOT = Path(__file__).resolve().parents[1]


def test_conda_environment_is_pyprojects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["name"] == project["name"]
    packages = [d for d in conda["dependencies"] if isinstance(d, str)]
    assert f"python {project['requires-python']}" in packages
    (pip,) = [d["pip"] for d in conda["dependencies"] if isinstance(d, dict)]
    assert pip == ["-r requirements.lock", "-e .[dev]"]


def test_lock_pins_every_dependency_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]  # not that for a cluster, which few install
    required = project["dependencies"] + [
        each for name in ("notebooks", "study", "export", "dev") for each in extras[name]
    ]
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if match := re.match(r"([a-zA-Z0-9_.-]+)(?:\[.*\])?==([^ ;]+)", line):
            pins.setdefault(match[1].lower(), []).append(match[2])
    for requirement in map(Requirement, required):
        if requirement.name == project["name"]:
            continue
        assert requirement.name.lower() in pins, f"{requirement.name} is not in requirements.lock: make lock"
        assert all(v in requirement.specifier for v in pins[requirement.name.lower()])


def test_colab_keeps_its_torch():
    """What docs/colab.md installs, and all that this needs in turn, accepts the PyTorch of Colab and Kaggle."""
    page = (ROOT / "docs" / "colab.md").read_text()
    (command,) = re.findall(r"^%pip install (.*)", page, re.M)
    assert command == '--quiet --constraint /tmp/installed.txt --editable ".[notebooks]"'
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    all_needed = [("reidnb", Requirement(line)) for line in direct]
    for _, needed in list(all_needed):
        all_needed += [(needed.name, below) for below in map(Requirement, metadata.requires(needed.name) or [])]
    given = dict(re.findall(r"(torch|torchvision) (\d+\.\d+)", page))
    assert set(given) == {"torch", "torchvision"}
    requirements = [(by, needed) for by, needed in all_needed if needed.name in given and by not in given]
    assert {"reidnb", "accelerate", "grad-cam"} <= {by for by, _ in requirements}
    for by, needed in requirements:
        assert needed.specifier.contains(f"{given[needed.name]}.0"), f"{by} asks for {needed}"


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation), "what the format requires"
    assert citation["version"] == reidnb.__version__
    assert citation["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    assert isinstance(citation["date-released"], date)


def test_files_stay_small():
    for path in (ROOT / "reidnb").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, f"{path} is over 400 lines"


def test_committed_results_stay_small():
    """Every study that is committed stays in the history for ever."""
    listed = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.exists()) <= 7_000_000
