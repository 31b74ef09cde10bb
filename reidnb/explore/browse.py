"""The first tab: choose a query, see the runs' ranking lists one above another, click a result to see why."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from ..data import pixels
from ..figures import ranking
from . import pictures, tables
from .session import Session
from .strip import Card, Strip

PAGE, TOP = 12, 10
"""Queries on a page, and images of a ranking list."""
ANY = "any"


def note(text: str = "") -> widgets.HTML:
    """A line of text."""
    return widgets.HTML(text, layout={"margin": "4px 3px"})


def message() -> widgets.HTML:
    """The place of the sentence that says what went wrong."""
    return widgets.HTML(layout={"margin": "0 3px"})


def figure() -> widgets.Image:
    """The place of a figure, at its size in pixels or the width of the page; hidden until it has one."""
    return widgets.Image(format="png", layout={"display": "none", "max_width": "100%", "align_self": "flex-start"})


@contextmanager
def reporting(place: widgets.HTML) -> Iterator[None]:
    """Show a sentence in ``place`` for what goes wrong in the block, so that the notebook goes on."""
    place.value = ""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        text = escape(str(error).splitlines()[0])
        place.value = f"<span style='color:#B3261E'><b>Not possible:</b> {text}</span>"


class Browse:
    """Filters, queries, ranking lists, and the heat maps of a query and a clicked result."""

    def __init__(self, session: Session):
        self.session, self.rows, self.page, self.query = session, np.array([], int), 0, -1
        names, query = list(session.runs), session.data.query
        wide = {"layout": {"width": "390px"}, "style": {"description_width": "28px"}}
        self.kind = widgets.Dropdown(options=tables.KINDS, description="Show", layout={"width": "250px"})
        self.kind.style.description_width = "42px"
        self.a = widgets.Dropdown(options=names, description="A", **wide)
        self.b = widgets.Dropdown(options=names, value=names[-1], description="B", **wide)
        narrow = {"layout": {"width": "165px"}, "style": {"description_width": "60px"}}
        cameras, people = sorted(query.camid.unique().tolist()), sorted(query.pid.unique().tolist())
        self.camera = widgets.Dropdown(options=[ANY, *cameras], description="camera", **narrow)
        self.person = widgets.Dropdown(options=[ANY, *people], description="identity", **narrow)
        self.message, self.count, self.heading = message(), note(), note()
        self.back = widgets.Button(description="◀", tooltip="the queries before", layout={"width": "40px"})
        self.forth = widgets.Button(description="▶", tooltip="the next queries", layout={"width": "40px"})
        self.back.on_click(lambda _: self.turn(-1))
        self.forth.on_click(lambda _: self.turn(1))
        self.queries = Strip(PAGE, lambda place: self.ask(int(self.rows[self.page * PAGE + place])))
        self.titles = {name: note() for name in names}
        self.lists = {name: Strip(TOP, lambda place, name=name: self.explain(name, place)) for name in names}
        self.pair_text, self.pair = note("Click a result to see which regions agree."), figure()
        for choice in (self.kind, self.a, self.b, self.camera, self.person):
            choice.observe(lambda _: self.filter(), "value")
        self.widget = self._layout()
        self.filter()

    def _layout(self) -> widgets.VBox:
        row = {"flex_flow": "row wrap", "align_items": "center"}
        lists = [part for name in self.lists for part in (self.titles[name], self.lists[name])]
        parts = [
            widgets.HBox([self.kind, self.camera, self.person], layout=row),
            widgets.HBox([self.a, self.b], layout=row),
            self.message,
            widgets.HBox([self.back, self.forth, self.count], layout=row),
            self.queries,
            self.heading,
            *lists,
            self.pair_text,
            self.pair,
        ]
        return widgets.VBox(parts, layout={"padding": "6px"})

    def filter(self) -> None:
        """Choose the queries that pass the filters, and show the first of them."""
        with reporting(self.message):
            camera = None if self.camera.value == ANY else self.camera.value
            person = None if self.person.value == ANY else self.person.value
            given = {"kind": self.kind.value, "camid": camera, "pid": person}
            scores = self.session.scores
            self.rows = tables.select(self.session.data.query, scores, self.a.value, self.b.value, **given)
            self.page = 0
            self._show_page()
            if len(self.rows):
                self.ask(int(self.rows[0]))

    def turn(self, step: int) -> None:
        """Show another page of queries."""
        self.page = min(max(self.page + step, 0), max(0, (len(self.rows) - 1) // PAGE))
        self._show_page()

    def _show_page(self) -> None:
        shown = self.rows[self.page * PAGE :][:PAGE]
        query, ap = self.session.data.query, self.session.scores[self.a.value].ap
        cards = []
        for row in shown:
            score = f"c{query.camid[row]}" if np.isnan(ap[row]) else f"c{query.camid[row]}, AP {ap[row]:.0f}"
            look = "chosen" if row == self.query else "query"
            cards.append(Card(self.session.picture(query.path[row]), look, score))
        self.queries.show(cards)
        first = self.page * PAGE + 1
        self.count.value = (
            f"<b>{len(self.rows)}</b> of {len(query)} queries, A's worst first; here {first}–{first + len(shown) - 1}"
            if len(shown)
            else "<b>No query</b> passes these filters."
        )
        self.back.disabled, self.forth.disabled = self.page == 0, first + PAGE > len(self.rows)

    def ask(self, row: int) -> None:
        """Show the ranking lists of a query, a row of the data set's table."""
        with reporting(self.message):
            self.query = row
            self._show_page()
            query = self.session.data.query.iloc[row]
            self.heading.value = (
                f"<b>Identity {query.pid}, seen by camera {query.camid}</b>: the gallery's nearest images"
            )
            for name, run in self.session.runs.items():
                score = self.session.scores[name].iloc[row]
                first = f"first match at rank {score.first_rank:.0f}" if score.first_rank > 0 else "no match"
                ap = "" if np.isnan(score.ap) else f", AP {score.ap:.1f} %"
                self.titles[name].value = f"{escape(name)}: {first}{ap}"
                self.lists[name].show(self._cards(run.rankings["top"][row, :TOP], run.rankings["right"][row]))
            self._clear_pair()

    def _cards(self, order: np.ndarray, matches: np.ndarray) -> list[Card]:
        gallery = self.session.data.gallery
        return [
            Card(
                self.session.picture(gallery.path[row]),
                "match" if is_match else "mismatch",
                f"{gallery.pid[row]}·c{gallery.camid[row]}",
            )
            for row, is_match in zip(order, matches, strict=False)
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
        self._clear_pair()
        self.pair_text.value = f"Computing the heat maps of {escape(name)} ..."
        with reporting(self.message):
            data, row = self.session.data, int(self.session.runs[name].rankings["top"][self.query, place])
            paths = (data.query.path[self.query], data.gallery.path[row])
            images = pixels.read(list(paths), self.session.runs[name].experiment.recipe.size)
            shown = np.stack([self.session.image(path) for path in paths])
            boxes = self.session.boxes(name, self.query, row)
            maps = pictures.pair_maps(self.session.model(name), images, boxes)
            self.pair.value = pictures.png(pictures.pair_figure(shown, maps))
            self.pair.layout.display = None
            self.pair_text.value = (
                f"{escape(name)}, rank {place + 1}. <b>heat</b>: what makes the descriptor; <b>agreement</b>: what"
                " makes it similar to the other image's; then the network's attention. Bright is more."
            )
        if self.message.value:
            self.pair_text.value = ""

    def _clear_pair(self) -> None:
        self.pair.layout.display, self.pair.value = "none", b""
        self.pair_text.value = "Click a result to see which regions agree."
