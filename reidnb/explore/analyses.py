"""Three tabs about a run's descriptors: distances with a threshold, mAP by cameras, and a map in two dimensions."""

from html import escape

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from . import distances, pictures
from .parts import ROW, figure, message, note, reporting, titled, unobserved
from .session import Session


class Panel:
    """A tab with a run to choose and the place of a result.

    The result is computed when the tab is opened, or, where descriptors that the run did not save are extracted first
    for minutes, when the button is pressed.
    """

    about = ""

    def __init__(self, session: Session):
        self.session, self.message, self.is_done = session, message(), False
        self.run = widgets.Dropdown(options=list(session.runs), **titled("430px", "run"))
        self.start = widgets.Button(description="Compute", button_style="primary")
        self.start.on_click(lambda _: self.compute())
        self.text, self.figure = note(), figure()
        controls = self.controls()
        for choice in (self.run, *controls):
            choice.observe(self._renew, "value")
        row = widgets.HBox([self.run, *controls, self.start], layout=ROW)
        self.output = widgets.VBox(self.result())
        self.widget = widgets.VBox([note(self.about), row, self.message, self.output], layout={"padding": "6px"})
        self.clear()

    def controls(self) -> list[widgets.Widget]:
        """Widgets beside the run, which change the result."""
        return []

    def result(self) -> list[widgets.Widget]:
        """Widgets below the button."""
        return [self.text, self.figure]

    def open(self) -> None:
        """Compute the result if that takes seconds, and it is not there yet."""
        if not self.is_done:
            self.clear()  # another tab may have extracted the descriptors meanwhile
            if self.session.is_quick(self.run.value):
                self.compute()

    def resume(self, before: "Panel") -> None:
        """Show the run of another explorer's tab, if it is here."""
        if before.run.value in self.run.options:
            with unobserved(self.run, self._renew):
                self.run.value = before.run.value
            self.clear()

    def clear(self) -> None:
        """Forget the result, and tell what a new one takes."""
        self.is_done, self.output.layout.display, self.message.value = False, "none", ""
        self.start.layout.display = "none" if self.session.is_quick(self.run.value) else None
        if not self.session.is_quick(self.run.value):
            count = len(self.session.data.query) + len(self.session.data.gallery)
            self.message.value = (
                f"The run kept no descriptors: its network describes {count:,} images first, which takes minutes"
                " without a GPU."
            )

    def _renew(self, _: dict) -> None:
        self.is_done = False
        self.open()

    def compute(self) -> None:
        """Compute and show the result, or the sentence that tells why there is none."""
        self.start.disabled = True
        with reporting(self.message):
            self._tell("Computing ...")
            self.session.log = self._tell
            self.update()
            self.message.value, self.is_done, self.output.layout.display = "", True, None
        self.start.disabled = False

    def _tell(self, line: str) -> None:
        self.message.value = escape(line)

    def update(self) -> None:
        """Compute and show the result."""
        raise NotImplementedError

    def draw(self, figure: Figure) -> None:
        """Show a figure."""
        self.figure.value, self.figure.layout.display = pictures.png(figure), None


class Distances(Panel):
    """Distances of matches and other pairs, their ROC, and a threshold to move."""

    about = (
        "Two images, one question: <b>the same person?</b> Yes, if their distance is below the threshold. It starts at"
        " the equal error rate: as many matches are refused as others are accepted."
    )

    def result(self) -> list[widgets.Widget]:
        self.threshold = widgets.FloatSlider(
            continuous_update=False, readout_format=".3f", **titled("560px", "threshold")
        )
        self.threshold.observe(self._move, "value")
        return [self.threshold, self.text, self.figure]

    def _move(self, _: dict) -> None:
        self.show()

    def update(self) -> None:
        self.pairs = self.session.pairs(self.run.value)
        self.curve = distances.roc(self.pairs)
        low, high = self.pairs.extent
        with unobserved(self.threshold, self._move):
            self.threshold.min, self.threshold.max = 0, high  # from 0 first, as a slider's min stays below its max
            self.threshold.min, self.threshold.step = low, (high - low) / 500
            self.threshold.value = distances.equal_error(self.curve)
        self.show()

    def show(self) -> None:
        """Draw both figures with the threshold where it is now, and tell what it accepts."""
        at = self.curve.iloc[(self.curve.threshold - self.threshold.value).abs().argmin()]
        self.draw(pictures.distances_figure(self.pairs, self.threshold.value))
        matches = at.accepted_matches * self.pairs.matches.sum()
        accepted = matches + at.accepted_others * self.pairs.others.sum()
        precision = (
            f"{100 * matches / accepted:.1f} % of the pairs below it are matches" if accepted else "no pair is below it"
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
        self.draw(pictures.cameras_figure(table))
        hardest, easiest = (table.stack().dropna().sort_values().index[place] for place in (0, -1))
        self.text.value = (
            f"Hardest: queries of camera {hardest[0]} among images of camera {hardest[1]}"
            f" ({table.loc[hardest]:.1f} %); easiest: {easiest[0]} among {easiest[1]} ({table.loc[easiest]:.1f} %)."
        )


class Map(Panel):
    """Descriptors of some people in two dimensions, with the picture under the pointer."""

    about = (
        "Each mark is an image, each colour and shape a person; queries have a black edge. <b>Move the pointer over a"
        " mark</b> to see the picture."
    )

    def controls(self) -> list[widgets.Widget]:
        most = min(18, self.session.data.query.pid.nunique())  # six colours in three shapes
        self.method = widgets.Dropdown(options=distances.METHODS, **titled("150px", "method"))
        self.people = widgets.BoundedIntText(value=min(12, most), min=1, max=most, **titled("120px", "people"))
        return [self.method, self.people]

    def result(self) -> list[widgets.Widget]:
        self.page = widgets.HTML()
        return [self.text, self.page]

    def update(self) -> None:
        images = distances.images_of_people(self.session.data, self.people.value)
        by_split = dict(zip(("query", "gallery"), self.session.descriptors(self.run.value), strict=True))
        rows = torch.stack([by_split[image.split][image.row] for image in images.itertuples()])
        places = distances.flat_map(rows, self.method.value)
        self.page.value = pictures.map_page(places, images, [self.session.picture(path) for path in images.path])
        self.text.value = (
            f"{len(images)} images of {images.pid.nunique()} people, by {self.method.value}. Near marks look alike to"
            " the network; the axes have no unit."
        )
