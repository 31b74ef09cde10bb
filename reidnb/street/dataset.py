"""The street as a data set on disk in Market-1501's layout, with joints and masks as ground truth."""

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

from ..files import reporting_damage, unfinished
from .camera import Camera, cameras, compress
from .identity import Identity, people
from .moments import draw_moment, draw_passage, spoil
from .scene import render

VERSION = 1
"""Incremented whenever the same parameters give different images."""
SPLITS = ("bounding_box_train", "query", "bounding_box_test")
JUNK, DISTRACTOR = -1, 0
PASSES = 0.5
"""Probability that an identity passes a camera beyond the two that every identity passes."""
PARALLEL_FROM = 150
"""Number of images from which worker processes pay off."""


class Truth(NamedTuple):
    """names (N,) of files; joints (N, 18, 3): x, y in pixels and visibility 0 or 1; masks (N, H, W) bool."""

    names: np.ndarray
    joints: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Street:
    """The parameters, which determine every byte of the data set."""

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
    index: int  # among the images of this identity and camera in query and gallery
    kind: str  # person | stranger | empty | junk

    def generator(self, seed: int) -> np.random.Generator:
        """The random generator of this image, independent of the process and the order of rendering."""
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
    """Make the synthetic street in ``folder`` and return the folder; an existing street is left unchanged.

    The same parameters give the same bytes. ``size`` is (H, W) in pixels. Each identity has about
    ``images_per_camera`` images from each camera that it passes. ``workers`` is the number of rendering processes (0 or
    1: this process only; None: one per core). The street is written beside ``folder`` and renamed when it is complete.

    Raises ValueError for a parameter out of range and if ``folder`` holds anything else; OSError for a full disk.
    """
    street = _validated(Street(seed, train_ids, test_ids, cameras, images_per_camera, tuple(size)), workers)
    folder = Path(folder).expanduser().absolute()
    if _exists(folder, street):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished(folder) as place:
            _write(place, street, len(os.sched_getaffinity(0)) if workers is None else workers)
    except OSError:  # another process may have finished first, with the same bytes
        if not _exists(folder, street):
            raise
    return folder


def truth(folder: str | Path, split: str) -> Truth:
    """The ground truth of the images of ``split``, in the order of their names.

    Raises ValueError for an unknown split and a damaged file, FileNotFoundError if ``folder`` holds no street.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: known are {', '.join(SPLITS)}")
    path = Path(folder).expanduser() / "truth" / f"{split}.npz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {folder} is not a synthetic street")
    with reporting_damage(path, f"delete {folder} to have it made again"), np.load(path) as data:
        names, joints, bits, size = data["names"], data["joints"], data["masks"], data["size"]
    masks = np.unpackbits(bits, axis=1, count=int(size.prod())).reshape(len(bits), *size).astype(bool)
    return Truth(names, joints, masks)


def _validated(street: Street, workers: int | None) -> Street:
    minima = {"seed": 0, "train_ids": 1, "test_ids": 1, "cameras": 2, "images_per_camera": 1}
    for name, minimum in minima.items():
        value = getattr(street, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ValueError(f"{name} must be an integer of at least {minimum}, not {value!r}")
    if street.train_ids + street.test_ids > 9999:
        raise ValueError(f"a street has at most 9999 identities, not {street.train_ids + street.test_ids}")
    if len(street.size) != 2 or not all(isinstance(n, int) and 16 <= n <= 1024 for n in street.size):
        raise ValueError(f"size must be height and width in pixels, each from 16 to 1024, not {street.size!r}")
    if workers is not None and (not isinstance(workers, int) or workers < 0):
        raise ValueError(f"workers must be None or an integer of at least 0, not {workers!r}")
    return street


def _parameters(street: Street) -> dict:
    return {"version": VERSION, **street.__dict__, "size": list(street.size)}


def _exists(folder: Path, street: Street) -> bool:
    """Whether ``folder`` holds this street. Raises ValueError if it holds another street or other files."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        existing = json.loads((folder / "street.json").read_text())
    except (OSError, ValueError):
        raise ValueError(f"{folder} holds something else than a synthetic street; choose another folder") from None
    expected = _parameters(street)
    differences = [
        f"{name} {existing.get(name)} instead of {expected[name]}"
        for name in expected
        if existing.get(name) != expected[name]
    ]
    if differences:
        raise ValueError(
            f"{folder} holds a street made with {', '.join(differences)}; delete it or choose another folder"
        )
    return True


