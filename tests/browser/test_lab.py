"""Notebooks in JupyterLab, as a user runs them: all cells by the menu, then a click, a filter, a slider."""

import re
import time

import pytest

pytestmark = [pytest.mark.notebook, pytest.mark.slow]
FIRST = 120_000
"""Milliseconds for what starts a kernel or trains; anything else answers within Playwright's 30 seconds."""


@pytest.fixture
def page(chromium, lab):
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(f"{lab}&reset", timeout=FIRST)  # without the notebooks that were open before
    page.locator(".jp-DirListing-item").first.wait_for(timeout=FIRST)
    yield page
    page.close()


def run_all(page, name: str):
    """Open a notebook by a double click, run all its cells by the menu, wait for the last; its element."""
    page.locator(".jp-DirListing-item", has_text=name).dblclick()
    notebook = page.locator(".jp-NotebookPanel:visible")
    notebook.locator(".jp-CodeCell").first.wait_for(timeout=FIRST)
    page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=FIRST)  # else it asks for a kernel
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    prompts, deadline = notebook.locator(".jp-CodeCell .jp-InputPrompt"), time.monotonic() + FIRST / 1000
    while not all(re.fullmatch(r"\[\d+\]:", text.strip()) for text in prompts.all_inner_texts()):
        errors = notebook.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        assert not errors, errors[0][-1000:]
        assert time.monotonic() < deadline, f"{name} is not done: {prompts.all_inner_texts()}"
        page.wait_for_timeout(200)
    return notebook


def test_lab_opens_on_the_notebooks(page, notebooks, screenshot):
    shown = set(page.locator(".jp-DirListing-itemText").all_inner_texts())
    screenshot(page, "lab")
    assert {path.name for path in notebooks.glob("*.ipynb")} <= shown


def test_start(page, screenshot):
    notebook = run_all(page, "start.ipynb")
    figures = notebook.locator(".jp-OutputArea-output img")
    figures.last.scroll_into_view_if_needed()
    screenshot(page, "start")
    assert figures.count() == 4  # people, losses, CMC curve, ranking lists
    assert figures.evaluate_all("images => images.every(image => image.naturalWidth > 200)")


def test_search(page, screenshot):
    notebook = run_all(page, "search.ipynb")
    from playwright.sync_api import expect

    assert notebook.locator(".jp-RenderedHTMLCommon table tbody tr").count() == 10  # the list
    cards, text = notebook.locator(".reid-card-button:visible"), notebook.get_by_text
    cards.nth(2).click()
    expect(text("what makes the descriptor")).to_be_visible()
    notebook.get_by_placeholder("a folder; empty: the street").fill("/nowhere")
    notebook.get_by_role("button", name="Search").click()
    expect(text("/nowhere is neither an image nor a folder of images")).to_be_visible()
    expect(cards).to_have_count(1)  # the query
    screenshot(page, "search")


def test_explorer_answers(page, screenshot):
    """A click on a query and on a result, a filter, a slider."""
    from playwright.sync_api import expect

    notebook = run_all(page, "explore.ipynb")
    text = notebook.get_by_text
    runs = notebook.get_by_role("checkbox", name=re.compile(r"\(smoke, seed 0\): mAP"))
    assert runs.count() == 2, "there are two runs to compare, although start.ipynb trains one"
    cards = notebook.locator(".reid-card-button:visible")
    heading = text(re.compile(r"Identity \d+, seen by camera \d+"))
    shown = heading.inner_text()
    cards.nth(2).click()
    expect(heading).not_to_have_text(shown)
    expect(cards.nth(2)).to_have_class(re.compile("reid-chosen"))
    notebook.locator(".noUi-handle:visible").press("ArrowRight")
    expect(cards.nth(3)).to_have_class(re.compile("reid-chosen"))

    notebook.locator(".widget-dropdown", has_text="camera").locator("select").select_option("2")
    expect(heading).to_contain_text("seen by camera 2")
    expect(cards.first).to_contain_text("camera 2")

    cards.last.click()  # a result in the last list
    expect(text("what makes the descriptor")).to_be_visible()
    expect(notebook.locator("img.widget-image:visible")).to_have_count(1)
    screenshot(page, "explore-rankings")

    notebook.get_by_role("tab", name="Distances").click()
    answer = text(re.compile(r"Below the threshold: .* of the matches"))
    expect(answer).to_be_visible()
    shown = answer.inner_text()
    handle = notebook.locator(".noUi-handle:visible")
    for _ in range(5):
        handle.press("ArrowRight")
    expect(answer).not_to_have_text(shown)
    screenshot(page, "explore-distances")
