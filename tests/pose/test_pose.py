"""Joints, canonical poses, the boxes of eq. 1 and 2, and figure 4 (for the sources of joints see test_sources)."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reidnb import pose, street
from reidnb.data.samples import distinct_queries
from reidnb.figures import pose as figures
from reidnb.pose import canonical, skeleton

K = {joint: row for row, joint in enumerate(pose.JOINTS)}


def standing() -> np.ndarray:
    """A person seen from the front in an image of 200x100, by hand."""
    pairs = {"eye": (3, 18), "ear": (6, 19), "shoulder": (16, 34), "elbow": (19, 60), "wrist": (20, 85)}
    pairs |= {"hip": (9, 90), "knee": (8, 128), "ankle": (7, 170)}
    joints = np.ones((18, 3), np.float32)
    joints[K["nose"], :2], joints[K["neck"], :2] = (50, 20), (50, 30)
    for name, (aside, y) in pairs.items():
        joints[K[f"right {name}"], :2], joints[K[f"left {name}"], :2] = (50 - aside, y), (50 + aside, y)
    return joints


SIZE = np.array([[200, 100]])
places = arrays(np.float64, (4, 18, 2), elements=st.floats(-40, 240))


# Skeleton


def test_joints_are_the_streets_head_to_foot():
    assert pose.JOINTS == street.JOINTS
    names = {region: {pose.JOINTS[row].split()[-1] for row in rows} for region, rows in pose.REGIONS.items()}
    assert names["head"] == {"nose", "eye", "ear", "neck", "shoulder"}
    assert names["upper body"] == {"neck", "shoulder", "elbow", "wrist", "hip"}
    assert names["upper leg"] == {"hip", "knee"} and names["lower leg"] == {"knee", "ankle"}
    counts = [len(rows) for rows in pose.REGIONS.values()]
    assert counts == [18, 8, 9, 4, 4]  # K1..K18, K1..K8, K6..K14, K13..K16, K15..K18


def test_cocos_joints_are_reordered_and_get_a_neck():
    coco = np.arange(17 * 3, dtype=float).reshape(17, 3)
    result = skeleton.from_coco(coco)
    for row, name in ((0, "nose"), (1, "left eye"), (2, "right eye"), (6, "right shoulder"), (9, "left wrist")):
        assert result[K[name]].tolist() == coco[row].tolist()
    assert result[K["right ankle"]].tolist() == coco[16].tolist()
    assert result[K["neck"]].tolist() == [(15 + 18) / 2, (16 + 19) / 2, 17]  # rows 5 and 6; the lower confidence


def test_mirroring_swaps_right_and_left():
    joints = standing()
    joints[K["right wrist"]] = (10, 85, 0.3)
    mirrored = pose.mirror(joints, 100)
    assert mirrored[K["left wrist"]].tolist() == pytest.approx([90, 85, 0.3])
    assert mirrored[K["nose"]].tolist() == [50, 20, 1]
    assert mirrored[K["right ear"]].tolist() == joints[K["right ear"]].tolist()  # symmetric about the middle


@settings(deadline=None)
@given(places, st.floats(1, 300))
def test_mirroring_twice_changes_nothing(joints, width):
    assert np.allclose(pose.mirror(pose.mirror(joints, width), width), joints)
    assert np.allclose(pose.mirror(joints, np.full(4, width)), pose.mirror(joints, width))


# Boxes


def test_boxes_are_equations_1_and_2_by_hand():
    boxes = pose.boxes(standing()[None], SIZE, beta=0.1)[0]
    # P1: y 18..34, so the top is 2*18-34 = 2. P4: y 128..170, so the bottom is (4*170-128)/3 = 184. H = 182.
    # The mean of x is 50, H/4 = 45.5, wider than the wrists at 30 and 70. beta = H/10 = 18.2.
    assert boxes[:, [0, 2]] == pytest.approx(np.tile([4.5, 95.5], (5, 1)))
    assert boxes[0, [1, 3]] == pytest.approx([2, 184])
    assert boxes[1, [1, 3]] == pytest.approx([2, 34 + 18.2])
    assert boxes[2, [1, 3]] == pytest.approx([30 - 18.2, 90 + 18.2])  # P2: from the neck to the hips
    assert boxes[3, [1, 3]] == pytest.approx([90 - 18.2, 128 + 18.2])  # P3: from the hips to the knees
    assert boxes[4, [1, 3]] == pytest.approx([128 - 18.2, 184])


def test_arms_that_reach_out_widen_all_boxes():
    joints = standing()
    joints[K["left wrist"], 0] = 99
    boxes = pose.boxes(joints[None], SIZE)[0]
    # The mean moves right by 29/18; the left end with it, the right one is the wrist's.
    assert boxes[:, 0] == pytest.approx(50 + 29 / 18 - 45.5)
    assert boxes[:, 2] == pytest.approx(99)


@pytest.mark.parametrize("steps", range(7))
def test_beta_is_a_fraction_of_the_bodys_height(steps):
    boxes = pose.boxes(standing()[None], SIZE, steps / 48)[0]  # table 11: 0, H/48, ... 6H/48
    overlap = steps / 48 * 182
    assert boxes[1, 3] == pytest.approx(34 + overlap)
    assert boxes[4, 1] == pytest.approx(128 - overlap)
    assert boxes[0, [1, 3]] == pytest.approx([2, 184])


@settings(deadline=None)
@given(places, st.floats(0, 0.2))
def test_boxes_lie_in_the_image_and_are_never_empty(joints, beta):
    sizes = np.array([[200, 100], [64, 32], [128, 64], [30, 30]])
    x0, y0, x1, y1 = np.moveaxis(pose.boxes(joints, sizes, beta), -1, 0)
    height, width = sizes.T[:, :, None]
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= width).all() and (y1 <= height).all()
    assert (x1 - x0 >= 1 - 1e-4).all() and (y1 - y0 >= 1 - 1e-4).all()


@settings(deadline=None)
@given(st.floats(0.3, 3), st.floats(-20, 20), st.floats(-20, 20))
def test_boxes_move_and_grow_with_the_body(scale, x, y):
    joints, far = standing()[None], np.array([[10_000, 10_000]])
    joints[..., :2] += 2000
    moved = joints.copy()
    moved[..., :2] = moved[..., :2] * scale + (x, y)
    expected = pose.boxes(joints, far).astype(np.float64) * scale + (x, y, x, y)
    assert np.allclose(pose.boxes(moved, far), expected, atol=0.05)


@settings(deadline=None)
@given(places)
def test_boxes_of_the_mirror_image_are_mirrored(joints):
    sizes = np.tile(SIZE, (4, 1))
    there, here = pose.boxes(pose.mirror(joints, 100), sizes), pose.boxes(joints, sizes)
    assert np.allclose(
        there, np.stack([100 - here[..., 2], here[..., 1], 100 - here[..., 0], here[..., 3]], -1), atol=1e-3
    )


def test_a_part_outside_of_the_image_gets_its_strip():
    boxes = pose.boxes(standing()[None], np.array([[100, 100]]), beta=0.1)[0]  # cut below the hips: no lower leg
    assert boxes[4].tolist() == [0, 75, 100, 100]
    assert boxes[3, 1:].tolist() == pytest.approx([71.8, 95.5, 100])


def test_strips_are_quarters_below_each_other():
    strips = pose.strips(np.array([[200, 100], [64, 30]]))
    assert strips[0].tolist() == [[0, 0, 100, 200]] + [[0, 50 * i, 100, 50 * (i + 1)] for i in range(4)]
    assert strips[1, 2].tolist() == [0, 16, 30, 32]


def test_shares_hold_at_any_size():
    assert pose.as_fractions(pose.strips(SIZE), SIZE)[0, 3].tolist() == [0, 0.5, 1, 0.75]


@pytest.mark.parametrize(
    ("joints", "sizes", "message"),
    [
        (np.zeros((2, 17, 3)), np.ones((2, 2)), r"joints are of shape \(N, 18, 2 or 3\), got \(2, 17, 3\)"),
        (np.zeros((2, 18, 3)), np.ones((3, 2)), r"sizes are of shape \(2, 2\), got \(3, 2\)"),
        (np.zeros((1, 18, 3)), np.zeros((1, 2)), "not positive"),
        (np.full((1, 18, 3), np.nan), np.ones((1, 2)), "NaN"),
    ],
)
def test_wrong_joints_and_sizes_are_named(joints, sizes, message):
    with pytest.raises(ValueError, match=message):
        pose.boxes(joints, sizes)


# Canonical poses


def test_shipped_poses_are_one_body_height_tall():
    poses = pose.shipped()
    assert poses.shape == (canonical.COUNT, 18, 2)
    boxes = pose.boxes(poses * 1000 + 2000, np.full((len(poses), 2), 10_000))
    assert np.allclose(boxes[:, 0, 1], 2000, atol=3) and np.allclose(boxes[:, 0, 3], 3000, atol=3)
    right_of = poses[:, K["right shoulder"], 0] - poses[:, K["left shoulder"], 0]
    assert right_of[0] < -0.1 and right_of[-1] > 0.1  # from the front, ..., from behind


def test_hidden_joints_of_a_canonical_pose_are_found_exactly():
    joints = np.ones((1, 18, 3), np.float32)
    joints[0, :, :2] = pose.shipped()[5] * 150 + (40, 20)
    gaps = joints.copy()
    gaps[0, [0, 7, 10, 15, 17]] = (3, 3, 0.1)
    filled = pose.fill(gaps, SIZE)
    assert np.allclose(filled[..., :2], joints[..., :2], atol=1e-3)
    assert np.array_equal(filled[..., 2], gaps[..., 2])  # so that a figure can tell which are estimated


def test_the_fit_is_least_squares_over_scale_and_translation():
    joints = standing()[None]
    joints[0, 14:, 2] = 0
    one = pose.shipped()[3]
    # Independently: unknowns scale, x, y over the 14 joints that are there.
    system = np.zeros((28, 3))
    system[:, 0] = one[:14].ravel()
    system[0::2, 1] = system[1::2, 2] = 1
    (scale, x, y), *_ = np.linalg.lstsq(system, joints[0, :14, :2].astype(float).ravel(), rcond=None)
    filled = pose.fill(joints, SIZE, poses=one[None])
    assert np.allclose(filled[0, 14:, :2], one[14:] * scale + (x, y), atol=1e-3)


def test_the_nearest_pose_is_taken():
    two = pose.shipped()[[0, -1]]  # from the front, from behind: right and left change sides
    joints = standing()[None]
    joints[0, [K["left shoulder"], K["left hip"]], 2] = 0
    filled = pose.fill(joints, SIZE, poses=two)
    assert (filled[0, [K["left shoulder"], K["left hip"]], 0] > 50).all()
    turned = joints.copy()
    turned[..., 0] = 100 - turned[..., 0]
    filled = pose.fill(turned, SIZE, poses=two)
    assert (filled[0, [K["left shoulder"], K["left hip"]], 0] < 50).all()


def test_without_joints_the_mean_pose_fills_the_crop():
    joints = np.zeros((2, 18, 3), np.float32)
    sizes = np.array([[200, 100], [64, 32]])
    filled = pose.fill(joints, sizes)
    assert np.allclose(filled[0, :, :2], pose.shipped().mean(0) * 200 + (50, 0), atol=1e-3)
    body = pose.as_fractions(pose.boxes(filled, sizes), sizes)[:, 0]
    assert np.allclose(body, [0, 0, 1, 1], atol=0.05)


def test_a_single_joint_places_a_pose_as_high_as_the_image():
    joints = np.zeros((1, 18, 3), np.float32)
    joints[0, K["neck"]] = (30, 60, 1)
    filled = pose.fill(joints, SIZE, poses=pose.shipped()[:1])[0, :, :2]
    assert filled[K["neck"]].tolist() == [30, 60]
    one = pose.shipped()[0]
    assert np.allclose(filled - filled[K["neck"]], (one - one[K["neck"]]) * 200, atol=1e-3)


@settings(deadline=None)
@given(places, arrays(np.bool_, (4, 18)))
def test_detected_joints_stay_and_filling_twice_changes_nothing(xy, seen):
    joints = np.concatenate([xy, seen[..., None]], -1).astype(np.float32)
    sizes = np.tile(SIZE, (4, 1))
    once = pose.fill(joints, sizes)
    assert np.array_equal(once[seen], joints[seen])
    assert np.isfinite(once).all()
    assert np.array_equal(pose.fill(once, sizes), once)


def test_canonical_poses_are_the_clusters_of_the_poses():
    striding = standing()
    striding[[K["right ankle"], K["left ankle"]], 0] += (-30, 30)
    rng = np.random.default_rng(0)
    joints = np.stack([standing()] * 20 + [striding] * 20)
    joints[..., :2] = joints[..., :2] * rng.uniform(0.5, 2, (40, 1, 1)) + rng.uniform(-50, 50, (40, 1, 2))
    joints[0, 3, 2] = 0.1  # not complete, so left out
    joints[0, 3, :2] = 1e4
    apart = pose.canonical_poses(joints, 2)[:, K["left ankle"], 0] * 182
    assert sorted(apart) == pytest.approx([7, 37], abs=0.1)  # H is 182


def test_with_too_few_complete_poses_the_shipped_ones_are_used():
    joints = np.stack([standing()] * 5)
    joints[0, 0, 2] = 0
    with pytest.raises(ValueError, match="8 canonical poses need as many complete poses: 4 of 5 images"):
        pose.canonical_poses(joints, 8)
    assert pose.typical(joints) is pose.shipped()


def test_a_training_set_with_enough_complete_poses_gets_its_own():
    rng = np.random.default_rng(0)
    joints = np.stack([standing()] * canonical.ENOUGH * canonical.COUNT)
    joints[..., :2] += rng.normal(0, 2, joints[..., :2].shape)
    typical = pose.typical(joints)
    assert typical.shape == (canonical.COUNT, 18, 2)
    assert np.allclose(typical[:, K["right wrist"], 0], -20 / 182, atol=0.05)  # all from the front


def test_the_streets_hidden_joints_are_estimated_closely(street_small):
    poses = pose.load(street_small)
    filled = pose.complete(poses)
    people = street_small.gallery.pid.to_numpy() > 0
    hidden = poses.gallery.joints[people, :, 2] == 0
    true = poses.gallery.joints[people, :, :2]

    def error(result: np.ndarray) -> float:
        return float(np.linalg.norm(result - true, axis=-1)[hidden].mean() / 64)

    # Among many poses there is one that fits; their mean alone does worse.
    mean = pose.complete(poses, canonical=pose.shipped().mean(0)[None])
    assert error(filled.gallery.joints[people, :, :2]) < 0.04
    assert error(filled.gallery.joints[people, :, :2]) < 0.8 * error(mean.gallery.joints[people, :, :2])


# Figure 4


def test_figure_4_shows_joints_boxes_and_parts(street_small):
    poses = pose.load(street_small)
    figure = figures.parts(street_small, poses, count=3)
    people, boxes, parts = figure.axes[0::6], figure.axes[1::6], [a for i, a in enumerate(figure.axes) if i % 6 > 1]
    assert len(people) == len(boxes) == 3 and len(parts) == 12
    for axes in boxes:
        assert len(axes.patches) == 5
        assert [text.get_text() for text in axes.texts] == ["R1", "R2", "R3", "R4"]
        looks = [(p.get_edgecolor(), p.get_linestyle()) for p in axes.patches]
        assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))
    rows = distinct_queries(street_small, 3)
    for axes, row in zip(people, rows, strict=True):
        marks = [line for line in axes.lines if line.get_marker() != "None"]
        hollow = [line.get_markerfacecolor() == "none" for line in marks]
        assert hollow == (poses.query.joints[row, :, 2] == 0).tolist()
        assert axes.get_xlim() == (-0.5, 127.5) and axes.get_ylim() == (255.5, -0.5)
    assert all(axes.images[0].get_array().shape == (96, 192, 3) for axes in parts)
    plt.close(figure)


def test_parts_are_cut_where_the_boxes_are():
    image = np.zeros((256, 128, 3), np.uint8)
    image[64:128] = 200
    places = np.full((1, 18, 2), 0.5)
    boxes = pose.as_fractions(pose.strips(np.array([[256, 128]])), np.array([[256, 128]]))
    figure = figures.draw(image[None], places, np.ones((1, 18), bool), boxes)
    assert [axes.images[0].get_array().mean() for axes in figure.axes[2:]] == pytest.approx([0, 200, 0, 0], abs=1)
    plt.close(figure)
