"""The training loop: one experiment from initial weights (or a checkpoint) to a trained model.

Every random number of an epoch is drawn from (seed, epoch), so a run that was interrupted goes on from its last
checkpoint, at the end of an epoch, to the same result, bit for bit on a CPU. Several processes share each batch
(``distributed``).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from tqdm import tqdm

from . import distributed
from ..data.augment import Augmentation, apply, draw, mirror, move, normalise
from ..data.pixels import reader, upload
from ..data.sampler import pk_batches, shuffled_batches
from ..files import write_atomically
from .stepping import Stepper, choose, forget, set_rate

CHECK_EVERY = 50
"""Steps between two looks at the losses: looking makes a GPU wait."""
CHECKPOINT_EVERY = 30.0
"""Seconds between two checkpoints on a GPU, which trains an epoch in a few times what writing one takes."""


@dataclass(frozen=True)
class Recipe:
    """How to train: everything of an experiment that is neither model nor data."""

    size: tuple[int, int] = (384, 192)
    """Height and width of the images in pixels."""
    epochs: int = 120
    sampler: str = "pk"
    """'pk' (``identities`` x ``images`` a batch) or 'shuffle' (a batch of as many images)."""
    identities: int = 16
    images: int = 4
    optimizer: str = "adam"
    """'adam', 'adamw' or 'sgd'."""
    lr: float = 3.5e-4
    backbone_lr: float | None = None
    """Rate of the model's ``backbone``, which follows the same schedule; None: that of all the rest."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "steps"
    """'steps' (linear warm-up, then a factor at each milestone) or 'onecycle' (Smith & Topin 2018, cosine)."""
    warmup: float = 10.0
    """Epochs of linear warm-up (steps), or share of all epochs on the way up (onecycle)."""
    warmup_from: float | None = None
    """Rate of the first epoch of a warm-up in steps; None: where it ends, divided by its epochs."""
    warmup_to: float | None = None
    """Rate of its last epoch; None: ``lr``."""
    milestones: tuple[int, ...] = (40, 70)
    factor: float = 0.1
    fresh_momentum: bool = False
    """Whether each epoch begins with an optimiser that remembers nothing."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    flip_test: bool = False
    """Whether the mirror image's descriptor is added to an image's at test time."""
    normalise_test: bool = False
    """Whether the descriptors are L2-normalised at test time."""
    precision: str = "no"
    """'no' (float32), 'bf16' or 'fp16', as Accelerate names them."""

    @property
    def batch(self) -> int:
        """Images a step."""
        return self.identities * self.images


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate at a time counted in epochs from 0 (a fraction within an epoch)."""
    if recipe.schedule == "onecycle":
        up = recipe.warmup * recipe.epochs
        if epoch < up:
            low, high, share = recipe.lr / 25, recipe.lr, epoch / up
        else:
            low, high, share = recipe.lr / 1e4, recipe.lr, 1 - (epoch - up) / max(recipe.epochs - up, 1e-9)
        return low + (high - low) * (1 - math.cos(math.pi * share)) / 2
    if recipe.schedule != "steps":
        raise ValueError(f"schedule={recipe.schedule!r}: allowed are 'steps', 'onecycle'")
    passed = sum(epoch >= milestone for milestone in recipe.milestones)
    rate = recipe.lr
    if epoch < recipe.warmup:  # rises by whole epochs
        end = recipe.lr if recipe.warmup_to is None else recipe.warmup_to
        start = end / max(recipe.warmup, 1) if recipe.warmup_from is None else recipe.warmup_from
        rate = start + (end - start) * int(epoch) / max(recipe.warmup - 1, 1)
    return rate * recipe.factor**passed


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the model's trainable parameters; each group's ``scale`` multiplies the rate."""
    parameters = [{"params": [p for p in model.parameters() if p.requires_grad], "scale": 1.0}]
    if recipe.backbone_lr is not None:
        own = {id(p) for p in model.backbone.parameters()}
        backbone = [p for p in parameters[0]["params"] if id(p) in own]
        rest = [p for p in parameters[0]["params"] if id(p) not in own]
        parameters = [{"params": backbone, "scale": recipe.backbone_lr / recipe.lr}, {"params": rest, "scale": 1.0}]
    # One pass over the parameters, on CPU and GPU, instead of a dozen: a tenth of a small network's step.
    shared = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **shared)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, **shared)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **shared)
    raise ValueError(f"optimizer={recipe.optimizer!r}: allowed are 'adam', 'adamw', 'sgd'")


def epoch_batches(recipe: Recipe, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Image indices (steps, batch) of one epoch."""
    if recipe.sampler == "pk":
        return pk_batches(labels, recipe.identities, recipe.images, (seed, epoch))
    if recipe.sampler == "shuffle":
        return shuffled_batches(len(labels), recipe.batch, (seed, epoch))
    raise ValueError(f"sampler={recipe.sampler!r}: allowed are 'pk', 'shuffle'")


