"""Figures and measures of DRANet's hard examples, on one smoke run."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from reidnb.data import samples
from reidnb.papers import PAPERS
from reidnb.papers.dranet import analysis
from reidnb.papers.dranet import figures as hard_examples
from reidnb.papers.experiments import one_experiment
from reidnb.results import Run
from reidnb.runs import load_model, run


@pytest.fixture(scope="module")
def finished(street_small) -> Run:
    experiment = one_experiment(PAPERS["dranet"], {}, {}, "street-small", "smoke")
    return run(experiment, street_small, cpu=True, log=lambda line: None)


@pytest.fixture(scope="module")
def people(finished, street_small) -> tuple[np.ndarray, np.ndarray]:
    return analysis.training_images(street_small, finished.experiment.recipe.size, 3)


@pytest.fixture(scope="module")
def by_epoch(finished, street_small, people) -> dict:
    return analysis.watch(finished.experiment, street_small, *people, epochs=6)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_training_images_have_the_labels_of_training(finished, people, street_small):
    (images, labels), size = people, finished.experiment.recipe.size
    pids = np.unique(street_small.train.pid)
    assert images.shape == (3, *size, 3) and list(labels) == [0, 3, 7]
    first = street_small.train.index[street_small.train.pid == pids[3]][0]
    np.testing.assert_array_equal(images[1], samples.read_images(street_small.train, [first], size)[0])


def test_watching_ends_with_the_runs_own_network(finished, street_small, people, by_epoch):
    """The recipe has two epochs, fewer than asked for, so the watched training is the run's own."""
    assert list(by_epoch) == [0, 1, 2]
    last = analysis.masks(load_model(finished, street_small), *people)
    for name, value in by_epoch[2].items():
        torch.testing.assert_close(value, last[name], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(by_epoch[0]["h"], by_epoch[2]["h"])


def test_masks_and_their_reverses(by_epoch):
    for maps in by_epoch.values():
        torch.testing.assert_close(maps["reverse_h"], 1 - maps["h"])
        torch.testing.assert_close(maps["reverse_m"], 1 - maps["m"])


def test_what_a_mask_leaves_of_an_image():
    image = np.random.default_rng(0).integers(0, 256, (12, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(hard_examples.dimmed(image, torch.zeros(1, 4, 2)), 0)
    np.testing.assert_array_equal(hard_examples.dimmed(image, torch.ones(1, 4, 2)), image)
    upper = torch.tensor([1.0, 0.0]).reshape(1, 2, 1)
    result = hard_examples.dimmed(image, upper)
    np.testing.assert_array_equal(result[:3], image[:3])  # beyond the centre of its upper half
    np.testing.assert_array_equal(result[9:], 0)


def test_epochs_shown_have_first_and_last():
    assert hard_examples.at_epochs(dict.fromkeys(range(7)), 3) == [0, 3, 6]
    assert hard_examples.at_epochs({0: None, 1: None}, 4) == [0, 1]


def test_spatial_masks_have_a_row_per_image(by_epoch, people):
    figure = hard_examples.spatial_masks(by_epoch, people[0])
    assert len(figure.axes) == 3 * (1 + 2 * 3)
    assert [text.get_text() for text in figure.texts][:3] == ["image", "H,\nepoch 0", "kept,\nepoch 0"]
    drawn = figure.axes[2].images[0].get_array()
    np.testing.assert_array_equal(drawn, hard_examples.dimmed(people[0][0], by_epoch[0]["reverse_h"][0]))


def test_channel_masks_are_sorted_and_reversed(by_epoch):
    left, right = hard_examples.channel_masks(by_epoch).axes[:2]
    for one, other in zip(left.lines, right.lines, strict=True):
        assert (np.diff(one.get_ydata()) >= 0).all()
        np.testing.assert_allclose(1 - one.get_ydata()[::-1], other.get_ydata(), atol=1e-6)
    assert [line.get_label() for line in left.lines] == ["epoch 0", "epoch 1", "epoch 2"]


def test_losses_show_how_hard_the_hard_examples_are():
    history = pd.DataFrame({"epoch": [1, 2], "loss_id_b": [3.0, 1.0], "loss_id_c": [3.5, 1.2], "loss_id_d": [4.0, 2.0]})
    left, right = hard_examples.losses(history).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[3, 1], [3.5, 1.2], [4, 2]]
    np.testing.assert_allclose([line.get_ydata() for line in right.lines[:2]], [[0.5, 0.2], [1, 1]])
    assert len(hard_examples.losses(history.drop(columns=["loss_id_c"])).axes[0].lines) == 2


def test_examples_show_all_four_maps(finished, street_small, people):
    figure = hard_examples.examples(analysis.masks(load_model(finished, street_small), *people), people[0])
    assert [text.get_text() for text in figure.texts] == ["image", "A", "B", "C", "D"]
    assert len(figure.axes) == 3 * 5
