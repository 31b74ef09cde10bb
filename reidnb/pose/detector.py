"""Joint detection by torchvision's Keypoint R-CNN (He et al. 2017), trained on COCO."""

import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models.detection import KeypointRCNN, KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn
from torchvision.transforms.v2.functional import pil_to_tensor
from tqdm import tqdm

from .. import weight_files
from ..data.pixels import rgb
from ..files import write_atomically
from .skeleton import COCO17, from_coco

WEIGHTS = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1
SIDE = 320
"""Pixels to which an image's shorter side is scaled, about the size of people in COCO; re-ID crops are smaller."""
DRAWN = 2.0
"""Detectron's score threshold for drawing a joint; it maps to a confidence of 0.5."""
BATCH = 16
"""Images per forward pass of the detector."""
PIECE = 512
"""Images whose joints are saved in one file, so that an interrupted detection can resume."""


def digest(weights: str | Path = "") -> str:
    """The first eight hexadecimal digits of the SHA-256 of the weights, as in the names of torchvision's files."""
    if not weights:
        return Path(WEIGHTS.url).stem.rsplit("-", 1)[1]
    return weight_files.sha256(_file(weights))[:8]


def detector(weights: str | Path, side: int) -> KeypointRCNN:
    """Keypoint R-CNN with torchvision's weights ('', cached or downloaded) or those of a local .pth file.

    ``side`` is the number of pixels to which the shorter side of an image is scaled. Raises OSError that tells where to
    put the weights, and ValueError for a file of another model.
    """
    # A crop shows one person, so few proposals and a single detection suffice, and are many times as fast.
    limits = {"rpn_pre_nms_top_n_test": 300, "rpn_post_nms_top_n_test": 100, "box_detections_per_img": 1}
    state = _state(weights)
    net = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=side, max_size=4 * side, **limits)
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"weights {weights} are not those of torchvision's keypointrcnn_resnet50_fpn") from error
    return net.eval()


def detect(paths: list[str], pieces: Path, weights: str | Path, side: int) -> np.ndarray:
    """The joints (N, 18, 3) of the most confident person in each image; without a detection all confidences are zero.

    ``pieces`` is a folder for intermediate results, which is removed at the end. The confidence is the logistic
    function of the joint's score minus ``DRAWN``.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = detector(weights, side).to(device)
    pieces.mkdir(parents=True, exist_ok=True)
    results = []
    starts = range(0, len(paths), PIECE)
    for start in tqdm(starts, desc="Keypoint R-CNN", unit=f"{PIECE} images", disable=None, leave=False):
        file = pieces / f"{start}.npy"
        if not file.exists():
            piece = paths[start : start + PIECE]
            joints = np.concatenate([_joints(net, piece[i : i + BATCH], device) for i in range(0, len(piece), BATCH)])
            write_atomically(file, lambda target, joints=joints: _save(target, joints))
        results.append(np.load(file, allow_pickle=False))
    shutil.rmtree(pieces)
    return np.concatenate(results)


@torch.inference_mode()
def _joints(net: KeypointRCNN, paths: list[str], device: str) -> np.ndarray:
    """The joints (n, 18, 3) of a few images."""
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(pil_to_tensor(rgb(image)).to(device) / 255)
    joints = torch.zeros(len(paths), len(COCO17), 3)
    for row, people in zip(joints, net(images), strict=True):
        if len(people["keypoints"]):
            row[:] = people["keypoints"][0]
            row[:, 2] = torch.sigmoid(people["keypoints_scores"][0] - DRAWN)
    return from_coco(joints.numpy())


def _state(weights: str | Path) -> dict[str, torch.Tensor]:
    if weights:
        return weight_files.read_state(_file(weights))
    instead = (
        "load the joints with weights=PATH of a local copy, or put the joints themselves as joints.npz into the data"
        " set's folder"
    )
    return weight_files.published_state(WEIGHTS, "Keypoint R-CNN", instead)


def _file(weights: str | Path) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights {weights} of Keypoint R-CNN: no such file")
    return path


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)
