"""Joints from every source (the street's ground truth, files, Keypoint R-CNN), and the errors for bad ones."""

import copy
import json
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import keypointrcnn_resnet50_fpn

from reidnb import pose, street
from reidnb.data import catalog
from reidnb.pose import detector, skeleton, sources

K = {joint: row for row, joint in enumerate(pose.JOINTS)}
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def standing() -> np.ndarray:
    """A person in an image of 200x100, with confidence 1 for all joints."""
    joints = np.ones((18, 3), np.float32)
    joints[:, :2] = pose.shipped()[0] * 180 + (50, 10)
    return joints


def test_the_streets_truth_is_found_by_default_and_kept(street_small, monkeypatch):
    poses = pose.load(street_small)
    assert poses.source == pose.source_of(street_small) and poses.source.startswith("truth:")
    truth = street.truth(street_small.root, "query")
    for path, joints in zip(street_small.query.path, poses.query.joints, strict=True):
        assert np.array_equal(joints, truth.joints[truth.names.tolist().index(path.rsplit("/", 1)[-1])])
    assert poses.train.joints.shape == (len(street_small.train), 18, 3) and poses.train.joints.dtype == np.float32
    assert (poses.gallery.sizes == (64, 32)).all() and len(poses.gallery.sizes) == len(street_small.gallery)
    monkeypatch.setattr(sources, "_read", None)  # would fail if anything were read again
    assert np.array_equal(pose.load(street_small, "truth").train.joints, poses.train.joints)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> catalog.ReidData:
    """Two images per split, 200x100; the cache is empty."""
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    for split in FOLDERS.values():
        (tmp_path / "set" / split).mkdir(parents=True)
        for name in ("0001_c1_1.jpg", "0002_c2_1.jpg"):
            Image.new("RGB", (100, 200), (90, 120, 60)).save(tmp_path / "set" / split / name)
    return catalog.load("folder", tmp_path / "set")


def write_npz(path, joints: np.ndarray | None = None, **changed):
    """A file of joints for ``folder``; the second image's person stands 5 pixels right of the first's."""
    if joints is None:
        joints = np.stack([standing(), standing() + np.array([5, 0, 0])])
        joints[..., 2] = 0.9
    names = np.array(["0001_c1_1.jpg", "0002_c2_1.jpg"])
    result = {n: a for split in FOLDERS.values() for n, a in ((split, joints), (f"{split}_names", names))}
    content = {name: array for name, array in (result | changed).items() if array is not None}
    np.savez(path, **content)
    return path


def test_joints_npz_in_the_data_sets_folder_is_found(folder):
    write_npz(folder.root / "joints.npz")
    poses = pose.load(folder)
    assert poses.source.startswith("joints:") and poses.source == pose.source_of(folder)
    assert np.allclose(poses.query.joints[1] - poses.query.joints[0], np.array([5, 0, 0]))
    assert np.allclose(poses.query.joints[0], standing() * (1, 1, 0.9))


def test_rows_are_matched_by_name_and_cocos_order_is_read(folder, tmp_path):
    coco = np.random.default_rng(0).uniform(1, 90, (3, 17, 3))
    coco[..., 2] = 0.5
    names = np.array(["0002_c2_1.jpg", "more.jpg", "0001_c1_1.jpg"])
    file = write_npz(tmp_path / "my.npz", coco.astype(np.float16), **{f"{s}_names": names for s in FOLDERS.values()})
    poses = pose.load(folder, file)
    expected = skeleton.from_coco(coco.astype(np.float16).astype(np.float32))
    assert np.array_equal(poses.gallery.joints, expected[[2, 0]])


def test_another_file_is_another_source_wherever_it_lies(folder, tmp_path):
    first = pose.source_of(folder, write_npz(tmp_path / "a.npz"))
    assert pose.source_of(folder, write_npz(tmp_path / "b.npz")) == first
    before = pose.load(folder, tmp_path / "a.npz")
    write_npz(tmp_path / "a.npz", np.stack([standing()] * 2))
    assert pose.source_of(folder, tmp_path / "a.npz") != first
    assert not np.array_equal(pose.load(folder, tmp_path / "a.npz").train.joints, before.train.joints)


def openpose(path, people: list[np.ndarray]):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": 1.3, "people": [{"pose_keypoints_2d": person.ravel().tolist()} for person in people]}
    path.write_text(json.dumps(content))


