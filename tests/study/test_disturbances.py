"""Queries with another background or a hidden part: the images, the scores, and the tests of what papers claim."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.evaluation import metrics
from reidnb.evaluation.scores import labels_of
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.rescoring import descriptors
from reidnb.runs import run as train
from reidnb.study import attention_claims, disturbances
from reidnb.study.attention import BASELINE, CAM, FULL
from reidnb.study.disturbances import AS_IT_IS, OTHER_CAMERA, OTHER_PLACE


@pytest.fixture(scope="module")
def run(street_small):
    experiment = one_experiment(PAPERS["wrcanet"], {}, {}, "street-small", "smoke")
    return train(experiment, street_small, log=lambda line: None)


def test_next_camera_goes_round():
    assert disturbances.next_camera([1, 3, 4, 1]).tolist() == [3, 4, 1, 3]


def test_only_the_background_is_exchanged(street_small):
    images, masks = disturbances.queries_of(street_small)
    variants = disturbances.with_backgrounds(street_small)
    assert np.array_equal(variants[AS_IT_IS], images)
    for name in (OTHER_PLACE, OTHER_CAMERA):
        assert np.array_equal(variants[name][masks], images[masks])
        assert (variants[name][~masks] != images[~masks]).any(1).mean() > 0.9
    with pytest.raises(ValueError, match="images and backgrounds have the masks' shape"):
        disturbances.pasted(images, masks, images[:, 1:])


def test_hide_by_hand():
    images, masks = np.zeros((1, 5, 2, 3), np.uint8), np.zeros((1, 5, 2), bool)
    masks[0, 1:] = [[True, False], [True, True], [False, True], [True, False]]  # 1, 2, 1, 1 of 5 pixels
    for side, amount, expected in (("top", 0, []), ("top", 0.2, [0, 1]), ("top", 0.3, [0, 1, 2])):
        hidden = disturbances.hide(images, masks, amount, side)
        assert np.flatnonzero(hidden[0].any((1, 2))).tolist() == expected
    assert np.flatnonzero(disturbances.hide(images, masks, 0.4, "bottom")[0].any((1, 2))).tolist() == [3, 4]
    assert disturbances.hide(images, masks, 1, "bottom")[0, 1, 0].tolist() == [124, 116, 104]
    with pytest.raises(ValueError, match="side='left': allowed are 'bottom', 'top'"):
        disturbances.hide(images, masks, 0.4, "left")
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 2"):
        disturbances.hide(images, masks, 2)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 1), st.sampled_from(disturbances.SIDES))
def test_at_least_the_amount_is_hidden_and_no_row_more(seed, amount, side):
    masks = np.random.default_rng(seed).random((3, 9, 4)) < 0.4
    hidden = disturbances.hide(np.zeros((3, 9, 4, 3), np.uint8), masks, amount, side).any((2, 3))
    for rows, mask in zip(hidden, masks, strict=True):
        rows, in_row = (rows, mask.sum(1)) if side == "top" else (rows[::-1], mask.sum(1)[::-1])
        count = rows.sum()
        assert rows[:count].all()  # from the side, without a gap
        assert in_row[:count].sum() >= amount * in_row.sum() - 1e-9
        assert count == 0 or in_row[: count - 1].sum() < amount * in_row.sum()


def test_scores_are_those_of_the_evaluation(run, street_small):
    images, _ = disturbances.queries_of(street_small)
    frame = disturbances.score_queries(run, street_small, {"as it is": images})["as it is"]
    query, gallery = descriptors(run, street_small)
    scores = metrics.evaluate(query, gallery, **labels_of(street_small))
    assert frame.ap.mean() == pytest.approx(scores.map, abs=0.03)  # files are decoded at another size
    first = frame["query"].iloc[0]
    top = metrics.ranking(query, gallery, **labels_of(street_small), top=10)[first]
    after = disturbances.next_camera(street_small.query.camid)[first]
    pid, camids = street_small.query.pid[first], street_small.gallery.camid.to_numpy()
    assert frame["next camera"].iloc[0] == pytest.approx((camids[top] == after).mean(), abs=0.11)
    there = street_small.gallery[(street_small.gallery.pid == pid) & (street_small.gallery.camid == after)]
    assert frame["seen there"].iloc[0] == (len(there) > 0)


def test_kept_is_the_ratio_of_the_means_and_its_interval_that_of_a_ratio():
    random = np.random.default_rng(0)
    before = pd.Series(random.random(300))
    after = before * random.random(300)
    values = disturbances.kept(after, before)
    assert values.mean() == pytest.approx(100 * after.mean() / before.mean())
    samples = [random.integers(300, size=300) for _ in range(2000)]
    ratios = [100 * after[rows].mean() / before[rows].mean() for rows in samples]
    assert values.std() / 300**0.5 == pytest.approx(np.std(ratios), rel=0.1)
    with pytest.raises(ValueError, match="the mAP of the undisturbed queries is 0"):
        disturbances.kept(after, 0 * before)


def exchanged_by_hand() -> pd.DataFrame:
    """Two queries of each network: the baseline ignores the wall; the full network's first ten follow it."""
    rows = []
    for kind, after in ((BASELINE, 0.3), (FULL, 0.5)):
        for name, taken, ap in ((AS_IT_IS, 0.3, 0.6), (OTHER_PLACE, 0.3, 0.5), (OTHER_CAMERA, after, 0.4)):
            for query, seen in enumerate((True, False)):
                row = {"paper": "wrcanet", "network": kind, "seed": 0, "background": name}
                row |= {"query": query, "ap": ap + 0.1 * query}
                rows.append(row | {"next camera": taken, "seen there": seen})
    return pd.DataFrame(rows)


