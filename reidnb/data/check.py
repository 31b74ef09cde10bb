"""Integrity of a copy of a data set: its counts, unreadable files, and overlap between training and test."""

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from PIL import Image

from . import catalog
from .dataset import Counts, ReidData, count


def check(name: str, root: str | Path | None = None) -> pd.DataFrame:
    """Read every image and count everything: rows of what, found, expected, ok and details.

    ``expected`` is empty where no count is published; ``ok`` is False for each count that differs from a complete
    copy's, for files that cannot be decoded, and for files and identities that are in both training and test. Errors
    as ``catalog.read``.
    """
    data = catalog.read(name, root)
    rows = count_rows(data, catalog.data_set(name).counts)
    train, test = set(data.train.path), {*data.query.path, *data.gallery.path}
    digests, broken = _read_all(sorted(train | test))
    rows.append(_defect_row("unreadable files", broken))
    train_files = {digests[path]: path for path in sorted(train) if path in digests}
    duplicates = [
        f"{Path(p).name} = {Path(train_files[digests[p]]).name}" for p in sorted(test) if digests.get(p) in train_files
    ]
    rows.append(_defect_row("files in training and test", duplicates))
    shared_pids = (set(data.query.pid) | set(data.gallery.pid)) & set(data.train.pid)
    rows.append(_defect_row("identities in training and test", map(str, sorted(shared_pids))))
    return pd.DataFrame(rows)


def count_rows(data: ReidData, expected: Counts | None) -> list[dict]:
    """A row of what, found, expected, ok and details for each count of the data set."""
    wanted = asdict(expected or Counts())
    return [
        {
            "what": name.replace("_", " "),
            "found": number,
            "expected": "" if wanted[name] is None else wanted[name],
            "ok": wanted[name] in (None, number),
            "details": "",
        }
        for name, number in asdict(count(data)).items()
    ]


def present(root: str | Path) -> pd.DataFrame:
    """The data sets under a data root: rows of name, place and state ('complete', or what is wrong).

    Several data sets have the same layout: a complete copy of one of them is not listed under the others' names.
    """
    rows = []
    for name in (name for name in catalog.DATA_SETS if name != "folder" and name not in catalog.STREETS):
        try:
            place = catalog.locate(name, root)
        except FileNotFoundError:
            if not Path(root).expanduser().is_dir():
                raise
            continue
        rows.append({"name": name, "place": str(place), "state": _state(name, root, place)})
    complete = {row["place"] for row in rows if row["state"] == "complete"}
    kept = [row for row in rows if row["state"] == "complete" or row["place"] not in complete]
    return pd.DataFrame(kept, columns=["name", "place", "state"])


def _state(name: str, root: str | Path, place: Path) -> str:
    if place.is_file():
        return "present; its images are written into the cache when it is first used"
    try:
        rows = count_rows(catalog.read(name, root), catalog.data_set(name).counts)
    except (OSError, ValueError) as error:
        return str(error)
    deviations = [f"{row['what']} {row['found']} instead of {row['expected']}" for row in rows if not row["ok"]]
    return f"not complete: {', '.join(deviations)}" if deviations else "complete"


def _read_all(paths: list[str]) -> tuple[dict[str, bytes], list[str]]:
    """The digest of each file that can be decoded, by path, and a message for each of the others."""

    def read_one(path: str) -> tuple[str, bytes, str]:
        try:
            content = Path(path).read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except (OSError, SyntaxError, ValueError) as error:
            return path, b"", f"{path} ({str(error).splitlines()[0]})"
        return path, hashlib.sha256(content).digest(), ""

    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL while it decodes
        results = list(pool.map(read_one, paths))
    return {path: digest for path, digest, error_text in results if not error_text}, [
        error_text for *_, error_text in results if error_text
    ]


def _defect_row(what: str, cases: Iterable[str]) -> dict:
    """A row for a defect that a sound copy does not have; ``details`` names the first five cases."""
    cases = list(cases)
    more = [f"and {len(cases) - 5} more"] if len(cases) > 5 else []
    return {
        "what": what,
        "found": len(cases),
        "expected": 0,
        "ok": not cases,
        "details": ", ".join(cases[:5] + more),
    }