def test_openposes_files_are_read(folder, tmp_path):
    coco, body = (np.random.default_rng(n).uniform(1, 90, (n, 3)) for n in (18, 25))
    coco[:, 2], body[:, 2] = 0.8, 0.7
    faint = np.full((18, 3), 0.1)
    for split in FOLDERS.values():
        openpose(tmp_path / "json" / split / "0001_c1_1_keypoints.json", [faint, coco])
        openpose(tmp_path / "json" / split / "0002_c2_1_keypoints.json", [body] if split == "query" else [])
    poses = pose.load(folder, tmp_path / "json")
    assert poses.source.startswith("openpose:")
    first, second = poses.query.joints
    # OpenPose: 1 neck, 4 right wrist, 5 left shoulder, 15 left eye; BODY_25 has the middle hip at 8, so 11 right ankle.
    for name, row in (("neck", 1), ("right wrist", 4), ("left shoulder", 5), ("left eye", 15), ("left ankle", 13)):
        assert first[K[name]].tolist() == pytest.approx(coco[row].tolist())
    for name, row in (("neck", 1), ("right hip", 9), ("right ankle", 11), ("left ankle", 14), ("left ear", 18)):
        assert second[K[name]].tolist() == pytest.approx(body[row].tolist())
    assert not poses.gallery.joints[1].any()  # no detection

    flat = tmp_path / "flat"
    for file in (tmp_path / "json" / "query").iterdir():
        flat.mkdir(exist_ok=True)
        (flat / file.name).write_bytes(file.read_bytes())
    assert np.array_equal(pose.load(folder, flat).gallery.joints, poses.query.joints)
    assert pose.source_of(folder, flat) != poses.source


def nan() -> np.ndarray:
    joints = np.stack([standing()] * 2)
    joints[1, 4, 0] = np.nan
    return joints


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": None}, "it has no array query"),
        ({"query_names": None}, "it has no array query_names"),
        ({"query_names": np.array(["0001_c1_1.jpg", "x.jpg"])}, "1 of 2 images of query have no row in query, .* 0002"),
        ({"query_names": np.array(["0001_c1_1.jpg"] * 2)}, "query_names has 1 duplicate names"),
        ({"query": np.full((2, 17, 3), "1")}, "query must hold numbers, not <U1"),
        ({"query_names": np.array(["0001_c1_1.jpg"])}, r"query has 2 rows, query_names is of shape \(1,\)"),
        ({"query": np.zeros((2, 16, 3))}, r"query is of shape \(N, 17 or 18, 3\), got \(2, 16, 3\)"),
        ({"query": nan()}, "1 images have NaN or infinite values, the first is .*0002_c2_1.jpg"),
        ({"query": np.stack([standing() * (1, 1, 7)] * 2)}, "confidences lie between 0 and 1, found 7 to 7"),
        ({"query": np.stack([standing() / (100, 200, 1)] * 2)}, "are they fractions of the image"),
        ({"query": np.stack([standing() * (8, 8, 1)] * 2)}, "of 36 joints lie outside of their images"),
        ({"query_names": np.array(["a", None], object)}, "cannot be read: .*allow_pickle=False"),
    ],
)  # fmt: skip
def test_joints_that_do_not_fit_are_reported_in_one_sentence(folder, tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        pose.load(folder, write_npz(tmp_path / "a.npz", **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 40, 700])
def test_a_corrupt_npz_is_reported(folder, cut):
    content = write_npz(folder.root / "joints.npz").read_bytes()
    (folder.root / "joints.npz").write_bytes(
        content[:cut] if cut < 100 else content[:cut] + b"?" * 9 + content[cut + 9 :]
    )
    with pytest.raises(ValueError, match=r"joints .*joints\.npz cannot be read"):
        pose.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "are not OpenPose's"),
        ("[]", "are not OpenPose's"),
        ('{"people": [{"face": []}]}', "are not OpenPose's"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}', "18 or 25 joints of 3 numbers, got 3 numbers"),
        ('{"people": [{"pose_keypoints_2d": ["x"]}]}', "are not OpenPose's"),
    ],
)
def test_corrupt_openpose_files_are_reported(folder, tmp_path, text, message):
    for name in ("0001_c1_1", "0002_c2_1"):
        (tmp_path / "json").mkdir(exist_ok=True)
        (tmp_path / "json" / f"{name}_keypoints.json").write_text(text)
    with pytest.raises(ValueError, match=f"0001_c1_1_keypoints.json.*{message}"):
        pose.load(folder, tmp_path / "json")


