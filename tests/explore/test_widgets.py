"""The explorer without a browser: what a click changes, and that bad input is a sentence."""

import base64
import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from reidnb.data import catalog, pixels
from reidnb.explore import analyses, pictures, session, tables
from reidnb.explore.strip import Card, Strip
from reidnb.explore.widgets import Explorer
from reidnb.papers import PAPERS, wrcanet
from reidnb.papers.experiments import one_experiment
from reidnb.runs import boxes_of, load_model, run


@pytest.fixture(scope="module")
def results(tmp_path_factory, street_small):
    folder = tmp_path_factory.mktemp("explored")
    for options in (wrcanet.PAPER.baseline, {}):
        experiment = one_experiment(wrcanet.PAPER, options, {}, "street-small", "smoke")
        run(experiment, street_small, results=folder, log=lambda line: None, cpu=True)
    return folder


@pytest.fixture
def explorer(results):
    return Explorer("street-small", results=results)


def as_upload(name: str, content: bytes) -> tuple[dict]:
    made = datetime.now(UTC)
    given = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content)}
    return (given | {"last_modified": made},)


def test_a_strip_calls_back_with_the_place():
    clicked = []
    strip = Strip(3, clicked.append)
    strip.show([Card("data:a", "match", "1·c2"), Card("data:b", "mismatch", "3·c1")])
    assert [button.layout.display for button in strip.buttons] == [None, None, "none"]
    strip.buttons[1].click()
    assert clicked == [1]
    style = strip.children[0].value
    assert "url(data:a);border:3px solid" in style and "url(data:b);border:3px dashed" in style


def test_browsing_loads_no_network(explorer, monkeypatch, street_small):
    monkeypatch.setattr(session, "load_model", lambda *a: pytest.fail("a network was loaded"))
    browse = explorer.panels["Rankings"]
    assert explorer.message.value == "" and len(explorer.runs.index) == 2
    browse.queries.buttons[2].click()
    row = int(tables.select(street_small.query, explorer.session.scores, browse.a.value)[2])
    assert browse.query == row
    for name, finished in explorer.session.runs.items():
        shown = browse.lists[name]
        gallery = street_small.gallery.iloc[finished.rankings["top"][row, 0]]
        assert shown.buttons[0].description == f"{gallery.pid}·c{gallery.camid}"
        assert pictures.thumbnail(gallery.path) in shown.children[0].value


def test_without_a_kernel_a_still_picture_stands_in_the_widgets_place(explorer, tmp_path):
    shown = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    picture = Image.open(io.BytesIO(base64.b64decode(shown["image/png"])))
    assert picture.format == "PNG" and picture.width > 600
    explorer.panels["Rankings"].query = -1
    assert "image/png" not in explorer._repr_mimebundle_()
    nothing = Explorer("street-small", results=tmp_path)._repr_mimebundle_()
    assert "image/png" not in nothing and nothing["text/plain"].startswith("Not possible: no finished run")


def test_filters_answer_with_a_sentence(explorer):
    browse = explorer.panels["Rankings"]
    browse.b.value = browse.a.value
    browse.kind.value = tables.KINDS[2]
    assert "choose two different runs as A and B" in browse.message.value
    browse.kind.value = tables.KINDS[0]
    assert browse.message.value == ""
    browse.camera.value = 2
    assert set(explorer.session.data.query.camid[browse.rows]) == {2}


def test_a_click_on_a_result_shows_heat_maps(explorer):
    browse = explorer.panels["Rankings"]
    name = next(iter(browse.lists))
    browse.lists[name].buttons[0].click()
    assert browse.message.value == "" and browse.pair.layout.display is None
    assert Image.open(io.BytesIO(browse.pair.value)).width > 200
    browse.ask(browse.query)
    assert browse.pair.value == b""


def test_a_run_without_weights_is_a_sentence_and_the_lists_remain(results, street_small, tmp_path):
    experiment = one_experiment(wrcanet.PAPER, {}, {}, "street-small", "smoke")
    run(experiment, street_small, results=tmp_path, log=lambda line: None, cpu=True, keep="metrics")
    explorer = Explorer("street-small", results=tmp_path)
    browse = explorer.panels["Rankings"]
    browse.explain(next(iter(browse.lists)), 0)
    assert "was kept without model.safetensors" in browse.message.value
    for title in ("Distances", "Cameras", "Map"):
        explorer.panels[title].compute()
        assert "was kept without model.safetensors" in explorer.panels[title].message.value
    assert browse.lists[next(iter(browse.lists))].buttons[0].description


def test_the_other_tabs_compute(explorer):
    for title in ("Distances", "Cameras"):
        panel = explorer.panels[title]
        panel.compute()
        assert panel.message.value == "" and Image.open(io.BytesIO(panel.figure.value)).width > 200
    before = explorer.panels["Distances"].text.value
    explorer.panels["Distances"].threshold.value = 0
    assert explorer.panels["Distances"].text.value != before
    assert "<b>0.0 %</b> of the matches" in explorer.panels["Distances"].text.value
    panel = explorer.panels["Map"]
    panel.method.value = "PCA"
    panel.compute()
    images = int(panel.text.value.split()[0])
    assert panel.message.value == "" and panel.page.value.count("<img") == images > 20


