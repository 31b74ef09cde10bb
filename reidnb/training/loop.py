"""The training loop: one experiment from initial weights (or a checkpoint) to a trained model.

All random numbers of an epoch derive from (seed, epoch), so an interrupted run resumes from its last checkpoint, at the
end of an epoch, and reaches the same result, bit for bit on a CPU. Several processes divide each batch among them
(``distributed``).
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from ..data.augment import apply, draw, move
from ..data.pixels import reader, upload
from ..files import write_atomically
from ..progress import in_words, with_progress
from . import distributed
from .recipe import Recipe, epoch_batches, learning_rate, make_optimizer
from .stepping import Stepper, choose, forget, set_rate

CHECK_EVERY = 50
"""Steps between finite-loss checks; each check synchronises the GPU."""
CHECKPOINT_EVERY = 30.0
"""Seconds between checkpoints on a GPU, where writing one can take as long as an epoch."""


def make_accelerator(precision: str = "no", cpu: bool = False, **options) -> Accelerator:
    """Accelerate's handle on device and precision; a notebook can change the precision by a further call.

    ``options`` are passed to ``Accelerator``.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=list(distributed.HANDLERS), **options)


def prepared(model: nn.Module, recipe: Recipe, accelerator: Accelerator) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model, moved in place to the accelerator's device and wrapped to return its losses, and its optimiser."""
    torch.backends.cudnn.benchmark = True  # all batches have the same size
    model = distributed.synchronised(model, accelerator)
    model.to(device=accelerator.device, memory_format=torch.channels_last)
    return accelerator.prepare(distributed.Losses(model, accelerator), make_optimizer(model, recipe))


def train(
    model: nn.Module,
    pixels: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    accelerator: Accelerator,
    checkpoint: Path | None = None,
    boxes: np.ndarray | None = None,
    checkpoint_every: float | None = None,
    after_epoch: Callable[[nn.Module, int], None] | None = None,
    step: str = "auto",
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train ``model`` in place and return its history, a row per epoch; ``attrs["step"]`` is the kind of step used.

    pixels        (N, H, W, 3) uint8, the decoded training images
    labels        (N,) 0..identities-1
    boxes         (N, n, 4) float32, regions for a model that crops them, as fractions of the image
    checkpoint    file of the state after an epoch, from which training resumes if it exists; None: nothing is kept
    checkpoint_every   seconds between checkpoints; None: every epoch on a CPU, ``CHECKPOINT_EVERY`` on a GPU
    after_epoch   called with the model and the number of finished epochs; if it raises, the epoch is saved first
    step          one of ``stepping.CHOICES``: affects the speed, and the results only by rounding

    Raises ValueError for an unsupported ``step``; FloatingPointError, with epoch, step and loss, for a loss that is NaN
    or infinite; MemoryError if a step does not fit; RuntimeError if ``step`` requires a capture that fails; OSError if
    the checkpoint cannot be written, in which case the previous one remains intact.
    """
    choose(step, accelerator)
    steps = len(epoch_batches(recipe, labels, seed, 0))  # invalid batch sizes fail before anything is built
    distributed.local_rows(recipe.batch, accelerator)
    losses_of, optimizer = prepared(model, recipe, accelerator)
    history = _resume(checkpoint, model, optimizer, recipe.epochs, log)
    stepper = Stepper(step, losses_of, optimizer, accelerator, log)
    load = _loader(pixels, labels, boxes, recipe, accelerator)
    checkpoints = _Checkpoints(checkpoint, checkpoint_every, len(history), accelerator)

    for epoch in range(len(history), recipe.epochs):
        torch.manual_seed(_mix(seed, epoch, accelerator.process_index))  # for dropout
        generator = torch.Generator().manual_seed(_mix(seed, epoch))
        batches = epoch_batches(recipe, labels, seed, epoch)
        losses_of.train()
        if recipe.fresh_momentum:
            forget(optimizer)
        row = train_one_epoch(stepper, partial(load, generator=generator), batches, recipe, epoch, steps, accelerator)
        history.append(row)
        accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=epoch + 1)
        if len(history) == recipe.epochs or checkpoints.is_due:
            checkpoints.write(model, optimizer, history)
        log(_summary_line(history, recipe.epochs))
        try:
            if after_epoch:
                after_epoch(model, epoch + 1)
        except BaseException:
            checkpoints.write(model, optimizer, history)
            raise
    table = pd.DataFrame(history)
    table.attrs["step"] = stepper.choice
    return table


def _summary_line(history: list[dict], epochs: int) -> str:
    """The last epoch in a line, and the time that the epochs to come take at the pace of those before."""
    row = history[-1]
    remaining = (epochs - len(history)) * statistics.median(epoch["seconds"] for epoch in history)
    time_left = f"  about {in_words(remaining)} left" if remaining else ""
    rates = f"lr {row['lr']:.1e}  {row['images_per_second']:.0f} images/s"
    return f"epoch {row['epoch']:3d}/{epochs}  loss {row['loss']:.3f}  {rates}{time_left}"


def train_one_epoch(
    stepper: Stepper,
    load: Callable[[np.ndarray], dict[str, Tensor]],
    batches: np.ndarray,
    recipe: Recipe,
    epoch: int,
    steps: int,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Train one epoch on batches (n, B) of image indices, which ``load`` reads, and return its row of the history.

    ``steps`` is the schedule's number of steps per epoch, that of the first epoch; with PK sampling the actual number
    varies slightly. Raises what ``train`` raises.
    """
    losses, start = [], time.perf_counter()
    log = stepper.log if accelerator.is_main_process else None
    for number, index in enumerate(with_progress(batches, f"epoch {epoch + 1}", log)):
        # Only the check of the losses synchronises the GPU.
        set_rate(stepper.optimizer, learning_rate(recipe, epoch + number / steps))
        try:
            parts = stepper(**load(index))
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"{accelerator.device} has too little memory for a step of {recipe.batch} images of"
                f" {recipe.size[0]}x{recipe.size[1]}: use precision='bf16' or fewer identities per batch"
            ) from error
        losses.append(torch.stack([part.detach() for part in parts.values()]))
        if len(losses) % CHECK_EVERY == 0 or number == len(batches) - 1:
            _check_finite(losses, list(parts), epoch)
    seconds = time.perf_counter() - start
    means = torch.stack(losses).mean(0).tolist()
    row = {"epoch": epoch + 1, "loss": sum(means)}
    row |= {f"loss_{name}": value for name, value in zip(parts, means, strict=True)}
    return row | {
        "lr": learning_rate(recipe, epoch),
        "seconds": seconds,
        "images_per_second": batches.size / seconds,
    }


