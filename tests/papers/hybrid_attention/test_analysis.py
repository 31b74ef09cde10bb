"""Bad boxes by hand, and what each window carries."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reidnb import rescoring, runs, street
from reidnb.data import pixels
from reidnb.data.samples import SHOWN
from reidnb.evaluation import metrics
from reidnb.evaluation.scores import labels_of
from reidnb.models.losses import batch_hard_triplet
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.papers.hybrid_attention import analysis
from reidnb.papers.hybrid_attention.analysis import AMOUNTS, bad_boxes
from reidnb.training.recipe import epoch_batches


def directions(seed: int = 0, count: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1.0, 1.0], (count, 2))


def pictures(count: int = 8, height: int = 20, width: int = 10) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_shifted_boxes_show_the_image_elsewhere_and_repeat_its_edge():
    images = pictures()
    moved = bad_boxes(images, "shift", 0.2, np.random.default_rng(0))
    for image, got, (sx, sy) in zip(images, moved, directions(), strict=True):
        rows = np.clip(np.arange(20) + int(4 * sy), 0, 19)  # 0.2 of 20 rows, 0.2 of 10 columns
        columns = np.clip(np.arange(10) + int(2 * sx), 0, 9)
        np.testing.assert_array_equal(got, image[rows][:, columns])
    assert len(np.unique(directions(), axis=0)) == 4  # all four corners were tried


def test_scaled_boxes_are_larger_or_smaller_about_the_centre():
    ramp = np.broadcast_to(np.arange(20, dtype=np.uint8)[None, :, None, None] * 10, (8, 20, 10, 3)).copy()
    scaled = bad_boxes(ramp, "scale", 0.25, np.random.default_rng(0)).astype(float)
    for got, sign in zip(scaled, directions()[:, 0], strict=True):
        factor = 1.25**sign
        place = (np.arange(20) + 0.5 - 10) * factor + 10 - 0.5  # the row that is seen at each row
        np.testing.assert_allclose(got[:, 5, 0], np.clip(place, 0, 19) * 10, atol=0.51)
    assert len(set(directions()[:, 0])) == 2


def test_misfits_pair_a_person_with_the_most_different_box(street_small):
    """Every pair by a loop over queries and gallery images of the same person from another camera."""
    nose, ankles = street.JOINTS.index("nose"), [street.JOINTS.index(f"{side} ankle") for side in ("left", "right")]

    def heights(folder: str) -> dict[str, np.ndarray]:
        truth = street.truth(street_small.root, folder)
        y = truth.joints[..., 1] / truth.masks.shape[1]
        return {n: np.array([at[nose], at[ankles].mean()]) for n, at in zip(truth.names, y, strict=True)}

    query, gallery = heights("query"), heights("bounding_box_test")
    best: dict[int, tuple] = {}
    for q in street_small.query.itertuples():
        for g in street_small.gallery.itertuples():
            if g.pid == q.pid and g.camid != q.camid:
                apart = np.abs(query[Path(q.path).name] - gallery[Path(g.path).name]).sum()
                best[q.pid] = max(best.get(q.pid, (-1,)), (apart, q.path, g.path))
    expected = sorted(best.values(), reverse=True)[:2]
    images = analysis.misfits(street_small, count=2)
    assert images.shape == (4, *SHOWN, 3)
    np.testing.assert_array_equal(images, pixels.read([path for _, *pair in expected for path in pair], SHOWN))
    with pytest.raises(ValueError, match="market1501 does not tell where people stand"):
        analysis.misfits(replace(street_small, name="market1501"))


@pytest.mark.parametrize("kind", ["shift", "scale"])
def test_no_amount_changes_nothing(kind):
    images = pictures()
    np.testing.assert_array_equal(bad_boxes(images, kind, 0.0, np.random.default_rng(0)), images)


def test_wrong_boxes_are_named():
    with pytest.raises(ValueError, match="kind='turn': allowed are 'shift', 'scale'"):
        bad_boxes(pictures(), "turn", 0.1, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"in \[0, 1\), got 1.5"):
        bad_boxes(pictures(), "shift", 1.5, np.random.default_rng(0))


@pytest.fixture(scope="module")
def finished(street_small):
    experiment = one_experiment(PAPERS["hybrid_attention"], {"width": 16}, {"epochs": 1}, "street-small", "smoke")
    return runs.run(experiment, street_small, log=lambda line: None, cpu=True)


def test_box_analysis_begins_at_the_runs_own_numbers_and_is_kept(finished, street_small, monkeypatch):
    monkeypatch.setattr(analysis, "AMOUNTS", (0.0, 0.25))
    frame = analysis.boxes(finished, street_small)
    assert list(frame.kind) == ["shift", "shift", "scale", "scale"] and AMOUNTS[0] == 0
    for _, line in frame[frame.amount == 0].iterrows():
        assert line.rank1 == finished.metrics["rank1"] and line["map"] == finished.metrics["map"]
    assert (frame[frame.amount > 0]["map"] != finished.metrics["map"]).all()
    monkeypatch.setattr(analysis, "descriptors", lambda *a, **k: pytest.fail("measured again"))
    assert analysis.boxes(finished, street_small).equals(frame)


def test_each_windows_part_of_the_descriptor_is_scored_alone(finished, street_small):
    frame = analysis.windows(finished, street_small)
    assert len(frame) == 21 and tuple(frame.iloc[-1][["first", "last"]]) == (0, 6)
    alone = [
        torch.nn.functional.normalize(x[:, 7 * 16 : 8 * 16]) for x in rescoring.descriptors(finished, street_small)
    ]
    scores = metrics.evaluate(*alone, **labels_of(street_small))
    assert frame["map"][7] == pytest.approx(100 * scores.map, abs=1e-3)
    assert frame["rank1"][7] == pytest.approx(100 * scores.rank(1), abs=1e-3)


def test_distance_between_identities_by_hand():
    features = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    labels = [0, 0, 1, 2, 1]
    pairs = [(a, b) for a in range(5) for b in range(5) if labels[a] != labels[b]]
    expected = np.mean([np.linalg.norm(x[a] - x[b]) for x in features for a, b in pairs])
    got = analysis.distance_between_identities(torch.tensor(features), torch.tensor(labels))
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("compared", ["fc", "bn"])
def test_watched_distances_are_those_of_the_training(compared, street_small):
    """The first step by a direct computation, the triplet losses against the history of the same training."""
    options = {"width": 16, "compared": compared}
    experiment = one_experiment(PAPERS["hybrid_attention"], options, {"epochs": 2}, "street-small", "smoke")
    frame = analysis.watch_distances(experiment, street_small, steps=2)
    each = len(epoch_batches(experiment.recipe, street_small.train_labels, 0, 0))
    once = replace(experiment, recipe=replace(experiment.recipe, epochs=-(-2 // each)))
    trained = runs.run(once, street_small, log=lambda line: None, cpu=True).history
    assert frame.triplet[:each].mean() == pytest.approx(trained.loss_triplet[0], rel=1e-4)
    assert list(frame.step) == list(range(1, len(frame) + 1))
    # Batch normalisation gives D numbers of variance 1, whose mean squared distance is 2 D.
    assert frame.after[0] == pytest.approx((2 * 16) ** 0.5, rel=0.15) and frame.before[0] < 0.75 * frame.after[0]


def test_batch_hard_loss_of_mixed_features_falls_to_its_margin_as_they_contract():
    """Why the loss contracts: scaled by s it is margin + s (farthest positive - nearest negative)."""
    features, labels = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)), torch.arange(64) // 4
    losses = [batch_hard_triplet(features * s, labels, 1.0).item() for s in (1.0, 0.5, 0.1, 0.0)]
    slope = losses[0] - 1
    assert slope > 0 and losses == pytest.approx([1 + s * slope for s in (1.0, 0.5, 0.1, 0.0)], abs=1e-4)


def test_section_4_3_in_print_fails_once():
    """Numbers as they stand in tables 2 to 5."""
    frame = analysis.against_cited().set_index(["data set", "metric"])
    assert [where for where, one in frame.iterrows() if one["borne out"] == "no"] == [("cuhk03np-detected", "rank-1")]
    detected, market = frame.loc[("cuhk03np-detected", "rank-1")], frame.loc[("market1501", "rank-1")]
    assert (detected["this paper"], detected["best cited"], detected.place) == ("77.5", "GCP 77.9", 2)
    assert (market["this paper"], market["best cited"], market.place) == ("95.7", "MGN 95.7", 1)
    assert frame.loc[("market1501", "mAP")].place == 3  # GCP 88.0, RGA-CS 87.8, ours 87.7
    assert frame.loc[("msmt17", "mAP"), "best cited"] == "ABDNet 60.8"


def test_contents_name_what_each_row_of_table_6_has():
    frame = analysis.contents(PAPERS["hybrid_attention"].table("table6")).set_index("row")
    assert list(frame.index) == ["Baseline", "+ Bag of Tricks", "+ MPFE", "+ MGO", "+ SAM", "+ CAM"]
    assert list(frame["last stride"]) == ["2", "2", "1", "1", "1", "1"]
    assert list(frame["triplet loss"].ne("")) == [False, False, True, True, True, True]
    assert list(frame.stages) == ["4", "4", "4", "4", "1234", "1234"]
    assert list(frame.SAM.ne("")) == [False] * 4 + [True] * 2 and list(frame.CAM.ne("")) == [False] * 5 + [True]
    tricks = frame[["label smoothing", "random erasing", "warm-up"]].ne("")
    assert not tricks.iloc[0].any() and tricks.iloc[1:].all(axis=None)
