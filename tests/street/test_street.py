"""The synthetic street: the same bytes from the same seed, Market-1501's layout, and matching ground truth."""

import hashlib
import os
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb import street
from reidnb.street import dataset

TINY = {"train_ids": 2, "test_ids": 2, "cameras": 2, "images_per_camera": 1, "size": (64, 32)}
NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_\d{6}_\d{2}\.jpg")
SPLITS = ("bounding_box_train", "query", "bounding_box_test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return street.make(tmp_path_factory.mktemp("street") / "tiny", workers=0, **TINY)


@pytest.fixture(scope="module")
def camera() -> street.Camera:
    return street.cameras(1, seed=3)[0]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def images(folder: Path, split: str) -> list[tuple[int, int]]:
    matches = [NAME.fullmatch(path.name) for path in (folder / split).iterdir()]
    assert all(matches)
    return [(int(match[1]), int(match[2])) for match in matches]


def test_worker_processes_make_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PARALLEL_FROM", 1)
    other = street.make(tmp_path / "other", workers=2, **TINY)
    assert digests(other) == digests(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]  # nothing unfinished is left


def test_another_seed_makes_other_images(folder, tmp_path):
    other = street.make(tmp_path / "other", seed=1, workers=0, **TINY)
    same = set(digests(other).values()) & set(digests(folder).values())
    assert not same


def test_layout_and_ids(folder):
    train, query, gallery = (images(folder, split) for split in SPLITS)
    assert {pid for pid, _ in train} == {1, 2}
    assert {pid for pid, _ in query} == {3, 4}
    assert {pid for pid, _ in gallery} == {-1, 0, 3, 4}
    assert {camid for _, camid in train + query + gallery} == {1, 2}
    for split in SPLITS:
        for path in (folder / split).iterdir():
            assert cv2.imread(str(path)).shape == (64, 32, 3)


def test_every_query_has_a_match_from_another_camera(folder):
    cameras_of = defaultdict(set)
    for pid, camid in images(folder, "bounding_box_test"):
        cameras_of[pid].add(camid)
    for pid, camid in images(folder, "query"):
        assert cameras_of[pid] - {camid}
        assert camid in cameras_of[pid]  # as in Market-1501, the gallery also has images from the query's camera


@pytest.mark.parametrize("split", SPLITS)
def test_truth_fits_the_images(folder, split):
    truth = street.truth(folder, split)
    assert truth.names.tolist() == sorted(path.name for path in (folder / split).iterdir())
    assert truth.joints.shape == (len(truth.names), 18, 3)
    assert truth.masks.shape == (len(truth.names), 64, 32)
    assert truth.masks.dtype == bool
    for name, joints, mask in zip(truth.names, truth.joints, truth.masks, strict=True):
        if int(NAME.fullmatch(name)[1]) < 1:
            continue
        assert mask.any()
        visible = joints[joints[:, 2] == 1]
        assert len(visible) >= 3
        near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5)))
        x, y = visible[:, :2].astype(int).T
        assert near[y, x].all()


def test_an_existing_street_is_left_unchanged(folder, monkeypatch):
    monkeypatch.setattr(dataset, "_write", None)  # would fail if anything were made
    assert street.make(folder, **TINY) == folder


def test_a_folder_with_other_files_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="seed 0 instead of 5"):
        street.make(folder, seed=5, **TINY)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        street.make(tmp_path, **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cameras": 1}, "cameras must be an integer of at least 2, not 1"),
        ({"test_ids": 0}, "test_ids must be"),
        ({"seed": -1}, "seed must be"),
        ({"train_ids": 2.5}, "train_ids must be"),
        ({"train_ids": 9999}, "at most 9999 identities"),
        ({"size": (64,)}, "size must be height and width"),
        ({"size": (8, 4)}, "size must be height and width"),
        ({"workers": -1}, "workers must be"),
    ],
)
def test_wrong_parameters_are_named(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        street.make(tmp_path / "street", **(TINY | change))
    assert not list(tmp_path.iterdir())


def test_truth_of_another_folder_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="unknown split 'train'"):
        street.truth(folder, "train")
    with pytest.raises(FileNotFoundError, match="not a synthetic street"):
        street.truth(tmp_path, "query")


def test_an_interrupted_make_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "_draw", stop)
    with pytest.raises(KeyboardInterrupt):
        street.make(tmp_path / "street", workers=0, **TINY)
    assert not list(tmp_path.iterdir())


