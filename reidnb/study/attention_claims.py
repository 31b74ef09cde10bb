"""What the papers claim of their attention, each claim as a test with an interval."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from ..evaluation.significance import bootstrap, statistics
from ..papers import PAPERS
from .attention import BASELINE, CAM, FULL
from .claims import AGAINST, HOLDS, TENDS_AGAINST, TENDS_TO_HOLD, UNDECIDED
from .disturbances import OTHER_CAMERA, OTHER_PLACE, by_value, kept

ENOUGH = 3
"""The trainings from which on their interval decides a claim."""
HIDDEN = 0.3
"""The fraction of the person that is hidden where a claim speaks of occlusion."""


@dataclass(frozen=True)
class Evidence:
    """What was measured: the frames of ``attention.look``, ``attention.branches``, ``disturbances.exchanged`` and
    ``disturbances.occluded``, each with a column seed."""

    looks: pd.DataFrame
    branches: pd.DataFrame
    exchanged: pd.DataFrame
    occluded: pd.DataFrame

    def by_seed(self) -> dict[int, "Evidence"]:
        """The evidence of each training."""
        frames = (self.looks, self.branches, self.exchanged, self.occluded)
        return {seed: Evidence(*(one[one.seed == seed] for one in frames)) for seed in self.looks.seed.unique()}


@dataclass(frozen=True)
class Claim:
    """One statement about attention, and how it is tested: it holds where the mean of ``values`` is positive."""

    paper: str
    text: str
    where: str
    tested: str
    values: Callable[[Evidence, str], pd.Series]
    """A function of one training's evidence and the paper that returns a value for each query, in percent or points."""


def _grad_cam(measure: str) -> Callable[[Evidence, str], pd.Series]:
    """By how much a measure of grad-cam is higher in the full network than in the baseline."""

    def values(evidence: Evidence, paper: str) -> pd.Series:
        rows = evidence.looks[(evidence.looks.paper == paper) & (evidence.looks.heat == CAM)]
        by_network = by_value(rows, "network", measure)
        return by_network[FULL] - by_network[BASELINE]

    return values


def _follows_less(evidence: Evidence, paper: str) -> pd.Series:
    """By how much less the full network's first ten images follow the wall than the baseline's."""
    rows = evidence.exchanged[evidence.exchanged.paper == paper]
    follows = {}
    for kind, group in rows.groupby("network"):
        taken = by_value(group, "background", "next camera")
        follows[kind] = taken[OTHER_CAMERA] - taken[OTHER_PLACE]
    return follows[BASELINE] - follows[FULL]


def _keeps_more(evidence: Evidence, paper: str) -> pd.Series:
    """By how much more of its mAP the full network keeps, the mean of both sides hidden."""
    rows = evidence.occluded[evidence.occluded.paper == paper]
    keeps = {BASELINE: [], FULL: []}
    for (kind, _), group in rows.groupby(["network", "side"]):
        ap = by_value(group, "amount")
        keeps[kind].append(kept(ap[HIDDEN], ap[0.0]))
    return sum(keeps[FULL]) / len(keeps[FULL]) - sum(keeps[BASELINE]) / len(keeps[BASELINE])


def _on_its_part(evidence: Evidence, paper: str) -> pd.Series:
    """How much more of each part's mask lies on its part than an even map in its box has there, the parts' mean."""
    branches = evidence.branches.dropna()
    return 100 * (branches["on its part"] - branches["even"]).groupby(branches["query"]).mean()


def _more_global(evidence: Evidence, paper: str) -> pd.Series:
    """How much more even the whole body's mask is in its box than the parts' in theirs, the parts' mean."""
    branches = evidence.branches.dropna()
    return 100 * (branches["body"] - branches["entropy"]).groupby(branches["query"]).mean()


CLAIMS = (
    Claim(
        "wrcanet",
        "'eliminate background-bias'",
        "section 1",
        "grad-cam on the person: full − baseline",
        _grad_cam("fraction on the person"),
    ),
    Claim(
        "wrcanet",
        "'eliminate background-bias'",
        "section 1",
        "the first ten follow the wall: baseline − full",
        _follows_less,
    ),
    Claim(
        "dranet",
        "D = B (1 - H): what B looks at is taken away, so other places must serve",
        "figure 3",
        "entropy of grad-cam on the person: full − baseline",
        _grad_cam("entropy on the person"),
    ),
    Claim(
        "dranet",
        "'invariant to [...] hard examples with complex deformation, occlusion'",
        "slide 'Challenge'",
        "mAP kept with 30 % of the person hidden: full − baseline",
        _keeps_more,
    ),
    Claim(
        "hybrid_attention",
        "'our model can focus on more discriminative regions than the baseline'",
        "section 4.4",
        "grad-cam points at the person: full − baseline",
        _grad_cam("points at the person"),
    ),
    Claim(
        "attention_driven",
        "'the spatial-wise attention attempts to focus on semantic-related regions'",
        "section 3.3",
        "a part's mask on its part: mask − even map in the box",
        _on_its_part,
    ),
    Claim(
        "attention_driven",
        "'whole-body images detects more global structures'",
        "section 4.4.1",
        "entropy of the masks: whole body − parts",
        _more_global,
    ),
    Claim(
        "attention_driven",
        "global attention is 'suboptimal' under 'local occlusion'; the network 'addresses' it",
        "section 2.3",
        "mAP kept with 30 % of the person hidden: full − baseline",
        _keeps_more,
    ),
)


def check(evidence: Evidence) -> pd.DataFrame:
    """A row for each claim: what is tested, the mean difference, its std and 95 % interval, and a verdict.

    The statistics are those of ``significance.statistics``. As in ``claims.checklist``, a claim about one training each
    can only tend to hold (the interval over its queries lies above 0), tend against (below 0), or stay undecided; from
    ``ENOUGH`` trainings on the interval over them decides whether it holds.
    """
    rows, trainings = [], evidence.by_seed().values()
    for claim in CLAIMS:
        values = [claim.values(one, claim.paper).dropna() for one in trainings]
        row = _described(claim) | statistics(values, "difference")
        rows.append(row | {"result": _verdict(row["low"], row["high"], len(values)), "seeds": len(values)})
    return pd.DataFrame(rows)


def by_training(evidence: Evidence) -> pd.DataFrame:
    """A row for each claim and training: the mean difference, and its 95 % bootstrap interval over the queries.

    ``clear`` says whether this interval excludes 0.
    """
    rows = []
    for claim in CLAIMS:
        for seed, one in evidence.by_seed().items():
            interval = bootstrap(claim.values(one, claim.paper).dropna())
            row = _described(claim) | {"seed": seed, "difference": interval.mean}
            row |= {"low": interval.low, "high": interval.high, "clear": interval.low > 0 or interval.high < 0}
            rows.append(row)
    return pd.DataFrame(rows)


def _described(claim: Claim) -> dict[str, str]:
    return {"paper": PAPERS[claim.paper].short, "claim": claim.text, "where": claim.where, "tested": claim.tested}


def _verdict(low: float, high: float, seeds: int) -> str:
    if seeds == 1:
        return TENDS_TO_HOLD if low > 0 else TENDS_AGAINST if high < 0 else UNDECIDED
    if seeds < ENOUGH:
        return UNDECIDED
    return HOLDS if low > 0 else AGAINST if high < 0 else UNDECIDED