def test_a_given_picture_is_searched_and_a_bad_one_is_a_sentence(explorer, street_small):
    panel = explorer.panels["Your picture"]
    panel.compute()
    assert "choose a picture first" in panel.message.value
    panel.upload.value = as_upload("notes.txt", b"not an image")
    panel.compute()
    assert "notes.txt is not an image that can be read" in panel.message.value
    row = int(np.flatnonzero(street_small.gallery.pid > 0)[3])
    image = street_small.gallery.iloc[row]
    with open(image.path, "rb") as file:
        panel.upload.value = as_upload("me.jpg", file.read())
    panel.compute()
    assert panel.message.value == ""
    assert panel.list.buttons[1].description == f"{image.pid}·c{image.camid} 0.00"
    style, given = panel.list.children[0].value, pictures.thumbnail(image.path)
    assert panel.upload.value == (), "a saved notebook must not hold the picture"
    assert style.count(pictures.data_uri(pictures.HIDDEN)) == 1 and style.count(given) == 1
    explorer.people.value = True
    panel = explorer.panels["Your picture"]
    with open(image.path, "rb") as file:
        panel.upload.value = as_upload("me.jpg", file.read())
    panel.compute()
    assert panel.list.children[0].value.count(given) == 2


def test_nothing_to_explore_is_a_sentence(tmp_path, results):
    explorer = Explorer("street-small", results=tmp_path)
    assert "no finished run of street-small is in" in explorer.message.value and not explorer.tabs.children
    explorer = Explorer("street-small", results=results)
    explorer.runs.value = ()
    assert explorer.tabs.children, "without a choice the first runs are shown"


def test_pictures_of_real_people_are_hidden_unless_asked_for(street_small, tmp_path):
    data = catalog.load("folder", street_small.root)  # a data set of the user's
    experiment = one_experiment(wrcanet.PAPER, {}, {}, "folder", "smoke")
    run(experiment, data, results=tmp_path, log=lambda line: None, cpu=True)
    explorer = Explorer("folder", str(street_small.root), results=tmp_path)
    hidden = pictures.data_uri(pictures.HIDDEN)
    assert (explorer.session.image(street_small.query.path[0]) == pictures.HIDDEN).all()
    thumbnails = {pictures.thumbnail(path) for path in (*street_small.query.path, *street_small.gallery.path)}

    def shown() -> str:
        browse = explorer.panels["Rankings"]
        return "".join(strip.children[0].value for strip in (browse.queries, *browse.lists.values()))

    assert hidden in shown() and not any(picture in shown() for picture in thumbnails)
    assert "Pictures of real people are hidden" in explorer.message.value
    explorer.people.value = True
    assert hidden not in shown() and any(picture in shown() for picture in thumbnails)


@pytest.mark.parametrize("paper", PAPERS)
def test_agreement_is_of_the_pair(paper, street_small):
    finished = run(
        one_experiment(PAPERS[paper], {}, {}, "street-small", "smoke"), street_small, log=lambda line: None, cpu=True
    )
    model, boxes = load_model(finished), boxes_of(finished.experiment, street_small)
    paths = [street_small.query.path[0], street_small.gallery.path[5], street_small.gallery.path[30]]
    images = pixels.read(paths, finished.experiment.recipe.size)
    places = None
    if boxes["query"] is not None:
        places = np.stack([boxes["query"][0], boxes["gallery"][5], boxes["gallery"][30]])

    def maps(*rows: int) -> dict:
        return pictures.pair_maps(model, images[list(rows)], None if places is None else places[list(rows)])

    one, turned, other = maps(0, 1), maps(1, 0), maps(0, 2)
    assert one["heat"].shape == one["agreement"].shape == (2, *finished.experiment.recipe.size)
    for name in ("heat", "agreement"):
        assert np.allclose(one[name], turned[name][::-1], atol=1e-4)
    assert np.allclose(one["heat"][0], other["heat"][0], atol=1e-4)
    assert not np.allclose(one["agreement"][0], other["agreement"][0], atol=1e-4)


def test_found_images_are_grey_unless_shown(street_small):
    paths = list(street_small.gallery.path[:3])
    shown, hidden = (
        pictures.search_result(street_small.query.path[0], paths, [0.1, 0.2, 0.3], flag) for flag in (True, False)
    )
    for figure, is_grey in ((shown, False), (hidden, True)):
        drawn = [axes.images[0].get_array() for axes in figure.axes]
        assert len(drawn) == 4 and all((np.ptp(np.asarray(image)) == 0) == is_grey for image in drawn)


def test_pictures_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"x\.png is not an image that can be read\."):
        analyses.decode("x.png", b"\x89PNG\r\n\x1a\n")
