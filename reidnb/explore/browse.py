"""The first tab: choose a query, see the runs' ranking lists one above another, click a result to see why."""

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data import pixels
from ..data.dataset import DISTRACTOR
from ..figures import ranking
from . import pictures, tables
from .parts import ROW, Pair, message, note, reporting, titled, unobserved
from .session import Session
from .strip import Card, Lists, Strip

PAGE, TOP = 12, 10
"""Queries on a page, and images of a ranking list."""
ANY = "any"


class Browse:
    """Filters, queries, ranking lists, and the heat maps of a query and a clicked result."""

    def __init__(self, session: Session):
        self.session, self.rows = session, np.array([], int)
        names, query = list(session.runs), session.data.query
        cameras, people = sorted(query.camid.unique().tolist()), sorted(query.pid.unique().tolist())
        self.kind = widgets.Dropdown(options=tables.KINDS, **titled("230px", "show"))
        self.camera = widgets.Dropdown(options=[ANY, *cameras], **titled("150px", "camera"))
        self.person = widgets.Dropdown(options=[ANY, *people], **titled("160px", "identity"))
        self.a = widgets.Dropdown(options=names, **titled("390px", "A"))
        self.b = widgets.Dropdown(options=names, value=names[-1], **titled("390px", "B"))
        self.filters = {"kind": self.kind, "camera": self.camera, "person": self.person, "a": self.a, "b": self.b}
        self.place = widgets.IntSlider(min=1, max=1, continuous_update=False, **titled("340px", "query"))
        self.back = widgets.Button(description=f"previous {PAGE}", layout={"width": "105px"})
        self.forth = widgets.Button(description=f"next {PAGE}", layout={"width": "105px"})
        self.back.on_click(lambda _: self.turn(-1))
        self.forth.on_click(lambda _: self.turn(1))
        self.message, self.count, self.heading, self.pair = message(), note(), note(), Pair()
        self.queries = Strip(PAGE, self._choose, lines=3)
        self.lists = Lists(names, TOP, self.explain, self.pair, lines=2)
        for choice in self.filters.values():
            choice.observe(self._filter, "value")
        self.place.observe(self._ask, "value")
        self.widget = self._layout()
        self.filter()

    def _layout(self) -> widgets.VBox:
        parts = [
            widgets.HBox([self.kind, self.camera, self.person], layout=ROW),
            widgets.HBox([self.a, self.b], layout=ROW),
            self.message,
            widgets.HBox([self.place, self.back, self.forth, self.count], layout=ROW),
            self.queries,
            self.heading,
            self.lists,
        ]
        return widgets.VBox(parts, layout={"padding": "6px"})

    @property
    def query(self) -> int:
        """The row of the shown query in the data set's table; -1 where no query passes the filters."""
        return int(self.rows[self.place.value - 1]) if len(self.rows) else -1

    def _filter(self, _: dict) -> None:
        self.filter()

    def _ask(self, _: dict) -> None:
        self.show()

    def filter(self) -> None:
        """Choose the queries that pass the filters, and show the first of them."""
        self.rows = np.array([], int)
        with reporting(self.message):
            camera, person = (None if each.value == ANY else each.value for each in (self.camera, self.person))
            scores, query = self.session.scores, self.session.data.query
            given = {"kind": self.kind.value, "camid": camera, "pid": person}
            self.rows = tables.select(query, scores, self.a.value, self.b.value, **given)
        with unobserved(self.place, self._ask):
            self.place.value, self.place.max = 1, max(1, len(self.rows))
        self.place.disabled = len(self.rows) < 2
        self.show()

    def open(self) -> None:
        """Everything is shown already."""

    def turn(self, step: int) -> None:
        """Show the first query of another page."""
        page = (self.place.value - 1) // PAGE + step
        self.place.value = min(max(page * PAGE, 0), max(0, len(self.rows) - 1)) + 1

    def _choose(self, place: int) -> None:
        self.place.value = (self.place.value - 1) // PAGE * PAGE + place + 1

    def resume(self, before: "Browse") -> None:
        """Take the filters and the query of another explorer of the same data set, as far as its runs are here."""
        for name, choice in self.filters.items():
            if before.filters[name].value in choice.options:
                choice.value = before.filters[name].value
        if before.query in self.rows:
            self.place.value = int(np.flatnonzero(self.rows == before.query)[0]) + 1

    def show(self) -> None:
        """Show the query at the slider's place: its page of queries, and its ranking lists."""
        self.pair.clear()
        self.lists.mark()
        self._show_page()
        self.heading.value = ""
        if not len(self.rows):
            self.lists.clear()
            return
        with reporting(self.message):
            query = self.session.data.query.iloc[self.query]
            self.heading.value = (
                f"<b>Identity {query.pid}, seen by camera {query.camid}.</b> The nearest images of the gallery, by run:"
            )
            for name, run in self.session.runs.items():
                top, is_match = (run.rankings[part][self.query, :TOP] for part in ("top", "right"))
                remark = _remark(self.session.scores[name].iloc[self.query])
                self.lists.show(name, remark, self._results(top, is_match))

    def _show_page(self) -> None:
        first = (self.place.value - 1) // PAGE * PAGE
        shown = self.rows[first:][:PAGE]
        query, ap = self.session.data.query, self.session.scores[self.a.value].ap
        cards = []
        for row in shown:
            score = "" if np.isnan(ap[row]) else f"\nAP {ap[row]:.1f} %"
            text = caption(query.pid[row], query.camid[row]) + score
            cards.append(Card(self.session.picture(query.path[row]), "query", text))
        self.queries.show(cards, self.place.value - 1 - first)
        self.count.value = (
            f"{first + 1}–{first + len(shown)} of <b>{len(self.rows):,}</b> ({len(query):,} in all), A's worst first"
            if len(shown)
            else "<b>No query</b> passes these filters."
        )
        self.back.disabled, self.forth.disabled = first == 0, first + PAGE >= len(self.rows)

    def _results(self, order: np.ndarray, matches: np.ndarray) -> list[Card]:
        gallery = self.session.data.gallery
        return [
            Card(
                self.session.picture(gallery.path[row]),
                "match" if is_match else "mismatch",
                caption(gallery.pid[row], gallery.camid[row]),
            )
            for row, is_match in zip(order, matches, strict=True)
            if row >= 0
        ]

    def still(self) -> Figure | None:
        """The ranking lists of the chosen query as one picture; None where no query passes the filters."""
        if self.query < 0:
            return None
        data, lists = self.session.data, {}
        for name, run in self.session.runs.items():
            order, matches = (run.rankings[kind][[self.query], :TOP] for kind in ("top", "right"))
            images = np.stack([self.session.image(data.gallery.path.iloc[row]) for row in order[0]])
            lists[name] = (images[None], np.ma.array(matches, mask=order < 0))
        query = data.query.iloc[self.query]
        title = f"Identity {query.pid}, seen by camera {query.camid}: the gallery's nearest images"
        return ranking.compare_rankings(self.session.image(query.path)[None], lists, titles=[title])

    def explain(self, name: str, place: int) -> None:
        """Show the heat maps of the query and of a result in a run's list."""
        self.lists.mark(name, place)
        self.pair.show(f"{name}, rank {place + 1}", lambda: self._pair(name, place))

    def _pair(self, name: str, place: int) -> Figure:
        data, run = self.session.data, self.session.runs[name]
        row = int(run.rankings["top"][self.query, place])
        paths = [data.query.path[self.query], data.gallery.path[row]]
        images = pixels.read(paths, run.experiment.recipe.size)
        shown = np.stack([self.session.image(path) for path in paths])
        maps = pictures.pair_maps(self.session.model(name), images, self.session.boxes(name, self.query, row))
        return pictures.pair_figure(shown, maps)


def caption(pid: int, camid: int) -> str:
    """The identity and camera of an image, in two lines."""
    return f"{'distractor' if pid == DISTRACTOR else f'id {pid}'}\ncamera {camid}"


def _remark(score: pd.Series) -> str:
    """What a run's list is worth, in words."""
    first = f"first match at rank {score.first_rank:,.0f}" if score.first_rank > 0 else "no match"
    return first if np.isnan(score.ap) else f"{first}, AP {score.ap:.1f} %"
