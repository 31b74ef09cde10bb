"""Bootstrap intervals and the paired test, against exact small cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.evaluation.significance import bootstrap, over_seeds, paired_bootstrap, paired_test, statistics


def test_interval_of_a_fraction():
    """Rank-1 of 0.5 over 400 queries: the normal interval is 0.5 -+ 1.96 * 0.025."""
    result = bootstrap(np.arange(400) % 2 == 0)
    assert result.mean == 0.5
    assert result.low == pytest.approx(0.451, abs=0.006)
    assert result.high == pytest.approx(0.549, abs=0.006)
    assert result.level == 0.95


def test_interval_is_seeded_and_grows_with_the_level():
    values = np.random.default_rng(0).random(50)
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)
    narrow, wide = bootstrap(values, level=0.5), bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_interval_of_a_constant():
    result = bootstrap([0.25] * 8)
    assert (result.mean, result.low, result.high) == (0.25, 0.25, 0.25)


def test_paired_test_equals_all_sign_flips():
    difference = np.array([0.3, 0.1, -0.05, 0.2, 0.15, -0.1, 0.25, 0.05])
    b = np.linspace(0.2, 0.6, 8)
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    exact = np.mean(np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12)
    result = paired_test(b + difference, b)
    assert result.difference == pytest.approx(difference.mean())
    assert result.p_value == pytest.approx(exact, abs=0.01)


def test_paired_test_is_symmetric_and_seeded():
    a, b = np.random.default_rng(0).random((2, 30))
    forth, back = paired_test(a, b, seed=1), paired_test(b, a, seed=1)
    assert forth.p_value == back.p_value
    assert forth.difference == -back.difference
    assert forth == paired_test(a, b, seed=1)


def test_equal_runs_do_not_differ():
    result = paired_test([0.5, 0.7, 0.1], [0.5, 0.7, 0.1])
    assert (result.difference, result.p_value) == (0, 1)


def test_paired_interval_is_that_of_the_differences():
    """The same queries are hard for both runs, so the difference varies less than either score."""
    b = np.random.default_rng(0).random(200)
    a = b + np.linspace(0.05, 0.15, 200)
    result = paired_bootstrap(a, b)
    assert (result.mean, result.low, result.high) == pytest.approx((0.1, 0.1, 0.1), abs=0.006)
    assert bootstrap(a).high - bootstrap(a).low > 10 * (result.high - result.low)


def test_interval_over_seeds_by_hand():
    """1, 2, 3: mean 2, standard deviation 1, and Student's t with 2 degrees of freedom is 4.303 at 95 %."""
    result = over_seeds([1, 2, 3])
    assert (result.mean, result.low, result.high) == pytest.approx(
        (2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4
    )


FRACTIONS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30)


@settings(max_examples=10, deadline=None)
@given(FRACTIONS, st.floats(-1, 1))
def test_intervals_hold_the_mean_and_move_with_the_values(pairs, shift):
    a, b = np.array(pairs).T
    for interval in (lambda a, b: paired_bootstrap(a, b, repeats=200), lambda a, b: over_seeds(a - b)):
        result, moved, back = interval(a, b), interval(a + shift, b), interval(b, a)
        assert result.low - 1e-12 <= result.high
        assert result.mean == pytest.approx((a - b).mean(), abs=1e-12)
        assert (moved.low, moved.high) == pytest.approx((result.low + shift, result.high + shift), abs=1e-9)
        assert (back.low, back.high) == pytest.approx((-result.high, -result.low), abs=1e-9)
        assert (a - b).min() - 1e-12 <= result.mean <= (a - b).max() + 1e-12
    assert (a - b).min() - 1e-12 <= paired_bootstrap(a, b, repeats=200).low


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap([]), "values must be a list of finite numbers, one for each query, and not empty"),
        (lambda: bootstrap([1, np.nan]), "values must be a list of finite numbers"),
        (lambda: bootstrap([1, 2], level=1), "0 < level < 1, found repeats 2000 and level 1"),
        (lambda: paired_test([1, 2], [1]), "the runs must be scored on the same queries, found 2 and 1 values"),
        (lambda: paired_test([1, 2], [1, 3], repeats=0), "repeats must be at least 1, found 0"),
        (lambda: paired_bootstrap([1, 2], [1]), "the runs must be scored on the same queries, found 2 and 1 values"),
        (lambda: over_seeds([1]), "expected two seeds or more and 0 < level < 1, found 1 and level 0.95"),
        (lambda: paired_test([[1]], [1]), "a must be a list of finite numbers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_several_trainings_have_a_mean_a_std_and_a_t_interval():
    """Against the formulas, with the quantile of t with 2 degrees of freedom from a table."""
    random = np.random.default_rng(0)
    values = [random.random(40) + shift for shift in (0, 0.1, 0.4)]
    means = [sum(each) / 40 for each in values]
    mean = sum(means) / 3
    std = (sum((x - mean) ** 2 for x in means) / 2) ** 0.5
    half = 4.302653 * std / 3**0.5
    expected = {"mean": mean, "std": std, "low": mean - half, "high": mean + half}
    assert statistics(values) == pytest.approx(expected, rel=1e-6)
    alone = statistics(values[:1], "map")
    assert alone["map"] == pytest.approx(means[0]) and np.isnan(alone["std"])
    assert alone["low"] < means[0] < alone["high"]
