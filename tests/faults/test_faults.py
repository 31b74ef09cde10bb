"""A study survives what `faults.py` does to it: each quick case, once or a few times."""

import shutil
from pathlib import Path

import faults
import pytest
from disturbed import Outcome, Place, train, undisturbed


@pytest.fixture(scope="module")
def folder(tmp_path_factory, street_small) -> Path:
    """Where the faults happen, with an undisturbed study."""
    folder = tmp_path_factory.mktemp("faults")
    shutil.copytree(street_small.root, folder / "cache" / "street-small")
    undisturbed(folder)
    return folder


def _unharmed(outcome: Outcome) -> None:
    assert outcome.tried
    assert (outcome.lost, outcome.half_written, outcome.leftover, outcome.equal) == (0, 0, 0, True), outcome


@pytest.mark.slow
def test_a_killed_training_ends_like_an_undisturbed_one(folder):
    for outcome in faults.training(folder, len(faults.MOMENTS) + 1):
        _unharmed(outcome)


@pytest.mark.slow
def test_street_and_pixels_whose_maker_is_killed(folder):
    for outcome in faults.making_images(folder, 1):
        _unharmed(outcome)


@pytest.mark.slow
def test_full_and_unwritable_disks_are_named_in_a_sentence(folder):
    try:
        for outcome in faults.disks(folder, 1):
            _unharmed(outcome)
    except PermissionError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_two_studies_at_once_train_each_experiment_once(folder):
    for outcome in faults.two_studies(folder, 1):
        _unharmed(outcome)


@pytest.mark.slow
def test_a_missing_image_is_named_and_may_come_back(folder):
    for outcome in faults.images(folder, 1):
        _unharmed(outcome)


def test_a_dead_holder_of_a_gpu_leaves_it_free(folder):
    for outcome in faults.gpu(folder, 1):
        _unharmed(outcome)


def test_a_file_where_results_belong_is_found_before_training(tmp_path, folder):
    place = Place(tmp_path, folder / "cache")
    place.results.write_text("something else")
    code, message = place.run(train)
    assert code == 1 and f"cannot write in {place.results}" in message
    assert "epoch" not in place.log.read_text()
