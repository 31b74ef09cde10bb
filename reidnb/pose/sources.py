"""The joints of a data set's images, from ground truth, files or a detector, stored in the cache."""

import hashlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..data.catalog import ReidData
from ..data.pixels import BROKEN, upright_size
from ..files import cache_dir, create_once, reporting_damage, write_atomically
from .canonical import THRESHOLD, fill, typical
from .files import FOLDERS, read_npz, read_openpose
from .skeleton import JOINTS

FILE = "joints.npz"
"""The file in a data set's folder that is used if no source is given."""
SOURCES = ("truth", "keypointrcnn")


class Split(NamedTuple):
    """joints (N, 18, 3) float32: x, y in pixels of the original image, confidence; sizes (N, 2): its height, width."""

    joints: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class Poses:
    """The joints of all images of a data set, in the row order of its tables; ``source`` comes from ``source_of``."""

    source: str
    train: Split
    query: Split
    gallery: Split


def load(
    data: ReidData, source: str | Path = "", *, weights: str | Path = "", log: Callable[[str], None] = print
) -> Poses:
    """The joints of the images of ``data``, some of them missing (see ``complete``).

    source    'truth' (of the synthetic street), 'keypointrcnn', an .npz file, a folder of OpenPose's JSON, or '': the
              truth for a street, else ``joints.npz`` in the data set's folder, else Keypoint R-CNN
    weights   of Keypoint R-CNN: a local .pth file, or '' (torchvision's, cached or downloaded)

    The result is cached under its source and the images' paths, sizes and modification times. Raises ValueError or
    FileNotFoundError, in one sentence, for joints that do not fit the images.
    """
    kind, path = _resolve(data, source)
    name = source_of(data, source, weights)
    splits = {}
    for split in FOLDERS:
        paths = list(getattr(data, split).path)
        if not paths:  # a set to test on has no training images
            splits[split] = Split(np.zeros((0, len(JOINTS), 3), np.float32), np.zeros((0, 2), np.int64))
            continue
        target = cache_dir() / "joints" / f"{data.name}-{split}-{_key(name, paths)}.npz"
        with create_once(target) as missing:
            if missing:
                if kind == "keypointrcnn":
                    images = f"{len(paths)} images of {data.name} {split}"
                    log(f"detecting the joints of {images} with Keypoint R-CNN (first use only)")
                    from . import detector  # imported here because torchvision's detectors take long to import

                    joints = detector.detect(paths, target.with_suffix(""), weights, detector.SIDE)
                else:
                    joints = _read(kind, path, split, [Path(p).name for p in paths])
                result = Split(joints, _sizes(paths))
                _check(result, f"the joints of {name} for {data.name} {split}", paths)
                write_atomically(target, lambda file, result=result: _save(file, result))
        remedy = "delete it, and the joints are read again"
        with reporting_damage(target, remedy), np.load(target, allow_pickle=False) as file:
            splits[split] = Split(file["joints"], file["sizes"])
    return Poses(name, **splits)


def source_of(data: ReidData, source: str | Path = "", weights: str | Path = "") -> str:
    """The identity of the joints' source: its kind and a digest of its content.

    It is part of an experiment's key: 'truth:...', 'joints:...', 'openpose:...' or 'keypointrcnn-320:fc266e95'. It
    contains no path, so that it is the same on every machine. Raises as ``load`` for a missing source.
    """
    kind, path = _resolve(data, source)
    if kind == "keypointrcnn":
        from . import detector

        return f"keypointrcnn-{detector.SIDE}:{detector.digest(weights)}"
    digest = hashlib.sha256()
    if kind == "openpose":
        for file in sorted(path.rglob("*_keypoints.json")):
            digest.update(
                f"{file.relative_to(path).as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode()
            )
    else:
        digest.update(path.read_bytes())  # for a street: its parameters, which determine all of it
    return f"{kind}:{digest.hexdigest()[:16]}"


def detect(paths: list[str], weights: str | Path = "") -> Split:
    """The joints of single images by Keypoint R-CNN, some of them missing (see ``fill``); ``weights`` as in ``load``.

    Nothing is kept in the cache. Raises OSError where the detector's weights cannot be had.
    """
    from . import detector  # imported here because torchvision's detectors take long to import

    with tempfile.TemporaryDirectory() as folder:
        return Split(detector.detect(paths, Path(folder) / "pieces", weights, detector.SIDE), _sizes(paths))


