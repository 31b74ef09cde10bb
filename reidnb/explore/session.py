"""What the widgets share: the data set, its runs, and what was computed from them; nothing is drawn here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor, nn

from .. import rescoring
from ..data import catalog, pixels
from ..data.dataset import ReidData
from ..data.samples import SHOWN
from ..results import Run
from ..runs import boxes_of, load_model
from . import pictures, tables
from .distances import Pairs, pair_distances


@dataclass
class Session:
    """A data set with the finished runs that are looked at. Networks and descriptors are kept once they were needed."""

    data: ReidData
    runs: dict[str, Run]
    """By name, as ``tables.labels`` gives them."""
    show_people: bool = False
    """Whether pictures of real people are shown; those of a synthetic street always are."""
    scores: dict[str, pd.DataFrame] = field(default_factory=dict)
    _kept: dict = field(default_factory=dict)

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

    def descriptors(self, name: str) -> tuple[Tensor, Tensor]:
        """A run's descriptors of queries and gallery: as it saved them, or extracted now, which may take minutes.

        Raises FileNotFoundError for a run that kept neither descriptors nor weights.
        """
        return self._keep(("descriptors", name), lambda: rescoring.descriptors(self.runs[name], self.data))

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
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def open_session(
    dataset: str, data_root: str, results: Path, names: tuple[str, ...] = (), show_people: bool = False
) -> Session:
    """The session of a data set with its runs of these names, or else the first three.

    Raises ValueError when no run of the data set is finished or none fits this copy of it; as ``catalog.load`` besides.
    """
    known = tables.labels(tables.runs_of(results).get(dataset, []))
    if not known:
        raise ValueError(f"no finished run of {dataset} is in {results / 'runs'}: train one, for example in run.ipynb.")
    data = catalog.load(dataset, data_root)
    chosen = {name: known[name] for name in names or list(known)[:3] if name in known}
    reasons = {name: tables.misfit(run, data) for name, run in chosen.items()}
    fitting = {name: run for name, run in chosen.items() if not reasons[name]}
    if not fitting:
        raise ValueError(next(iter(reasons.values()), "choose at least one run."))
    return Session(data, fitting, show_people)