def _shots(street: Street) -> list[Shot]:
    """All images of the street, split by split."""
    shots: dict[str, list[Shot]] = {split: [] for split in SPLITS}
    for pid in range(1, street.train_ids + street.test_ids + 1):
        rng = np.random.default_rng([street.seed, 2, pid])
        chosen = rng.permutation(street.cameras) + 1
        visited = [c for i, c in enumerate(chosen.tolist()) if i < 2 or rng.random() < PASSES]
        for camid in sorted(visited):
            number = max(1, street.images_per_camera + int(rng.integers(-1, 2)))
            if pid <= street.train_ids:
                shots[SPLITS[0]] += [Shot(SPLITS[0], pid, camid, i, "person") for i in range(number)]
            else:
                shots[SPLITS[1]].append(Shot(SPLITS[1], pid, camid, 0, "person"))
                shots[SPLITS[2]] += [Shot(SPLITS[2], pid, camid, i + 1, "person") for i in range(number)]
    # Relative to the matching gallery images: 5 % strangers, 5 % false detections, 10 % junk; at least one of each.
    distractors = -(-len(shots[SPLITS[2]]) // 20)
    for kind, pid, number in (
        ("stranger", DISTRACTOR, distractors),
        ("empty", DISTRACTOR, distractors),
        ("junk", JUNK, 2 * distractors),
    ):
        for i in range(number):
            index = i + (distractors if kind == "empty" else 0)
            shots[SPLITS[2]].append(Shot(SPLITS[2], pid, 1 + i % street.cameras, index, kind))
    return [shot for split in SPLITS for shot in shots[split]]


@lru_cache(maxsize=4)
def _population(street: Street) -> tuple[list[Identity], list[Identity], list[Camera]]:
    """The identities (indexed by pid - 1), the strangers (people without a pid), and the cameras."""
    identities = people(street.train_ids, [street.seed, 0]) + people(street.test_ids, [street.seed, 1])
    return identities, people(40, [street.seed, 4]), cameras(street.cameras, street.seed)


def _draw(street: Street, shot: Shot, folder: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Render and write one image; return its name, joints (18, 3), and mask packed into bytes."""
    identities, strangers, views = _population(street)
    rng, camera = shot.generator(street.seed), views[shot.camid - 1]
    walk = np.random.default_rng([street.seed, 6, shot.pid + 1, shot.camid])
    if shot.pid <= DISTRACTOR:
        walk = rng  # each distractor is on a walk of its own
    passage, start = draw_passage(walk), int(walk.integers(1, 90000))
    moment = draw_moment(rng, camera, passage, strangers, int(rng.integers(2**31)))
    person: Identity | None
    if shot.kind == "person":
        person = identities[shot.pid - 1]
    elif shot.kind == "stranger":
        person = strangers[int(rng.integers(len(strangers)))]
    elif shot.kind == "junk":
        person = identities[street.train_ids + int(rng.integers(street.test_ids))]
        moment = spoil(rng, moment)
    else:
        person = None
        moment = spoil(rng, moment)
    rendered = render(person, camera, moment, street.size)
    sequence = 1 + start % 3
    identity = "-1" if shot.pid == JUNK else f"{shot.pid:04d}"
    name = f"{identity}_c{shot.camid}s{sequence}_{start + 25 * shot.index:06d}_{shot.kind != 'person':02d}.jpg"
    (folder / shot.split / name).write_bytes(compress(rendered.image, camera.quality))
    return name, rendered.joints, np.packbits(rendered.mask)


def _draw_batch(street: Street, shots: tuple[Shot, ...], folder: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [_draw(street, shot, folder) for shot in shots]


def _exit_with_parent(parent: int) -> None:
    """Exit this worker when its parent process was killed; otherwise it would wait forever."""

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _draw_all(street: Street, shots: list[Shot], folder: Path, workers: int) -> Iterable:
    """Yield the results of ``_draw`` for all ``shots``, in order."""
    if workers <= 1 or len(shots) < PARALLEL_FROM:
        yield from (_draw(street, shot, folder) for shot in shots)
        return
    # Forking is unsafe because torch's threads may be running. The standard library's spawned processes would run the
    # calling script again, which would wait for the street that this process is making; loky's do not.
    with ProcessPoolExecutor(workers, initializer=_exit_with_parent, initargs=(os.getpid(),)) as pool:
        pieces = [tuple(shots[i : i + 16]) for i in range(0, len(shots), 16)]
        for results in pool.map(_draw_batch, [street] * len(pieces), pieces, [folder] * len(pieces)):
            yield from results


def _write(folder: Path, street: Street, workers: int) -> None:
    for split in (*SPLITS, "truth"):
        (folder / split).mkdir(parents=True)
    shots = _shots(street)
    if len(shots) >= PARALLEL_FROM:
        print(f"rendering the synthetic street (first use only): {len(shots)} images, about a minute", flush=True)
    results = tqdm(
        _draw_all(street, shots, folder, workers),
        desc="synthetic street",
        total=len(shots),
        unit="image",
        disable=None,  # shows the bar only in a terminal
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
