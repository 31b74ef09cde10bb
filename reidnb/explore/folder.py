"""The widget of ``notebooks/search.ipynb``: search a folder of images with a picture, and see why a result is near."""

from pathlib import Path

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from .. import search
from ..data import pixels
from ..data.dataset import ReidData
from . import pictures
from .parts import ROW, Pair, message, note, picture_upload, reporting, searching, titled
from .strip import Card, Strip

TOP, LETTERS = 20, 11
"""Images of a list, and letters of a file's name below each."""


class FolderSearch:
    """Search a gallery, a folder or a file of ``search.save``, with a picture that is uploaded or named by its path.

    ``public`` is a data set of nobody's photographs, whose images are always drawn, and whose gallery and first query
    stand in for what is not given; other pictures are drawn only if "show people" is ticked. ``widget`` is displayed.
    """

    def __init__(
        self,
        network: search.Describer,
        public: ReidData,
        gallery: str = "",
        query: str = "",
        show_people: bool = False,
    ) -> None:
        self.network, self.public, self.described = network, public, {}
        self.gallery = widgets.Text(gallery, placeholder="a folder; empty: the street", **titled("420px", "gallery"))
        self.path = widgets.Text(query, placeholder="a file, or choose a picture", **titled("420px", "query"))
        self.upload = picture_upload(self._receive)
        self.people = widgets.Checkbox(value=show_people, description="show people", indent=False)
        self.start = widgets.Button(description="Search", button_style="primary")
        self.message, self.text, self.pair = message(), note(), Pair()
        self.people.layout.width = "130px"
        self.chosen, self.results = Strip(1, lambda _: None, lines=2), Strip(TOP, self.explain, lines=2)
        self.start.on_click(lambda _: self.compute())
        self.people.observe(lambda _: self.show(), "value")
        self.query, self.file, self.nearest = None, "", []
        rows = [[self.gallery, self.people], [self.path, self.upload, self.start]]
        lines = [widgets.HBox(row, layout=ROW) for row in rows]
        parts = [*lines, self.message, self.text, self.chosen, self.results, self.pair]
        self.widget = widgets.VBox(parts, layout={"max_width": "1080px", "padding": "6px"})
        self.show()

    def _receive(self, name: str, content: bytes) -> None:
        self.path.value = ""
        self.search(name, content)

    def compute(self) -> None:
        """Search with the query whose path is given, or else with the uploaded one, or the first one of ``public``."""
        if self.path.value or self.query is None or self.file:
            self.search(self.path.value or self.public.query.path[0])
        else:
            self._search()

    def search(self, name: str, content: bytes | None = None) -> None:
        """Search with a picture: that of a file's path, or that of an uploaded file's content."""
        self.query, self.nearest = None, []
        with reporting(self.message):
            self.file = str(Path(name).expanduser()) if content is None else ""
            self.query = pictures.decode(name, Path(self.file).read_bytes() if content is None else content)
        self._search()

    def _search(self) -> None:
        self.nearest = []
        if self.query:
            with searching(self.start), reporting(self.message):
                files, descriptors = self._gallery()
                image = pixels.resized(self.query, self.network.recipe.size)[None]
                one = self.network.describe(image, self._boxes())[0]
                table = search.nearest(one, descriptors, TOP)
                self.nearest = [(files[row], far) for row, far in zip(table.row, table.distance, strict=True)]
                self.text.value = f"The nearest of <b>{len(files):,}</b> images, with their distances:"
                self.show()
        if self.message.value:
            self.nearest = []
            self.show()

    def _gallery(self) -> tuple[list[str], np.ndarray]:
        """The gallery's files and descriptors, computed once for each folder."""
        given = self.gallery.value
        if given not in self.described:
            self.described[given] = search.described(given or list(self.public.gallery.path), self.network)
        return self.described[given]

    def _boxes(self, *others: str) -> np.ndarray | None:
        if self.network.beta is not None and not self.file:
            raise ValueError("this network takes regions around the joints: give the query by its path.")
        return self.network.boxes([self.file, *others])

    def show(self) -> None:
        """Draw the query and its results, or nothing."""
        self.pair.clear()
        self.pair.layout.display = None if self.nearest else "none"
        if not self.nearest:
            self.text.value = ""
        cards = [Card(pictures.data_uri(self._drawn(file)), "query", _caption(file, far)) for file, far in self.nearest]
        self.results.show(cards)
        self.chosen.show([Card(pictures.data_uri(self._drawn()), "query", "query")] if self.query else [])

    def _drawn(self, file: str = "") -> np.ndarray:
        """A file's picture (H, W, 3) at the size of figures, by default the query's; grey where it is not shown."""
        if not self.people.value and not Path(file or self.file).is_relative_to(self.public.root):
            return pictures.HIDDEN
        return pixels.read([file], pictures.SHOWN)[0] if file else pixels.resized(self.query, pictures.SHOWN)

    def explain(self, place: int) -> None:
        """Show the heat maps of the query and of a result."""
        self.results.mark(place)
        self.pair.show(f"{Path(self.nearest[place][0]).name}, rank {place + 1}", lambda: self._pair(place))

    def _pair(self, place: int) -> Figure:
        file, size = self.nearest[place][0], self.network.recipe.size
        images = np.stack([pixels.resized(self.query, size), pixels.read([file], size)[0]])
        maps = pictures.pair_maps(self.network.model, images, self._boxes(file))
        return pictures.pair_figure(np.stack([self._drawn(), self._drawn(file)]), maps)


def _caption(file: str, distance: float) -> str:
    """A file's name, cut to the width of a card, and its distance."""
    name = Path(file).stem
    return f"{name if len(name) <= LETTERS else name[: LETTERS - 1] + '…'}\n{distance:.3f}"
