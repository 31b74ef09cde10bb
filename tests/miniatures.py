"""The layouts of the real data sets in small, filled with the synthetic street, and what each then holds."""

import shutil
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from reidnb.data import catalog
from reidnb.data.dataset import Counts, count

SPLITS = ("bounding_box_train", "query", "bounding_box_test")


def put(images, folder: Path, name) -> None:
    """Copy the images of a table into ``folder`` under ``name(row number, row)``."""
    for number, row in enumerate(images.itertuples()):
        target = folder / name(number, row)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".png":
            Image.open(row.path).save(target)
        else:
            shutil.copy(row.path, target)


def market_like(folder: Path, street: catalog.ReidData, suffix: str = ".jpg") -> Counts:
    """Market-1501's layout with CUHK03-NP's names (``0001_c1_1.png``); no junk, no distractors."""
    gallery = street.gallery[street.gallery.pid > 0]
    for split, table in zip(SPLITS, (street.train, street.query, gallery), strict=True):
        put(table, folder / split, lambda number, row: f"{row.pid:04d}_c{row.camid}_{number}{suffix}")
    return count(catalog.read("folder", folder))


def duke(folder: Path, street: catalog.ReidData) -> Counts:
    """DukeMTMC-reID's names, ``0001_c2_f0046182.jpg``; distractors have pids of their own."""
    gallery = street.gallery[street.gallery.pid > -1].copy()
    alone = gallery.pid == 0
    gallery.loc[alone, "pid"] = range(7000, 7000 + alone.sum())
    for split, table in zip(SPLITS, (street.train, street.query, gallery), strict=True):
        put(table, folder / split, lambda number, row: f"{row.pid:04d}_c{row.camid}_f{number:07d}.jpg")
    return count(catalog.read("folder", folder))


def msmt17(folder: Path, street: catalog.ReidData, version: int = 1) -> Counts:
    """MSMT17's lists and folders; identities are numbered from 0 in training and from 0 in the test."""
    train, test = {1: ("train", "test"), 2: ("mask_train_v2", "mask_test_v2")}[version]
    gallery = street.gallery[street.gallery.pid > 0]
    parts = {"train": street.train[2:], "val": street.train[:2], "query": street.query, "gallery": gallery}
    for part, table in parts.items():
        first = (street.train if part in ("train", "val") else street.query).pid.min()
        names = [
            f"{row.pid - first:04d}/{row.pid - first:04d}_{number:03d}_{row.camid:02d}_0303{part}_0008_0.jpg"
            for number, row in enumerate(table.itertuples())
        ]
        put(table, folder / (train if part in ("train", "val") else test), lambda n, row, names=names: names[n])
        lines = [f"{name} {row.pid - first}\n" for name, row in zip(names, table.itertuples(), strict=True)]
        (folder / f"list_{part}.txt").write_text("".join(lines))
    whole = len(street.train) + len(street.query) + len(gallery)
    return Counts(8, len(street.train), 8, len(street.query), 8, len(gallery), whole, 3)


# Persons of CUHK03's five pairs of cameras, few of each; among the first six of pair 1 the new protocol tests two.
PERSONS = (12, 6, 2, 1, 1)


def cuhk03_mat(file: Path, street: catalog.ReidData, seed: int = 0) -> None:
    """A MATLAB 7.3 file as ``cuhk-03.mat``: cell arrays as references, images columns first, empty cells.

    Everybody has images in both views, some fewer than five; detected boxes are cut a pixel closer.
    The first split tests persons 1 to 4 of pair 1 and person 1 of pair 2, the others one person more each time.
    """
    rng = np.random.default_rng(seed)
    by_person = [group.path.tolist() for _, group in street.train.groupby("pid")]
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as mat:
        hidden = mat.create_group("#refs#")

        def refer(array: np.ndarray) -> h5py.Reference:
            return hidden.create_dataset(str(len(hidden)), data=array).ref

        def cells(references: np.ndarray) -> np.ndarray:
            return np.array(references, dtype=h5py.ref_dtype)

        for boxes in ("labeled", "detected"):
            tables = []
            for pair, persons in enumerate(PERSONS, 1):
                table = np.empty((10, persons), dtype=h5py.ref_dtype)
                for person in range(persons):
                    paths = cycle(by_person[(person + pair) % len(by_person)])
                    for index in range(10):
                        picture = np.asarray(Image.open(next(paths)))[1 if boxes == "detected" else 0 :]
                        picture = np.clip(picture + rng.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)
                        # The fifth and the last image are often missing; the protocol's queries never are.
                        empty = index in (4, 9) and person % 2
                        table[index, person] = refer(np.zeros(2, np.uint64) if empty else picture.T)
                tables.append(refer(table))
            mat.create_dataset(boxes, data=cells([tables]))
        sets = []
        for more in range(20):
            tested = [(1, p) for p in range(1, 5)] + [(2, 1)] + [(1, p) for p in range(5, 5 + more % 8)]
            sets.append(refer(np.array(tested, float).T))
        mat.create_dataset("testsets", data=cells([sets]))


LABELS = ("query_pids", "query_camids", "gallery_pids", "gallery_camids")


def in_order(function: Callable, inputs: int = 2) -> Callable:
    """A function of ``evaluation.metrics`` with its labels, which it takes by name, in order after its inputs."""

    def called(*arguments, **options):
        labels = dict(zip(LABELS, arguments[inputs:], strict=True))
        return function(*arguments[:inputs], **labels, **options)

    return called
