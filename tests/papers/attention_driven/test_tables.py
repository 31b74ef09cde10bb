"""The attention-driven network's tables, its runs with boxes, and table 12."""

import inspect
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from reidnb import pose, rescoring
from reidnb.evaluation import metrics
from reidnb.evaluation.scores import labels_of
from reidnb.papers import PAPERS
from reidnb.papers.attention_driven import cost, readings
from reidnb.papers.attention_driven import tables as attention_driven
from reidnb.papers.attention_driven.network import AttentionDriven
from reidnb.papers.experiments import experiments, key, one_experiment
from reidnb.rescoring import by_region
from reidnb.runs import boxes_of, run
from reidnb.study.comparison import beside_published
from reidnb.training.recipe import learning_rate

QUIET = {"log": lambda line: None, "cpu": True}


def smoke(**options):
    return one_experiment(PAPERS["attention_driven"], options, {"epochs": 1}, "street-small", "smoke")


@pytest.fixture(scope="module")
def finished(street_small):
    return run(smoke(), street_small, **QUIET)


def test_every_reading_of_the_ledger_is_an_option():
    signature = inspect.signature(AttentionDriven).parameters
    for reading in readings.READINGS:
        if reading.of == "study":
            assert not reading.alternatives and reading.option not in signature
        if reading.of != "network":
            continue
        assert signature[reading.option].default == reading.default
        for value in reading.alternatives:
            AttentionDriven(3, (64, 32), "five-branch-eighth", **{reading.option: value})


