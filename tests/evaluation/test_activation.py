"""Measures of activation maps, against small examples computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.evaluation.activation import MEASURES, compare, evenness, fraction_inside, pointing


def test_fraction_inside_by_hand():
    maps = np.array([[[1, 2], [3, 4]], [[0, 0], [5, 0]], [[0, 0], [0, 0]]])
    masks = np.array([[[True, False], [False, True]], [[True, True], [False, True]], [[True, True], [True, True]]])
    np.testing.assert_array_equal(fraction_inside(maps, masks), [0.5, 0.0, np.nan])


def test_pointing_by_hand():
    mask = np.array([[True, True], [False, False]])
    maps = np.array([[[1, 3], [2, 2]], [[1, 2], [3, 0]], [[5, 0], [5, 5]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(pointing(maps, np.stack([mask] * 4)), [1, 0, 1 / 3, np.nan])


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_pointing_is_that_of_the_largest_pixel(seed):
    random = np.random.default_rng(seed)
    maps, masks = random.random((4, 5, 3)), random.random((4, 5, 3)) < 0.5
    direct = [mask[np.unravel_index(one.argmax(), one.shape)] for one, mask in zip(maps, masks, strict=True)]
    np.testing.assert_array_equal(pointing(maps, masks), np.array(direct, float))


def test_evenness_by_hand():
    one, even, half = np.zeros((4, 4)), np.full((4, 4), 0.3), np.zeros((4, 4))
    one[1, 2] = 7
    half[:2] = 0.1
    result = evenness(np.stack([one, even, half, np.zeros((4, 4))]))
    np.testing.assert_allclose(result, [0, 1, np.log(8) / np.log(16), np.nan], atol=1e-12)
    uneven = np.array([[[1.0, 3.0]]])
    assert evenness(uneven)[0] == pytest.approx(-(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)))


def test_evenness_inside_a_mask_is_that_of_the_crop():
    random = np.random.default_rng(0)
    maps, mask = random.random((3, 6, 4)), np.zeros((3, 6, 4), bool)
    mask[:, 1:4, 1:3] = True
    np.testing.assert_allclose(evenness(maps, mask), evenness(maps[:, 1:4, 1:3]))
    single = np.zeros((3, 6, 4), bool)
    single[:, 0, 0] = True
    assert np.isnan(evenness(maps, single)).all()


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_measures_lie_in_the_unit_interval_and_do_not_depend_on_scale(seed, scale):
    random = np.random.default_rng(seed)
    maps, masks = random.random((4, 5, 3)) ** 3, random.random((4, 5, 3)) < 0.6
    for result, scaled in (
        (fraction_inside(maps, masks), fraction_inside(scale * maps, masks)),
        (evenness(maps, masks), evenness(scale * maps, masks)),
    ):
        known = np.isfinite(result)
        assert ((result[known] >= 0) & (result[known] <= 1 + 1e-12)).all()
        np.testing.assert_allclose(result, scaled)


def test_compare_finds_the_map_on_the_person():
    random = np.random.default_rng(1)
    masks = np.zeros((40, 8, 4), bool)
    masks[:, 2:7, 1:3] = True  # 10 of 32 pixels
    noise = random.random((40, 8, 4))
    frame = compare({"blind": noise, "seeing": noise + 2 * masks, "narrow": noise**8}, masks)
    table = frame.set_index(["measure", "variant"])
    fraction, entropy = (table.loc[m] for m in MEASURES[:2])
    assert table.loc[(MEASURES[0], "an even map"), "mean"] == pytest.approx(100 * 10 / 32)
    assert fraction.loc["blind", "low"] < 100 * 10 / 32 < fraction.loc["blind", "high"]
    assert fraction.loc["seeing", "difference"] == pytest.approx(
        fraction.loc["seeing", "mean"] - fraction.loc["blind", "mean"]
    )
    assert fraction.loc["seeing", "difference"] > 30 and fraction.loc["seeing", "p"] < 0.001
    assert np.isnan(fraction.loc["blind", "difference"])
    assert entropy.loc["narrow", "high"] < entropy.loc["blind", "low"]
    assert (frame.low <= frame["mean"]).all() and (frame["mean"] <= frame.high).all()
    assert len(frame) == 1 + 3 * 3 and (frame.images == 40).all()


def test_images_without_activation_are_left_out_of_every_variant():
    masks = np.zeros((5, 2, 2), bool)
    masks[:, 0] = True
    maps, dark = np.ones((5, 2, 2)), np.ones((5, 2, 2))
    dark[3] = 0
    assert (compare({"a": maps, "b": dark}, masks).images == 4).all()
    with pytest.raises(ValueError, match="no image has activation"):
        compare({"a": np.zeros((5, 2, 2))}, masks)


def test_bad_maps_are_named():
    with pytest.raises(ValueError, match=r"one shape \(N, H, W\), got \(2, 3, 3\) and \(2, 3, 4\)"):
        fraction_inside(np.ones((2, 3, 3)), np.ones((2, 3, 4), bool))
    with pytest.raises(ValueError, match="nowhere negative"):
        evenness(-np.ones((2, 3, 3)))
