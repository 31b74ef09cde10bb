"""docs/your-own-paper.md, executed in a copy of the package: its commands, its change to the list, its notebook."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE, PAGE = ROOT / "docs" / "two_pools", ROOT / "docs" / "your-own-paper.md"


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    return [content for kind, content in fenced if kind == language]


def apply(diff: str, file: Path) -> None:
    """Replace each line of the file that the diff removes by the line that it adds next."""
    text = file.read_text("utf-8")
    for old, new in re.findall(r"^-(.*)\n\+(.*)$", diff, re.M):
        assert text.count(f"{old}\n") == 1, f"{file.name} has no line {old!r}"
        text = text.replace(old, new)
    file.write_text(text, "utf-8")


def test_the_example_is_short():
    cells = json.loads((EXAMPLE / "two_pools.ipynb").read_text("utf-8"))["cells"]
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in EXAMPLE.glob("*.[pc]*") if path.is_file())
    assert lines + sum(len(cell["source"]) for cell in cells) < 150
    assert all(not cell.get("outputs") for cell in cells)


@pytest.mark.slow
@pytest.mark.notebook
def test_the_page_adds_a_paper_that_runs(tmp_path):
    for name in ("reidnb", "docs", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    copying, running = blocks("")
    (diff,) = blocks("diff")
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    places = {"PYTHONPATH": str(tmp_path), "REIDNB_RESULTS": str(tmp_path / "results"), "PATH": python}
    environment = os.environ | places | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def execute(commands: str) -> str:
        shell = ["bash", "-e", "-c", commands]
        done = subprocess.run(shell, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    execute(copying)
    apply(diff, tmp_path / "reidnb" / "papers" / "__init__.py")
    execute(running.replace("demo", "smoke").replace('"street"', '"street-small"'))

    frame = pd.read_csv(tmp_path / "results" / "tables" / "two_pools-table1-street-small-smoke.csv")
    assert list(frame.row) == ["Somebody else's network", "Average", "Maximum", "Both"]
    assert list(frame.published_map) == [60.0, 65.0, 66.0, 70.0]
    assert frame.ours_map[1:].between(5, 100).all() and frame.ours_map[1:].nunique() == 3
    claims = pd.read_csv(tmp_path / "results" / "tables" / "two_pools-claims-street-small-smoke.csv")
    assert list(claims.better.unique()) == ["Both"] and claims.ours.notna().all()
    assert "Both pools are better than either" in (tmp_path / "results" / "index.html").read_text("utf-8")
    assert "image/png" in (tmp_path / "results" / "two_pools.ipynb").read_text("utf-8")
