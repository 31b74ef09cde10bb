"""The other tabs: distances with a threshold, mAP by cameras, the map of descriptors, and a picture of the user's."""

import io
from html import escape

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

from .. import search
from ..data import pixels
from ..data.dataset import JUNK
from . import distances, pictures
from .browse import TOP, figure, message, note, reporting
from .session import Session
from .strip import Card, Strip

WIDE = {"layout": {"width": "430px"}, "style": {"description_width": "40px"}}


class Panel:
    """A tab with a run to choose, a button that computes, and the place of the result.

    It computes when asked, since descriptors that a run did not save are extracted first, which may take minutes.
    """

    button = "Compute"
    about = ""

    def __init__(self, session: Session):
        self.session, self.message = session, message()
        self.run = widgets.Dropdown(options=list(session.runs), description="Run", **WIDE)
        self.start = widgets.Button(description=self.button, button_style="primary")
        self.start.on_click(lambda _: self.compute())
        self.text, self.figure = note(), figure()
        row = widgets.HBox([self.run, *self.controls(), self.start], layout={"flex_flow": "row wrap"})
        parts = [note(self.about), row, self.message, *self.result()]
        self.widget = widgets.VBox(parts, layout={"padding": "6px"})

    def controls(self) -> list[widgets.Widget]:
        """Widgets beside the run."""
        return []

    def result(self) -> list[widgets.Widget]:
        """Widgets below the button."""
        return [self.text, self.figure]

    def compute(self) -> None:
        """Compute and show the result, or the sentence that says why not."""
        self.start.disabled, self.start.description = True, "Computing ..."
        try:
            with reporting(self.message):
                self.update()
        finally:
            self.start.disabled, self.start.description = False, self.button

    def update(self) -> None:
        """Compute and show the result."""
        raise NotImplementedError

    def show(self, png: bytes) -> None:
        """Show a figure."""
        self.figure.value, self.figure.layout.display = png, None


class Distances(Panel):
    """Distances of matches and other pairs, their ROC, and a threshold to move."""

    about = "Two images, one question: <b>the same person?</b> Yes, if their distance is below the threshold."

    def result(self) -> list[widgets.Widget]:
        self.threshold = widgets.FloatSlider(
            description="threshold", continuous_update=False, readout_format=".3f", layout={"width": "560px"}
        )
        self.threshold.layout.display = "none"
        self.threshold.observe(lambda _: self.draw(), "value")
        return [self.threshold, self.text, self.figure]

    def update(self) -> None:
        self.pairs = None  # the slider's changes below are not drawn one by one
        pairs = self.session.pairs(self.run.value)
        curve = distances.roc(pairs)
        high = float(pairs.edges[-1])
        self.threshold.min, self.threshold.max, self.threshold.step = 0, high, high / len(pairs.matches)
        self.threshold.value = distances.equal_error(curve)
        self.threshold.layout.display = None
        self.pairs, self.curve = pairs, curve
        self.draw()

    def draw(self) -> None:
        """Draw both figures with the threshold where it is now."""
        if self.pairs is None:
            return
        at = self.curve.iloc[(self.curve.threshold - self.threshold.value).abs().argmin()]
        self.show(pictures.png(pictures.distances_figure(self.pairs, self.threshold.value)))
        matches, others = self.pairs.matches.sum(), self.pairs.others.sum()
        right, wrong = at.accepted_matches * matches, at.accepted_others * others
        precision = (
            f"{100 * right / (right + wrong):.1f} % of the pairs below it are matches"
            if right + wrong
            else "no pair is below it"
        )
        self.text.value = (
            f"Below the threshold: <b>{100 * at.accepted_matches:.1f} %</b> of the matches and"
            f" <b>{100 * at.accepted_others:.2f} %</b> of the other pairs; {precision}."
        )


class Cameras(Panel):
    """mAP for each pair of cameras."""

    about = "Which pairs of cameras are hard? Queries of one camera, ranked among the images of another."

    def update(self) -> None:
        table = distances.by_cameras(*self.session.descriptors(self.run.value), self.session.data)
        self.show(pictures.png(pictures.cameras_figure(table)))


class Map(Panel):
    """Descriptors of some people in two dimensions, with the picture under the pointer."""

    about = (
        "Each mark is an image, each colour and shape a person; queries have a black edge. <b>Move the pointer over a"
        " mark</b> to see the picture."
    )

    def controls(self) -> list[widgets.Widget]:
        small = {"layout": {"width": "170px"}, "style": {"description_width": "60px"}}
        most = min(18, self.session.data.query.pid.nunique())  # six colours in three shapes
        self.method = widgets.Dropdown(options=["t-SNE", "PCA"], description="method", **small)
        self.people = widgets.BoundedIntText(value=min(12, most), min=1, max=most, description="people", **small)
        return [self.method, self.people]

    def result(self) -> list[widgets.Widget]:
        self.page = widgets.HTML()
        return [self.text, self.page]

    def update(self) -> None:
        images = distances.images_of_people(self.session.data, self.people.value)
        by_split = dict(zip(("query", "gallery"), self.session.descriptors(self.run.value), strict=True))
        rows = [by_split[image.split][image.row] for image in images.itertuples()]
        places = distances.flat_map(torch.stack(rows), self.method.value)
        self.page.value = pictures.map_page(places, images, [self.session.picture(path) for path in images.path])
        self.text.value = f"{len(images)} images of {images.pid.nunique()} people, by {self.method.value}"


class OwnImage(Panel):
    """The gallery's nearest images to a picture that the user gives."""

    about = (
        "Give a picture of one standing person. It stays in memory, and is drawn only if <b>show people</b> is ticked."
    )
    button = "Search"
    name, picture = "", None

    def controls(self) -> list[widgets.Widget]:
        self.upload = widgets.FileUpload(accept="image/*", description="Picture", layout={"width": "150px"})
        return [self.upload]

    def result(self) -> list[widgets.Widget]:
        self.list = Strip(TOP + 1, lambda place: None)
        return [self.text, self.list]

    def update(self) -> None:
        if self.upload.value:
            given = self.upload.value[-1]
            self.upload.value = ()  # a saved notebook must not hold it
            self.name, self.picture = given["name"], None
            self.picture = decode(given["name"], bytes(given["content"]))
        if self.picture is None:
            raise ValueError("choose a picture first.")
        network = search.describer(self.session.runs[self.run.value])
        if network.beta is not None:
            raise ValueError("this network needs the picture's joints: choose a run without regions around joints.")
        _, gallery = self.session.descriptors(self.run.value)
        size = network.recipe.size
        one = network.describe(pixels.resized(self.picture, size)[None])[0]
        table = self.session.data.gallery
        ranked = np.flatnonzero(table.pid.to_numpy() != JUNK)
        nearest = search.nearest(one, gallery.numpy()[ranked], TOP)
        yours = pixels.resized(self.picture, pictures.SHOWN) if self.session.show_people else pictures.HIDDEN
        cards = [Card(pictures.data_uri(yours), "chosen", "yours")]
        for row, distance in zip(ranked[nearest.row], nearest.distance, strict=True):
            text = f"{table.pid[row]}·c{table.camid[row]} {distance:.2f}"
            cards.append(Card(self.session.picture(table.path[row]), "query", text))
        self.list.show(cards)
        self.text.value = f"<b>{escape(self.name)}</b> and the nearest images, with identity, camera and distance:"


def decode(name: str, content: bytes) -> Image.Image:
    """A picture from a file's bytes. Raises ValueError, in one sentence, for a file that is no image."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} is not an image that can be read.") from error
