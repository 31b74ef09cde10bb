"""Executed notebooks as pages that need nothing but themselves: equations as MathML, figures and style inside."""

import shutil
from pathlib import Path

import nbformat
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from latex2mathml.converter import convert
from markupsafe import Markup, escape
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from ..data import catalog
from ..files import write_atomically
from ..papers.experiments import test_set, train_set
from . import page as report


def write_pages(results: Path) -> list[Path]:
    """Write ``<name>.html`` beside every executed notebook in ``results/notebooks``; returns the pages.

    A page that is newer than its notebook is left alone. Raises ValueError for a file that is no notebook, naming it.
    """
    paths = [*results.glob("notebooks/*.ipynb"), *results.glob("notebooks/runs/*.ipynb")]
    return [_write_page(path) for path in sorted(paths) if path.is_file()]  # one being written lies in a hidden folder


def publish(results: str | Path, reference: str | Path) -> list[Path]:
    """Copy the pages of notebooks that were executed on the street beside the committed report, and link them.

    Any other notebook may show people, so it stays where it is, and so does a look at some rows of a table or under a
    changed recipe. Returns the copies; FileNotFoundError if there is none.
    """
    chosen = [path for path in write_pages(Path(results)) if path.parent.name == "notebooks" and _is_for_all(path)]
    if not chosen:
        raise FileNotFoundError(f"no notebook executed on the street in {results}/notebooks: run a study first")
    folder = Path(reference) / "notebooks"
    folder.mkdir(exist_ok=True)
    copies = [Path(shutil.copy(path, folder)) for path in chosen]
    report.build(reference)
    return copies


def page(notebook: nbformat.NotebookNode, name: str) -> str:
    """The HTML of a notebook, whose title is its first heading, or ``name``."""
    body, _ = _Exporter().from_notebook_node(notebook)
    headings = (line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    title = next((line.removeprefix("# ") for line in headings if line.startswith("# ")), name)
    environment = Environment(loader=PackageLoader("reidnb.report", "."), autoescape=True, undefined=StrictUndefined)
    code_style = Markup(HtmlFormatter().get_style_defs(".highlight"))
    return environment.get_template("notebook.html").render(title=title, body=Markup(body), code_style=code_style)


def mathml(tex: str, display: str) -> str:
    """An equation as MathML, which browsers typeset themselves; what cannot be converted, as its source."""
    try:
        return convert(tex.strip(), display=display)
    except Exception:  # the library's errors have no class in common
        return f"<code>{escape(tex)}</code>"


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


class _Exporter(HTMLExporter):
    """nbconvert's cells alone, without the scripts that it loads from the network."""

    def __init__(self) -> None:
        super().__init__(template_name="basic", exclude_anchor_links=True)
        # No widgets: without a kernel a progress bar is an empty box.
        shown = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
        self.config.NbConvertBase.display_data_priority = shown

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _Renderer(escape=False, attachments=attachments, exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)


def _is_for_all(path: Path) -> bool:
    """Whether papermill ran the notebook of a page on the street alone, with all rows and the paper's recipe."""
    metadata = nbformat.read(path.with_suffix(".ipynb"), as_version=4).metadata
    given = metadata.get("papermill", {}).get("parameters", {})
    dataset = given.get("dataset", "")
    is_synthetic = {train_set(dataset), test_set(dataset)} <= set(catalog.STREETS)
    return is_synthetic and not any(given.get(name) for name in ("show_people", "rows", "recipe"))


def _write_page(path: Path) -> Path:
    target = path.with_suffix(".html")
    if target.exists() and target.stat().st_mtime >= path.stat().st_mtime:
        return target
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, AttributeError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{path} is not a readable notebook: {error}") from error
    text = page(notebook, path.stem)
    write_atomically(target, lambda file: file.write_text(text, "utf-8"))
    return target