def test_background_table_by_hand():
    table = disturbances.background_table(exchanged_by_hand()).set_index(["network", "measure"])
    follows = table.loc[(FULL, "follows")]
    assert (follows["from"], follows["to"], follows.change) == pytest.approx((30, 50, 20))
    assert table.loc[(BASELINE, "follows"), "change"] == 0
    seen, other = table.loc[(FULL, "mAP, person seen there")], table.loc[(FULL, "mAP, not seen")]
    assert (seen["from"], other["from"], seen.change, seen.queries) == pytest.approx((50, 60, -10, 1))


def occluded_by_hand() -> pd.DataFrame:
    rows = [
        {"paper": paper, "network": kind, "seed": 0, "side": side, "amount": amount, "query": query}
        | {"ap": 0.5 * fraction}
        for paper in ("dranet", "attention_driven")
        for kind, low in ((BASELINE, 0.4), (FULL, 0.6))
        for side in disturbances.SIDES
        for amount, fraction in ((0.0, 1.0), (0.3, low))
        for query in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_occlusion_table_by_hand():
    table = disturbances.occlusion_table(occluded_by_hand()).set_index(["paper", "network", "side", "hidden"])
    row = table.loc[(PAPERS["dranet"].short, FULL, "top", 30)]
    assert (row["mAP"], row.kept, row.low, row.high) == pytest.approx((30, 60, 60, 60))


def evidence_by_hand() -> attention_claims.Evidence:
    measures = {"fraction on the person": 0.1, "points at the person": 0.2, "entropy on the person": -0.3}
    looks = pd.DataFrame(
        {"paper": paper, "network": kind, "seed": 0, "heat": CAM, "query": query}
        | {name: 0.5 + (change if kind == FULL else 0) for name, change in measures.items()}
        for paper in PAPERS
        for kind in (BASELINE, FULL)
        for query in (0, 1)
    )
    branches = pd.DataFrame(
        {"query": [0, 0, 1, 1], "seed": 0, "part": ["head", "lower legs"] * 2, "entropy": 0.9, "body": 0.8}
        | {"on its part": [0.5, 0.3, 0.5, 0.3], "even": 0.3}
    )
    return attention_claims.Evidence(looks, branches, exchanged_by_hand(), occluded_by_hand())


BY_HAND = [10, -20, -30, 20, 20, 10, -10, 20]


def test_claims_by_hand():
    table = attention_claims.check(evidence_by_hand())
    assert table.difference.tolist() == pytest.approx(BY_HAND)
    results = ["tends to hold (1 seed)" if value > 0 else "tends against (1 seed)" for value in table.difference]
    assert table.result.tolist() == results
    assert (table.seeds == 1).all()


def trainings(*differences: float) -> attention_claims.Evidence:
    """The evidence by hand of several trainings, each with a difference of its own in the first claim, in points."""
    one = evidence_by_hand()
    looks = []
    for seed, difference in enumerate(differences):
        full = (one.looks.network == FULL) & (one.looks.paper == "wrcanet")
        value = one.looks["fraction on the person"].where(~full, 0.5 + difference / 100)
        looks.append(one.looks.assign(seed=seed, **{"fraction on the person": value}))
    rest = [
        pd.concat([frame.assign(seed=seed) for seed in range(len(differences))])
        for frame in (one.branches, one.exchanged, one.occluded)
    ]
    return attention_claims.Evidence(pd.concat(looks), *rest)


@pytest.mark.parametrize(
    ("differences", "result"),
    [((10, 11, 12), "holds"), ((1, 2, 30), "undecided"), ((-9, -10, -11), "against"), ((10, 11), "undecided")],
)
def test_from_three_trainings_on_their_interval_decides(differences, result):
    first = attention_claims.check(trainings(*differences)).iloc[0]
    assert first.difference == pytest.approx(np.mean(differences))
    assert first["std"] == pytest.approx(np.std(differences, ddof=1))
    assert (first.result, first.seeds) == (result, len(differences))


def test_each_training_has_its_difference_and_interval():
    table = attention_claims.by_training(trainings(5, -3))
    first = table[(table.paper == "WRCANet") & table.tested.str.startswith("grad-cam")]
    assert first.seed.tolist() == [0, 1] and first.difference.tolist() == pytest.approx([5, -3])
    assert first.clear.all() and (table.low <= table.difference).all() and (table.difference <= table.high).all()


def test_tables_of_several_trainings_have_their_mean_and_std():
    one = exchanged_by_hand()
    more = one.assign(seed=1, **{"next camera": one["next camera"].where(one.background != OTHER_CAMERA, 0.7)})
    table = disturbances.background_table(pd.concat([one, more])).set_index(["network", "measure"])
    follows = table.loc[(FULL, "follows")]
    assert (follows["to"], follows.change, follows.seeds) == pytest.approx((60, 30, 2))
    assert follows["std"] == pytest.approx(np.std([20, 40], ddof=1))
    half = 12.706205 * follows["std"] / 2**0.5  # t with one degree of freedom
    assert (follows.low, follows.high) == pytest.approx((30 - half, 30 + half), rel=1e-5)
    less = occluded_by_hand()
    less = less.assign(seed=1, ap=less.ap.where(less.amount == 0, 0.1))
    kept = disturbances.occlusion_table(pd.concat([occluded_by_hand(), less]))
    row = kept.set_index(["paper", "network", "side", "hidden"]).loc[(PAPERS["dranet"].short, FULL, "top", 30)]
    assert (row.kept, row["mAP"], row.seeds) == pytest.approx((40, 20, 2)) and row["std"] == pytest.approx(40 / 2**0.5)
