"""A study survives what `faults.py` does to it: each quick case, once or a few times."""

import shutil
from pathlib import Path

import faults
import pytest
from disturbed import Outcome, Place, train, undisturbed


@pytest.fixture(scope="module")
def folder(tmp_path_factory, street_small) -> Path:
    """Where the faults happen, with a study that nobody disturbs."""
    folder = tmp_path_factory.mktemp("faults")
    shutil.copytree(street_small.root, folder / "cache" / "street-small")
    undisturbed(folder)
    return folder


def _unharmed(found: Outcome) -> None:
    assert found.tried
    assert (found.lost, found.torn, found.left, found.equal) == (0, 0, 0, True), found


@pytest.mark.slow
def test_a_killed_training_ends_like_an_undisturbed_one(folder):
    for found in faults.training(folder, len(faults.MOMENTS) + 1):
        _unharmed(found)


@pytest.mark.slow
def test_street_and_pixels_whose_maker_is_killed(folder):
    for found in faults.making(folder, 1):
        _unharmed(found)


@pytest.mark.slow
def test_full_and_unwritable_disks_are_told_in_a_sentence(folder):
    try:
        for found in faults.disks(folder, 1):
            _unharmed(found)
    except PermissionError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_two_studies_at_once_train_each_experiment_once(folder):
    for found in faults.two(folder, 1):
        _unharmed(found)


@pytest.mark.slow
def test_an_image_that_goes_is_named_and_may_come_back(folder):
    for found in faults.images(folder, 1):
        _unharmed(found)


def test_a_dead_holder_of_a_gpu_leaves_it_free(folder):
    for found in faults.gpu(folder, 1):
        _unharmed(found)


def test_a_file_where_results_belong_is_found_before_training(tmp_path, folder):
    place = Place(tmp_path, folder / "cache")
    place.results.write_text("something else")
    code, said = place.do(train)
    assert code == 1 and f"cannot write in {place.results}" in said
    assert "epoch" not in place.log.read_text()
