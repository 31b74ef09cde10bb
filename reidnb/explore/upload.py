"""The tab of a picture that the user gives: the gallery's nearest images by each run, and why they are near."""

from html import escape

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .. import search
from ..data import pixels
from ..data.dataset import JUNK
from . import pictures
from .browse import TOP, caption
from .parts import ROW, Pair, message, note, picture_upload, reporting, searching
from .session import Session
from .strip import Card, Lists, Strip


class Upload:
    """The gallery's nearest images to a picture of the user's, by each run, and the heat maps of a clicked one."""

    about = (
        "Give a picture of one standing person. It stays in memory, and is drawn only if <b>show people</b> is ticked."
    )
    name, picture = "", None

    def __init__(self, session: Session):
        self.session, self.message, self.text, self.pair = session, message(), note(), Pair()
        self.upload = picture_upload(self._receive)
        self.start = widgets.Button(description="Search", button_style="primary")
        self.start.on_click(lambda _: self.compute())
        self.chosen = Strip(1, lambda _: None)
        self.lists = Lists(session.runs, TOP, self.explain, self.pair, lines=3)
        self.nearest: dict[str, np.ndarray] = {}
        row = widgets.HBox([self.upload, self.start, self.text], layout=ROW)
        parts = [note(self.about), row, self.message, self.chosen, self.lists]
        self.pair.layout.display = "none"
        self.widget = widgets.VBox(parts, layout={"padding": "6px"})
        self.start.disabled = True

    def open(self) -> None:
        """Nothing is computed before a picture is given."""

    def _receive(self, name: str, content: bytes) -> None:
        self.picture, self.start.disabled = None, True
        self.clear()
        with reporting(self.message):
            self.take(name, pictures.decode(name, content))

    def take(self, name: str, picture: Image.Image) -> None:
        """Show a picture, and search at once if that takes seconds."""
        self.name, self.picture = name, picture
        self.text.value = f"<b>{escape(name)}</b>, {picture.width} × {picture.height} pixels"
        self.chosen.show([Card(pictures.data_uri(self._shown()), "query", "yours")])
        self.start.disabled = False
        if all(map(self.session.is_quick, self.session.runs)):
            self.compute()

    def resume(self, before: "Upload") -> None:
        """Take the picture of another explorer of the same data set."""
        if before.picture:
            self.take(before.name, before.picture)

    def _shown(self) -> np.ndarray:
        return pixels.resized(self.picture, pictures.SHOWN) if self.session.show_people else pictures.HIDDEN

    def clear(self) -> None:
        """Forget the results."""
        self.text.value, self.pair.layout.display = "", "none"
        self.chosen.show([])
        self.lists.clear()
        self.pair.clear()

    def compute(self) -> None:
        """Search with each run; the error of one is shown beside its name, and the others are still searched."""
        self.session.log = self._tell
        self.pair.layout.display = "none"
        self.pair.clear()
        self.lists.mark()
        with searching(self.start):
            for name in self.session.runs:
                place = self.lists.titles[name]
                self.lists.show(name, "", [])
                with reporting(place):
                    self.lists.show(name, "nearest images of the gallery, and distances", self._cards(name))
                    self.pair.layout.display = None
                if not place.value.startswith("<b>"):
                    place.value = f"<b>{escape(name)}</b>. {place.value}"
        self.message.value = ""

    def _tell(self, line: str) -> None:
        self.message.value = escape(line)

    def _cards(self, name: str) -> list[Card]:
        network = self.session.describer(name)
        _, gallery = self.session.descriptors(name)
        one = network.describe(pixels.resized(self.picture, network.recipe.size)[None])[0]
        table = self.session.data.gallery
        ranked = np.flatnonzero(table.pid.to_numpy() != JUNK)
        nearest = search.nearest(one, gallery.cpu().numpy()[ranked], TOP)
        self.nearest[name] = ranked[nearest.row]
        captions = [
            f"{caption(table.pid[row], table.camid[row])}\n{distance:.3f}"
            for row, distance in zip(self.nearest[name], nearest.distance, strict=True)
        ]
        paths = table.path[self.nearest[name]]
        return [Card(self.session.picture(path), "query", text) for path, text in zip(paths, captions, strict=True)]

    def explain(self, name: str, place: int) -> None:
        """Show the heat maps of the picture and of a result in a run's list."""
        self.lists.mark(name, place)
        self.pair.show(f"{name}, rank {place + 1}", lambda: self._pair(name, place))

    def _pair(self, name: str, place: int) -> Figure:
        network, path = self.session.describer(name), self.session.data.gallery.path[self.nearest[name][place]]
        size = network.recipe.size
        images = np.stack([pixels.resized(self.picture, size), pixels.read([path], size)[0]])
        shown = np.stack([self._shown(), self.session.image(path)])
        return pictures.pair_figure(shown, pictures.pair_maps(network.model, images), ("yours", "result"))
