"""A study in a separate folder that can be killed at any moment, and checks of what is there afterwards."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file

from reidnb.data import catalog
from reidnb.papers import PAPERS
from reidnb.papers.experiments import key, one_experiment
from reidnb.report.write import finished_tables
from reidnb.runs import run
from reidnb.study import plan as study
from reidnb.training.experiment import Experiment

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["reidnb.study"])  # and torch with it, once for all
STUDY = {"profile": "smoke", "datasets": "street-small", "papers": "wrcanet", "tables": "table1", "seeds": 2}
ROOT = Path(__file__).resolve().parents[2]
FILES = ("checkpoint.pt", "metrics.json", "model.safetensors")
MOMENTS = [(moment, file) for file in FILES for moment in ("during", "before", "after")]
TIMES = ("seconds", "images_per_second")
READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".ipynb": lambda path: json.loads(path.read_text()),
    ".csv": pd.read_csv,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".npz": lambda path: dict(np.load(path, allow_pickle=False)),
    ".pt": lambda path: torch.load(path, weights_only=True),
    ".safetensors": load_file,
    ".jpg": lambda path: Image.open(path).load(),
    ".png": lambda path: Image.open(path).load(),
    ".webp": lambda path: Image.open(path).load(),
}


@dataclass
class Outcome:
    """A line of the table."""

    case: str
    tried: int = 0
    lost: int = 0
    """Finished runs that are gone, runs that could not be finished, and checkpoints from which nothing resumed."""
    half_written: int = 0
    """Half-written files under a final name."""
    leftover: int = 0
    """Hidden files and folders that are there in the end."""
    equal: bool = True
    message: str = ""
    """The sentence that the user reads."""

    def killed(self, place: "Place", process: Process) -> None:
        """Count a kill, if it came before the end, and the files that it left half-written."""
        self.tried += process.exitcode == -signal.SIGKILL
        self.half_written += place.half_written()

    def ended(self, place: "Place", code: int, equal: bool) -> None:
        """Check the place after a process that should have succeeded."""
        self.lost += code != 0
        self.half_written += place.half_written()
        self.leftover += place.leftover()
        self.equal &= equal


class Place:
    """A store of results and a cache in a separate folder."""

    def __init__(self, folder: Path, cache: Path | None = None):
        self.results, self.cache = folder / "results", cache or folder / "cache"
        self.log = folder / "log"
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, work: Callable, *arguments) -> Process:
        """``work`` in a separate process; its output, or what it raises, goes to the log."""
        process = FORK.Process(target=self._work, args=(work, *arguments))
        process.start()
        return process

    def run(self, work: Callable, *arguments) -> tuple[int, str]:
        """The same to its end: exit code, and the last line of its output."""
        process = self.start(work, *arguments)
        process.join(600)
        return process.exitcode, (self.log.read_text().splitlines() or [""])[-1]

    def environment(self) -> dict[str, str]:
        return {"REIDNB_RESULTS": str(self.results), "REIDNB_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}

    def _work(self, work: Callable, *arguments) -> None:
        os.environ |= self.environment()
        torch.set_num_threads(1)
        sys.stdout = sys.stderr = self.log.open("a", buffering=1)
        try:
            work(*arguments)
        except (OSError, ValueError) as error:
            print(f"{type(error).__name__}: {' '.join(str(error).splitlines())}")
            os._exit(1)

    def half_written(self) -> int:
        """How many files cannot be read."""
        count = 0
        places = [(top, path) for top in (self.results, self.cache) for path in top.rglob("*") if path.is_file()]
        for path in (path for top, path in places if "/." not in f"/{path.relative_to(top)}"):
            try:
                READERS.get(path.suffix, Path.read_bytes)(path)
            except Exception:  # every reader has its own errors for a broken file
                print(f"half-written: {path}")
                count += 1
        return count

    def snakemake(self, settings: dict) -> subprocess.Popen:
        """The study, started in a new process group."""
        config = [f"{name}={value}" for name, value in settings.items()]
        output = (self.results.parent / "output").open("a")
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--config", *config],
            cwd=ROOT,
            env=os.environ | self.environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def processes(self, words: str) -> list[int]:
        """The processes of this place whose command line has ``words``."""
        pids = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                mine = f"REIDNB_RESULTS={self.results}".encode() in (path / "environ").read_bytes().split(b"\0")
                if mine and words in (path / "cmdline").read_text():
                    pids.append(int(path.name))
            except OSError:
                continue  # it has just ended
        return pids

    def leftover(self) -> int:
        return sum(1 for top in (self.results, self.cache) for _ in top.rglob(".*"))

    def content(self) -> dict[str, bytes]:
        """Everything that two studies of the same experiments have in common, by name."""
        content = {}
        for path in sorted(path for path in self.results.rglob("*") if path.is_file()):
            name = str(path.relative_to(self.results))
            if path.name == "history.csv":
                content[name] = pd.read_csv(path).drop(columns=list(TIMES)).to_csv().encode()
            elif path.suffix == ".safetensors":  # whose header is in no order
                content[name] = b"".join(n.encode() + t.numpy().tobytes() for n, t in sorted(load_file(path).items()))
            elif name.startswith(("runs/", "tables/")) and path.suffix in (".json", ".npz", ".csv"):
                content[name] = path.read_bytes() if path.name != "provenance.json" else b""
        return content


def experiment(seed: int = 0, dataset: str = "street-small") -> Experiment:
    return one_experiment(PAPERS["wrcanet"], {}, {}, dataset, "smoke", seed)


def planned(seed: int = 0, dataset: str = "street-small", root: str = "") -> str:
    """The key of its run."""
    return key(experiment(seed, dataset), catalog.load(dataset, root or None))


def train(seed: int = 0, moment: tuple[str, str] | None = None, dataset: str = "street-small", root: str = "") -> None:
    """One experiment; killed at a ``moment``: ('during' | 'before' | 'after', the name of the file put in place)."""
    if moment:
        die(*moment)
    run(experiment(seed, dataset), catalog.load(dataset, root or None), cpu=True)


def kill(process: Process, folder: Path, sign: str, seconds: float) -> None:
    """Kill a process so many seconds after a file that ``sign`` describes has appeared in the folder."""
    while process.is_alive() and not any(folder.glob(sign)):
        time.sleep(0.001)
    process.join(seconds)
    process.kill()
    process.join()


def die(when: str, name: str) -> None:
    """Let this process kill itself when a file of ``name`` is half-written, or before or after it is put in place."""
    real_replace, real_fsync = os.replace, os.fsync

    def fsync(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if when == "during" and path.name.endswith(name):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real_fsync(handle)

    def replace_(source: Path, target: Path) -> None:
        if when == "before" and Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        real_replace(source, target)
        if when == "after" and Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace, os.fsync = replace_, fsync


def undisturbed(folder: Path) -> Place:
    """The undisturbed study of two trainings, and its tables, made once."""
    place = Place(folder / "undisturbed", folder / "cache")
    if not (place.results / "tables").exists():
        for seed in (0, 1):
            assert place.run(train, seed)[0] == 0, place.log.read_text()
        place.run(finished_tables, study.settings(STUDY))
    return place


def same(place: Place, reference: Place) -> bool:
    """Whether each run, and each table that the reference has too, is that of the reference."""
    ours, theirs = place.content(), reference.content()
    compared = [name for name in ours if name in theirs or name.startswith("runs/")]
    return bool(compared) and all(theirs.get(name) == ours[name] for name in compared)
