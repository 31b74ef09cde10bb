"""The committed report in a browser, in a wide and in a narrow window."""

import pytest

WIDTHS = (1400, 420)


@pytest.fixture(params=WIDTHS)
def report(request, chromium, notebooks):
    page = chromium.new_page(viewport={"width": request.param, "height": 900})
    page.goto((notebooks.parent / "results" / "reference" / "index.html").as_uri())
    yield page
    page.close()


def test_nothing_is_wider_than_the_window(report, screenshot):
    """Wide tables and figures scroll in their boxes; the page itself does not."""
    width = report.viewport_size["width"]
    screenshot(report, f"report-{width}")
    assert report.evaluate("document.documentElement.scrollWidth") <= width
    outside = report.evaluate(
        """width => [...document.querySelectorAll('main *, header *')]
        .filter(e => !e.closest('.box') && e.getClientRects().length && e.getBoundingClientRect().right > width + 1)
        .map(e => e.outerHTML.slice(0, 100))""",
        width,
    )
    assert not outside


def test_its_links_and_pictures_lead_somewhere(report):
    lost = report.evaluate(
        """() => [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))
        .filter(target => !document.querySelector(target))"""
    )
    assert not lost
    pictures = report.locator("img")
    assert pictures.count() > 10
    pictures.evaluate_all("images => images.forEach(image => image.loading = 'eager')")
    report.wait_for_function("[...document.images].every(image => image.complete)")
    assert not report.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")


def test_its_tables_unfold(report):
    details = report.locator("details:not([open]):has(table)").first
    table = details.locator("table").first.element_handle()
    assert not table.is_visible()
    details.locator("summary").first.click()
    assert table.is_visible()
