"""The street as a data set on disk, in Market-1501's layout, with the truth of joints and masks beside it."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
from loky import ProcessPoolExecutor
from tqdm import tqdm

from ..files import unfinished
from .camera import Camera, cameras, compress
from .identity import Identity, people
from .moments import draw_moment, draw_passage, spoil
from .scene import render

VERSION = 1
"""Counts up when the same parameters give other images."""
SPLITS = ("bounding_box_train", "query", "bounding_box_test")
JUNK, DISTRACTOR = -1, 0
PASSES = 0.5
"""How likely an identity passes a camera, beyond the two that everybody passes."""
PARALLEL_FROM = 150
"""Fewer images than this are made faster without worker processes."""


class Truth(NamedTuple):
    """names (N,) of files; joints (N, 18, 3): x, y in pixels and visibility 0 or 1; masks (N, H, W) bool."""

    names: np.ndarray
    joints: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Street:
    """The parameters that decide every byte of the data set."""

    seed: int
    train_ids: int
    test_ids: int
    cameras: int
    images_per_camera: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Shot:
    """One image of the data set."""

    split: str
    pid: int
    camid: int
    index: int  # among the images of this identity and camera, over query and gallery
    kind: str  # person | stranger | empty | junk

    def generator(self, seed: int) -> np.random.Generator:
        """The random numbers of this image, the same whoever makes it and when."""
        return np.random.default_rng([seed, 3, self.pid + 1, self.camid, self.index])


def make(
    folder: str | Path,
    *,
    seed: int = 0,
    train_ids: int = 64,
    test_ids: int = 64,
    cameras: int = 4,
    images_per_camera: int = 3,
    size: tuple[int, int] = (192, 96),
    workers: int | None = None,
) -> Path:
    """Make the synthetic street in ``folder`` and return it; a street that is already there is left as it is.

    The same parameters give the same bytes. ``size`` is (H, W) in pixels. About ``images_per_camera`` images
    are made of each identity before each camera that it passes. ``workers`` processes draw (0 or 1: none but
    this one; None: one a core). The street is written beside ``folder`` and renamed when it is whole.

    Raises ValueError for a parameter out of range, and where ``folder`` holds anything else; OSError for a full disk.
    """
    street = _checked(Street(seed, train_ids, test_ids, cameras, images_per_camera, tuple(size)), workers)
    folder = Path(folder).expanduser().absolute()
    if _is_made(folder, street):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished(folder) as place:
            _write(place, street, len(os.sched_getaffinity(0)) if workers is None else workers)
    except OSError:  # perhaps somebody else was faster: their street has the same bytes, or this raises
        if not _is_made(folder, street):
            raise
    return folder


def truth(folder: str | Path, split: str) -> Truth:
    """What is known of the images of ``split``, in the order of their names.

    Raises ValueError for an unknown split, FileNotFoundError where ``folder`` holds no street.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: known are {', '.join(SPLITS)}")
    path = Path(folder).expanduser() / "truth" / f"{split}.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {folder} is not a synthetic street")
    with np.load(path) as data:
        names, joints, bits, size = data["names"], data["joints"], data["masks"], data["size"]
    masks = np.unpackbits(bits, axis=1, count=int(size.prod())).reshape(len(bits), *size).astype(bool)
    return Truth(names, joints, masks)


