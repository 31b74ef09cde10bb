"""Reading joints from a pose estimator's files: one .npz per data set, or OpenPose's folder with a JSON per image."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from .skeleton import COCO17, JOINTS, OPENPOSE18, OPENPOSE25, from_coco, reorder

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
"""Names of the splits in files of joints, independent of the names of the data set's folders."""


def read_npz(path: Path, split: str, names: list[str]) -> np.ndarray:
    """The joints (N, 18, 3) of the images ``names`` (N) of ``split``, in that order.

    The file holds for each split (``bounding_box_train``, ``query``, ``bounding_box_test``) an array of joints, (M, 17,
    3) in COCO's order or (M, 18, 3) in that of ``JOINTS``, and an array ``..._names`` (M,) of file names; rows are
    matched by name, and rows of other images are ignored. Nothing in the file is unpickled. Raises ValueError for a
    corrupt file, a wrong shape, and an image without a row.
    """
    array = FOLDERS[split]
    if not zipfile.is_zipfile(path):
        raise ValueError(f"joints {path} cannot be read: it is not an .npz file")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in (array, f"{array}_names") if name not in file]
            if missing:
                raise ValueError(f"it has no array {missing[0]} (found: {', '.join(file.files) or 'none'})")
            joints, row_names = file[array], file[f"{array}_names"]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"joints {path} cannot be read: {str(error).splitlines()[0]}") from error
    if joints.ndim != 3 or joints.shape[1] not in (len(COCO17), len(JOINTS)) or joints.shape[2] != 3:
        raise ValueError(f"joints {path}: {array} is of shape (N, 17 or 18, 3), got {joints.shape}")
    if joints.dtype.kind not in "fiu":
        raise ValueError(f"joints {path}: {array} must hold numbers, not {joints.dtype}")
    if row_names.shape != joints.shape[:1]:
        raise ValueError(f"joints {path}: {array} has {len(joints)} rows, {array}_names is of shape {row_names.shape}")
    rows = {str(name): row for row, name in enumerate(row_names)}
    if len(rows) < len(row_names):
        raise ValueError(f"joints {path}: {array}_names has {len(row_names) - len(rows)} duplicate names")
    missing = [name for name in names if name not in rows]
    if missing:
        raise ValueError(
            f"joints {path}: {len(missing)} of {len(names)} images of {split} have no row in {array}, the first is"
            f" {missing[0]}"
        )
    chosen = joints[[rows[name] for name in names]].astype(np.float32)
    return from_coco(chosen) if chosen.shape[1] == len(COCO17) else chosen


def read_openpose(folder: Path, split: str, names: list[str]) -> np.ndarray:
    """The joints (N, 18, 3) of the images ``names`` (N) of ``split``, from OpenPose's ``<image>_keypoints.json``.

    The files lie in ``folder`` or in its folder for the split (``bounding_box_train``, ``query``,
    ``bounding_box_test``). Both models are supported, COCO (18 joints) and BODY_25, with coordinates in pixels
    (``--keypoint_scale 0``, the default). Of several people the one with the highest total confidence is taken; without
    any, all confidences are zero. Raises ValueError for a missing or corrupt file.
    """
    split_folder = folder / FOLDERS[split]
    files = [
        (split_folder if split_folder.is_dir() else folder) / f"{Path(name).stem}_keypoints.json" for name in names
    ]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise ValueError(
            f"joints {folder}: {len(missing)} of {len(names)} images of {split} have no file, the first is"
            f" {missing[0].relative_to(folder)}"
        )
    return np.stack([_read_json(file) for file in files])


def _read_json(path: Path) -> np.ndarray:
    try:
        people = [np.array(p["pose_keypoints_2d"], np.float64) for p in json.loads(path.read_text())["people"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"joints {path} are not OpenPose's: there is no readable list 'people' of pose_keypoints_2d"
        ) from error
    if not people:
        return np.zeros((len(JOINTS), 3), np.float32)
    orders = {3 * len(order): order for order in (OPENPOSE18, OPENPOSE25)}
    for person in people:
        if person.ndim != 1 or person.size not in orders:
            raise ValueError(f"joints {path}: a person has 18 or 25 joints of 3 numbers, got {person.size} numbers")
    best = max(people, key=lambda person: person[2::3].sum())
    return reorder(best.reshape(-1, 3), orders[best.size])