def make_accelerator(precision: str = "no", cpu: bool = False, **options) -> Accelerator:
    """Accelerate's handle on device and precision; a notebook may ask for another precision than before.

    ``options`` are further ones of ``Accelerator``.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=list(distributed.HANDLERS), **options)


def prepared(model: nn.Module, recipe: Recipe, accelerator: Accelerator) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model, moved in place to the accelerator's device, as a module that gives its losses; and its optimiser."""
    torch.backends.cudnn.benchmark = True  # all batches are of one size
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
    checkpoint: Path,
    boxes: np.ndarray | None = None,
    checkpoint_every: float | None = None,
    after_epoch: Callable[[nn.Module, int], None] | None = None,
    step: str = "auto",
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train ``model`` in place and return its history, a row per epoch; ``attrs["step"]`` says how steps were taken.

    pixels        (N, H, W, 3) uint8, the decoded training images
    labels        (N,) 0..identities-1
    boxes         (N, n, 4) float32, regions of the images for a model that cuts them out, as fractions of the image
    checkpoint    file of a whole epoch, gone on from when it is there; written by the main process
    checkpoint_every   seconds between two of them; None: each epoch's on a CPU, ``CHECKPOINT_EVERY`` on a GPU
    after_epoch   called with the model and the number of finished epochs; when it raises, the epoch is kept first
    step          one of ``stepping.CHOICES``: decides how fast a step is, not what it computes (beside rounding)

    Raises ValueError for a ``step`` that this training cannot take; FloatingPointError when a loss is NaN or infinite,
    naming epoch, step and loss; MemoryError when a step does not fit; RuntimeError when a step cannot be captured that
    was to be; OSError when the checkpoint cannot be written. The checkpoint before it stays whole.
    """
    choose(step, accelerator)
    steps = len(epoch_batches(recipe, labels, seed, 0))  # bad sizes are found before anything is built
    distributed.share(recipe.batch, accelerator)
    losses_of, optimizer = prepared(model, recipe, accelerator)
    history = _resume(checkpoint, model, optimizer)
    if history:
        say(f"resumed after epoch {len(history)} of {recipe.epochs}")
    stepper = Stepper(step, losses_of, optimizer, accelerator, say)
    load = _loader(pixels, labels, boxes, recipe, accelerator)
    keeper = _Checkpoints(checkpoint, checkpoint_every, len(history), accelerator)

    for epoch in range(len(history), recipe.epochs):
        torch.manual_seed(_mix(seed, epoch, accelerator.process_index))  # dropout and its like
        generator = torch.Generator().manual_seed(_mix(seed, epoch))
        batches = epoch_batches(recipe, labels, seed, epoch)
        losses_of.train()
        if recipe.fresh_momentum:
            forget(optimizer)
        row = train_one_epoch(stepper, partial(load, generator=generator), batches, recipe, epoch, steps, accelerator)
        history.append(row)
        accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=epoch + 1)
        if len(history) == recipe.epochs or keeper.is_due:
            keeper.write(model, optimizer, history)
        say(
            f"epoch {epoch + 1:3d}/{recipe.epochs}  loss {row['loss']:.3f}  lr {row['lr']:.1e}"
            f"  {row['images_per_second']:.0f} images/s"
        )
        try:
            if after_epoch:
                after_epoch(model, epoch + 1)
        except BaseException:
            keeper.write(model, optimizer, history)
            raise
    table = pd.DataFrame(history)
    table.attrs["step"] = stepper.choice
    return table


def train_one_epoch(
    stepper: Stepper,
    load: Callable[[np.ndarray], dict[str, Tensor]],
    batches: np.ndarray,
    recipe: Recipe,
    epoch: int,
    steps: int,
    accelerator: Accelerator,
) -> dict[str, float]:
    """The epoch's row of the history, from batches (n, B) of image indices that ``load`` makes batches of images of.

    ``steps`` is what the schedule takes for an epoch: the number of the first one's, from which PK sampling may differ
    by a few. Errors as ``train``.
    """
    losses, start = [], time.perf_counter()
    # A bar at a terminal only: notebooks and logs get a line an epoch.
    silent = None if accelerator.is_main_process else True
    for number, index in enumerate(tqdm(batches, disable=silent, leave=False, desc=f"epoch {epoch + 1}")):
        # Nothing here waits for a GPU, but the check of the losses.
        set_rate(stepper.optimizer, learning_rate(recipe, epoch + number / steps))
        try:
            parts = stepper(**load(index))
        except torch.OutOfMemoryError as error:
            raise MemoryError(
                f"{accelerator.device} has too little memory for a step of {recipe.batch} images of"
                f" {recipe.size[0]}x{recipe.size[1]}: take precision='bf16' or fewer identities a batch"
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
    """A function from a batch's image indices and a generator to what ``Stepper`` takes, augmented, on the device."""
    device, rows = accelerator.device, distributed.share(recipe.batch, accelerator)
    read = reader(pixels, device)

    def load(index: np.ndarray, generator: torch.Generator) -> dict[str, Tensor]:
        # All of the batch is drawn, so that the draws do not depend on the number of processes.
        drawn = draw(recipe.augmentation, len(index), recipe.size, generator)
        drawn = {name: upload(values[rows], device) for name, values in drawn.items()}
        batch = {"images": apply(read(index[rows]), drawn), "labels": upload(labels[index], device)}
        if boxes is not None:
            batch["boxes"] = move(upload(boxes[index[rows]], device), drawn, recipe.size)
        return batch

    return load