def _checked(street: Street, workers: int | None) -> Street:
    least = {"seed": 0, "train_ids": 1, "test_ids": 1, "cameras": 2, "images_per_camera": 1}
    for name, low in least.items():
        value = getattr(street, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ValueError(f"{name} must be a whole number of at least {low}, not {value!r}")
    if street.train_ids + street.test_ids > 9999:
        raise ValueError(f"a street has at most 9999 identities, not {street.train_ids + street.test_ids}")
    if len(street.size) != 2 or not all(isinstance(n, int) and 16 <= n <= 1024 for n in street.size):
        raise ValueError(f"size must be height and width in pixels, each from 16 to 1024, not {street.size!r}")
    if workers is not None and (not isinstance(workers, int) or workers < 0):
        raise ValueError(f"workers must be None or a whole number of at least 0, not {workers!r}")
    return street


def _parameters(street: Street) -> dict:
    return {"version": VERSION, **street.__dict__, "size": list(street.size)}


def _is_made(folder: Path, street: Street) -> bool:
    """Whether ``folder`` holds this street. Raises ValueError where it holds another one or other files."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / "street.json").read_text())
    except (OSError, ValueError):
        raise ValueError(f"{folder} holds something else than a synthetic street; choose another folder") from None
    wanted = _parameters(street)
    other = [
        f"{name} {found.get(name)} instead of {wanted[name]}" for name in wanted if found.get(name) != wanted[name]
    ]
    if other:
        raise ValueError(f"{folder} holds a street made with {', '.join(other)}; delete it or choose another folder")
    return True


def _shots(street: Street) -> list[Shot]:
    """Every image of the street, split by split."""
    shots: dict[str, list[Shot]] = {split: [] for split in SPLITS}
    for pid in range(1, street.train_ids + street.test_ids + 1):
        rng = np.random.default_rng([street.seed, 2, pid])
        chosen = rng.permutation(street.cameras) + 1
        passed = [c for i, c in enumerate(chosen.tolist()) if i < 2 or rng.random() < PASSES]
        for camid in sorted(passed):
            number = max(1, street.images_per_camera + int(rng.integers(-1, 2)))
            if pid <= street.train_ids:
                shots[SPLITS[0]] += [Shot(SPLITS[0], pid, camid, i, "person") for i in range(number)]
            else:
                shots[SPLITS[1]].append(Shot(SPLITS[1], pid, camid, 0, "person"))
                shots[SPLITS[2]] += [Shot(SPLITS[2], pid, camid, i + 1, "person") for i in range(number)]
    # A tenth as many strangers and false detections as gallery images, and as much junk; at least one of each.
    each = -(-len(shots[SPLITS[2]]) // 20)
    for kind, pid, number in (("stranger", DISTRACTOR, each), ("empty", DISTRACTOR, each), ("junk", JUNK, 2 * each)):
        for i in range(number):
            index = i + (each if kind == "empty" else 0)
            shots[SPLITS[2]].append(Shot(SPLITS[2], pid, 1 + i % street.cameras, index, kind))
    return [shot for split in SPLITS for shot in shots[split]]


@lru_cache(maxsize=4)
def _cast(street: Street) -> tuple[list[Identity], list[Identity], list[Camera]]:
    """The identities by pid - 1, strangers who have no pid, and the cameras."""
    known = people(street.train_ids, [street.seed, 0]) + people(street.test_ids, [street.seed, 1])
    return known, people(40, [street.seed, 4]), cameras(street.cameras, street.seed)


def _draw(street: Street, shot: Shot, folder: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Write one image; its name, joints (18, 3), and mask packed into bytes."""
    known, strangers, views = _cast(street)
    rng, camera = shot.generator(street.seed), views[shot.camid - 1]
    walk = np.random.default_rng([street.seed, 6, shot.pid + 1, shot.camid])
    if shot.pid <= DISTRACTOR:
        walk = rng  # each is somebody else's walk
    passage, start = draw_passage(walk), int(walk.integers(1, 90000))
    moment = draw_moment(rng, camera, passage, strangers, int(rng.integers(2**31)))
    person: Identity | None
    if shot.kind == "person":
        person = known[shot.pid - 1]
    elif shot.kind == "stranger":
        person = strangers[int(rng.integers(len(strangers)))]
    elif shot.kind == "junk":
        person = known[street.train_ids + int(rng.integers(street.test_ids))]
        moment = spoil(rng, moment)
    else:
        person = None
        moment = spoil(rng, moment)
    picture = render(person, camera, moment, street.size)
    sequence = 1 + start % 3
    identity = "-1" if shot.pid == JUNK else f"{shot.pid:04d}"
    name = f"{identity}_c{shot.camid}s{sequence}_{start + 25 * shot.index:06d}_{shot.kind != 'person':02d}.jpg"
    (folder / shot.split / name).write_bytes(compress(picture.image, camera.quality))
    return name, picture.joints, np.packbits(picture.mask)


def _draw_some(street: Street, shots: tuple[Shot, ...], folder: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [_draw(street, shot, folder) for shot in shots]


def _end_with(parent: int) -> None:
    """End this worker when its parent process has been killed, for which it would otherwise wait."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _drawn(street: Street, shots: list[Shot], folder: Path, workers: int) -> Iterable:
    """The results of ``_draw`` for all ``shots``, in order."""
    if workers <= 1 or len(shots) < PARALLEL_FROM:
        yield from (_draw(street, shot, folder) for shot in shots)
        return
    # Fresh processes, since forking would copy one in which torch's threads may run; and loky's, since those of the
    # standard library run the calling script once more, which would wait for the street that this one is drawing.
    with ProcessPoolExecutor(workers, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        pieces = [tuple(shots[i : i + 16]) for i in range(0, len(shots), 16)]
        for results in pool.map(_draw_some, [street] * len(pieces), pieces, [folder] * len(pieces)):
            yield from results


def _write(folder: Path, street: Street, workers: int) -> None:
    for split in (*SPLITS, "truth"):
        (folder / split).mkdir(parents=True)
    shots = _shots(street)
    if len(shots) >= PARALLEL_FROM:
        print(f"drawing the synthetic street, once: {len(shots)} images, about a minute", flush=True)
    results = tqdm(
        _drawn(street, shots, folder, workers),
        desc="synthetic street",
        total=len(shots),
        unit="image",
        disable=None,  # a bar at a terminal only
        leave=False,
    )
    by_split: dict[str, list] = {split: [] for split in SPLITS}
    for shot, result in zip(shots, results, strict=True):
        by_split[shot.split].append(result)
    for split, rows in by_split.items():
        names, joints, masks = (np.array(column) for column in zip(*sorted(rows, key=lambda r: r[0]), strict=True))
        np.savez_compressed(
            folder / "truth" / f"{split}.npz", names=names, joints=joints, masks=masks, size=np.array(street.size)
        )
    (folder / "street.json").write_text(json.dumps(_parameters(street), indent=2) + "\n")
