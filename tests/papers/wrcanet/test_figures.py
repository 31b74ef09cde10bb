"""WRCANet's figure of its two streams."""

import numpy as np
import pytest

from reidnb.data import samples
from reidnb.figures import heatmaps
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.papers.wrcanet.analysis import reverse_attention
from reidnb.papers.wrcanet.figures import two_streams
from reidnb.runs import run


@pytest.fixture(scope="module")
def finished(street_small):
    experiment = one_experiment(PAPERS["wrcanet"], {}, {"epochs": 1}, "street-small", "smoke")
    return run(experiment, street_small, log=lambda line: None, cpu=True)


def test_dimming_is_drawn_in_its_true_range(finished, street_small):
    images = samples.query_images(street_small, finished.experiment.recipe.size, count=3)
    figure = two_streams(images, *reverse_attention(finished, street_small, images))
    words = " ".join(artist.get_text() for artist in figure.findobj(lambda each: hasattr(each, "get_text"))).split()
    assert "dimmed by 0.25 to 0.5" in " ".join(words)


def test_limits_fix_the_scale_of_a_heat_map():
    flat = np.full((4, 2), 0.25, np.float32)
    assert (heatmaps.colour(flat, limits=(0.25, 0.5)) == heatmaps.colour(flat * 0, limits=(0, 1))).all()
    bright = heatmaps.colour(flat + 0.25, limits=(0.25, 0.5))
    assert (bright == heatmaps.colour(np.ones((4, 2), np.float32), limits=(0, 1))).all() and bright.mean() > 100
