"""CUHK03 (Li et al. 2014) with labelled and with detected boxes, under the classic and the new protocol.

The release is one MATLAB file, ``cuhk-03.mat``: five pairs of cameras, each with up to ten images of a person, the
first five from one view and the others from the other. Its images are written into the cache once, as PNG, under the
usual names ``pair_person_view_image.png``. The *classic* protocol tests on the 100 identities of one of the file's 20
``testsets``, with one random gallery image of each; the *new* one (Zhong et al. 2017) trains on 767 identities and
tests on 700, which ``cuhk03_new_protocol.csv`` beside this module lists. A copy that is already in Market-1501's layout
needs no ``cuhk-03.mat``.
"""

import hashlib
import re
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ..files import cache_dir, create_once, unfinished
from . import market
from .dataset import SINGLE_SHOT, Counts, ReidData, find

if TYPE_CHECKING:
    import h5py

BOXES = ("labeled", "detected")
SPLITS = 20
_NEW = {"train_ids": 767, "query_ids": 700, "query": 1400, "gallery_ids": 700, "cameras": 2}
# The file holds 14,096 images with labelled boxes and 14,097 with detected ones, of 1,467 identities.
COUNTS = {
    "cuhk03np-labeled": Counts(train=7368, gallery=5328, images=14096, **_NEW),
    "cuhk03np-detected": Counts(train=7365, gallery=5332, images=14097, **_NEW),
    "cuhk03-labeled": Counts(train_ids=1367, query_ids=100, gallery_ids=100, images=14096, cameras=2),
    "cuhk03-detected": Counts(train_ids=1367, query_ids=100, gallery_ids=100, images=14097, cameras=2),
}
MAT = "cuhk-03.mat"
_HOMES = ("cuhk03", "CUHK03", "cuhk03_release")
_NP_HOMES = ("cuhk03-np", "cuhk03np", "CUHK03-NP", "CUHK03NP", "cuhk03_np", "cuhk03_new_protocol", *_HOMES)


def _holds_mat(folder: Path) -> Path | None:
    return folder / MAT if (folder / MAT).is_file() else None


find_mat = partial(find, names=_HOMES, holds=_holds_mat, needs=MAT)


def find_new_protocol(root: Path, boxes: str) -> Path:
    """The folder of the new protocol with these boxes or, if there is none, ``cuhk-03.mat``."""
    short_name = {"labeled": "cuhk-label", "detected": "cuhk-detect"}[boxes]
    names = (f"cuhk03np-{boxes}", f"CUHK03_{boxes}", short_name, boxes, *_NP_HOMES)
    if root.is_dir() and root.name in set(BOXES) - {boxes} and (root.parent / boxes).is_dir():
        raise FileNotFoundError(f"data_root {root} has the other boxes; did you mean {root.parent / boxes}?")
    needs = f"folder bounding_box_train ({boxes} boxes, new protocol) and no {MAT}"
    return find(root, names, lambda folder: market.holds_layout(folder) or _holds_mat(folder), needs)


def read_new_protocol(name: str, place: Path, boxes: str) -> ReidData:
    """CUHK03-NP from a folder in Market-1501's layout or from ``cuhk-03.mat``; errors as ``extract``."""
    if place.is_dir():
        return market.read(name, place)
    images = _images(extract(place, boxes)).merge(_protocol(), on=["pair", "person"])
    training = images[boxes] == "train"
    query_indices = images[boxes].str.split().map(set)
    query = ~training & pd.Series(
        [str(i) in q for i, q in zip(images["index"], query_indices, strict=True)], images.index
    )
    parts = (images[training], images[query], images[~training & ~query])
    return ReidData(name, place.parent, *(_table(part) for part in parts))


def read_classic(name: str, mat: Path, boxes: str, split: int = 1) -> ReidData:
    """CUHK03 by the classic protocol: one of the 20 splits, counted from 1; errors as ``extract``.

    Each test image is a query, and the gallery holds all of them. For each query the evaluation draws one gallery
    image of each identity; of the query's identity only images from the other view are eligible.
    """
    images = _images(extract(mat, boxes)).merge(_protocol(), on=["pair", "person"])
    in_test = pd.MultiIndex.from_frame(images[["pair", "person"]]).isin(_test_set(mat, split))
    test = _table(images[in_test])
    return ReidData(name, mat.parent, _table(images[~in_test]), test, test, protocol=SINGLE_SHOT)


