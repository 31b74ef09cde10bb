"""The search of a folder by clicks: what it shows, what it hides, and that bad input is a sentence."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from uploads import as_upload

from reidnb import search
from reidnb.explore import pictures
from reidnb.explore.folder import FolderSearch
from reidnb.papers import ide
from reidnb.papers.experiments import one_experiment
from reidnb.runs import run


@pytest.fixture(scope="module")
def network(street_small):
    experiment = one_experiment(ide.PAPER, {}, {}, "street-small", "smoke")
    return search.describer(run(experiment, street_small, log=lambda line: None, cpu=True))


@pytest.fixture
def photos(tmp_path, street_small):
    """A folder of three images, which are not those of the street."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, row in (("a-long-name-of-a-file", 0), ("b", 4), ("c", 9)):
        shutil.copy(street_small.gallery.path[row], folder / f"{name}.png")
    return folder


def shown(widget: FolderSearch) -> str:
    return "".join(strip.children[0].value for strip in (widget.chosen, widget.results))


def test_the_street_stands_in_and_is_shown(network, street_small):
    widget = FolderSearch(network, street_small)
    widget.compute()
    table = search.search(street_small.query.path[0], list(street_small.gallery.path), network, 20)
    assert [file for file, _ in widget.nearest] == table.path.tolist() and widget.message.value == ""
    assert pictures.thumbnail(table.path[0]) in shown(widget) and pictures.data_uri(pictures.HIDDEN) not in shown(
        widget
    )
    widget.results.buttons[1].click()
    assert Image.open(io.BytesIO(widget.pair.figure.value)).width > 200 and widget.pair.message.value == ""


def test_other_pictures_are_hidden_unless_asked_for(network, street_small, photos):
    widget = FolderSearch(network, street_small, str(photos), str(photos / "b.png"))
    widget.compute()
    hidden = pictures.data_uri(pictures.HIDDEN)
    assert shown(widget).count(hidden) == 4 and shown(widget).count("url(") == 4
    assert widget.results.buttons[0].description == "b\n0.000"
    assert {button.description.split("\n")[0] for button in widget.results.buttons[:3]} == {"b", "c", "a-long-nam…"}
    widget.people.value = True
    assert hidden not in shown(widget) and shown(widget).count(pictures.thumbnail(str(photos / "b.png"))) == 2


def test_an_uploaded_picture_is_the_query_and_a_folder_is_described_once(network, street_small, photos, monkeypatch):
    widget = FolderSearch(network, street_small, str(photos))
    with open(photos / "c.png", "rb") as file:
        widget.upload.value = as_upload("mine.png", file.read())
    assert widget.results.buttons[0].description == "c\n0.000" and widget.upload.value == ()
    monkeypatch.setattr(search, "described", lambda *given: pytest.fail("described again"))
    widget.compute()
    assert widget.results.buttons[0].description == "c\n0.000", "the uploaded picture is still the query"
    widget.path.value = str(photos / "b.png")
    widget.compute()
    assert widget.results.buttons[0].description == "b\n0.000"


def test_bad_input_is_a_sentence_and_the_widget_goes_on(network, street_small, photos, tmp_path):
    widget = FolderSearch(network, street_small, str(photos), str(photos / "b.png"))
    widget.upload.value = as_upload("notes.txt", b"not an image")
    assert "notes.txt is not an image that can be read" in widget.message.value and not widget.nearest
    widget.upload.value = as_upload("b.png", b"")
    assert "b.png is not an image that can be read" in widget.message.value
    (tmp_path / "empty").mkdir()
    shutil.copytree(photos, tmp_path / "broken")
    for name in ("b.png", "c.png"):
        (tmp_path / "broken" / name).write_bytes(b"no image")
    search.save(tmp_path / "other.npz", ["x.jpg"], np.zeros((1, 7)))
    search.save(tmp_path / "moved.npz", ["/nowhere/x.jpg"], search.extract([photos / "b.png"], network))
    for gallery, reason in (
        ("empty", "holds no image"),
        ("nothing", "is neither an image nor a folder of images"),
        ("broken", "2 of 3 images cannot be decoded: "),
        ("broken", "broken/b.png (cannot identify image file"),
        ("other.npz", "have 7 dimensions, this network"),
    ):
        widget.gallery.value, widget.path.value = str(tmp_path / gallery), str(photos / "b.png")
        widget.compute()
        assert reason in widget.message.value and not widget.nearest
        assert not widget.results.buttons[0].description and widget.start.description == "Search"
    widget.gallery.value, widget.people.value = str(tmp_path / "moved.npz"), True
    widget.compute()
    assert "/nowhere/x.jpg" in widget.message.value and not widget.nearest
    widget.gallery.value, widget.path.value = str(photos), str(photos / "none.png")
    widget.compute()
    assert "No such file" in widget.message.value and "none.png" in widget.message.value
    widget.path.value = str(photos / "b.png")
    widget.compute()
    assert widget.message.value == "" and len(widget.nearest) == 3


def test_joints_need_a_file(network, street_small, photos):
    by_joints = search.Describer(network.model, network.recipe, beta=0.2)
    widget = FolderSearch(by_joints, street_small, str(photos))
    widget.described[str(photos)] = search.described(photos, network)
    with open(photos / "c.png", "rb") as file:
        widget.upload.value = as_upload("mine.png", file.read())
    assert "give the query by its path" in widget.message.value
