"""The site on GitHub Pages: its workflow is valid, what it calls exists, and its pages and links hold."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text("utf-8"))
CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
STEPS = WORKFLOW["jobs"]["site"]["steps"]


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile, with this Python's folder for its BIN."""
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1].splitlines()
    return [line.strip() for line in lines]


def test_the_workflow_runs_targets_that_exist():
    commands = [step["run"] for step in STEPS if "run" in step]
    assert commands == ["make pages", "make site"]
    for command in commands:
        assert recipe(command.removeprefix("make "))


def test_the_workflow_may_publish_and_publishes_what_is_built():
    assert WORKFLOW["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
    used = {step["uses"].partition("@")[0]: step for step in STEPS if "uses" in step}
    assert list(used)[-2:] == ["actions/upload-pages-artifact", "actions/deploy-pages"]
    assert used["actions/upload-pages-artifact"]["with"]["path"] == CONFIGURATION["site_dir"]
    assert WORKFLOW[True]["push"]["branches"] == ["main"]  # YAML reads 'on' as true


def test_every_page_of_docs_is_in_the_sites_navigation():
    listed = {path for entry in CONFIGURATION["nav"] for path in entry.values()}
    docs = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert listed - docs == {"README.md", "results/reference/index.html"}
    assert docs <= listed, f"add to mkdocs.yml: {', '.join(sorted(docs - listed))}"


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path):
    """The commands of `make site`, but those that need a study."""
    for path in ("README.md", "LICENSE", "CITATION.cff", "mkdocs.yml"):
        shutil.copy(ROOT / path, tmp_path)
    for folder in ("docs", "notebooks", "results/reference"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for command in recipe("site"):
        if "notebooks.publish" not in command:
            command = command.replace("$(BIN)/mkdocs", f"{sys.executable} -m mkdocs")
            done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"
    site = tmp_path / "build" / "site"
    report = (site / "results" / "reference" / "index.html").read_text("utf-8")
    assert report == (ROOT / "results" / "reference" / "index.html").read_text("utf-8")
    links = [link for link in re.findall(r"(?:href|src)=\"([^\"#]+)", report) if "://" not in link]
    assert links and all((site / "results" / "reference" / link.replace("%20", " ")).is_file() for link in links)
    front = (site / "index.html").read_text("utf-8")
    assert 'href="results/reference/index.html"' in front and 'href="docs/findings.html"' in front
    assert not re.search(r"(?:src|href)=\"https?://[^\"]*\.(?:js|css)\"", front)