def extract(mat: Path, boxes: str) -> Path:
    """The folder in the cache with the images of ``cuhk-03.mat``, which are extracted at the first call.

    The cache identifies the file by path, size and modification time. Raises ValueError for a file of another MATLAB
    version, a corrupt file, or one that is not CUHK03's.
    """
    stat = mat.stat()
    digest = hashlib.sha256(f"{mat}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache_dir() / "cuhk03" / f"{digest}-{boxes}"
    with create_once(folder) as missing:
        if missing:
            with _open(mat) as file, unfinished(folder) as target:
                target.mkdir()
                _write_images(file, file[boxes][0], target, f"CUHK03, {boxes}")
    return folder


def _write_images(file: "h5py.File", pairs: np.ndarray, folder: Path, title: str) -> None:
    # MATLAB is column-major: a cell array is read as references (10 images, persons), an image as (3, width, height).
    cells = [
        (pair, person, index, reference)
        for pair, table in enumerate(pairs, 1)
        for person, images in enumerate(file[table][:].T, 1)
        for index, reference in enumerate(images, 1)
    ]
    print(f"writing {len(cells)} images into the cache (first use only): {title}", flush=True)
    for pair, person, index, reference in tqdm(cells, desc=title, unit="image", disable=None, leave=False):
        image_data = file[reference]
        if image_data.ndim == 3:  # MATLAB stores an empty cell as its two dimensions
            name = f"{pair}_{person:03d}_{1 if index <= 5 else 2}_{index:02d}.png"
            Image.fromarray(image_data[:].T).save(folder / name, compress_level=1)


def _open(mat: Path) -> "h5py.File":
    """The open file. Raises ValueError when it is not ``cuhk-03.mat`` as released."""
    import h5py  # imported here, since only this file format needs it

    try:
        file = h5py.File(mat, "r")
    except OSError as error:
        with mat.open("rb") as stream:
            is_version_5 = stream.read(10) == b"MATLAB 5.0"
        reason = "a MATLAB file of version 5" if is_version_5 else f"broken or no MATLAB file of version 7.3 ({error})"
        raise ValueError(f"{mat} is {reason}; {MAT} as released is of version 7.3") from None
    missing = [part for part in (*BOXES, "testsets") if part not in file]
    if missing:
        file.close()
        raise ValueError(f"{mat} is not CUHK03's: it has no {' and no '.join(map(repr, missing))}")
    return file


def _test_set(mat: Path, split: int) -> list[tuple[int, int]]:
    """Pair and person of each test identity of a split, counted from 1."""
    with _open(mat) as file:
        sets = file["testsets"][0]
        if not 1 <= split <= len(sets):
            raise ValueError(f"CUHK03 has the classic splits 1 to {len(sets)}, not {split}")
        return [(int(pair), int(person)) for pair, person in file[sets[split - 1]][:].T]


_FILE = re.compile(r"(\d)_(\d{3})_(\d)_(\d{2})\.png")


def _images(folder: Path) -> pd.DataFrame:
    """The extracted images: path, pair, person, camid (the view, 1 or 2), index (1 to 10)."""
    paths = sorted(folder.glob("*.png"))
    numbers = np.array([_FILE.fullmatch(path.name).groups() for path in paths], int).reshape(-1, 4)
    frame = pd.DataFrame(numbers, columns=["pair", "person", "camid", "index"])
    return frame.assign(path=[str(path) for path in paths])


def _protocol() -> pd.DataFrame:
    """The new protocol: pair, person, pid, and for each kind of boxes 'train' or the indices of the two queries.

    It comes from the two files of Zhong et al. 2017; as there, pids number all 1,467 persons pair by pair.
    """
    frame = pd.read_csv(files("reidnb.data") / "cuhk03_new_protocol.csv")
    return frame.assign(pid=np.arange(1, len(frame) + 1))


def _table(images: pd.DataFrame) -> pd.DataFrame:
    return images[["path", "pid", "camid"]].reset_index(drop=True)
