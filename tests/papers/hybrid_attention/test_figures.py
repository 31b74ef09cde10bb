"""The hybrid-attention network's pictures: what is drawn is what was given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from reidnb import runs
from reidnb.data import samples
from reidnb.data.augment import normalise
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.papers.hybrid_attention import analysis
from reidnb.papers.hybrid_attention import figures as pictures
from reidnb.papers.hybrid_attention.network import windows


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def finished(street_small):
    experiment = one_experiment(PAPERS["hybrid_attention"], {"width": 16}, {"epochs": 1}, "street-small", "smoke")
    return runs.run(experiment, street_small, log=lambda line: None, cpu=True)


@pytest.fixture(scope="module")
def images(finished, street_small):
    return samples.query_images(street_small, finished.experiment.recipe.size, count=3)


def pictures_of(figure) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_windows_on_a_person_keep_what_is_inside(images):
    figure = pictures.on_person(images[0], windows(6, 6), 6)
    drawn = pictures_of(figure)
    assert len(drawn) == 21
    np.testing.assert_array_equal(drawn[-1], images[0])  # the global one
    second = drawn[1]  # stripe 2 of 64 rows: 10 to 22
    np.testing.assert_array_equal(second[10:22], images[0][10:22])
    assert (second[22:] >= 204).all() and (second[:10] >= 204).all()


def test_alignment_shows_each_stage_three_times(finished, street_small, images):
    drawn = pictures_of(pictures.alignment(analysis.maps(finished, street_small, images), images[0]))
    assert len(drawn) == 3 * 5
    np.testing.assert_array_equal(drawn[0], images[0])
    # Stage 4 has the last size already: both poolings leave it.
    np.testing.assert_array_equal(drawn[9], drawn[4])
    np.testing.assert_array_equal(drawn[14], drawn[4])
    assert not np.array_equal(drawn[6], drawn[11])  # stage 1, by maximum and by average


def test_spatial_attention_has_a_row_a_stage_with_its_range(finished, street_small, images):
    figure = pictures.spatial(analysis.maps(finished, street_small, images), images)
    assert len(pictures_of(figure)) == 5 * 3
    maps = runs.load_model(finished, street_small)(normalise(torch.from_numpy(images))).maps
    words = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert f"{maps['S3'].min():.2f} to {maps['S3'].max():.2f}" in words


def test_channel_attention_is_sorted_by_stage(finished, street_small, images):
    (axes,) = pictures.channels(analysis.maps(finished, street_small, images), analysis.fused_stages(finished)).axes
    assert [len(line.get_ydata()) for line in axes.get_lines()] == [8, 16, 32, 64]
    model = runs.load_model(finished, street_small)
    weights = model(normalise(torch.from_numpy(images))).maps["C"][:, :, 0, 0].mean(0).detach()
    np.testing.assert_allclose(axes.get_lines()[1].get_ydata(), np.sort(weights[8:24])[::-1], rtol=1e-6)


def test_pyramid_writes_each_value_at_its_windows_centre(images):
    rows = [{"first": a, "last": b, "rank1": 10.0 * a + b} for a, b in windows(6, 6)]
    axes = pictures.pyramid(pd.DataFrame(rows), images[0]).axes[1]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(b - a, (a + b) / 2): f"{10.0 * a + b:.1f}" for a, b in windows(6, 6)}


def test_robustness_has_a_panel_a_kind_and_a_curve_a_model():
    frame = pd.DataFrame(
        [{"kind": k, "amount": a, "rank1": 50 - 100 * a, "map": 1.0} for k in ("shift", "scale") for a in (0, 0.1, 0.2)]
    )
    frame.loc[frame.kind == "scale", "rank1"] += 30
    figure = pictures.robustness({"one": frame, "two": frame.assign(rank1=9.0)})
    assert all(axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > 80 for axes in figure.axes)  # neither panel is cut off
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 2]
    np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_xydata(), [[0, 50], [10, 40], [20, 30]])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["one", "two"]


def test_distances_draw_what_is_compared_beside_its_loss():
    fc = pd.DataFrame({"before": [9.0] * 12, "after": [30.0] * 12, "triplet": [3.0] * 12})
    bn = pd.DataFrame({"before": [13.0] * 12, "after": [32.0] * 12, "triplet": [7.0] * 12})
    left, right = pictures.distances(fc, bn, margin=1.0).axes
    assert [line.get_ydata()[4] for line in left.get_lines()] == [9.0, 32.0, 13.0]
    assert [line.get_ydata()[0] for line in right.get_lines()] == [3.0, 7.0, 1.0]  # the last one is the margin
    assert left.get_lines()[1].get_marker() == right.get_lines()[1].get_marker()


def test_worse_boxes_are_titled_by_amount(images):
    figure = pictures.worse_boxes({"shift": list(images), "scale": list(images)}, (0.0, 0.05, 0.1))
    assert len(pictures_of(figure)) == 6
    assert {"0 %", "5 %", "10 %", "shift", "scale"} <= {text.get_text() for text in figure.texts}
