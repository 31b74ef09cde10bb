"""Faults on purpose: what a study that is killed, starved or misled has lost when it has resumed.

    python tests/faults/faults.py                                     every case
    python tests/faults/faults.py training snakemake --repeats 20     some, each with as many kills
    python tests/faults/faults.py --folder faults                     kept there, to be looked at

One line a case: how often it was tried, runs lost, half-written files under a final name, unfinished files left over,
and whether the result is that of an undisturbed study, bit for bit. Needs Linux; full disks need its root.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from disturbed import MOMENTS, STUDY, Outcome, Place, experiment, kill, planned, same, train, undisturbed
from faults_of_disks import disk_of_a_study, disks, images

from reidnb.data import catalog, pixels
from reidnb.report.write import finished_tables
from reidnb.results import Run
from reidnb.runs import run
from reidnb.study import plan as study
from reidnb.study.devices import one_gpu

ROOT = Path(__file__).resolve().parents[2]


def training(folder: Path, repeats: int) -> Iterator[Outcome]:
    """A training process is killed at the writing of its files, then at random moments, and each time resumes."""
    reference, outcome = undisturbed(folder), Outcome("training killed")
    for number in range(repeats):
        place = Place(folder / f"training-{number}", reference.cache)
        moment = MOMENTS[number] if number < len(MOMENTS) else None
        process = place.start(train, 0, moment)
        if not moment:
            spent = Run(reference.results / "runs" / planned()).provenance
            longest = spent["train_seconds"] + spent["evaluate_seconds"]
            kill(process, place.results, "runs/*/experiment.json", random.uniform(0, longest))
        process.join()
        outcome.killed(place, process)
        had = any(place.results.glob("runs/*/checkpoint.pt")) and not any(place.results.glob("runs/*/metrics.json"))
        code, _ = place.run(train)
        outcome.lost += code != 0 or (had and "resumed after epoch" not in place.log.read_text())
        outcome.half_written += place.half_written()
        outcome.leftover += place.leftover()
        outcome.equal &= same(place, reference) and not any(place.results.rglob("checkpoint.pt"))
    yield outcome


def making_images(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Killed while the street is drawn, and while its images are decoded."""
    reference = undisturbed(folder)
    drawn = {p.name: p.read_bytes() for p in (reference.cache / "street-small").rglob("*") if p.is_file()}
    outcome = Outcome("street killed while drawn")
    for number in range(repeats):
        place = Place(folder / f"street-{number}")
        process = place.start(catalog.load, "street-small")
        kill(process, place.cache, ".*/street-small/query/*.jpg", random.uniform(0, 0.1))
        outcome.killed(place, process)
        code, outcome.message = place.run(catalog.load, "street-small")
        ours = {p.name: p.read_bytes() for p in (place.cache / "street-small").rglob("*") if p.is_file()}
        outcome.ended(place, code, ours == drawn)
    yield outcome
    outcome, size = Outcome("killed while images are decoded"), (192, 96)
    many = sorted(map(str, reference.cache.rglob("query/*.jpg"))) * 50
    for number in range(repeats):
        place = Place(folder / f"pixels-{number}")
        process = place.start(pixels.decode, many, size)
        kill(process, place.cache, "pixels/.*", random.uniform(0, 0.3))
        outcome.killed(place, process)
        code, outcome.message = place.run(pixels.decode, many, size)
        (file,) = place.cache.glob("pixels/*.npy")
        outcome.ended(place, code, np.array_equal(np.load(file), pixels.read(many, size)))
        shutil.rmtree(place.cache)
    yield outcome


