"""Uncertainty of a score: over the choice of queries, or over the randomness of training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit  # importing scipy.stats would cost every job a second


@dataclass(frozen=True)
class Interval:
    """A mean, over queries or over seeds, and its confidence interval."""

    mean: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class PairedTest:
    """Mean of a - b over queries, and its two-sided p-value."""

    difference: float
    p_value: float


def bootstrap(values: ArrayLike, *, seed: int = 0, repeats: int = 2000, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval (Efron 1979) of a mean over queries.

    values (queries,): `scores.ap` for mAP, `scores.first_rank <= 1` for rank-1. The interval covers the choice of
    queries, not the training seed.
    """
    values = _values("values", values)
    if repeats < 1 or not 0 < level < 1:
        raise ValueError(f"expected repeats >= 1 and 0 < level < 1, found repeats {repeats} and level {level}")
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(repeats)]
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(values.mean()), float(low), float(high), level)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, seed: int = 0, repeats: int = 2000, level: float = 0.95
) -> Interval:
    """`bootstrap` of a - b for two runs on the same queries, a and b (queries,), for example both `ap`."""
    return bootstrap(np.subtract(*_pair(a, b)), seed=seed, repeats=repeats, level=level)


def over_seeds(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Student's t interval (1908) of the mean over training runs that differ only in their seed.

    values (seeds,), at least two: a score of each run, or the difference of two runs with the same seed. The
    interval covers the randomness of training, not the choice of queries.
    """
    values = _values("values", values)
    if len(values) < 2 or not 0 < level < 1:
        raise ValueError(f"expected two seeds or more and 0 < level < 1, found {len(values)} and level {level}")
    half_width = stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return Interval(float(values.mean()), float(values.mean() - half_width), float(values.mean() + half_width), level)


def statistics(values: Sequence[ArrayLike], mean: str = "mean") -> dict[str, float]:
    """The mean over queries, from the values (queries,) of each of one or several trainings: mean, std, low, high.

    The 95 % interval from ``low`` to ``high`` is that of `over_seeds`, and ``std`` that of the trainings' means. Of a
    single training the interval is the `bootstrap` over its queries, and ``std`` is NaN. ``mean`` names the mean.
    """
    means = [np.mean(of_training) for of_training in values]
    interval = bootstrap(values[0]) if len(values) == 1 else over_seeds(means)
    std = float(np.std(means, ddof=1)) if len(values) > 1 else np.nan
    return {mean: interval.mean, "std": std, "low": interval.low, "high": interval.high}


def covers(seeds: int) -> str:
    """A sentence for captions: over what the intervals of `statistics` are, of so many trainings."""
    if seeds == 1:
        return "The 95 % intervals are over the queries of one training (seed 0), not over trainings."
    return f"Means and 95 % intervals (Student's t) are over {seeds} trainings, seeds 0 to {seeds - 1}."


def paired_test(a: ArrayLike, b: ArrayLike, *, seed: int = 0, repeats: int = 10_000) -> PairedTest:
    """Sign-flip permutation test between two runs on the same queries, a and b (queries,), for example both `ap`.

    Under the null hypothesis the sign of each query's difference is arbitrary (Fisher 1935).
    """
    a, b = _pair(a, b)
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, found {repeats}")
    difference = a - b
    rng = np.random.default_rng(seed)
    observed = abs(difference.sum())
    flips = [abs(difference @ (2.0 * rng.integers(2, size=len(a)) - 1)) for _ in range(repeats)]
    # The tolerance lets sums that differ only by rounding count as equal.
    extreme = np.count_nonzero(np.array(flips) >= observed - 1e-9 * np.abs(difference).sum())
    return PairedTest(float(difference.mean()), (1 + extreme) / (1 + repeats))


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _values("a", a), _values("b", b)
    if len(a) != len(b):
        raise ValueError(f"the runs must be scored on the same queries, found {len(a)} and {len(b)} values")
    return a, b


def _values(name: str, values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"{name} must be a list of finite numbers, one for each query, and not empty")
    return values
