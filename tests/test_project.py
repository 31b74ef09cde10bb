"""The root files agree with each other."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

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
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]  # not that for a cluster, which few install
    wanted = project["dependencies"] + extras["study"] + extras["dev"]
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if match := re.match(r"([a-zA-Z0-9_.-]+)(?:\[.*\])?==([^ ;]+)", line):
            pins.setdefault(match[1].lower(), []).append(match[2])
    for requirement in map(Requirement, wanted):
        if requirement.name == project["name"]:
            continue
        assert requirement.name.lower() in pins, f"{requirement.name} is not in requirements.lock: make lock"
        assert all(v in requirement.specifier for v in pins[requirement.name.lower()])


def test_files_stay_small():
    for path in (ROOT / "reidnb").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, f"{path} is over 400 lines"


def test_committed_results_stay_small():
    """Every study that is committed stays in the history for ever."""
    listed = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(file.stat().st_size for file in files if file.exists()) <= 6_000_000
