"""The parts of a person, and the street without people."""

import numpy as np
import pytest

from reidnb import street
from reidnb.street.parts import BONES, OFF, PARTS


def joints_of_a_stick_figure() -> np.ndarray:
    """Joints (18, 3) of a person who stands upright: head at 10, neck at 20, hips at 50, knees at 70, ankles at 90."""
    height = {"nose": 10, "eye": 8, "ear": 10, "neck": 20, "shoulder": 22, "elbow": 35, "wrist": 48}
    height |= {"hip": 50, "knee": 70, "ankle": 90}
    side = {"eye": 2, "ear": 4, "shoulder": 8, "elbow": 10, "wrist": 10, "hip": 5, "knee": 5, "ankle": 5}
    joints = np.ones((18, 3))
    for row, name in zip(joints, street.JOINTS, strict=True):
        kind = name.split()[-1]
        row[:2] = 20 + (-1 if name.startswith("right") else 1) * side.get(kind, 0), height[kind]
    return joints


def test_each_pixel_belongs_to_the_nearest_bone():
    mask = np.zeros((1, 100, 40), bool)
    mask[0, 5:95, 8:32] = True
    labels = street.body_parts(joints_of_a_stick_figure()[None], mask)
    assert ((labels == OFF) == ~mask).all()
    expected = {(9, 19): "head", (30, 12): "upper body", (35, 20): "upper body", (60, 15): "upper legs"}
    expected |= {(88, 25): "lower legs", (94, 10): "lower legs"}
    assert {place: PARTS[labels[0][place]] for place in expected} == expected


def test_the_bones_are_those_of_the_joints():
    assert tuple(BONES) == PARTS
    assert {joint for bones in BONES.values() for bone in bones for joint in bone} == set(street.JOINTS)


def test_the_parts_of_the_street_lie_one_above_the_other(street_small):
    truth = street.truth(street_small.root, "query")
    labels = street.body_parts(truth.joints, truth.masks)
    rows = np.arange(labels.shape[1])[:, None]
    heights = [(rows * (labels == part)).sum() / (labels == part).sum() for part in range(len(PARTS))]
    assert heights == sorted(heights)
    assert np.array_equal(labels != OFF, truth.masks)


def test_the_empty_street_is_the_camera_s_and_has_nobody(street_small):
    images = street.empty_street(street_small.root, [1, 2, 1])
    again = street.empty_street(street_small.root, [1, 2, 1])
    assert images.shape == (3, 64, 32, 3) and images.dtype == np.uint8
    assert np.array_equal(images, again)
    assert not np.array_equal(images[0], images[2])  # two places of one camera
    other = street.empty_street(street_small.root, [1, 2, 1], seed=1)
    assert not np.array_equal(images, other)
    mean = [street.empty_street(street_small.root, [camid] * 12).mean((0, 1, 2)) for camid in (1, 2)]
    assert np.abs(mean[0] - mean[1]).max() > 5  # two cameras differ in what they see and in colour


def test_bad_input_is_named(street_small, tmp_path):
    with pytest.raises(ValueError, match="has no camera 9: its cameras are 1 to 3"):
        street.empty_street(street_small.root, [1, 9])
    with pytest.raises(FileNotFoundError, match="is not a synthetic street"):
        street.empty_street(tmp_path, [1])
    with pytest.raises(ValueError, match=r"joints have shape \(N, 18, 3\)"):
        street.body_parts(np.zeros((2, 18, 3)), np.ones((3, 4, 4), bool))
