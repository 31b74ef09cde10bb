"""The explorer without a browser: what a click changes, and that bad input is a sentence."""

import base64
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from uploads import as_upload

from reidnb.data import catalog, pixels
from reidnb.explore import pictures, session, tables
from reidnb.explore.browse import caption
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


def test_a_strip_calls_back_with_the_place():
    clicked = []
    strip = Strip(3, clicked.append)
    strip.show([Card("data:a", "match", "1·c2"), Card("data:b", "mismatch", "3·c1")])
    assert [button.layout.display for button in strip.buttons] == [None, None, "none"]
    strip.buttons[1].click()
    assert clicked == [1]
    strip.mark(1)
    assert ["reid-chosen" in button._dom_classes for button in strip.buttons] == [False, True, False]
    style = strip.children[0].value
    assert "url(data:a);border:3px solid" in style and "url(data:b);border:3px dashed" in style


def test_a_caption_is_identity_and_camera_and_names_distractors():
    assert (caption(12, 3), caption(0, 1)) == ("id 12\ncamera 3", "distractor\ncamera 1")


def test_browsing_loads_no_network(explorer, monkeypatch, street_small):
    monkeypatch.setattr(session, "load_model", lambda *a: pytest.fail("a network was loaded"))
    browse = explorer.panels["Rankings"]
    assert explorer.message.value == "" and len(explorer.session.runs) == 2
    browse.queries.buttons[2].click()
    row = int(tables.select(street_small.query, explorer.session.scores, browse.a.value)[2])
    assert browse.query == row
    for name, finished in explorer.session.runs.items():
        shown = browse.lists.strips[name]
        gallery = street_small.gallery.iloc[finished.rankings["top"][row, 0]]
        assert shown.buttons[0].description == caption(gallery.pid, gallery.camid)
        assert pictures.thumbnail(gallery.path) in shown.children[0].value


def test_without_a_kernel_a_still_picture_stands_in_the_widgets_place(explorer, tmp_path):
    shown = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    picture = Image.open(io.BytesIO(base64.b64decode(shown["image/png"])))
    assert picture.format == "PNG" and picture.width > 600
    browse = explorer.panels["Rankings"]
    browse.b.value = browse.a.value
    browse.kind.value = tables.KINDS[2]  # no query is better with a run than with itself
    assert "image/png" not in explorer._repr_mimebundle_()
    browse.kind.value = tables.KINDS[0]
    nothing = Explorer("street-small", results=tmp_path)._repr_mimebundle_()
    assert "image/png" not in nothing and nothing["text/plain"].startswith("Not possible: no finished run")


def test_filters_answer_with_a_sentence(explorer):
    browse = explorer.panels["Rankings"]
    browse.b.value = browse.a.value
    browse.kind.value = tables.KINDS[2]
    assert "choose two different runs as A and B" in browse.message.value
    assert browse.query == -1 and not any(strip.buttons[0].description for strip in browse.lists.strips.values())
    browse.kind.value = tables.KINDS[0]
    assert browse.message.value == ""
    browse.camera.value = 2
    assert set(explorer.session.data.query.camid[browse.rows]) == {2}


def test_the_slider_and_the_pages_lead_through_the_queries(explorer):
    browse = explorer.panels["Rankings"]
    assert browse.place.value == 1 and browse.query == browse.rows[0] and browse.back.disabled
    browse.place.value = 4
    assert browse.query == browse.rows[3] and "reid-chosen" in browse.queries.buttons[3]._dom_classes
    browse.forth.click()
    assert browse.place.value == 13 and browse.query == browse.rows[12]
    browse.queries.buttons[1].click()
    assert browse.place.value == 14
    browse.turn(99)
    assert browse.place.value == len(browse.rows) and browse.forth.disabled


