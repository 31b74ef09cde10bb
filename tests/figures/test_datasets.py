"""Figures of a data set agree with its tables."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from reidnb.data import samples
from reidnb.data.augment import Augmentation, normalise
from reidnb.evaluation.protocol import protocol_of
from reidnb.figures import datasets


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_counts(street_small):
    frame = datasets.counts(street_small).set_index("split")
    assert frame.images.tolist() == [len(street_small.train), len(street_small.query), len(street_small.gallery)]
    assert frame.identities.tolist() == [8, 8, 8]
    assert frame.junk["gallery"] == (street_small.gallery.pid == -1).sum() > 0
    assert frame.loc["train", "images per identity"] == len(street_small.train) / 8


def test_kinds_are_the_evaluations(street_small):
    q, g = street_small.query, street_small.gallery
    protocol = protocol_of(q.pid, q.camid, g.pid, g.camid)
    for row in range(len(q)):
        kinds = datasets.gallery_kinds(street_small, row)
        assert set(kinds.index[kinds == "match"]) == set(protocol.matches[1][protocol.matches[0] == row])
        assert set(kinds.index[kinds == "same camera"]) == set(protocol.excluded[1][protocol.excluded[0] == row])
        assert set(kinds.index[kinds == "junk"]) == set(g.index[g.pid == -1])
        assert set(kinds) <= set(datasets.KINDS) and (kinds == "distractor").sum() == (g.pid == 0).sum()


def test_bars_hold_every_identity_and_image(street_small):
    left, right = datasets.distribution(street_small).axes
    assert sum(bar.get_height() for bar in left.patches) == 8
    heights = [[bar.get_height() for bar in bars] for bars in right.containers]
    for split, bars in zip(datasets.SPLITS, heights, strict=True):
        table = getattr(street_small, split)
        assert bars == [(table.camid == camera).sum() for camera in (1, 2, 3)]


def test_heat_maps_count(street_small):
    left, right, *_ = datasets.cameras_and_identities(street_small, count=5).axes
    train = street_small.train
    cells = left.images[0].get_array()
    assert cells.shape == (3, 5)
    first = sorted(train.pid.unique())[:5]
    for (y, x), number in np.ndenumerate(cells):
        assert number == ((train.camid == y + 1) & (train.pid == first[x])).sum()
    seen = {camera: set(train.pid[train.camid == camera]) for camera in (1, 2, 3)}
    common = right.images[0].get_array()
    assert all(common[a - 1, b - 1] == len(seen[a] & seen[b]) for a in seen for b in seen)
    assert {text.get_text() for text in right.texts} == {str(n) for n in common.ravel()}


def test_protocol_sheet_has_a_row_for_each_kind(street_small):
    figure = datasets.protocol(street_small, 0, count=3)
    kinds = datasets.gallery_kinds(street_small, 0).value_counts()
    assert len(figure.axes) == 1 + sum(min(3, number) for number in kinds)
    titles = [text.get_text().replace("\n", " ") for text in figure.texts]
    assert titles == ["query", *(words for kind, words in datasets.KINDS.items() if kind in kinds)]


def test_augmented_copies(street_small):
    image = samples.read_images(street_small.query, [0], (64, 32))[0]
    figure = datasets.augmented(image, Augmentation(flip=1, pad=4, erase=1), copies=3)
    pictures = [axes.images[0].get_array() for axes in figure.axes]
    assert len(pictures) == 4 * 4
    for first in pictures[::4]:
        np.testing.assert_array_equal(first, image)
    for flipped in pictures[1:4]:
        np.testing.assert_array_equal(flipped, image[:, ::-1])
    mean = np.rint(255 * np.array([0.485, 0.456, 0.406]))
    for erased in pictures[9:12]:
        assert 0.01 < (erased == mean).all(-1).mean() < 0.5


def test_pictures_come_back_from_normalisation():
    images = torch.randint(0, 256, (2, 8, 4, 3), dtype=torch.uint8)
    np.testing.assert_array_equal(datasets._picture(normalise(images)), images)
