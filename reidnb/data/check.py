"""Whether a copy of a data set is whole: its counts, its files, and what training and test have in common."""

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
    """Every image read and every number counted: rows of what, found, expected, ok and details.

    ``expected`` is empty where nobody says; ``ok`` is False for each number that differs from a complete copy's, for
    files that cannot be decoded, and for files and identities that training and test share. Errors as
    ``catalog.read``.
    """
    data = catalog.read(name, root)
    rows = count_rows(data, catalog.data_set(name).counts)
    train, test = set(data.train.path), {*data.query.path, *data.gallery.path}
    digests, broken = _read_all(sorted(train | test))
    rows.append(_none("unreadable files", broken))
    seen = {digests[path]: path for path in sorted(train) if path in digests}
    twice = [f"{Path(p).name} = {Path(seen[digests[p]]).name}" for p in sorted(test) if digests.get(p) in seen]
    rows.append(_none("files in training and test", twice))
    both = (set(data.query.pid) | set(data.gallery.pid)) & set(data.train.pid)
    rows.append(_none("identities in training and test", map(str, sorted(both))))
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
    """Which data sets lie under a data root: rows of name, place and state ('complete', or what is wrong).

    Several have one layout: a folder that is a complete copy of one is not named for the others.
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
    taken = {row["place"] for row in rows if row["state"] == "complete"}
    kept = [row for row in rows if row["state"] == "complete" or row["place"] not in taken]
    return pd.DataFrame(kept, columns=["name", "place", "state"])


def _state(name: str, root: str | Path, place: Path) -> str:
    if place.is_file():
        return "there; its images are written into the cache when it is first used"
    try:
        rows = count_rows(catalog.read(name, root), catalog.data_set(name).counts)
    except (OSError, ValueError) as error:
        return str(error)
    wrong = [f"{row['what']} {row['found']} instead of {row['expected']}" for row in rows if not row["ok"]]
    return f"not complete: {', '.join(wrong)}" if wrong else "complete"


def _read_all(paths: list[str]) -> tuple[dict[str, bytes], list[str]]:
    """A digest of each file that can be decoded, and what is wrong with the others."""

    def read_one(path: str) -> tuple[str, bytes, str]:
        try:
            content = Path(path).read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except (OSError, SyntaxError, ValueError) as error:
            return path, b"", f"{path} ({str(error).splitlines()[0]})"
        return path, hashlib.sha256(content).digest(), ""

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside Python's lock
        results = list(pool.map(read_one, paths))
    return {path: digest for path, digest, wrong in results if not wrong}, [wrong for *_, wrong in results if wrong]


def _none(what: str, found: Iterable[str]) -> dict:
    """A row of things of which there should be none, the first five named."""
    found = list(found)
    more = [f"and {len(found) - 5} more"] if len(found) > 5 else []
    return {
        "what": what,
        "found": len(found),
        "expected": 0,
        "ok": not found,
        "details": ", ".join(found[:5] + more),
    }
