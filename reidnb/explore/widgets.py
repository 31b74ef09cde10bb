"""The explorer: choose a data set and finished runs; the tabs below are built for them."""

import base64
import re
from pathlib import Path

import ipywidgets as widgets

from ..figures import style
from ..files import results_dir
from . import pictures, tables
from .analyses import Cameras, Distances, Map, OwnImage
from .browse import Browse, message, note, reporting
from .session import open_session

TABS = {"Rankings": Browse, "Distances": Distances, "Cameras": Cameras, "Map": Map, "Your picture": OwnImage}


class Explorer:
    """The widgets of ``notebooks/explore.ipynb``, which displays them; ``widget`` holds them all."""

    def __init__(
        self, dataset: str, data_root: str = "", show_people: bool = False, results: Path | None = None
    ) -> None:
        style.use()
        self.data_root, self.results, self.session = data_root, results or results_dir(), None
        self.known = tables.runs_of(self.results)
        names = sorted({dataset, *self.known})
        narrow = {"layout": {"width": "250px"}, "style": {"description_width": "60px"}}
        self.dataset = widgets.Dropdown(options=names, value=dataset, description="data set", **narrow)
        self.runs = widgets.SelectMultiple(layout={"width": "560px", "height": "96px"})
        self.people = widgets.Checkbox(value=show_people, description="show people", indent=False)
        self.runs.observe(self._reopen, "value")
        self.message, self.tabs = message(), widgets.Tab()
        self._list_runs()
        self.dataset.observe(lambda _: self.choose_data(), "value")
        self.people.observe(lambda _: self.open(), "value")
        left = widgets.VBox([self.dataset, self.people])
        right = widgets.VBox([note("Runs, one above another in the lists (hold Ctrl or ⌘ for several):"), self.runs])
        top = widgets.HBox([left, right], layout={"flex_flow": "row wrap", "margin": "0 0 8px"})
        self.widget = widgets.VBox([top, self.message, self.tabs], layout={"max_width": "1000px"})
        self.open()

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        """What Jupyter displays: the widgets, and where no kernel runs a still picture of the first tab."""
        bundle = self.widget._repr_mimebundle_() | {"text/plain": re.sub("<[^>]*>", "", self.message.value)}
        still = self.panels["Rankings"].still() if self.tabs.children else None
        return bundle | ({"image/png": base64.b64encode(pictures.png(still)).decode()} if still else {})

    def choose_data(self) -> None:
        """List the runs of another data set, and open it."""
        self._list_runs()
        self.open()

    def _list_runs(self) -> None:
        names = list(tables.labels(self.known.get(self.dataset.value, [])))
        self.runs.unobserve(self._reopen, "value")  # a list of other runs is no choice of the user's
        self.runs.options, self.runs.value = names, names[:3]
        self.runs.observe(self._reopen, "value")

    def _reopen(self, _: dict) -> None:
        self.open()

    def open(self) -> None:
        """Build the tabs for the chosen runs; without a run, or a data set, a sentence says why there are none."""
        # Pictures of real people leave the page, and so a saved notebook, before anything else.
        self.tabs.children = ()
        with reporting(self.message):
            self.session = open_session(
                self.dataset.value, self.data_root, self.results, tuple(self.runs.value), self.people.value
            )
            self.panels = {title: panel(self.session) for title, panel in TABS.items()}
            self.tabs.children = [panel.widget for panel in self.panels.values()]
            self.tabs.titles = list(self.panels)
            self.tabs.selected_index = 0
            if not self.session.is_shown:
                self.message.value = "Pictures of real people are hidden: tick <b>show people</b> to see them."
