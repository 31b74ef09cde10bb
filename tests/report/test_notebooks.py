"""Executed notebooks as pages: equations, figures and style are inside, and nothing is loaded from elsewhere."""

import base64
import json
import os
import re
from pathlib import Path

import nbformat.v4 as new
import pytest
from saved_tables import CAPTION, frame

from reidnb.report import notebooks, tables

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
PNG = base64.b64encode(b"\x89PNG picture").decode()
TEXT = r"""# A title & more
Inline $a_i < b$ and

$$x = \frac{1}{2}\sum_{i=1}^n y_i \qquad (1)$$

a price of \$5, `code with $dollars$`."""


def executed() -> dict:
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "bar 100 %"}
    outputs = [
        new.new_output("display_data", data={"image/png": PNG, "text/plain": "<Figure>"}),
        new.new_output("display_data", data=widget),
        new.new_output("stream", text="epoch 1\n"),
    ]
    cell = new.new_code_cell("print(1 < 2)", outputs=outputs, execution_count=1)
    return new.new_notebook(cells=[new.new_markdown_cell(TEXT), cell])


def write(path: Path, notebook: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), "utf-8")
    return path


def test_a_page_holds_all_that_it_shows():
    text = notebooks.page(executed(), "name")
    assert "<title>A title &amp; more</title>" in text and "<h1" in text
    assert text.count("<math") == 2 and 'display="block"' in text and "<mfrac>" in text
    assert "code with $dollars$" in text and "\\frac" not in text
    assert f"data:image/png;base64,{PNG}" in text and "epoch 1" in text and "bar 100 %" in text
    assert not re.search(r"<script|<link|@import|url\(|src=\"(?!data:)", text)
    addresses = set(re.findall(r"https?://[^\s\"<]+", text))
    assert addresses <= {"http://www.w3.org/1998/Math/MathML"}  # a name, never loaded


def test_without_a_heading_the_page_has_the_notebooks_name():
    assert "<title>name</title>" in notebooks.page(new.new_notebook(), "name")


def test_every_equation_of_the_notebooks_is_typeset():
    count = 0
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                text = re.sub(r"`[^`]*`", "", "".join(cell["source"]))
                for block, inline in re.findall(r"\$\$(.+?)\$\$|(?<![$\\])\$(.+?)(?<![$\\])\$", text, re.S):
                    html = notebooks.mathml(block or inline, "block" if block else "inline")
                    assert html.startswith("<math"), f"{path.name}: {block or inline}"
                    assert not re.search(r"\\[a-zA-Z]", html), f"{path.name}: {block or inline}"
                    count += 1
    assert count > 150


def test_what_is_no_equation_is_shown_as_written():
    assert notebooks.mathml("a_b_c < 1", "inline") == "<code>a_b_c &lt; 1</code>"


def test_pages_lie_beside_their_notebooks_and_are_written_once(tmp_path):
    path = write(tmp_path / "notebooks" / "start.ipynb", executed())
    run = write(tmp_path / "notebooks" / "runs" / "a.ipynb", executed())
    (tmp_path / "notebooks" / ".0123abcd.b.ipynb").mkdir()  # being written
    pages = [run.with_suffix(".html"), path.with_suffix(".html")]
    assert notebooks.write_pages(tmp_path) == pages
    for page in pages:
        page.write_text("as it was")
    os.utime(run, (4e9, 4e9))  # executed again
    assert notebooks.write_pages(tmp_path) == pages
    assert [page.read_text() == "as it was" for page in pages] == [False, True]


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    write(tmp_path / "notebooks" / "bad.ipynb", executed()).write_text("no notebook")
    with pytest.raises(ValueError, match=r"bad\.ipynb is not a readable notebook"):
        notebooks.write_pages(tmp_path)
    assert notebooks.write_pages(tmp_path / "none") == []


def test_only_pages_of_the_street_in_full_are_published(tmp_path):
    results, reference = tmp_path / "results", tmp_path / "reference"
    tables.save(frame(), "wrcanet", "table2", "street", "demo", caption=CAPTION, results=reference)
    looks = {"rows": {"rows": "ResNet-50"}, "recipe": {"recipe": {"epochs": 2}}, "all": {"rows": "", "recipe": {}}}
    for name, look in looks.items():
        notebook = executed()
        notebook["metadata"]["papermill"] = {"parameters": {"dataset": "street"} | look}
        write(results / "notebooks" / f"{name}.ipynb", notebook)
    for name, dataset in {
        "start": "street",
        "wrcanet-street->street-other-demo": "street->street-other",
        "wrcanet-street->market1501-demo": "street->market1501",
        "wrcanet-market1501-demo": "market1501",
        "search": {"dataset": "street", "show_people": True},
        "unknown": None,
    }.items():
        notebook = executed()
        if dataset:
            given = dataset if isinstance(dataset, dict) else {"dataset": dataset}
            notebook["metadata"]["papermill"] = {"parameters": given}
        write(results / "notebooks" / f"{name}.ipynb", notebook)
    copies = notebooks.publish(results, reference)
    assert {path.name for path in copies} == {"all.html", "start.html", "wrcanet-street->street-other-demo.html"}
    assert set(copies) == set(reference.rglob("notebooks/*"))
    text = (reference / "index.html").read_text("utf-8")
    assert 'href="notebooks/start.html"' in text and 'href="notebooks/wrcanet-street-%3Estreet-other-demo.html"' in text


def test_without_a_study_nothing_is_published(tmp_path):
    with pytest.raises(FileNotFoundError, match="run a study first"):
        notebooks.publish(tmp_path, tmp_path)