def test_a_click_on_a_result_shows_heat_maps(explorer):
    browse = explorer.panels["Rankings"]
    name = next(iter(explorer.session.runs))
    browse.lists.strips[name].buttons[0].click()
    pair = browse.pair
    assert pair.message.value == "" and pair.figure.layout.display is None
    assert Image.open(io.BytesIO(pair.figure.value)).width > 200
    assert "reid-chosen" in browse.lists.strips[name].buttons[0]._dom_classes
    assert browse.lists.children.index(pair) == browse.lists.children.index(browse.lists.strips[name]) + 1
    browse.place.value += 1
    assert pair.figure.value == b"" and "reid-chosen" not in browse.lists.strips[name].buttons[0]._dom_classes


def test_a_run_without_weights_is_a_sentence_and_the_lists_remain(results, street_small, tmp_path):
    experiment = one_experiment(wrcanet.PAPER, {}, {}, "street-small", "smoke")
    run(experiment, street_small, results=tmp_path, log=lambda line: None, cpu=True, keep="metrics")
    explorer = Explorer("street-small", results=tmp_path)
    browse = explorer.panels["Rankings"]
    browse.explain(next(iter(explorer.session.runs)), 0)
    assert "was kept without model.safetensors" in browse.pair.message.value
    for title in ("Distances", "Cameras", "Map"):
        explorer.panels[title].compute()
        assert "was kept without model.safetensors" in explorer.panels[title].message.value
    assert browse.lists.strips[next(iter(explorer.session.runs))].buttons[0].description


def test_the_other_tabs_compute_when_they_are_opened(explorer, monkeypatch):
    for place, title in enumerate(("Distances", "Cameras"), 1):
        panel = explorer.panels[title]
        assert not panel.is_done and panel.output.layout.display == "none"
        explorer.tabs.selected_index = place
        assert panel.is_done and panel.output.layout.display is None
        assert panel.message.value == "" and Image.open(io.BytesIO(panel.figure.value)).width > 200
    before = explorer.panels["Distances"].text.value
    explorer.panels["Distances"].threshold.value = 0
    assert explorer.panels["Distances"].text.value != before
    assert "<b>0.0 %</b> of the matches" in explorer.panels["Distances"].text.value
    panel = explorer.panels["Map"]
    panel.method.value = "PCA"
    images = int(panel.text.value.split()[0])
    assert panel.message.value == "" and panel.page.value.count("<img") == images > 20
    monkeypatch.setitem(sys.modules, "umap", None)  # as where it is not installed
    panel.method.value = "UMAP"
    assert "pip install umap-learn" in panel.message.value and panel.output.layout.display == "none"


def test_minutes_of_work_are_asked_for(explorer, monkeypatch):
    monkeypatch.setattr(session, "QUICK", 10)
    explorer.session.kept.clear()
    explorer.open()
    panel = explorer.panels["Cameras"]
    explorer.tabs.selected_index = 2
    assert not panel.is_done and "which takes minutes without a GPU" in panel.message.value
    lines = []
    panel.message.observe(lambda change: lines.append(change["new"]), "value")
    panel.start.click()
    assert panel.is_done and panel.message.value == "" and "Computing ..." in lines


def test_another_choice_of_runs_goes_on_where_the_user_was(explorer):
    browse, model = explorer.panels["Rankings"], explorer.session.model(next(iter(explorer.session.runs)))
    browse.camera.value = 2
    browse.place.value = 3
    explorer.tabs.selected_index = 1
    explorer.boxes[list(explorer.boxes)[-1]].value = False
    assert len(explorer.session.runs) == 1 and explorer.tabs.selected_index == 1
    again = explorer.panels["Rankings"]
    assert again is not browse and (again.camera.value, again.query) == (2, browse.query)
    assert browse.widget.comm is None, "the tab before is closed, with its pictures"
    assert explorer.session.model(next(iter(explorer.session.runs))) is model
    explorer.boxes[next(iter(explorer.boxes))].value = False
    assert "choose at least one run" in explorer.message.value and not explorer.tabs.children