@settings(max_examples=12, deadline=None)
@given(
    heading=st.floats(0, 360), phase=st.floats(0, 6.28), arms=st.sampled_from(("swing", "phone")), who=st.integers(0, 7)
)
def test_bodies_are_ordered_head_to_foot(camera, heading, phase, arms, who):
    moment = street.Moment(heading=heading, phase=phase, arms=arms)
    drawn = street.render(street.people(8, [7])[who], camera, moment, (96, 48))
    x, y = (
        dict(zip(street.JOINTS, drawn.joints[:, 0], strict=True)),
        dict(zip(street.JOINTS, drawn.joints[:, 1], strict=True)),
    )
    for side in ("right", "left"):
        down = [y[f"{side} {joint}"] for joint in ("ear", "shoulder", "hip", "knee", "ankle")]
        assert down == sorted(down)
    rows = np.flatnonzero(drawn.mask.any(axis=1))
    assert 0.85 * 96 < rows[-1] - rows[0] + 1 < 0.95 * 96  # as a detector cuts
    assert abs(y["nose"] - rows[0]) < 0.2 * 96
    assert rows[-1] - max(y["right ankle"], y["left ankle"]) < 0.1 * 96
    towards = np.cos(np.deg2rad(heading))
    if abs(towards) > 0.5:  # whoever comes has the right shoulder on the image's left
        assert (x["right shoulder"] < x["left shoulder"]) == (towards > 0)


def test_the_face_shows_from_the_front_only(camera):
    person = replace(street.people(1, [7])[0], hat="none", bag="none")
    front, back = (street.render(person, camera, street.Moment(heading=h)) for h in (0, 180))
    assert front.joints[:3, 2].all()
    assert not back.joints[:3, 2].any()


def test_a_print_shows_from_the_front_only(camera):
    printed = replace(
        street.people(1, [7])[0], pattern="print", motif=0, upper="white", upper_second="red", bag="none", opened=False
    )
    plain = replace(printed, pattern="plain")
    changed = []
    for heading in (0, 180):
        a, b = (street.render(p, camera, street.Moment(heading=heading)).image.astype(int) for p in (printed, plain))
        changed.append((np.abs(a - b).sum(axis=2) > 60).sum())
    assert changed[0] > 50
    assert changed[1] == 0


def test_a_covered_joint_is_invisible(camera):
    person = street.people(1, [7])[0]
    free = street.render(person, camera, street.Moment())
    covered = street.render(person, camera, street.Moment(cover=(0, 0.5, 1, 1)))
    assert np.array_equal(free.joints[:, :2], covered.joints[:, :2])
    low = free.joints[:, 1] > 0.52 * len(free.mask)
    assert free.joints[low, 2].sum() >= 4
    assert not covered.joints[low, 2].any()
    assert not covered.mask[len(free.mask) // 2 + 1 :].any()
    high = free.joints[:, 1] < 0.48 * len(free.mask)
    assert np.array_equal(free.joints[high, 2], covered.joints[high, 2])


@pytest.mark.parametrize("occluder", ["pole", "car", "bush", "railing", "person"])
def test_occluders_hide_a_part(camera, occluder):
    person, other = street.people(5, [7])[::4]
    free = street.render(person, camera, street.Moment())
    hidden = street.render(person, camera, street.Moment(occluder=occluder, companion=other, occluder_at=0.15))
    assert 0.05 * free.mask.sum() < (free.mask & ~hidden.mask).sum() < free.mask.sum()
    assert not (hidden.mask & ~free.mask).any()


def test_a_shifted_box_moves_the_person(camera):
    person = street.people(1, [7])[0]
    free, shifted = (street.render(person, camera, street.Moment(shift=shift)) for shift in ((0, 0), (0.25, -0.1)))
    height, width = free.mask.shape
    moved = shifted.joints[:, :2] - free.joints[:, :2]
    assert np.allclose(moved, (-0.25 * width, 0.1 * height), atol=1e-3)


def test_an_empty_box(camera):
    empty = street.render(None, camera, street.Moment())
    assert not empty.mask.any()
    assert not empty.joints[:, 2].any()


def test_look_alikes_share_most_and_differ_in_something():
    crowd = street.people(40, [9])
    for family in range(0, 40, 4):
        members = [vars(person) for person in crowd[family : family + 4]]
        for other in members[1:]:
            details = {k for k in other if other[k] != members[0][k]}
            details -= {"height", "width", "stride", "swing"}
            assert 1 <= len(details) <= 4  # shorter sleeves end a coat too
    assert street.people(6, [9]) == crowd[:6]


def test_wrong_moments_are_named(camera):
    person = street.people(1, [7])[0]
    with pytest.raises(ValueError, match="unknown occluder 'wall'"):
        street.render(person, camera, street.Moment(occluder="wall"))
    with pytest.raises(ValueError, match="companion"):
        street.render(person, camera, street.Moment(occluder="person"))


def test_a_plain_script_draws_the_street_without_waiting_for_itself(tmp_path):
    """A script without a ``__main__`` guard, and one from standard input, with an empty cache."""
    script = "from reidnb.data import catalog\nprint(len(catalog.load('street-small').train))\n"
    (tmp_path / "script.py").write_text(script)
    for name, arguments, text in (("file", [str(tmp_path / "script.py")], None), ("stdin", ["-"], script)):
        ran = subprocess.run(
            [sys.executable, *arguments],
            input=text,
            env=os.environ | {"REIDNB_CACHE": str(tmp_path / name)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0 and ran.stdout.split()[-1] == "65", ran.stderr
