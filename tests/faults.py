"""Faults on purpose: what a study loses that is killed, starved or misled, and goes on afterwards.

    python tests/faults.py                                     every case
    python tests/faults.py training snakemake --repeats 20     some, each with as many kills
    python tests/faults.py --folder /tmp/faults                kept there, to be looked at

One line a case: how often it was tried, runs lost, half-written files taken for whole, unfinished files left over, and
whether the end is that of a study that nobody disturbed, bit for bit. Needs Linux; full disks need its root.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing import Process
from pathlib import Path

import numpy as np
import pandas as pd
from disturbed import STUDY, Outcome, Place, experiment, same, train, undisturbed

from reidnb import study
from reidnb.data import catalog, pixels
from reidnb.devices import one_gpu
from reidnb.experiments import key
from reidnb.runs import run

ROOT = Path(__file__).resolve().parents[1]
FILES = ("checkpoint.pt", "metrics.json", "model.safetensors")
MOMENTS = [(moment, file) for file in FILES for moment in ("during", "before", "after")]


def training(folder: Path, repeats: int) -> Iterator[Outcome]:
    """A training process is killed at the writing of its files, then at random moments, and each time goes on."""
    calm, found = undisturbed(folder), Outcome("training killed")
    for number in range(repeats):
        place = Place(folder / f"training-{number}", calm.cache)
        moment = MOMENTS[number] if number < len(MOMENTS) else None
        process = place.start(train, 0, moment)
        if not moment:
            process.join(random.uniform(0, 4))
            process.kill()
        process.join()
        found.tried += process.exitcode == -signal.SIGKILL
        found.torn += place.torn()
        had = any(place.results.rglob("checkpoint.pt")) and not any(place.results.rglob("metrics.json"))
        code, _ = place.do(train)
        found.lost += code != 0 or (had and "resumed after epoch" not in place.log.read_text())
        found.torn += place.torn()
        found.left += place.left()
        found.equal &= same(place, calm) and not any(place.results.rglob("checkpoint.pt"))
    yield found


def making(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Killed while the street is drawn, and while its images are decoded."""
    calm = undisturbed(folder)
    drawn = {p.name: p.read_bytes() for p in (calm.cache / "street-small").rglob("*") if p.is_file()}
    found = Outcome("street killed while drawn")
    for number in range(repeats):
        place = Place(folder / f"street-{number}")
        _kill(place.start(catalog.load, "street-small"), found, place, ".*.street-small/query/*.jpg")
        code, found.said = place.do(catalog.load, "street-small")
        ours = {p.name: p.read_bytes() for p in (place.cache / "street-small").rglob("*") if p.is_file()}
        _ended(found, place, code, ours == drawn)
    yield found
    found, paths = Outcome("killed while images are decoded"), sorted(map(str, calm.cache.rglob("query/*.jpg")))
    for number in range(repeats):
        place = Place(folder / f"pixels-{number}")
        _kill(place.start(pixels.decode, paths * 50, (384, 192)), found, place, "pixels/.*")
        code, found.said = place.do(pixels.decode, paths * 50, (384, 192))
        (file,) = place.cache.glob("pixels/*.npy")
        _ended(found, place, code, np.array_equal(np.load(file)[: len(paths)], pixels.read(paths, (384, 192))))
        shutil.rmtree(place.cache)
    yield found


def _kill(process: Process, found: Outcome, place: Place, sign: str) -> None:
    """Kill it at a random moment after a file that ``sign`` describes appears in the cache."""
    while process.is_alive() and not any(place.cache.glob(sign)):
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))
    process.kill()
    process.join()
    found.tried += process.exitcode == -signal.SIGKILL
    found.torn += place.torn()


def _ended(found: Outcome, place: Place, code: int, equal: bool) -> None:
    found.lost += code != 0
    found.torn += place.torn()
    found.left += place.left()
    found.equal &= equal


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
        _ended(found, place, code, same(place, calm))
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
        _ended(found, place, code, same(place, calm))
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
    def say(line: str) -> None:
        print(line)
        if line.startswith("epoch   1"):
            free = shutil.disk_usage(ballast.parent).free
            ballast.write_bytes(bytes(free - 8192))

    run(experiment(), cpu=True, say=say)