def _loader(
    pixels: np.ndarray, labels: np.ndarray, boxes: np.ndarray | None, recipe: Recipe, accelerator: Accelerator
) -> Callable[[np.ndarray, torch.Generator], dict[str, Tensor]]:
    """A function that reads and augments the images of a batch and returns the inputs of ``Stepper`` on the device."""
    device, rows = accelerator.device, distributed.local_rows(recipe.batch, accelerator)
    read = reader(pixels, device)

    def load(index: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        # Drawn for the global batch, so that the draws do not depend on the number of processes.
        drawn = draw(recipe.augmentation, len(index), recipe.size, generator)
        drawn = {name: upload(values[rows], device) for name, values in drawn.items()}
        batch = {"images": apply(read(index[rows]), drawn), "labels": upload(labels[index], device)}
        if boxes is not None:
            batch["boxes"] = move(upload(boxes[index[rows]], device), drawn, recipe.size)
        return batch

    return load


def history_of(checkpoint: Path) -> pd.DataFrame:
    """The history in a checkpoint; empty if there is none, or none that can be read."""
    try:
        return pd.DataFrame(_read(checkpoint, mmap=True)["history"]) if checkpoint.exists() else pd.DataFrame()
    except Damaged:
        return pd.DataFrame()


class Damaged(Exception):
    """A checkpoint that cannot be read, with its path and the reason."""


def _read(checkpoint: Path, needed: dict[str, Tensor] | None = None, **options) -> dict:
    """What a checkpoint holds. Raises ``Damaged`` if it is not a checkpoint of a model with the arrays ``needed``."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, **options)
        shapes = {name: value.shape for name, value in state["model"].items()}
        lacking = [name for name in ("optimizer", "history") if not state[name]]
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # torch raises exceptions of many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Damaged(f"{checkpoint} is damaged ({reason})") from error
    if lacking or (needed is not None and shapes != {name: value.shape for name, value in needed.items()}):
        raise Damaged(f"{checkpoint} is damaged (it holds no epoch of this training)")
    return state


class _Checkpoints:
    """Writes checkpoints in the main process; one is due ``every`` seconds."""

    def __init__(self, file: Path | None, every: float | None, epochs: int, accelerator: Accelerator):
        default = CHECKPOINT_EVERY if accelerator.device.type == "cuda" else 0.0
        self.file, self.every = file, default if every is None else every
        self.writes = file is not None and accelerator.is_main_process
        self.epochs, self.written_at = epochs, time.perf_counter()

    @property
    def is_due(self) -> bool:
        return time.perf_counter() - self.written_at >= self.every

    def write(self, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict]) -> None:
        if self.writes and self.epochs < len(history):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            write_atomically(self.file, lambda file: torch.save(state, file))
            self.epochs, self.written_at = len(history), time.perf_counter()


def _resume(
    checkpoint: Path | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    log: Callable[[str], None],
) -> list[dict]:
    """Load the checkpoint, if there is one, into model and optimiser; returns the history of its epochs.

    One that is damaged is renamed to ``checkpoint.pt.damaged``, and the training begins anew.
    """
    if checkpoint is None or not checkpoint.exists():
        return []
    try:
        state = _read(checkpoint, needed=model.state_dict())
    except Damaged as error:
        aside = checkpoint.with_name(f"{checkpoint.name}.damaged")
        checkpoint.replace(aside)
        log(f"{error}; it is now {aside.name}, and the training begins anew")
        return []
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    history = state["history"]
    if history:
        log(f"resumed after epoch {len(history)} of {epochs}")
    return history


def _check_finite(losses: list[Tensor], names: list[str], epoch: int) -> None:
    values = torch.stack(losses[-CHECK_EVERY:]).cpu()
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        step = len(losses) - len(values) + row
        raise FloatingPointError(
            f"the loss {names[column]} is {values[row, column].item()} at epoch {epoch + 1}, step {step + 1};"
            " a lower learning rate or float32 may help"
        )


def _mix(seed: int, epoch: int, process: int = 0) -> int:
    """The seed of an epoch's random numbers in one process."""
    return int(np.random.SeedSequence((seed, epoch, process)).generate_state(1)[0])
