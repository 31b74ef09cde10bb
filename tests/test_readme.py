"""README and docs: their Python runs, their links and files exist, their commands parse."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reidnb.__main__ import main
from reidnb.papers import PAPERS
from reidnb.papers.experiments import experiments

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

PATH = re.compile(
    r"(?:notebooks|reidnb|docs|tests|profiles|results)/[\w./*-]+|[\w.-]+\.(?:md|cff|toml|yml|lock)|LICENSE"
)
"""What is taken for the path of a file of this repository."""
MADE, COMMITTED = "results/", "results/reference"
"""What lies in the first exists only after a study, but for what is committed."""


def text_and_code(page: Path) -> tuple[str, list[tuple[str, str]]]:
    """The page without its fenced blocks, and these as (language, content)."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), blocks


def commands(page: Path) -> list[str]:
    """The shell commands of the page's fenced blocks and of its inline code, without comments."""
    text, blocks = text_and_code(page)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text)
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the page's headings."""
    headings = re.findall(r"^#+ (.*)", text_and_code(page)[0], re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short():
    assert len(README.read_text("utf-8").split()) < 900


def test_commands_of_readme_come_after_the_environment_is_activated():
    """Python and what lies beside it are not on the path of a fresh shell."""
    shell = [line for language, block in text_and_code(README)[1] if not language for line in block.splitlines()]
    activated = next(n for n, line in enumerate(shell) if line.startswith("source .venv/bin/activate"))
    needing = [n for n, line in enumerate(shell) if re.search(r"\b(python|papermill|snakemake|voila|jupyter)\b", line)]
    assert needing and min(needing) > activated


def test_python_of_readme_runs(tmp_path):
    """As a plain script with an empty cache, on the small street in the smallest profile."""
    (code,) = (block for language, block in text_and_code(README)[1] if language == "python")
    assert len(code.strip().splitlines()) <= 10
    assert code.count('"street"') == code.count('"demo"') == 1
    script = tmp_path / "readme.py"
    script.write_text(code.replace('"street"', '"street-small"').replace('"demo"', '"smoke"'), "utf-8")
    places = {"REIDNB_CACHE": str(tmp_path / "cache"), "REIDNB_RESULTS": str(tmp_path / "results")}
    environment = os.environ | places | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"mAP \d+\.\d, rank-1 \d+\.\d", done.stdout)


@pages
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        address, _, anchor = next(filter(None, target)).partition("#")
        if "://" in address:
            continue
        file = (page.parent / address).resolve() if address else page
        assert file.is_relative_to(ROOT) and file.exists(), f"{page.name} links to {address}, which does not exist"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {address}#{anchor}, which has no such heading"


@pages
def test_named_files_exist(page):
    text, _ = text_and_code(page)
    named = [code for code in re.findall(r"`([^`\n]+)`", text) if PATH.fullmatch(code)]
    named += [
        word for line in commands(page) for word in line.split() if re.fullmatch(r"notebooks/\S+|profiles/\S+", word)
    ]
    for path in named:
        # A page may have the reader copy a notebook from a folder of the docs.
        copied = (ROOT / "docs").glob(f"*/{Path(path).name}") if path.startswith("notebooks/") else ()
        if not path.startswith(MADE) or path.startswith(COMMITTED):
            assert any(ROOT.glob(path.rstrip("/"))) or any(copied), f"{page.name} names {path}, which does not exist"


@pages
def test_named_tables_exist(page):
    """Names such as `dranet-table4-market1501-quick` are those of files in results/reference/tables."""
    text, _ = text_and_code(page)
    for name in re.findall(r"`((?:\w+|\*)-[\w*-]+-(?:quick|demo))`", text):
        assert any((ROOT / "results" / "reference" / "tables").glob(f"{name}.csv")), (
            f"{page.name} names {name}, which does not exist"
        )


