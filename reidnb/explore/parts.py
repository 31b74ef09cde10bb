"""Small parts that the tabs have in common: lines of text, places of figures, and how an error is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

import ipywidgets as widgets
from matplotlib.figure import Figure

from . import pictures

ROW = {"flex_flow": "row wrap", "align_items": "center"}
"""The layout of controls beside one another, which wrap where the window is narrow."""


def note(text: str = "") -> widgets.HTML:
    """A line of text."""
    return widgets.HTML(text, layout={"margin": "4px 3px"}).add_class("reid-note")


def message() -> widgets.HTML:
    """The place of the sentence that tells what went wrong."""
    return widgets.HTML(layout={"margin": "0 3px"})


def figure() -> widgets.Image:
    """The place of a figure, at its size in pixels or the width of the page; hidden until it has one."""
    return widgets.Image(format="png", layout={"display": "none", "max_width": "100%", "align_self": "flex-start"})


def picture_upload(on_picture: Callable[[str, bytes], None]) -> widgets.FileUpload:
    """A button to choose a picture; ``on_picture`` is called with the file's name and its content."""
    button = widgets.FileUpload(accept="image/*", description="Choose a picture", icon="", layout={"width": "160px"})

    def receive(change: dict) -> None:
        if change["new"]:
            given, button.value = change["new"][-1], ()  # a saved notebook must not hold it
            on_picture(given["name"], bytes(given["content"]))

    button.observe(receive, "value")
    return button


def titled(width: str, title: str) -> dict[str, dict]:
    """The layout of a control of this width with a title as long as its text."""
    return {
        "layout": {"width": width},
        "style": {"description_width": f"{8 * len(title) + 10}px"},
        "description": title,
    }


@contextmanager
def reporting(place: widgets.HTML) -> Iterator[None]:
    """Show a sentence in ``place`` for an error in the block, after which the notebook can still be used."""
    place.value = ""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        place.value = f"<span style='color:#B3261E'><b>Not possible:</b> {escape(_in_a_line(error))}</span>"


def _in_a_line(error: Exception) -> str:
    """The first line of an error's text; of a list, the first entry too."""
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]) + " ..." * (lines[0].endswith(":") and len(lines) > 2)


@contextmanager
def searching(button: widgets.Button) -> Iterator[None]:
    """Disable the button "Search" in the block, and tell why."""
    button.disabled, button.description = True, "Searching ..."
    try:
        yield
    finally:
        button.disabled, button.description = False, "Search"


@contextmanager
def unobserved(widget: widgets.Widget, handler: Callable) -> Iterator[None]:
    """Change a widget's value in the block without a call of its ``handler``, since it is no choice of the user's."""
    widget.unobserve(handler, "value")
    try:
        yield
    finally:
        widget.observe(handler, "value")


def close(widget: widgets.Widget) -> None:
    """Remove a widget and all that it contains, pictures included, from the page and from what a notebook saves."""
    for child in getattr(widget, "children", ()):
        close(child)
    widget.close()


class Pair(widgets.VBox):
    """The heat maps of a query and a clicked result: a line of text, the figure, and the place of an error."""

    hint = "<b>Click a result</b> to see which regions of both images agree."

    def __init__(self) -> None:
        self.text, self.figure, self.message = note(self.hint), figure(), message()
        super().__init__([self.text, self.message, self.figure])

    def clear(self) -> None:
        """Forget the pair."""
        self.figure.layout.display, self.figure.value = "none", b""
        self.text.value, self.message.value = self.hint, ""

    def show(self, title: str, draw: Callable[[], Figure]) -> None:
        """Show the figure that ``draw`` returns, or a sentence that tells why there is none."""
        self.clear()
        self.text.value = f"Computing the heat maps of {escape(title)} ..."
        with reporting(self.message):
            self.figure.value = pictures.png(draw())
            self.figure.layout.display = None
            self.text.value = (
                f"{escape(title)}. <b>Heat</b>: what makes the descriptor; <b>agreement</b>: what makes it similar to"
                " that of the other image; then the network's attention, as its paper calls it. Bright is more."
            )
        if self.message.value:
            self.text.value = ""
