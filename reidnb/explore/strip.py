"""Rows of pictures that can be clicked, made of ipywidgets' buttons, so that Jupyter and Voila show them alike."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import count

import ipywidgets as widgets

from ..figures import style
from .parts import note

WIDTH, HEIGHT, LINE = 64, 128, 15
"""Pixels of a picture, and of a line of text below it."""
_numbers = count()

BORDERS = {
    "match": f"3px solid {style.MATCH['edgecolor']}",
    "mismatch": f"3px dashed {style.MISMATCH['edgecolor']}",
    "query": "3px solid #bbb",
}
"""Borders: a match solid green, another person dashed red, as in the figures; any other picture grey."""


@dataclass(frozen=True)
class Card:
    """A picture's data URI, its border (a key of ``BORDERS``), and the text below it."""

    picture: str
    border: str
    caption: str


class Strip(widgets.VBox):
    """At most ``length`` cards in a row, with ``lines`` of text below each.

    ``on_click`` is called with a card's place from 0.
    """

    def __init__(self, length: int, on_click: Callable[[int], None], lines: int = 1):
        self._name = f"reid-strip-{next(_numbers)}"
        self._style = widgets.HTML(layout={"margin": "0", "height": "0", "min_height": "0", "overflow": "hidden"})
        height = HEIGHT + LINE * lines + 10
        size = {"width": f"{WIDTH + 12}px", "height": f"{height}px", "margin": "3px 3px 2px", "padding": "0"}
        self.buttons = [widgets.Button(layout=size) for _ in range(length)]
        for place, button in enumerate(self.buttons):
            button.add_class(f"{self._name}-{place}").add_class("reid-card-button")
            button.on_click(lambda _, place=place: on_click(place))
        row = widgets.HBox(self.buttons, layout={"flex_flow": "row wrap"})
        super().__init__([self._style, row])
        self.show([])

    def show(self, cards: Sequence[Card], chosen: int | None = None) -> None:
        """Show these cards in place of the present ones; that at place ``chosen`` is marked."""
        # A button takes no picture, but its style may; one message changes all pictures of the strip.
        rules = [
            f".{self._name}-{place}.reid-card-button{{background-image:url({card.picture});border:{BORDERS[card.border]}}}"
            for place, card in enumerate(cards)
        ]
        self._style.value = f"<style>{COMMON}{''.join(rules)}</style>"
        for place, button in enumerate(self.buttons):
            is_shown = place < len(cards)
            button.layout.display = None if is_shown else "none"
            button.description = cards[place].caption if is_shown else ""
            button.tooltip = " ".join(button.description.split())
        self.mark(chosen)

    def mark(self, chosen: int | None) -> None:
        """Mark the card at this place, and no other one."""
        for place, button in enumerate(self.buttons):
            (button.add_class if place == chosen else button.remove_class)("reid-chosen")


class Lists(widgets.VBox):
    """A strip with a title for each name, one above another; ``on_click`` is called with a name and a place from 0.

    ``below`` is a widget about a card that is marked: it is shown below the strip of this card, at first below all.
    """

    def __init__(
        self,
        names: Iterable[str],
        length: int,
        on_click: Callable[[str, int], None],
        below: widgets.Widget,
        lines: int = 1,
    ):
        self.below = below
        self.titles = {name: note() for name in names}
        self.strips = {
            name: Strip(length, lambda place, name=name: on_click(name, place), lines) for name in self.titles
        }
        super().__init__()
        self.mark()

    def show(self, name: str, remark: str, cards: Sequence[Card]) -> None:
        """Show the cards of a name, with a remark beside it."""
        self.titles[name].value = f"<b>{escape(name)}</b>: {escape(remark)}" if remark else ""
        self.strips[name].show(cards)

    def mark(self, name: str = "", place: int | None = None) -> None:
        """Mark one card of one name, or none."""
        parts = []
        for each, strip in self.strips.items():
            strip.mark(place if each == name else None)
            parts += [self.titles[each], strip] + [self.below] * (each == name)
        parts = parts if name else [*parts, self.below]
        if list(self.children) != parts:
            self.children = parts

    def clear(self) -> None:
        """Show nothing."""
        self.mark()
        for name in self.titles:
            self.show(name, "", [])


COMMON = (
    ".reid-card-button.jupyter-button{background-color:#fff;background-repeat:no-repeat;"
    f"background-position:center 2px;background-size:{WIDTH}px {HEIGHT}px;color:#222;font-size:11px;"
    f"line-height:{LINE}px;padding:{HEIGHT + 3}px 0 0!important;border-radius:3px;box-sizing:border-box;"
    "white-space:pre;overflow:visible;letter-spacing:-0.2px;text-align:center}"
    ".reid-card-button.jupyter-button:hover{box-shadow:0 0 5px #555}"
    ".reid-card-button.jupyter-button.reid-chosen{box-shadow:0 0 0 3px #000}"
    ".reid-card-button.jupyter-button:focus-visible{outline:3px solid #0072B2;outline-offset:2px}"
    ".reid-note .widget-html-content{line-height:20px}"
)