def two(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Two studies at once on one store and one cache, the data set not made yet."""
    calm, found = undisturbed(folder), Outcome("two studies at once")
    for number in range(repeats):
        place = Place(folder / f"two-{number}")
        both = [place.start(_small_study) for _ in range(2)]
        for process in both:
            process.join()
        found.tried += 1
        trained = place.log.read_text().count("epoch   1/2")
        found.lost += abs(2 - trained)  # each once
        found.said = f"{trained} trainings of 2 experiments"
        _ended(found, place, max(p.exitcode for p in both), same(place, calm))
    yield found


def _small_study() -> None:
    for seed in (0, 1):
        run(experiment(seed), cpu=True)
    study.finished_tables(study.settings(STUDY))


def images(folder: Path, repeats: int) -> Iterator[Outcome]:
    """An image is deleted, cut short or emptied after the plan; before and after it is decoded."""
    calm = undisturbed(folder)
    for fault in ("deleted", "cut short", "emptied"):
        for when in ("before", "after"):
            for dataset in ("street-small", "folder"):
                place = Place(folder / f"image-{fault[:3]}-{when}-{dataset}")
                shutil.copytree(calm.cache / "street-small", place.cache / "street-small")
                root = str(place.cache / "street-small") if dataset == "folder" else ""
                yield _image(place, calm, dataset, root, fault, when)


def _image(place: Place, calm: Place, dataset: str, root: str, fault: str, when: str) -> Outcome:
    found = Outcome(f"image {fault} {when} decoding ({dataset})", tried=1)
    planned = key(experiment(1, dataset), catalog.load("street-small" if not root else dataset, root or None))
    if when == "after":
        found.lost += place.do(train, 0, None, dataset, root)[0] != 0
    image = sorted(place.cache.glob("street-small/query/*.jpg"))[3]
    content, times = image.read_bytes(), image.stat()
    image.unlink() if fault == "deleted" else image.write_bytes(content[:400] if fault == "cut short" else b"")
    code, found.said = place.do(_planned, planned, dataset, root)
    found.equal = code == 1 and (image.name in found.said or (fault == "deleted" and dataset == "folder"))
    found.torn = place.torn() - (fault != "deleted")
    image.write_bytes(content)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    code = max(place.do(_planned, planned, dataset, root)[0], place.do(train, 0, None, dataset, root)[0])
    if dataset == "street-small":
        _ended(found, place, code, same(place, calm))
    else:
        _ended(found, place, code, (place.results / "runs" / planned / "metrics.json").exists())
    return found


def _planned(planned: str, dataset: str, root: str) -> None:
    run(experiment(1, dataset), data_root=root or None, planned=planned, cpu=True)


def gpu(folder: Path, repeats: int) -> Iterator[Outcome]:
    """The job that holds a GPU is killed: the next one has it at once."""
    place, found = Place(folder / "gpu"), Outcome("holder of a GPU killed")
    for _ in range(repeats):
        holder = place.start(_hold, 600)
        while "has 0" not in (place.log.read_text() if place.log.exists() else ""):
            time.sleep(0.01)
        waiting = place.start(_hold, 0)
        waiting.join(2)
        found.equal &= waiting.is_alive()  # one GPU, one job
        holder.kill()
        waiting.join(60)
        found.tried, found.lost = found.tried + 1, found.lost + (waiting.exitcode != 0)
        place.log.unlink()
    yield found


def _hold(seconds: float) -> None:
    with one_gpu(["0"]) as name:
        print(f"has {name}")
        time.sleep(seconds)


def snakemake(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Snakemake's whole process group, snakemake alone, and kernels are killed in turn; one notebook cannot end."""
    calm = undisturbed(folder)
    place = Place(folder / "snakemake", calm.cache)
    kills, kernels, failing = map(Outcome, ("snakemake killed", "kernel killed", "notebook fails"))
    blocked = place.results / "runs" / key(experiment(1), catalog.load("street-small"))
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the run's folder belongs")
    for number in range(repeats):
        process = _snakemake(place)
        before = len(_processes(place, "ipykernel"))
        while len(_processes(place, "ipykernel")) <= before and process.poll() is None:
            time.sleep(0.1)
        time.sleep(random.uniform(0, 20))
        os.killpg(process.pid, signal.SIGKILL) if number % 2 == 0 else process.kill()
        process.wait()
        kills.tried, kills.torn = kills.tried + 1, kills.torn + place.torn()
    process = _snakemake(place)
    for _ in range(max(1, repeats // 2)):
        while not (found := _processes(place, "ipykernel")) and process.poll() is None:
            time.sleep(0.1)
        time.sleep(random.uniform(0, 5))
        for pid in found[:1]:
            os.kill(pid, signal.SIGKILL)
            kernels.tried += 1
    failing.tried, code = 1, process.wait()
    said = (place.results.parent / "said").read_text()
    failing.said = next((line for line in said.splitlines() if line.startswith("not finished")), "")
    failing.equal = code != 0 and "table1" in failing.said and (place.results / "index.html").exists()
    failing.torn = place.torn()
    blocked.unlink()
    code = _snakemake(place).wait()
    for outcome in (kills, kernels, failing):
        _ended(outcome, place, code, same(place, calm))
        yield outcome


def _snakemake(place: Place) -> subprocess.Popen:
    config = [f"{name}={value}" for name, value in STUDY.items()]
    said = (place.results.parent / "said").open("a")
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--config", *config],
        cwd=ROOT,
        env=os.environ | place.environment(),
        stdout=said,
        stderr=said,
        start_new_session=True,
    )


def _processes(place: Place, words: str) -> list[int]:
    """The processes of this place whose command line has ``words``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"REIDNB_RESULTS={place.results}".encode() in (path / "environ").read_bytes().split(b"\0")
            if mine and words in (path / "cmdline").read_text():
                found.append(int(path.name))
        except OSError:
            continue  # it has just ended
    return found


CASES: dict[str, tuple[Callable[[Path, int], Iterator[Outcome]], int]] = {
    "training": (training, 14),
    "making": (making, 3),
    "disks": (disks, 1),
    "two": (two, 2),
    "images": (images, 1),
    "gpu": (gpu, 2),
    "snakemake": (snakemake, 4),
}
"""Each case's function and how often it is tried."""


def main() -> int:
    """Run the cases that were asked for and print their table; 1 when anything was lost, torn or other than it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all when none is named")
    parser.add_argument("--repeats", type=int, help="instead of each case's own number")
    parser.add_argument("--folder", type=Path, help="an empty folder to keep; a temporary one otherwise")
    chosen = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        os.environ["REIDNB_CACHE"] = str(folder / "cache")
        for name in chosen.cases or CASES:
            case, repeats = CASES[name]
            try:
                for outcome in case(folder, chosen.repeats or repeats):
                    outcomes.append(outcome)
                    print(outcome, flush=True)
            except PermissionError as error:
                print(f"{name} is left out: {error}")
    print(pd.DataFrame([asdict(outcome) for outcome in outcomes]).to_string(index=False))
    return int(any(o.lost or o.torn or o.left or not o.equal for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
