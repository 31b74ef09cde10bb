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
    """A separate disk at ``folder``. Raises PermissionError where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(call, capture_output=True).returncode:
        raise PermissionError("mounting a disk is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def disks(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Full and read-only disks: one sentence, and when there is space again the run resumes."""
    reference = undisturbed(folder)
    place, outcome = Place(folder / "full-results", reference.cache), Outcome("full disk, results")
    with disk(place.results, "4m"):
        code, outcome.message = place.run(_fill_after_an_epoch, place.results / "ballast")
        outcome.tried, outcome.half_written = 1, place.half_written()
        outcome.equal = code == 1 and "checkpoint.pt: the disk is full" in outcome.message
        (place.results / "ballast").unlink()
        code, _ = place.run(train)
        outcome.lost = "resumed after epoch 1" not in place.log.read_text()
        outcome.ended(place, code, same(place, reference))
    yield outcome
    place, outcome = Place(folder / "full-cache"), Outcome("full disk, cache")
    with disk(place.cache, "60k"):
        for expected in ("street-small: the disk is full", ".npy: the disk is full"):
            code, outcome.message = place.run(train)
            outcome.tried, outcome.half_written = outcome.tried + 1, outcome.half_written + place.half_written()
            outcome.equal &= code == 1 and expected in outcome.message
            space = sum(p.stat().st_blocks for p in reference.cache.glob("street-small/**/*")) // 2 + 200
            subprocess.run(["mount", "-o", f"remount,size={space}k", str(place.cache)], check=True)
        subprocess.run(["mount", "-o", "remount,size=100m", str(place.cache)], check=True)
        code, _ = place.run(train)
        outcome.ended(place, code, same(place, reference))
    yield outcome
    place, outcome = Place(folder / "read-only", reference.cache), Outcome("results cannot be written")
    with disk(place.results, "1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(place.results)], check=True)
        codes = [place.run(train)]
    place.results.rmdir()
    place.results.write_text("a file in the folder's place")
    codes.append(place.run(train))
    outcome.tried, outcome.message = 2, codes[0][1]
    outcome.equal = all(code == 1 and "cannot write in" in message for code, message in codes)
    outcome.lost += "epoch" in place.log.read_text()  # found before anything is trained
    yield outcome


def disk_of_a_study(folder: Path, repeats: int) -> Iterator[Outcome]:
    """A disk that fills up under snakemake: one sentence, and when there is space again the study resumes."""
    reference = undisturbed(folder)
    place, outcome = Place(folder / "full-study", reference.cache), Outcome("full disk, under snakemake", tried=1)
    with disk(place.results, "40m"):
        process = place.snakemake(STUDY)
        # Not the checkpoint, which a short training removes before anyone looks.
        while not any(place.results.glob("runs/*/experiment.json")) and process.poll() is None:
            time.sleep(0.01)
        while process.poll() is None:  # a training gives back the space of its checkpoint, and the next one fits in
            _fill(place.results / "ballast")
            time.sleep(0.02)
        code = process.wait()
        outcome.equal, outcome.half_written = code != 0, place.half_written()
        output = (place.results.parent / "output").read_text()
        outcome.message = next((line for line in output.splitlines() if "the disk is full" in line), "")
        outcome.equal &= bool(outcome.message)
        (place.results / "ballast").unlink()
        outcome.ended(place, place.snakemake(STUDY).wait(), same(place, reference))
    yield outcome


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
    reference = undisturbed(folder)
    # A street knows its images; of a folder nobody knows what is missing.
    cases = [("deleted", when, dataset) for when in ("before", "after") for dataset in ("street-small", "folder")]
    for fault, when, dataset in (*cases, ("cut short", "before", "street-small"), ("emptied", "after", "street-small")):
        place = Place(folder / f"image-{fault[:3]}-{when}-{dataset}")
        shutil.copytree(reference.cache / "street-small", place.cache / "street-small")
        root = str(place.cache / "street-small") if dataset == "folder" else ""
        yield _image(place, reference, dataset, root, fault, when)


def _image(place: Place, reference: Place, dataset: str, root: str, fault: str, when: str) -> Outcome:
    outcome = Outcome(f"image {fault} {when} decoding ({dataset})", tried=1)
    expected = planned(1, dataset, root)
    if when == "after":
        outcome.lost += place.run(train, 0, None, dataset, root)[0] != 0
    image = sorted(place.cache.glob("street-small/query/*.jpg"))[3]
    content, times = image.read_bytes(), image.stat()
    image.unlink() if fault == "deleted" else image.write_bytes(content[:400] if fault == "cut short" else b"")
    code, outcome.message = place.run(_planned, expected, dataset, root)
    outcome.equal = code == 1 and (image.name in outcome.message or (fault == "deleted" and dataset == "folder"))
    outcome.half_written = place.half_written() - (fault != "deleted")
    image.write_bytes(content)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    code = max(place.run(_planned, expected, dataset, root)[0], place.run(train, 0, None, dataset, root)[0])
    if dataset == "street-small":
        outcome.ended(place, code, same(place, reference))
    else:
        ours, theirs = place.results / "runs" / expected, reference.results / "runs" / planned(1)
        outcome.ended(place, code, (ours / "metrics.json").read_bytes() == (theirs / "metrics.json").read_bytes())
    return outcome


def _planned(expected: str, dataset: str, root: str) -> None:
    run(experiment(1, dataset), catalog.load(dataset, root or None), planned=expected, cpu=True)