def test_sizes_that_the_ledger_states():
    """Section 3.3.2: the decomposition saves parameters only against a 3x3 convolution."""
    why = next(reading.why for reading in readings.READINGS if reading.option == "undecomposed")
    sizes = []
    for options in ({"decomposed": False}, {}, {"decomposed": False, "undecomposed": "1x1"}):
        with torch.device("meta"):
            parameters, operations = cost.parameters_and_operations(AttentionDriven(1, **options).eval())
        sizes += [f"{parameters:.2f} million", f"{operations / 1e9:.2f}e9"]
    assert sizes == ["15.08 million", "4.06e9", "10.29 million", "2.70e9", "9.57 million", "2.70e9"]
    assert all(size.removesuffix(" million") in why for size in sizes)
    # By hand: 3x3 instead of S (3x3, one map), C and the 1x1 convolution, each with what follows it.
    body = [128, 256, 512]
    full = sum(9 * c * c + 9 * 4 * (c // 2) ** 2 for c in body)
    pointwise = sum(c * c + 4 * (c // 2) ** 2 for c in body)
    spatial = sum(9 * c + 2 + 4 * (9 * c // 2 + 2) for c in body)  # S and its normalisation
    normalised = sum(2 * c + 4 * c for c in body)  # C's normalisation
    assert full - (2 * pointwise + spatial + normalised) == pytest.approx(1e6 * (15.0766 - 10.2893), abs=100)


def test_training_is_as_stated():
    experiment = one_experiment(PAPERS["attention_driven"], {}, {}, "market1501", "paper")
    recipe = experiment.recipe
    assert (experiment.backbone, experiment.weights) == ("five-branch", "imagenet")
    assert (recipe.batch, recipe.epochs, recipe.optimizer, recipe.lr) == (32, 100, "sgd", 0.01)
    rates = [learning_rate(recipe, epoch) for epoch in (0, 39, 40, 79, 80, 99)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_tuned_values_are_the_data_sets_own():
    rows = {
        dataset: experiments(PAPERS["attention_driven"], "table6", dataset, "paper")[-1][1].options
        for dataset in ("market1501", "dukemtmc", "cuhk03-detected")
    }
    assert rows["market1501"] == rows["dukemtmc"] == {"intra_weight": 0.1, "beta": 0.0625}
    assert rows["cuhk03-detected"] == {"intra_weight": 0.2, "beta": 0.0625}


def test_rows_of_several_tables_are_one_run(street_small):
    """Table 6's Intra+inter is also a row of tables 7, 8, 10 and 11; Aligned and Inter are rows of table 9."""

    def keys(table):
        result = experiments(PAPERS["attention_driven"], table, "street-small", "smoke")
        return {row.name: key(experiment, street_small) for row, experiment in result}

    six, nine = keys("table6"), keys("table9")
    assert six["Intra+inter"] == keys("table8")["With attention decomposition"] == keys("table10")["lambda=0.5"]
    assert six["Intra+inter"] == keys("table11")["beta=5H/48"] == keys("table7")["Head (with intra-attention)"]
    assert six["Aligned"] == nine["Concatenation"] and six["Inter"] == nine["Inter-attention"]
    assert len(set(keys("table7").values())) == 2
    assert len(set(keys("table10").values())) == 11 and len(set(keys("table11").values())) == 7


def test_boxes_are_the_poses_at_the_experiments_beta(street_small):
    poses = pose.complete(pose.load(street_small))
    for beta in (0.0, 0.1):
        boxes = boxes_of(smoke(beta=beta), street_small)
        expected = pose.boxes(*poses.query, beta=beta) / np.array([32, 64, 32, 64])
        np.testing.assert_allclose(boxes["query"], expected, atol=1e-6)
    assert boxes["train"].shape == (len(street_small.train), 5, 4) and boxes["train"].dtype == np.float32
    assert boxes_of(smoke(regions="strips"), street_small)["gallery"] is None
    assert boxes_of(one_experiment(PAPERS["wrcanet"], {}, {}, "street-small", "smoke"), street_small)["train"] is None


def test_key_knows_where_the_joints_come_from(street_small, monkeypatch):
    by_pose, by_strips = smoke(), smoke(regions="strips")
    before = [key(e, street_small) for e in (by_pose, by_strips)]
    monkeypatch.setattr(pose, "source_of", lambda data: "others")
    after = [key(e, street_small) for e in (by_pose, by_strips)]
    assert before[0] != after[0] and before[1] == after[1]


def test_kept_model_gives_the_kept_numbers(finished, street_small):
    query, gallery = rescoring.descriptors(finished, street_small)
    scores = metrics.evaluate(query, gallery, **labels_of(street_small))
    assert 100 * scores.map == pytest.approx(finished.metrics["map"], abs=0.01)


def test_regions_of_one_run(finished, street_small):
    result = by_region(finished, street_small)
    assert set(result) == {"global", "head", "upper_body", "upper_leg", "lower_leg", "parts", "all"}
    assert result["all"]["map"] == pytest.approx(finished.metrics["map"], abs=0.01)  # both halves have length 1
    query, gallery = rescoring.descriptors(finished, street_small)
    head = [torch.nn.functional.normalize(x[:, 256:384]) for x in (query, gallery)]
    scores = metrics.evaluate(*head, **labels_of(street_small))
    assert result["head"]["rank1"] == pytest.approx(100 * scores.rank(1), abs=0.01)
    assert by_region(finished, street_small) == result


def test_table_7_measures_regions(finished, street_small):
    rows = PAPERS["attention_driven"].table("table7").rows
    pairs = [(row, finished) for row in rows if "(with intra" in row.name]
    frame = beside_published(PAPERS["attention_driven"], "table7", "street-small", pairs).set_index("row")
    result = by_region(finished, street_small)
    assert frame.ours_map["Lower-Leg (with intra-attention)"] == result["lower_leg"]["map"]
    assert frame.ours_map["Global+Part (with intra-attention)"] == finished.metrics["map"]
    assert frame.published_map["Head (with intra-attention)"] == 26.76


def test_strips_need_no_joints(street_small, monkeypatch):
    monkeypatch.setattr(pose, "load", lambda data: pytest.fail("joints were asked for"))
    done = run(replace(smoke(), options=attention_driven.BASELINE), street_small, **QUIET)
    assert 0 <= done.metrics["map"] <= 100


def test_table_12_measured_beside_printed():
    frame = cost.table12()
    assert list(frame.index) == ["AlexNet", "VGG", "ResNet50", "GoogLeNet", "Basemodel", "Full model"]
    assert frame.error_parameters_million.abs().max() < 7
    assert frame.error_flops.abs().max() < 14
    base, full = frame.loc["Basemodel"], frame.loc["Full model"]
    assert base.parameters_million == pytest.approx(6.91, abs=0.01) and base.flops == pytest.approx(1.96e9, rel=0.01)
    assert full.parameters_million == pytest.approx(10.29, abs=0.01) and full.flops == pytest.approx(2.70e9, rel=0.01)
    # VGG's convolutions at 224x224 have 15.35e9 multiply-adds, its two inner layers 0.12e9.
    assert frame.flops["VGG"] == pytest.approx(15.35e9 * 384 * 192 / 224**2 + 0.12e9, rel=0.01)


def test_table_12_is_read_as_it_is_printed():
    shown = cost.as_read(cost.table12()).to_html()
    for number in ("58.3", "57.0", "-2.2 %", "1.07", "1.03", "-3.6 %", "10⁶ parameters", "10⁹ multiply-adds"):
        assert f">{number}<" in shown
    assert ">0.001<" in cost.as_read(cost.table12_parts(), decimals=3).to_html()


def test_parts_of_table_12_by_hand():
    """Parameters and multiply-adds of table 1's layers; parts and totals beside the printed differences."""
    frame, full = cost.table12_parts(), cost.table12()
    rows = frame.loc[list(cost.PIECES)]
    assert rows.flops.sum() == full.flops["Full model"]
    assert rows.parameters_million.sum() == pytest.approx(full.parameters_million["Full model"])
    for name in ("Basemodel", "Full model"):
        np.testing.assert_allclose(frame.loc[name], full.loc[name])

    def blocks(inputs, widths, sizes):
        parameters = operations = 0
        for width, (size_before, size) in zip(widths, pairwise(sizes), strict=True):
            for unit in range(3):
                first = inputs if unit == 0 else 2 * width
                # 1x1 before the stride, 3x3 with it, 1x1 behind it; each has a normalisation's scale and shift
                operations += first * width * (size_before if unit == 0 else size)
                operations += (9 * width * width + 2 * width * width) * size
                parameters += first * width + 9 * width * width + 2 * width * width + 2 * (width + width + 2 * width)
            inputs = 2 * width
        return parameters, operations

    parameters, operations = blocks(32, (32, 64, 128, 256), (96 * 48, 96 * 48, 48 * 24, 24 * 12, 24 * 12))
    body = frame.loc["conv2x to conv5x, whole body"]
    assert (round(1e6 * body.parameters_million), body.flops) == (parameters, operations)
    parameters, operations = blocks(32, (16, 32, 64, 128), (48 * 48, 48 * 48, 24 * 24, 12 * 12, 12 * 12))
    parts = frame.loc["conv2x to conv5x, four parts"]
    assert (round(1e6 * parts.parameters_million), parts.flops) == (4 * parameters, 4 * operations)
    assert frame.flops["conv1, shared"] == 27 * 32 * (192 * 96 + 4 * 48 * 96)
    assert frame.flops["inter-attention"] == 4 * 128

    added = frame.loc[cost.ATTENTION]
    assert added.published_parameters_million == pytest.approx(3.6) and added.published_flops == pytest.approx(0.43e9)
    assert added.error_flops == pytest.approx(100 * (added.flops / 0.43e9 - 1))
    assert frame.published_flops.notna().sum() == 3