def test_a_given_picture_is_searched_and_a_bad_one_is_a_sentence(explorer, street_small):
    panel = explorer.panels["Your picture"]
    assert panel.start.disabled
    panel.upload.value = as_upload("notes.txt", b"not an image")
    assert "notes.txt is not an image that can be read" in panel.message.value and panel.start.disabled
    row = int(np.flatnonzero(street_small.gallery.pid > 0)[3])
    image = street_small.gallery.iloc[row]
    with open(image.path, "rb") as file:
        panel.upload.value = as_upload("me.jpg", file.read())
    assert panel.message.value == "" and panel.upload.value == (), "a saved notebook must not hold the picture"
    for name in explorer.session.runs:
        strip = panel.lists.strips[name]
        assert strip.buttons[0].description == f"id {image.pid}\ncamera {image.camid}\n0.000"
        assert pictures.thumbnail(image.path) in strip.children[0].value
        panel.explain(name, 0)
        assert Image.open(io.BytesIO(panel.pair.figure.value)).width > 200
    given, hidden = pictures.thumbnail(image.path), pictures.data_uri(pictures.HIDDEN)
    assert hidden in panel.chosen.children[0].value and given not in panel.chosen.children[0].value
    explorer.people.value = True
    panel = explorer.panels["Your picture"]
    assert given in panel.chosen.children[0].value, "the picture is searched again, and now shown"
    assert panel.lists.strips[name].buttons[0].description.endswith("0.000")


def test_a_picture_is_not_for_networks_by_joints(explorer, monkeypatch, street_small):
    panel, name = explorer.panels["Your picture"], next(iter(explorer.session.runs))
    monkeypatch.setattr(session, "by_pose", lambda each: each == explorer.session.runs[name].experiment)
    with open(street_small.gallery.path[0], "rb") as file:
        panel.upload.value = as_upload("me.jpg", file.read())
    assert (
        "takes regions around the joints" in panel.lists.titles[name].value and name in panel.lists.titles[name].value
    )
    _, other = panel.lists.strips.values()
    assert other.buttons[0].description


def test_nothing_to_explore_is_a_sentence(tmp_path, results):
    explorer = Explorer("street-small", results=tmp_path)
    assert "no finished run of street-small is in" in explorer.message.value and not explorer.tabs.children
    explorer = Explorer("market1501", results=results)
    assert "no finished run of market1501 is in" in explorer.message.value and explorer.session is None
    explorer.dataset.value = "street-small"
    assert explorer.tabs.children and len(explorer.session.runs) == 2
    explorer.dataset.value = "market1501"
    assert not explorer.tabs.children


def test_runs_of_another_copy_are_named(explorer, monkeypatch):
    misfit = tables.misfit
    wrong = next(iter(explorer.session.runs.values()))
    monkeypatch.setattr(
        session.tables, "misfit", lambda run, data: "it is <odd>." if run == wrong else misfit(run, data)
    )
    explorer.open()
    assert "it is &lt;odd&gt;." in explorer.message.value and len(explorer.session.runs) == 1


@pytest.mark.parametrize(
    ("maps", "chosen"),
    [
        ({"ide a": 9, "ide b": 8, "pcb a": 3}, ["ide a", "pcb a", "ide b"]),
        ({"ide a": 1, "ide b": 2, "ide c": 3, "ide d": 4}, ["ide d", "ide c", "ide b"]),
        ({}, []),
    ],
)
def test_the_first_choice_is_the_best_of_each_paper(maps, chosen):
    runs = {
        name: SimpleNamespace(metrics={"map": value, "rank1": 0}, experiment=SimpleNamespace(paper=name[:3]))
        for name, value in maps.items()
    }
    assert session.first_choice(runs) == chosen


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
        return "".join(strip.children[0].value for strip in (browse.queries, *browse.lists.strips.values()))

    assert hidden in shown() and not any(picture in shown() for picture in thumbnails)
    assert "Pictures of real people are hidden" in explorer.message.value
    explorer.people.value = True
    assert hidden not in shown() and any(picture in shown() for picture in thumbnails)


@pytest.mark.parametrize("paper", ["wrcanet", "attention_driven"])  # a stage that runs twice, and regions
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
        pictures.decode("x.png", b"\x89PNG\r\n\x1a\n")
