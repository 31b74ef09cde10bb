"""The explorer: choose a data set and finished runs; the tabs below are built for them."""

import base64
import re
from html import escape
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from ..figures import style
from ..files import results_dir
from . import names, pictures, tables
from .analyses import Cameras, Distances, Map
from .browse import Browse
from .parts import close, message, note, reporting, titled
from .session import Session, first_choice, open_session
from .upload import Upload

TABS = {"Rankings": Browse, "Distances": Distances, "Cameras": Cameras, "Map": Map, "Your picture": Upload}


class Explorer:
    """The widgets of ``notebooks/explore.ipynb``, which displays them; ``widget`` holds them all."""

    def __init__(
        self, dataset: str, data_root: str = "", show_people: bool = False, results: Path | None = None
    ) -> None:
        style.use()
        self.data_root, self.results = data_root, results or results_dir()
        left_out: list[str] = []
        self.known = {name: names.labels(runs) for name, runs in tables.runs_of(self.results, left_out.append).items()}
        self.left_out = note("<br>".join(map(escape, left_out)))
        self.session: Session | None = None
        self.panels: dict[str, Browse | Distances | Cameras | Map | Upload] = {}
        self.tab = 0
        data_sets = sorted({dataset, *self.known})
        self.dataset = widgets.Dropdown(options=data_sets, value=dataset, **titled("220px", "data set"))
        self.people = widgets.Checkbox(value=show_people, description="show people", indent=False)
        self.heading, self.message, self.tabs = note(), message(), widgets.Tab()
        self.runs = widgets.VBox(layout={"max_height": "130px", "overflow": "auto", "border": "1px solid #ccc"})
        self.dataset.observe(lambda _: self.choose_data(), "value")
        self.people.observe(lambda _: self.open(), "value")
        self.tabs.observe(lambda _: self._open_tab(), "selected_index")
        left = widgets.VBox([self.dataset, self.people])
        right = widgets.VBox([self.heading, self.runs], layout={"width": "640px"})
        top = widgets.HBox([left, right], layout={"flex_flow": "row wrap", "margin": "0 0 8px"})
        self.widget = widgets.VBox([top, self.left_out, self.message, self.tabs], layout={"max_width": "1080px"})
        self.left_out.layout.display = None if left_out else "none"
        self.choose_data()

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        """What Jupyter displays: the widgets, and where no kernel runs a still picture of the first tab."""
        bundle = self.widget._repr_mimebundle_() | {"text/plain": re.sub("<[^>]*>", "", self.message.value)}
        still = self.panels["Rankings"].still() if self.tabs.children else None
        return bundle | ({"image/png": base64.b64encode(pictures.png(still)).decode()} if still else {})

    def choose_data(self) -> None:
        """List the runs of the data set, and open those to begin with."""
        known = self.known.get(self.dataset.value, {})
        for box in self.runs.children:
            close(box)
        chosen = first_choice(known)
        self.boxes = {name: self._box(name, name in chosen) for name in known}
        self.runs.children = list(self.boxes.values())
        self.runs.layout.display = None if known else "none"
        self.heading.value = f"<b>Finished runs</b> ({len(known)}), compared one above another" if known else ""
        self.open()

    def _box(self, name: str, is_chosen: bool) -> widgets.Checkbox:
        metrics = self.known[self.dataset.value][name].metrics
        scores = {"mAP": metrics["map"], "rank-1": metrics["rank1"]}  # the single-shot protocol has no mAP
        text = ", ".join(f"{metric} {value:.1f} %" for metric, value in scores.items() if not np.isnan(value))
        box = widgets.Checkbox(is_chosen, description=f"{name}: {text}", indent=False)
        box.layout.width = "99%"
        box.observe(lambda _: self.open(), "value")
        return box

    def open(self) -> None:
        """Build the tabs for the chosen runs; without a run, or a data set, a sentence tells why there are none."""
        # Pictures of real people leave the page, and so a saved notebook, before anything else.
        self.tabs.children = ()
        for panel in self.panels.values():
            close(panel.widget)
        with reporting(self.message):
            dataset = self.dataset.value
            if dataset not in self.known:
                place = self.results / "runs"
                raise ValueError(f"no finished run of {dataset} is in {place}: train one, for example in run.ipynb.")
            self.message.value = f"Opening {escape(dataset)} ..."
            chosen = {name: run for name, run in self.known[dataset].items() if self.boxes[name].value}
            session = open_session(dataset, self.data_root, chosen, self.people.value, self.session)
            self._build(session)

    def _build(self, session: Session) -> None:
        """The tabs of a session; those of the same data set keep what the user chose in them."""
        panels = {title: panel(session) for title, panel in TABS.items()}
        is_same = self.session is not None and session.data is self.session.data
        for title, panel in panels.items() if is_same else ():
            panel.resume(self.panels[title])
        tab = self.tab if is_same else 0
        self.session, self.panels = session, panels
        self.tabs.children = [panel.widget for panel in panels.values()]
        self.tabs.titles = list(panels)
        self.tabs.selected_index = tab
        hidden = "Pictures of real people are hidden: tick <b>show people</b> to see them."
        lines = [escape(reason) for reason in session.left_out] + [hidden] * (not session.is_shown)
        self.message.value = "<br>".join(lines)

    def _open_tab(self) -> None:
        """Let the shown tab compute what it shows, if it does so without being asked."""
        if self.tabs.children:
            self.tab = self.tabs.selected_index or 0
            list(self.panels.values())[self.tab].open()
