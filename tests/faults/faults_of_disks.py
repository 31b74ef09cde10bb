"""Faults of disks and files: full, read-only, gone or broken; part of ``faults.py``."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from disturbed import STUDY, Outcome, Place, experiment, planned, same, train, undisturbed

from reidnb.data import catalog
from reidnb.runs import run


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own at ``folder``. Raises PermissionError where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(call, capture_output=True).returncode:
        raise PermissionError("mounting a disk is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def disks(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Full and read-only disks: one sentence, and after space is made the run goes on."""
    calm = undisturbed(folder)
    place, found = Place(folder / "full-results", calm.cache), Outcome("full disk, results")
    with disk(place.results, "4m"):
        code, found.said = place.do(_fill_after_an_epoch, place.results / "ballast")
        found.tried, found.torn = 1, place.torn()
        found.equal = code == 1 and "checkpoint.pt: the disk is full" in found.said
        (place.results / "ballast").unlink()
        code, _ = place.do(train)
        found.lost = "resumed after epoch 1" not in place.log.read_text()
        found.ended(place, code, same(place, calm))
    yield found
    place, found = Place(folder / "full-study", calm.cache), Outcome("full disk, under snakemake", tried=1)
    with disk(place.results, "40m"):
        process = place.snakemake(STUDY)
        # Not the checkpoint, which a short training removes before anyone looks.
        while not any(place.results.glob("runs/*/experiment.json")) and process.poll() is None:
            time.sleep(0.01)
        while process.poll() is None:  # a training gives back the space of its checkpoint, and the next one fits in
            _fill(place.results / "ballast")
            time.sleep(0.02)
        code = process.wait()
        found.equal, found.torn = code != 0, place.torn()
        said = (place.results.parent / "said").read_text()
        found.said = next((line for line in said.splitlines() if "the disk is full" in line), "")
        found.equal &= bool(found.said)
        (place.results / "ballast").unlink()
        found.ended(place, place.snakemake(STUDY).wait(), same(place, calm))
    yield found
    place, found = Place(folder / "full-cache"), Outcome("full disk, cache")
    with disk(place.cache, "60k"):
        for wanted in ("street-small: the disk is full", ".npy: the disk is full"):
            code, found.said = place.do(train)
            found.tried, found.torn = found.tried + 1, found.torn + place.torn()
            found.equal &= code == 1 and wanted in found.said
            space = sum(p.stat().st_blocks for p in calm.cache.glob("street-small/**/*")) // 2 + 200
            subprocess.run(["mount", "-o", f"remount,size={space}k", str(place.cache)], check=True)
        subprocess.run(["mount", "-o", "remount,size=100m", str(place.cache)], check=True)
        code, _ = place.do(train)
        found.ended(place, code, same(place, calm))
    yield found
    place, found = Place(folder / "read-only", calm.cache), Outcome("results cannot be written")
    with disk(place.results, "1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(place.results)], check=True)
        codes = [place.do(train)]
    place.results.rmdir()
    place.results.write_text("a file in the folder's place")
    codes.append(place.do(train))
    found.tried, found.said = 2, codes[0][1]
    found.equal = all(code == 1 and "cannot write in" in said for code, said in codes)
    found.lost += "epoch" in place.log.read_text()  # found before anything is trained
    yield found


def _fill_after_an_epoch(ballast: Path) -> None:
    def log(line: str) -> None:
        print(line)
        if line.startswith("epoch   1"):
            _fill(ballast)

    run(experiment(), catalog.load(experiment().dataset), cpu=True, log=log)


def _fill(ballast: Path) -> None:
    """Take all the space that is left, even while others take some and give it back."""
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65536))


def images(folder: Path, repeats: int) -> Iterator[Outcome]:
    """An image is deleted, cut short or emptied after the plan; before and after it is decoded."""
    calm = undisturbed(folder)
    for fault in ("deleted", "cut short", "emptied"):
        for when in ("before", "after"):
            # A street knows its images; of a folder nobody knows what is missing.
            for dataset in ("street-small", "folder") if fault == "deleted" else ("street-small",):
                place = Place(folder / f"image-{fault[:3]}-{when}-{dataset}")
                shutil.copytree(calm.cache / "street-small", place.cache / "street-small")
                root = str(place.cache / "street-small") if dataset == "folder" else ""
                yield _image(place, calm, dataset, root, fault, when)


def _image(place: Place, calm: Place, dataset: str, root: str, fault: str, when: str) -> Outcome:
    found = Outcome(f"image {fault} {when} decoding ({dataset})", tried=1)
    wanted = planned(1, dataset, root)
    if when == "after":
        found.lost += place.do(train, 0, None, dataset, root)[0] != 0
    image = sorted(place.cache.glob("street-small/query/*.jpg"))[3]
    content, times = image.read_bytes(), image.stat()
    image.unlink() if fault == "deleted" else image.write_bytes(content[:400] if fault == "cut short" else b"")
    code, found.said = place.do(_planned, wanted, dataset, root)
    found.equal = code == 1 and (image.name in found.said or (fault == "deleted" and dataset == "folder"))
    found.torn = place.torn() - (fault != "deleted")
    image.write_bytes(content)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    code = max(place.do(_planned, wanted, dataset, root)[0], place.do(train, 0, None, dataset, root)[0])
    if dataset == "street-small":
        found.ended(place, code, same(place, calm))
    else:
        ours, theirs = place.results / "runs" / wanted, calm.results / "runs" / planned(1)
        found.ended(place, code, (ours / "metrics.json").read_bytes() == (theirs / "metrics.json").read_bytes())
    return found


def _planned(wanted: str, dataset: str, root: str) -> None:
    run(experiment(1, dataset), catalog.load(dataset, root or None), planned=wanted, cpu=True)