def test_missing_sources_are_reported(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pose source /nowhere\.npz: no such \.npz file nor folder"):
        pose.source_of(folder, "/nowhere.npz")
    with pytest.raises(ValueError, match=r"'truth': .* is no synthetic street"):
        pose.load(folder, "truth")
    with pytest.raises(
        ValueError, match=r"2 of 2 images of train have no file, the first is 0001_c1_1_keypoints\.json"
    ):
        (tmp_path / "empty").mkdir()
        pose.load(folder, tmp_path / "empty")


# Keypoint R-CNN


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights: the joints are meaningless, but the code path is the real one."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "keypoints.pth"
    torch.save(keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def net(weights):
    return detector.detector(weights, 64)


def test_keypoint_rcnn_finds_joints_once(folder, weights, net, tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "SIDE", 64)
    monkeypatch.setattr(detector, "detector", lambda *_: net)
    log_lines = []
    poses = pose.load(folder, weights=weights, log=log_lines.append)
    assert poses.source == f"keypointrcnn-64:{detector.digest(weights)}"
    assert len(log_lines) == 3 and "2 images of folder-set train with Keypoint R-CNN (first use only)" in log_lines[0]
    image = torch.from_numpy(np.array(Image.open(folder.query.path[0]))).permute(2, 0, 1) / 255
    with torch.inference_mode():
        (people,) = net([image])
    joints = poses.query.joints[0]
    wrist = people["keypoints"][0, 9, :2].tolist()  # COCO's left wrist
    assert joints[K["left wrist"], :2].tolist() == pytest.approx(wrist, abs=0.1)
    score = people["keypoints_scores"][0, 9].item()
    assert joints[K["left wrist"], 2] == pytest.approx(1 / (1 + np.exp(2 - score)), abs=1e-3)

    # Cached: neither network nor pieces are needed again, and nothing is logged.
    monkeypatch.setattr(detector, "detect", None)
    assert np.array_equal(pose.load(folder, weights=weights, log=log_lines.append).query.joints, poses.query.joints)
    assert len(log_lines) == 3
    assert not [path for path in (tmp_path / "cache" / "joints").iterdir() if path.is_dir()]


def test_an_interrupted_detection_resumes(folder, net, tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "PIECE", 1)
    monkeypatch.setattr(detector, "detector", lambda *_: net)
    done = np.full((1, 18, 3), 7, np.float32)
    (tmp_path / "pieces").mkdir()
    np.save(tmp_path / "pieces" / "0.npy", done)
    result = detector.detect(list(folder.query.path), tmp_path / "pieces", "", 64)
    assert np.array_equal(result[0], done[0]) and not np.array_equal(result[1], done[0])
    assert not (tmp_path / "pieces").exists()


def test_without_a_detection_all_joints_are_missing(folder, net):
    net = copy.deepcopy(net)
    torch.nn.init.constant_(net.roi_heads.box_predictor.cls_score.bias[1:], -100)
    joints = detector._joints(net, list(folder.query.path), "cpu")
    assert joints.shape == (2, 18, 3) and not joints.any()


def test_missing_weights_are_reported_with_their_place(folder, monkeypatch, tmp_path):
    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(type(detector.WEIGHTS), "get_state_dict", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "keypointrcnn_resnet50_fpn_coco-fc266e95.pth"
    with pytest.raises(OSError, match=f"put {name} at .*checkpoints/{name}, .*joints.npz into the data set's folder"):
        pose.load(folder, log=lambda _: None)
    assert pose.source_of(folder).endswith(":fc266e95")
    with pytest.raises(FileNotFoundError, match="weights /nowhere of Keypoint R-CNN: no such file"):
        pose.load(folder, weights="/nowhere")
    (tmp_path / "broken.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"weights .*broken\.pth cannot be read"):
        detector.detector(tmp_path / "broken.pth", 64)
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"weights .*other\.pth are not those of torchvision's keypointrcnn"):
        detector.detector(tmp_path / "other.pth", 64)
