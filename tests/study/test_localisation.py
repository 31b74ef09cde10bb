"""Where networks look, against the ground truth of the street, on one smoke run."""

from dataclasses import replace

import numpy as np
import pytest

from reidnb import street
from reidnb.data import samples
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.results import Run
from reidnb.runs import run
from reidnb.study import localisation


@pytest.fixture(scope="module")
def finished(street_small) -> Run:
    experiment = one_experiment(PAPERS["dranet"], {}, {}, "street-small", "smoke")
    return run(experiment, street_small, cpu=True, log=lambda line: None)


def test_activation_maps_do_not_depend_on_batches(finished, street_small, monkeypatch):
    images = samples.read_images(street_small.query, [0, 1, 2, 3, 4], finished.experiment.recipe.size)
    full = localisation.activation_maps(finished, street_small, images)
    monkeypatch.setattr(localisation, "BATCH", 2)
    np.testing.assert_allclose(localisation.activation_maps(finished, street_small, images), full, atol=1e-4)


def test_where_they_look_uses_the_masks_of_the_street(finished, street_small, monkeypatch):
    truth = street.truth(street_small.root, "query")
    monkeypatch.setattr(localisation, "cam", lambda model, layer, batch: np.ones(batch[:, 0].shape, np.float32))
    table = localisation.where_they_look({"flat": finished}, street_small).set_index(["measure", "variant"])
    fraction = table.loc["fraction on the person", "mean"]
    assert fraction["flat"] == pytest.approx(fraction["an even map"])
    assert fraction["flat"] == pytest.approx(100 * truth.masks.mean())
    assert table.loc[("entropy on the person", "flat"), "mean"] == pytest.approx(100)
    assert (table.images == len(street_small.query)).all()


def test_other_data_sets_have_no_masks(finished, street_small):
    with pytest.raises(ValueError, match="folder has no person masks: only a synthetic street has"):
        localisation.where_they_look({"x": finished}, replace(street_small, name="folder"))