@pages
def test_verbs_parse(page, monkeypatch):
    """Each `python -m reidnb VERB ...` gets past argparse; what would be run is left out."""
    parsed = []

    def parse_only(self, arguments=None, namespace=None, parse=argparse.ArgumentParser.parse_args):
        parsed.append(parse(self, arguments, namespace))
        raise ValueError("parsed")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    lines = [line for line in commands(page) if "-m reidnb" in line and "..." not in line]
    for line in lines:
        arguments = shlex.split(line.partition("-m reidnb")[2].rstrip("& "))
        if not arguments:
            continue
        with pytest.raises(ValueError, match="parsed"):
            main(arguments)
        papers, asked = (getattr(parsed[-1], name, None) or "" for name in ("papers", "tables"))
        if papers and asked and "$" not in papers + asked:
            for name in asked.split(","):
                assert any(_has_table(paper, name) for paper in papers.split(",")), f"{page.name}: {line}"


def tables_in(text: str) -> set[str]:
    """The tables that a text names: 'table3 to table5' and '"table3" .. "table5"' are three of them."""
    text = text.replace('"', "")
    numbers = [range(int(a), int(b) + 1) for a, b in re.findall(r"table(\d+) (?:to|\.\.) table(\d+)", text)]
    ranges = {f"table{number}" for several in numbers for number in several}
    return ranges | set(re.findall(r"\b(table\d+|rcam|boxes|readings)\b", text))


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_advertised_tables_are_those_that_can_be_run(paper):
    """The notebook's parameter and docs/running.md name the same tables, and each has a plan."""
    known = {table.name for table in (*paper.tables, *paper.beyond)} | {"readings"}
    cells = json.loads((ROOT / "notebooks" / f"{paper.name}.ipynb").read_text("utf-8"))["cells"]
    parameters = "".join(next(c["source"] for c in cells if "parameters" in c["metadata"].get("tags", [])))
    (line,) = re.findall(r"^table = .*", parameters, re.M)
    running = (ROOT / "docs" / "running.md").read_text("utf-8")
    (listed,) = re.findall(rf"^\| `table` .*`{paper.name}`: ([^.]*)\.", running, re.M)
    assert tables_in(line) == tables_in(listed) | {"readings"} == known
    for table in known:
        dataset = "street->street-other" if paper.table(table).is_cross_domain else "street"
        assert experiments(paper, table, dataset, "smoke", [0]), table


def test_loop_of_readme_names_the_main_tables():
    (line,) = (line for line in commands(README) if line.startswith("for job in"))
    jobs = [word.split("/") for word in line.removeprefix("for job in ").partition(";")[0].split()]
    assert jobs == [[paper, PAPERS[paper].main] for paper in PAPERS]
    rows = sum(len(PAPERS[job[0]].table(job[1]).rows) for job in jobs)
    assert f"every paper's main table ({rows} rows)" in " ".join(README.read_text("utf-8").split())


def test_notebook_parameters_exist():
    """What papermill is given in README and docs are parameters of its notebook."""
    for page in PAGES:
        for line in commands(page):
            if not line.startswith("papermill "):
                continue
            words = shlex.split(line)
            cells = json.loads((ROOT / words[1]).read_text("utf-8"))["cells"]
            known = "".join(next(c["source"] for c in cells if "parameters" in c["metadata"].get("tags", [])))
            given = [words[place + 1] for place, word in enumerate(words) if word == "-p"]
            given += [
                name for place, word in enumerate(words) if word == "-y" for name in yaml.safe_load(words[place + 1])
            ]
            for name in given:
                assert re.search(rf"^{name} =", known, re.M), f"{page.name}: {words[1]} has no parameter {name}"


def test_citation_names_what_readme_links():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    readme = README.read_text("utf-8")
    assert len(citation["references"]) == len(PAPERS)
    for reference in citation["references"]:
        assert reference["title"] and reference["authors"]
        address = reference.get("url") or ("doi" in reference and f"https://doi.org/{reference['doi']}")
        assert not address or address in readme


def _has_table(paper: str, name: str) -> bool:
    return name == "readings" or name in (table.name for table in (*PAPERS[paper].tables, *PAPERS[paper].beyond))
