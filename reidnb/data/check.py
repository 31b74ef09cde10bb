"""Integrity of a copy of a data set: its counts, unreadable files, and overlap between training and test."""

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from . import catalog, folders
from .dataset import Counts, ReidData, Remark, count, of_little_use
from .pixels import BROKEN, DEEP


def check(name: str, root: str | Path | None = None) -> pd.DataFrame:
    """Read every image and count everything: rows of what, count, expected, ok and details.

    ``expected`` is empty where no count is published; ``ok`` is False for each count that differs from a complete
    copy's, for files that cannot be decoded, for files and identities that are in both training and test, and for
    joints that do not fit the images. What was left out or is of little use has a row each. Errors as ``catalog.read``.
    """
    data = catalog.read(name, root)
    rows = count_rows(data, catalog.data_set(name).counts)
    remarks = [*data.remarks, *of_little_use(data)]
    train, test = set(data.train.path), {*data.query.path, *data.gallery.path}
    files = _read_all(sorted(train | test))
    deep = [path for path, file in files.items() if file.is_deep]
    if deep:
        remarks.append(Remark(len(deep), "16-bit images, scaled to 8 bits", Path(deep[0]).name))
    rows += [_row(remark.what, remark.count, details=remark.example) for remark in remarks]
    rows.append(
        _defect_row("unreadable files", (f"{path} ({file.error})" for path, file in files.items() if file.error))
    )
    train_files = {files[path].digest: path for path in sorted(train) if not files[path].error}
    duplicates = [
        f"{Path(p).name} = {Path(train_files[files[p].digest]).name}"
        for p in sorted(test)
        if files[p].digest in train_files
    ]
    rows.append(_defect_row("files in training and test", duplicates))
    shared_pids = (set(data.query.pid) | set(data.gallery.pid)) & set(data.train.pid)
    rows.append(_defect_row("identities in training and test", map(str, sorted(shared_pids))))
    return pd.DataFrame(rows + _joints_rows(data))


def _joints_rows(data: ReidData) -> list[dict]:
    """A row on ``joints.npz`` where the data set has one: for how many of its images, and what is wrong with it."""
    from ..pose import sources  # imported here because it reads data sets

    file = data.root / sources.FILE
    if not file.is_file():
        return []
    images = len(data.train) + len(data.query) + len(data.gallery)
    try:
        sources.load(data, file)
    except (OSError, ValueError) as error:
        return [_row(sources.FILE, 0, images, str(error))]
    return [_row(sources.FILE, images, images)]


def count_rows(data: ReidData, expected: Counts | None) -> list[dict]:
    """A row of what, count, expected, ok and details for each count of the data set."""
    published = asdict(expected or Counts())
    return [
        _row(name.replace("_", " "), number, "" if published[name] is None else published[name])
        for name, number in asdict(count(data)).items()
    ]


def present(root: str | Path) -> pd.DataFrame:
    """The data sets under a data root: rows of name, place and state ('complete', or what is wrong, or counts).

    Several data sets have the same layout: a complete copy of one of them is not listed under the others' names. Any
    other folder in Market-1501's layout or with ``images.csv`` is listed as a data set of the user's.
    """
    root = Path(root).expanduser().resolve()
    rows = []
    for name in (name for name in catalog.DATA_SETS if name not in (*folders.PREFIXES, *catalog.STREETS)):
        try:
            place = catalog.locate(name, root)
        except FileNotFoundError:
            if not root.is_dir():
                raise
            continue
        rows.append({"name": name, "place": str(place), "state": _state(name, root, place) + _joints(place)})
    complete = {row["place"] for row in rows if row["state"].startswith("complete")}
    # The root itself fits every known set of its layout; unless it is a complete copy, it is a set of the user's.
    kept = [
        row
        for row in rows
        if (row["place"] in complete and row["state"].startswith("complete"))
        or row["place"] not in complete | {str(root)}
    ]
    known = {row["place"] for row in kept}
    for folder in (root, *sorted(child for child in root.iterdir() if os.access(child, os.R_OK | os.X_OK))):
        if folder.is_dir() and str(folder) not in known and folders.holds_images(folder):
            name = f"folder-{folders.short(folder)}"
            kept.append({"name": name, "place": str(folder), "state": _counts(name, folder) + _joints(folder)})
    return pd.DataFrame(kept, columns=["name", "place", "state"])


def _joints(place: Path) -> str:
    return ", with joints.npz" if (place / "joints.npz").is_file() else ""


def _counts(name: str, folder: Path) -> str:
    """The counts of a data set of the user's, or what is wrong with it."""
    try:
        data = folders.read(name, folder)
    except (OSError, ValueError) as error:
        return str(error)
    identities = f" of {data.train_ids} identities" if data.train_ids else " (a set to test on)"
    return (
        f"{len(data.train)} training images{identities}, {len(data.query)} queries, {len(data.gallery)} gallery images"
    )


def _state(name: str, root: str | Path, place: Path) -> str:
    if place.is_file():
        return "present; its images are written into the cache when it is first used"
    try:
        rows = count_rows(catalog.read(name, root), catalog.data_set(name).counts)
    except (OSError, ValueError) as error:
        return str(error)
    deviations = [f"{row['what']} {row['count']} instead of {row['expected']}" for row in rows if not row["ok"]]
    return f"not complete: {', '.join(deviations)}" if deviations else "complete"


@dataclass(frozen=True)
class _File:
    """A file of an image, read completely: its digest or, if it cannot be decoded, the error."""

    digest: bytes = b""
    is_deep: bool = False
    error: str = ""


def _read_all(paths: list[str]) -> dict[str, _File]:
    """Each file by its path."""

    def read_one(path: str) -> _File:
        try:
            content = Path(path).read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                return _File(hashlib.sha256(content).digest(), image.mode in DEEP)
        except BROKEN as error:
            return _File(error=str(error).splitlines()[0])

    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while it decodes
        return dict(zip(paths, pool.map(read_one, paths), strict=True))


def _row(what: str, number: int, expected: int | str = "", details: str = "") -> dict:
    return {"what": what, "count": number, "expected": expected, "ok": expected in ("", number), "details": details}


def _defect_row(what: str, cases: Iterable[str]) -> dict:
    """A row for a defect that a sound copy does not have; ``details`` names the first five cases."""
    cases = list(cases)
    more = [f"and {len(cases) - 5} more"] if len(cases) > 5 else []
    return _row(what, len(cases), 0, ", ".join(cases[:5] + more))
