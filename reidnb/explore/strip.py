"""A row of pictures that can be clicked, made of ipywidgets' buttons alone, so that Jupyter and Voila show it alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import ipywidgets as widgets

from ..figures import style

WIDTH, HEIGHT, CAPTION = 64, 128, 18
"""Pixels of a picture, and of the line below it."""
_numbers = count()

LOOKS = {
    "match": f"3px solid {style.MATCH['edgecolor']}",
    "mismatch": f"3px dashed {style.MISMATCH['edgecolor']}",
    "query": "3px solid #bbb",
    "chosen": "3px solid #000",
}
"""Borders: a match solid green, another person dashed red, as in the figures; a query grey, black when chosen."""


@dataclass(frozen=True)
class Card:
    """A picture's data URI, its border (a key of ``LOOKS``), and the text below it."""

    picture: str
    look: str
    caption: str


class Strip(widgets.VBox):
    """At most ``length`` cards in a row; ``on_click`` is called with a card's place from 0."""

    def __init__(self, length: int, on_click: Callable[[int], None]):
        self._name = f"reid-strip-{next(_numbers)}"
        self._style = widgets.HTML(layout={"margin": "0", "height": "0", "min_height": "0", "overflow": "hidden"})
        size = {"width": f"{WIDTH + 6}px", "height": f"{HEIGHT + CAPTION + 6}px", "margin": "2px 3px", "padding": "0"}
        self.buttons = [widgets.Button(layout=size) for _ in range(length)]
        for place, button in enumerate(self.buttons):
            button.add_class(f"{self._name}-{place}").add_class("reid-card-button")
            button.on_click(lambda _, place=place: on_click(place))
        row = widgets.HBox(self.buttons, layout={"flex_flow": "row wrap"})
        super().__init__([self._style, row])
        self.show([])

    def show(self, cards: Sequence[Card]) -> None:
        """Show these cards in place of the present ones."""
        # A button takes no picture, but its style may; one message changes all pictures of the strip.
        rules = [
            f".{self._name}-{place}.reid-card-button{{background-image:url({card.picture});border:{LOOKS[card.look]}}}"
            for place, card in enumerate(cards)
        ]
        self._style.value = f"<style>{COMMON}{''.join(rules)}</style>"
        for place, button in enumerate(self.buttons):
            is_shown = place < len(cards)
            button.layout.display = None if is_shown else "none"
            button.description = button.tooltip = cards[place].caption if is_shown else ""


COMMON = (
    ".reid-card-button.jupyter-button{background-color:#fff;background-repeat:no-repeat;"
    f"background-position:center top;background-size:{WIDTH}px {HEIGHT}px;color:#222;font-size:11px;"
    f"line-height:{CAPTION}px;padding:{HEIGHT}px 0 0!important;border-radius:2px;box-sizing:border-box;"
    "overflow:visible;letter-spacing:-0.2px}.reid-card-button.jupyter-button:hover{box-shadow:0 0 5px #555}"
    ".reid-card-button.jupyter-button:focus-visible{outline:3px solid #0072B2;outline-offset:2px}"
)