@torch.inference_mode()
def extract(
    model: nn.Module,
    pixels: np.ndarray,
    *,
    accelerator: Accelerator,
    boxes: np.ndarray | None = None,
    batch: int = 256,
    flip: bool = False,
    unit: bool = False,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Tensor:
    """Descriptors (N, D) float32 on the CPU of decoded images (N, H, W, 3).

    ``boxes`` (N, n, 4) as in ``train``; ``flip`` adds the mirror image's; ``unit`` then divides by the length;
    ``change`` is done to each batch of images. Several processes share the images; each has all descriptors.
    """
    torch.backends.cudnn.benchmark = False  # the last batch is of another size: a search for so few would not pay
    model.eval()
    model.to(device=accelerator.device, memory_format=torch.channels_last)
    descriptors, processes, process = [], accelerator.num_processes, accelerator.process_index
    for start in range(0, len(pixels), batch * processes):
        rows = np.arange(start, min(start + batch * processes, len(pixels)))
        # Equal shares; the last image fills what is short.
        shares = np.pad(rows, (0, -len(rows) % processes), "edge").reshape(processes, -1)
        cut = pixels[shares[process]]
        images = normalise(upload(change(cut) if change else cut, accelerator.device))
        also = {} if boxes is None else {"boxes": upload(boxes[shares[process]], images.device)}
        with accelerator.autocast():
            result = model(images, **also).descriptor.float()
            if flip:
                mirrored = {name: mirror(value) for name, value in also.items()}
                result = result + model(images.flip(3), **mirrored).descriptor.float()
        result = F.normalize(result) if unit else result
        descriptors.append(accelerator.gather(result)[: len(rows)])
    return torch.cat([result.cpu() for result in descriptors])


def history_of(checkpoint: Path) -> pd.DataFrame:
    """The history of the epochs that a checkpoint has behind it; empty without a checkpoint."""
    if not checkpoint.exists():
        return pd.DataFrame()
    return pd.DataFrame(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["history"])


class _Checkpoints:
    """Writes the main process's checkpoints, at most one each ``every`` seconds but where it is asked to."""

    def __init__(self, file: Path, every: float | None, epochs: int, accelerator: Accelerator):
        default = CHECKPOINT_EVERY if accelerator.device.type == "cuda" else 0.0
        self.file, self.every = file, default if every is None else every
        self.writes, self.epochs, self.written_at = accelerator.is_main_process, epochs, time.perf_counter()

    @property
    def is_due(self) -> bool:
        return time.perf_counter() - self.written_at >= self.every

    def write(self, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict]) -> None:
        if self.writes and self.epochs < len(history):
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            write_atomically(self.file, lambda file: torch.save(state, file))
            self.epochs, self.written_at = len(history), time.perf_counter()


def _resume(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict]:
    if not checkpoint.exists():
        return []
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["history"]


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
    """One seed for an epoch's draws, in each process its own."""
    return int(np.random.SeedSequence((seed, epoch, process)).generate_state(1)[0])
