"""The house keeps its order: imports run one way, functions and files stay short, a paper is one folder."""

import ast
from pathlib import Path

import pytest

import reidnb
from reidnb.papers import KNOWN

PACKAGE = Path(reidnb.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
LEVELS = (
    ("files", "parameters"),
    ("models.options", "models.output", "weight_files", "data", "street", "pose"),
    ("models", "figures"),
    ("training", "evaluation"),
    ("papers",),
    ("runs", "results", "estimates", "rescoring", "search", "export"),
    ("study", "benchmarks", "papers.figures", "papers.analysis"),
    ("report", "explore", "teaching"),
    ("__main__", "__init__"),
)
"""Where a part of the package stands: it imports from its own level and those before it."""


def names(path: Path) -> str:
    """A module's dotted name below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def level(module: str) -> int:
    """The level of a module; a paper's figures and analysis look at runs, so they stand above them."""
    if module.startswith("papers.") and module.rpartition(".")[2] in ("figures", "analysis"):
        module = "papers." + module.rpartition(".")[2]
    fitting = [
        (len(part), n) for n, parts in enumerate(LEVELS) for part in parts if f"{module}.".startswith(f"{part}.")
    ]
    return max(fitting, default=(0, 0))[1]


def imported(path: Path) -> set[str]:
    """The package's modules that a module imports, at once or in its functions."""
    here = ["reidnb", *path.relative_to(PACKAGE).parts][:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1] + ([node.module] if node.module else [])
            for alias in node.names:
                full = ".".join([*base, alias.name])
                file = PACKAGE.parent / Path(*full.split("."))
                is_module = file.with_suffix(".py").exists() or (file / "__init__.py").exists()
                found.add((full if is_module else ".".join(base)).removeprefix("reidnb").lstrip("."))
    return found - {""}


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_imports_run_one_way(path):
    wrong = [other for other in imported(path) if level(other) > level(names(path))]
    assert not wrong, f"{names(path)} imports from a level above its own: {', '.join(wrong)}"


@pytest.mark.parametrize("path", MODULES, ids=names)
def test_functions_and_files_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno >= 60}
    assert not long


@pytest.mark.parametrize("paper", KNOWN.values(), ids=KNOWN)
def test_a_paper_is_one_folder(paper):
    folder = PACKAGE / "papers" / paper.name
    assert {"__init__.py", "network.py", "tables.py", "published.csv"} <= {path.name for path in folder.iterdir()}
    assert paper.network.__module__ == f"reidnb.papers.{paper.name}.network"
    assert paper.main in {table.name for table in paper.tables}
    others = set(KNOWN) - {paper.name}
    used = {module.split(".")[1] for path in folder.glob("*.py") for module in imported(path) if module.count(".")}
    assert not used & others


@pytest.mark.parametrize("path", [p for p in MODULES if "figures" in p.parts or p.stem == "figures"], ids=names)
def test_figures_neither_train_nor_load_a_run(path):
    loading = ("runs", "results", "estimates", "rescoring", "training", "papers.experiments")
    drawn_from = [module for module in imported(path) if f"{module}.".startswith(tuple(f"{name}." for name in loading))]
    assert not drawn_from


def test_no_module_is_imported_by_its_name():
    text = "\n".join(path.read_text() for path in MODULES)
    assert "import_module" not in text and "getattr(module" not in text