def two_studies(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Two studies at once on one store and one cache, the data set not made yet."""
    reference, outcome = undisturbed(folder), Outcome("two studies at once")
    for number in range(repeats):
        place = Place(folder / f"two-{number}")
        both = [place.start(_small_study) for _ in range(2)]
        for process in both:
            process.join()
        outcome.tried += 1
        trained = place.log.read_text().count("epoch   1/2")
        outcome.lost += abs(2 - trained)  # each once
        outcome.message = f"{trained} trainings of 2 experiments"
        outcome.ended(place, max(p.exitcode for p in both), same(place, reference))
    yield outcome


def _small_study() -> None:
    for seed in (0, 1):
        run(experiment(seed), catalog.load(experiment(seed).dataset), cpu=True)
    finished_tables(study.settings(STUDY))


def two_snakemakes(folder: Path, repeats: int) -> Iterator[Outcome]:
    """The same study started twice, at once, in one checkout and on one store."""
    reference, outcome = undisturbed(folder), Outcome("two snakemakes at once")
    for number in range(repeats):
        place = Place(folder / f"snakemakes-{number}", reference.cache)
        both = [place.snakemake(STUDY) for _ in range(2)]
        codes = [process.wait() for process in both]
        outcome.tried += 1
        tables = [path.read_text() for path in place.results.glob("notebooks/runs/*.csv")]
        trained = sum(text.count(",finished,") for text in tables)
        outcome.message = f"{trained} trainings of 2 experiments"
        outcome.lost += abs(2 - trained)
        outcome.ended(place, max(codes), same(place, reference))
    yield outcome


def gpu(folder: Path, repeats: int) -> Iterator[Outcome]:
    """The job that holds a GPU is killed: the next one has it at once."""
    place, outcome = Place(folder / "gpu"), Outcome("holder of a GPU killed")
    for _ in range(repeats):
        holder = place.start(_hold, 600)
        while "has 0" not in (place.log.read_text() if place.log.exists() else ""):
            time.sleep(0.01)
        waiting = place.start(_hold, 0)
        waiting.join(2)
        outcome.equal &= waiting.is_alive()  # one GPU, one job
        holder.kill()
        waiting.join(60)
        outcome.tried, outcome.lost = outcome.tried + 1, outcome.lost + (waiting.exitcode != 0)
        place.log.unlink()
    yield outcome


def _hold(seconds: float) -> None:
    with one_gpu(["0"]) as name:
        print(f"has {name}")
        time.sleep(seconds)


def snakemake(folder: Path, repeats: int) -> Iterator[Outcome]:
    """Snakemake's whole process group, snakemake alone, and trainings are killed in turn; one run cannot be kept."""
    reference = undisturbed(folder)
    place = Place(folder / "snakemake", reference.cache)
    kills, kernels, failing = map(Outcome, ("snakemake killed", "its training killed", "a run fails"))
    blocked = place.results / "runs" / planned(1)
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the run's folder belongs")
    for number in range(repeats):
        process = place.snakemake(STUDY)
        before = len(place.processes(TRAINS))
        while len(place.processes(TRAINS)) <= before and process.poll() is None:
            time.sleep(0.1)
        time.sleep(random.uniform(0, 20))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if number % 2 == 0 else process.kill()
        killed = process.wait() == -signal.SIGKILL
        kills.tried, kills.half_written = kills.tried + killed, kills.half_written + place.half_written()
        if not killed:  # it had come to its end: from the beginning
            for path in [*place.results.glob("runs/*"), *place.results.glob("notebooks")]:
                shutil.rmtree(path) if path.is_dir() else None
    process = place.snakemake(STUDY)
    for _ in range(max(1, repeats // 2)):
        while not (training := place.processes(TRAINS)) and process.poll() is None:
            time.sleep(0.1)
        time.sleep(random.uniform(0, 5))
        for pid in training[:1]:
            with suppress(ProcessLookupError):  # it may have ended just now
                os.kill(pid, signal.SIGKILL)
                kernels.tried += 1
    failing.tried, code = 1, process.wait()
    output = (place.results.parent / "output").read_text()
    failing.message = next((line for line in output.splitlines() if line.startswith("not finished")), "")
    failing.equal = code != 0 and "table1" in failing.message and (place.results / "index.html").exists()
    failing.half_written = place.half_written()
    blocked.unlink()
    for path in place.results.rglob(".*"):  # as if a day had passed
        os.utime(path, (0, 0))
    code = place.snakemake(STUDY).wait()
    for outcome in (kills, kernels, failing):
        outcome.ended(place, code, same(place, reference))
        yield outcome


TRAINS = "reidnb\0study"
"""In the command line, whose words end in a zero byte, of a job that trains."""

CASES: dict[str, tuple[Callable[[Path, int], Iterator[Outcome]], int]] = {
    "training": (training, 14),
    "making": (making_images, 3),
    "disks": (disks, 1),
    "study-disk": (disk_of_a_study, 1),
    "two": (two_studies, 2),
    "snakemakes": (two_snakemakes, 1),
    "images": (images, 1),
    "gpu": (gpu, 2),
    "snakemake": (snakemake, 4),
}
"""Each case's function and how often it is tried."""


def main() -> int:
    """Run the cases that were asked for and print their table; 1 when anything was lost, half-written or different."""
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
    return int(any(o.lost or o.half_written or o.leftover or not o.equal for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
