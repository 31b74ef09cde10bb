"""What all tabs use: the data set, its runs, and what was computed from them; nothing is drawn here."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from torch import Tensor, nn

from .. import rescoring, search
from ..data import catalog, pixels
from ..data.dataset import ReidData
from ..data.samples import SHOWN
from ..papers.experiments import by_pose
from ..results import Run
from ..runs import boxes_of, load_model
from . import pictures, tables
from .distances import Pairs, pair_distances

QUICK = 3000
"""Images that are described within seconds, also without a GPU, so that nobody has to ask for it."""


@dataclass
class Session:
    """A data set with the finished runs that are looked at. Networks and descriptors are kept once they were needed."""

    data: ReidData
    runs: dict[str, Run]
    """By name, as ``names.labels`` gives them."""
    show_people: bool = False
    """Whether pictures of real people are shown; those of a synthetic street always are."""
    kept: dict = field(default_factory=dict)
    """Networks, descriptors, distances and regions, by kind and run, for the next session of the data set as well."""
    left_out: tuple[str, ...] = ()
    """Why other runs were not opened, a sentence for each."""
    log: Callable[[str], None] = print
    """Gets lines of progress; the tab that computes shows them."""
    scores: dict[str, pd.DataFrame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scores = {name: tables.per_query(run) for name, run in self.runs.items()}

    @property
    def is_shown(self) -> bool:
        """Whether pictures may be shown."""
        return self.show_people or self.data.name in catalog.STREETS

    def picture(self, path: str) -> str:
        """The data URI of an image, or of a grey card where pictures are hidden."""
        return pictures.thumbnail(path) if self.is_shown else pictures.data_uri(pictures.HIDDEN)

    def image(self, path: str) -> np.ndarray:
        """An image (H, W, 3) uint8 at the size of figures, or a grey card where pictures are hidden."""
        return pixels.read([path], SHOWN)[0] if self.is_shown else pictures.HIDDEN

    def model(self, name: str) -> nn.Module:
        """A run's network. Raises FileNotFoundError for a run that was kept without its weights."""
        return self._keep(("model", name), lambda: load_model(self.runs[name], self.data))

    def describer(self, name: str) -> search.Describer:
        """A run's network for pictures that are not of the data set. Raises as ``model``, and ValueError for a network
        that takes regions around joints, which such pictures lack.
        """
        run = self.runs[name]
        if by_pose(run.experiment):
            raise ValueError("this network takes regions around the joints, which are not known of your picture.")
        return search.Describer(self.model(name), run.experiment.recipe)

    def is_quick(self, name: str) -> bool:
        """Whether a run's descriptors are kept, or can be extracted within seconds."""
        is_small = len(self.data.query) + len(self.data.gallery) <= QUICK
        return is_small or ("descriptors", name) in self.kept or (self.runs[name].folder / "descriptors.npz").exists()

    def descriptors(self, name: str) -> tuple[Tensor, Tensor]:
        """A run's descriptors of queries and gallery: as it saved them, or extracted now, which may take minutes.

        Raises FileNotFoundError for a run that kept neither descriptors nor weights.
        """
        run = self.runs[name]
        return self._keep(("descriptors", name), lambda: rescoring.descriptors(run, self.data, log=self.log))

    def pairs(self, name: str) -> Pairs:
        """The distances of all pairs of a query and a gallery image."""
        return self._keep(("pairs", name), lambda: pair_distances(*self.descriptors(name), self.data))

    def boxes(self, name: str, query: int, gallery: int) -> np.ndarray | None:
        """The regions (2, 5, 4) of a query and a gallery image; None for a network that takes none."""
        by_split = self._keep(("boxes", name), lambda: boxes_of(self.runs[name].experiment, self.data))
        if by_split["query"] is None:
            return None
        return np.stack([by_split["query"][query], by_split["gallery"][gallery]])

    def _keep(self, key: tuple[str, str], make: Callable[[], object]):
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]


def open_session(
    dataset: str,
    data_root: str,
    runs: dict[str, Run],
    show_people: bool = False,
    before: Session | None = None,
) -> Session:
    """The session of a data set with some of its runs, by name.

    ``before`` is a session of the same ``data_root``: if it has the same data set, it is not read again, and what was
    computed is kept. Raises ValueError when there is no run or none fits this copy of the data set; as ``catalog.load``
    besides.
    """
    if not runs:
        raise ValueError("choose at least one run.")
    again = before if before and before.data.name == dataset else None
    data = again.data if again else catalog.load(dataset, data_root)
    reasons = {name: reason for name, run in runs.items() if (reason := tables.misfit(run, data))}
    fitting = {name: run for name, run in runs.items() if name not in reasons}
    if not fitting:
        raise ValueError(next(iter(reasons.values())))
    return Session(data, fitting, show_people, again.kept if again else {}, tuple(reasons.values()))


def first_choice(runs: dict[str, Run], count: int = 3) -> list[str]:
    """Names of the runs to begin with: the best of each paper, then the next ones, by mAP or else rank-1."""

    def score(name: str) -> float:
        metrics = runs[name].metrics
        return metrics["rank1"] if np.isnan(metrics["map"]) else metrics["map"]

    ranked = sorted(runs, key=score, reverse=True)
    papers = [runs[name].experiment.paper for name in ranked]
    turn = {name: papers[:place].count(papers[place]) for place, name in enumerate(ranked)}
    return sorted(ranked, key=turn.get)[:count]
