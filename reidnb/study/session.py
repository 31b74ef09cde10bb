"""As much of a study as fits into a piece of GPU time: ``python -m reidnb study --minutes 25 ...``.

The most informative experiments come first. When the time is up, training stops after its epoch; the next call resumes
from there, to the same numbers as without a stop. Nothing here needs more than what trains: neither Jupyter nor
Snakemake, nor a library for figures.
"""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import pandas as pd

from .. import estimates
from ..files import results_dir
from ..models.options import check
from ..papers import find_paper
from ..papers.experiments import key
from ..papers.paper import Row
from ..results import Run
from ..runs import KEEP, device_name, run
from ..training import distributed
from ..training.experiment import Experiment
from ..training.loop import history_of, make_accelerator
from ..training.stepping import choose
from . import plan as study
from .comparison import FAILURES, by_definition

SHARED = 8
"""Small trainings that a job of the batch study runs one after another."""

METRICS = ("map", "rank1")
"""What is shown of a run, beside what is published; mAP by the definition of its table."""


class TimeUp(Exception):
    """The time is up in the middle of a training."""


@dataclass(frozen=True)
class Piece:
    """An experiment of the study, and the first row that needs it."""

    key: str
    table: str
    row: str
    experiment: Experiment


def in_order_of_value(settings: study.Settings) -> list[Piece]:
    """Each experiment of the study once, the most informative first.

    Every first seed comes before a second one; papers come in the order asked for, each with its main table
    first; and a table's first row and the full network stand before its other rows. Errors as ``study.plan``.
    """
    pieces: dict[str, Piece] = {}
    for seed in range(settings.seeds):
        for paper, dataset in study.pairs(settings):
            main = find_paper(paper).main
            for table, where in sorted(study.planned(paper, dataset, settings), key=lambda shown: shown[0] != main):
                for row, experiment in _most_informative_first(study.rows(paper, table, where, settings, [seed])):
                    name = key(experiment, study.data(experiment.dataset, settings.root))
                    pieces.setdefault(name, Piece(name, table, row.name, experiment))
    return list(pieces.values())


def shared_jobs(settings: study.Settings) -> dict[tuple[str, str], list[list[Piece]]]:
    """For each (paper, data set) of a study of small trainings, the pieces of each job; the notebook's table is first.

    Starting a process takes about as long as a small training, so a job runs ``SHARED`` of them one after another.
    """
    result = {}
    for paper, dataset in study.pairs(settings):
        pieces = in_order_of_value(replace(settings, papers=(paper,), datasets=(dataset,)))
        shown, _ = study.main_table(paper, dataset, settings)
        main = [piece for piece in pieces if piece.table == shown]
        rest = [piece for piece in pieces if piece not in main]
        result[paper, dataset] = [
            part[start : start + SHARED] for part in (main, rest) for start in range(0, len(part), SHARED)
        ]
    return result


def _most_informative_first(rows: list[tuple[Row, Experiment]]) -> list[tuple[Row, Experiment]]:
    full = [pair for pair in rows[1:] if pair[0].is_default]
    return [*rows[:1], *full, *(pair for pair in rows[1:] if pair not in full)]


def train(
    settings: study.Settings,
    minutes: float | None = None,
    keep: str = "weights",
    *,
    step: str = "auto",
    cpu: bool = False,
    only: Collection[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Run the study's experiments until the time is up, and return a row for each: its state, its time, its scores,
    and what its paper prints (comparable in the ``paper`` profile from ImageNet weights only).

    ``clock`` counts seconds and is read after each epoch; a training whose last epoch is done is always evaluated.
    ``keep`` is one of ``runs.KEEP``, ``step`` one of ``stepping.CHOICES``; ``only`` has the keys of the experiments to
    run, all by default. An experiment that fails is named, and the others continue. Raises ValueError for a ``step``
    that cannot be taken here, for a key that the study does not have, and in one of several processes; several GPUs
    share one training by ``python -m reidnb run``.
    """
    if distributed.is_distributed():
        raise ValueError("a study trains in one process: start it without accelerate launch")
    check("keep", keep, KEEP)
    accelerator = make_accelerator(cpu=cpu)
    choose(step, accelerator)
    deadline = clock() + 60 * (float("inf") if minutes is None else minutes)
    pieces = [piece for piece in in_order_of_value(settings) if only is None or piece.key in only]
    if only is not None and (changed := set(only) - {piece.key for piece in pieces}):
        raise ValueError(f"the study has no experiment {min(changed)}: have its images changed since it was planned?")
    to_do = [piece.experiment for piece in pieces if not Run(results_dir() / "runs" / piece.key).is_finished]
    log(estimates.of_several(to_do, device_name(accelerator)))
    rows = []
    for number, piece in enumerate(pieces, 1):
        experiment, kept = piece.experiment, Run(results_dir() / "runs" / piece.key)

        def stop(model, epoch: int, last: int = experiment.recipe.epochs) -> None:
            if epoch < last and clock() >= deadline:
                raise TimeUp

        failure = ""
        if not kept.is_finished and clock() < deadline:
            log(f"[{number}/{len(pieces)}] {piece.table}, {piece.row}, {experiment.dataset}, seed {experiment.seed}")
            try:
                run(
                    experiment,
                    study.data(experiment.dataset, settings.root),
                    cpu=cpu,
                    keep=keep,
                    step=step,
                    after_epoch=stop,
                    log=log,
                )
            except TimeUp:
                log("the time is up; the next call resumes here")
            except FAILURES as error:
                failure = (str(error) or type(error).__name__).splitlines()[0]
                log(f"failed: {failure}")
        rows.append(_row(piece, kept, failure))
    return pd.DataFrame(rows)


def _row(piece: Piece, kept: Run, failure: str) -> dict:
    experiment, epochs = piece.experiment, piece.experiment.recipe.epochs
    history = kept.history if kept.is_finished else history_of(kept.folder / "checkpoint.pt")
    ours = dict.fromkeys(METRICS, math.nan)
    if kept.is_finished:
        ours = by_definition(find_paper(experiment.paper).table(piece.table), kept.metrics, METRICS)
    stopped = f"stopped at epoch {len(history)} of {epochs}" if len(history) else "not begun"
    return {
        "paper": experiment.paper,
        "table": piece.table,
        "row": piece.row,
        "dataset": experiment.dataset,
        "seed": experiment.seed,
        "state": "finished" if kept.is_finished else f"failed: {failure}" if failure else stopped,
        "minutes": f"{history.seconds.sum() / 60:.1f}" if len(history) else "",
        "images/s": f"{history.images_per_second.median():.0f}" if len(history) else "",
    } | {
        f"{prefix}{name}": f"{values[name]:.2f}" if values[name] == values[name] else ""
        for prefix, values in (("", ours), ("published ", _published(piece)))
        for name in METRICS
    }


def _published(piece: Piece) -> dict[str, float]:
    """What the paper prints for the piece's row on its data set; NaN where it prints nothing."""
    printed = find_paper(piece.experiment.paper).published(piece.table)
    lines = printed[
        (printed.row == piece.row) & (printed.dataset == piece.experiment.dataset) & (printed.kind == "run")
    ]
    return {name: float(lines[name].iloc[0]) if len(lines) and name in lines else math.nan for name in METRICS}
