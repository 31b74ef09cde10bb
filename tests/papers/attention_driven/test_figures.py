"""Figures of the attention-driven network, and hiding one part at a time."""

import numpy as np
import pytest
import torch

from reidnb import pose
from reidnb.data import pixels
from reidnb.data.augment import MEAN, normalise
from reidnb.papers import PAPERS
from reidnb.papers.attention_driven import analysis
from reidnb.papers.attention_driven import figures as parts
from reidnb.papers.attention_driven.branches import PARTS, STRIPS
from reidnb.papers.attention_driven.network import AttentionDriven
from reidnb.papers.experiments import one_experiment
from reidnb.runs import boxes_of, load_model, run


@pytest.fixture(scope="module")
def finished(street_small):
    experiment = one_experiment(PAPERS["attention_driven"], {}, {"epochs": 1}, "street-small", "smoke")
    return run(experiment, street_small, cpu=True, log=lambda line: None)


def test_hide_fills_one_box_with_the_mean_colour():
    images = np.random.default_rng(0).integers(0, 100, (2, 64, 32, 3), dtype=np.uint8)
    boxes = np.tile(np.array(STRIPS, np.float32), (2, 1, 1))
    boxes[1, 2] = (0.25, 0.5, 0.75, 0.625)
    hidden = analysis.hide(images, boxes, "upper_body")
    changed = (hidden != images).any(-1)
    expected = np.zeros((2, 64, 32), bool)
    expected[0, 16:32], expected[1, 32:40, 8:24] = True, True
    assert (changed == expected).all()
    assert (hidden[expected] == np.rint(255 * np.array(MEAN))).all()
    assert (analysis.hide(images, boxes, "nothing") == images).all()
    assert normalise(torch.from_numpy(hidden))[0, :, 20, 5].abs().max() < 0.02  # what the network sees as nothing
    with pytest.raises(ValueError, match="part='arm': allowed are nothing, head, upper_body"):
        analysis.hide(images, boxes, "arm")


def test_weights_are_the_networks_mu():
    torch.manual_seed(0)
    model = AttentionDriven(3, (64, 32), "five-branch-eighth", regions="strips").eval()
    images = np.random.default_rng(0).integers(0, 255, (5, 64, 32, 3), dtype=np.uint8)
    boxes = np.tile(np.array(STRIPS, np.float32), (5, 1, 1))
    expected = model(normalise(torch.from_numpy(images))).maps["mu"].detach().numpy()
    np.testing.assert_allclose(analysis.weights(model, images, boxes, batch=2), expected, atol=1e-5)
    plain = AttentionDriven(3, (64, 32), "five-branch-eighth", fusion="concat")
    assert np.isnan(analysis.weights(plain, images, boxes)).all()


def test_study_of_hidden_parts(finished, street_small):
    frame = analysis.hidden_parts({"full": finished}, street_small)
    assert list(frame.hidden) == ["nothing", *PARTS]
    assert frame.rank1[0] == pytest.approx(finished.metrics["rank1"], abs=0.01)  # nothing hidden, nothing lost
    boxes = boxes_of(finished.experiment, street_small)["query"]
    images = pixels.decode(list(street_small.query.path), finished.experiment.recipe.size)
    model = load_model(finished, street_small)
    mu = analysis.weights(model, analysis.hide(images, boxes, "head"), boxes)
    np.testing.assert_allclose(frame.loc[1, [f"mu_{p}" for p in PARTS]].astype(float), mu.mean(0), atol=1e-5)
    bars = parts.occlusion(frame).axes[0].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], frame.rank1)
    without = frame.assign(**dict.fromkeys((f"mu_{p}" for p in PARTS), np.nan))  # of other fusions alone
    assert not parts.occlusion(without).axes[1].axison


def test_paste_scales_each_map_and_averages_overlaps():
    maps = np.array([[[0.0, 2.0]], [[5.0, 5.0]], [[1.0, 3.0]]])  # the second one is constant: all minimum
    boxes = np.array([[0, 0, 1, 0.5], [0, 0.5, 1, 1], [0, 0, 1, 0.25]])
    got = parts.paste(maps, boxes, (8, 2))
    np.testing.assert_allclose(got[:4], [[0, 1]] * 4)
    np.testing.assert_allclose(got[4:], 0)


def test_hardest_pairs_by_hand():
    score = np.array([[0.9, 0.2, 0.8], [0.7, 0.95, 0.1], [0.99, 0.3, 0.4]])
    allowed = np.array([[True, True, True], [True, False, True], [True, True, True]])
    # Row 2 with column 0 is the highest; row 0 is of another person, but column 0 is taken; (1, 1) is not allowed.
    assert analysis._highest(score, allowed, np.array([5, 6, 7]), 2) == ([2, 0], [0, 2])
    assert analysis._highest(score, allowed, np.array([5, 6, 5]), 3) == (
        [2, 1],
        [0, 2],
    )  # one of each pid, then no more


def test_hard_pairs_are_of_one_person_or_of_two(finished, street_small, monkeypatch):
    read = []
    monkeypatch.setattr(
        analysis,
        "read_images",
        lambda table, rows, size: (read.append((table, rows)), np.zeros((len(rows), *size, 3)))[1],
    )
    pairs = analysis.hard_pairs(finished, street_small, count=3)
    assert list(pairs) == ["same person", "other person", "misaligned"]
    for (queries, rows), (gallery, columns), name in zip(read[::2], read[1::2], pairs, strict=True):
        first, second = queries.iloc[rows], gallery.iloc[columns]
        assert ((first.pid.to_numpy() == second.pid.to_numpy()) == (name != "other person")).all()
        assert (first.camid.to_numpy() != second.camid.to_numpy()).all()
        assert len(rows) == first.pid.nunique() == 3


def test_parts_are_cut_at_the_networks_beta(street_small):
    _, boxes = analysis.misaligned(street_small, count=2)
    poses = pose.complete(pose.load(street_small)).query
    everybody = pose.as_fractions(pose.boxes(*poses, beta=5 / 48), poses.sizes)
    assert all((np.abs(everybody - box).max((1, 2)) < 1e-6).any() for box in boxes)


def test_every_figure_has_its_pictures(finished, street_small):
    assert len(parts.masks(*analysis.region_masks(finished, street_small, count=3)).axes) == 3 * 7
    assert len(parts.global_and_parts(*analysis.region_masks(finished, street_small, count=3)).axes) == 3 * (1 + 4 + 4)
    assert len(parts.hard_pairs(analysis.hard_pairs(finished, street_small, count=2)).axes) == 3 * 2 * 2
    assert len(parts.aligned(*analysis.misaligned(street_small, count=2)).axes) == 2 * (1 + 4 + 4)
    figure = parts.importance(*analysis.visibility(finished, street_small))
    counts = [sum(len(line.get_xdata()) for line in axes.lines[:-1]) for axes in figure.axes]
    assert counts == [len(street_small.query) + len(street_small.gallery)] * 4


def test_runs_without_pose_have_no_part_to_hide(street_small):
    strips = one_experiment(PAPERS["attention_driven"], {"regions": "strips"}, {"epochs": 1}, "street-small", "smoke")
    done = run(strips, street_small, cpu=True, log=lambda line: None)
    with pytest.raises(ValueError, match="the run 'strips' takes no parts by pose"):
        analysis.hidden_parts({"strips": done}, street_small)