def complete(poses: Poses, threshold: float = THRESHOLD, canonical: np.ndarray | None = None) -> Poses:
    """The poses with each joint below ``threshold`` estimated from canonical poses (K, 18, 2); see ``fill``.

    By default the ``typical`` poses of the training images are used, for all splits.
    """
    canonical = typical(poses.train.joints, threshold) if canonical is None else canonical
    splits = {split: getattr(poses, split) for split in FOLDERS}
    filled = {name: Split(fill(*split, threshold, canonical), split.sizes) for name, split in splits.items()}
    return replace(poses, **filled)


def _resolve(data: ReidData, source: str | Path) -> tuple[str, Path]:
    """The kind of the source and its file or folder (an empty path for Keypoint R-CNN)."""
    street = data.root / "street.json"
    if not str(source):
        if street.is_file():
            return "truth", street
        return ("joints", data.root / FILE) if (data.root / FILE).is_file() else ("keypointrcnn", Path())
    if source == "keypointrcnn":
        return "keypointrcnn", Path()
    if source == "truth":
        if not street.is_file():
            raise ValueError(f"pose source 'truth': {data.root} is no synthetic street, so the true joints are unknown")
        return "truth", street
    path = Path(source).expanduser()
    if path.is_dir():
        return "openpose", path
    if not path.is_file():
        raise FileNotFoundError(f"pose source {source}: no such .npz file nor folder (known are {', '.join(SOURCES)})")
    return "joints", path


def _read(kind: str, path: Path, split: str, names: list[str]) -> np.ndarray:
    if kind == "joints":
        return read_npz(path, split, names)
    if kind == "openpose":
        return read_openpose(path, split, names)
    from .. import street  # needs OpenCV, which a machine that only trains may lack

    truth = street.truth(path.parent, FOLDERS[split])
    rows = {name: row for row, name in enumerate(truth.names)}
    return truth.joints[[rows[name] for name in names]]


def _check(split: Split, name: str, paths: list[str]) -> None:
    """Raise ValueError for joints that cannot be pixel coordinates in the images."""
    joints, (height, width) = split.joints, split.sizes.T[:, :, None]
    not_finite = ~np.isfinite(joints).all((1, 2))
    if not_finite.any():
        raise ValueError(
            f"{name}: {not_finite.sum()} images have NaN or infinite values, the first is {paths[not_finite.argmax()]}"
        )
    x, y, confidence = np.moveaxis(joints, -1, 0)
    if confidence.min() < 0 or confidence.max() > 1:
        low, high = confidence.min(), confidence.max()
        raise ValueError(f"{name}: confidences lie between 0 and 1, found {low:.3g} to {high:.3g}")
    confident = confidence >= THRESHOLD
    if not confident.any():
        return
    if max(x[confident].max(), y[confident].max()) <= 1:
        raise ValueError(
            f"{name}: coordinates must be in pixels, but none is above 1: are they fractions of the image?"
        )
    outside = (x < 0) | (x > width) | (y < 0) | (y > height)
    if (outside & confident).sum() > confident.sum() / 2:
        raise ValueError(
            f"{name}: {(outside & confident).sum()} of {confident.sum()} joints lie outside of their images:"
            " do the coordinates refer to images of another size?"
        )


def _sizes(paths: list[str]) -> np.ndarray:
    """Height and width (N, 2) of the images, from the files' headers."""

    def size(path: str) -> tuple[int, int]:
        try:
            with Image.open(path) as image:
                return upright_size(image)
        except BROKEN as error:
            raise ValueError(f"{path} cannot be decoded: {str(error).splitlines()[0]}") from error

    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(size, paths)), np.int64)


def _key(source: str, paths: list[str]) -> str:
    digest = hashlib.sha256(source.encode())
    for path in paths:
        stat = Path(path).stat()
        digest.update(f"{path}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]


def _save(path: Path, split: Split) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, joints=split.joints, sizes=split.sizes)
