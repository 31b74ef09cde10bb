"""One run in several processes, one on each GPU: what a loss over the whole batch needs beside Accelerate.

Each process draws the same global batch and works on its share of it; what the losses see is then gathered, and every
process has the loss of the global batch. Losses of each share alone would be others: a batch-hard triplet (Hermans et
al. 2017, eq. 5) takes its hardest images from the batch, and the papers state their batches as a whole.

Beside the last bits, two things may differ from one process. Dropout and its like are drawn anew in each process
but the first. Batch normalisation takes its statistics over the global batch on GPUs (SyncBatchNorm), but over each
process's share on a CPU, for which PyTorch has none.

The processes of several machines need the cache and the results in folders that they share.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor, nn

from ..files import locked
from ..models.output import Output

HANDLERS = (
    # The static graph allows for parameters without a gradient, such as those of the descriptor alone.
    DistributedDataParallelKwargs(static_graph=True),
    # The others wait while the main process decodes or evaluates.
    InitProcessGroupKwargs(timeout=timedelta(hours=12)),
)
"""How Accelerate spreads a training over processes."""


def is_distributed() -> bool:
    """Whether a launcher has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def is_main_process() -> bool:
    """Whether this is the process that writes and reports for all."""
    return int(os.environ.get("RANK", 0)) == 0


def local_rows(batch: int, accelerator: Accelerator) -> slice:
    """This process's rows of a global batch. Raises ValueError where it does not divide."""
    processes = accelerator.num_processes
    if batch % processes:
        raise ValueError(f"a batch of {batch} images cannot be shared by {processes} processes equally")
    size = batch // processes
    return slice(size * accelerator.process_index, size * (accelerator.process_index + 1))


def synchronised(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The model, changed in place so that batch normalisation sees the global batch (on GPUs only)."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def gathered(output: Output, accelerator: Accelerator) -> Output:
    """The outputs of the global batch, from those of each process; the gradient flows to a process's local rows.

    Each process has the same loss L and the gradient of L by its local rows only, so the sum over the processes is the
    gradient of L. ``DistributedDataParallel`` takes the mean: L is multiplied by the number of processes.
    """
    if accelerator.num_processes == 1:
        return output

    def gather(local: Tensor) -> Tensor:
        parts = list(accelerator.gather(local.detach()).split(len(local)))
        parts[accelerator.process_index] = local
        return torch.cat(parts)

    logits, embeddings = output.id_logits, output.embeddings
    return replace(
        output,
        id_logits={name: gather(x) for name, x in logits.items()},
        embeddings={name: gather(x) for name, x in embeddings.items()},
    )


class Losses(nn.Module):
    """A model's losses of the global batch by name, from this process's share of the images and all of the labels.

    Of a module in several processes PyTorch adds up the gradients only if it returns plain tensors, as these are.
    """

    def __init__(self, model: nn.Module, accelerator: Accelerator):
        super().__init__()
        self.model, self.accelerator = model, accelerator

    def forward(self, images: Tensor, labels: Tensor, **also: Tensor) -> dict[str, Tensor]:
        rows = local_rows(len(labels), self.accelerator)
        output = self.model(images, labels[rows], **also)
        return self.model.loss(gathered(output, self.accelerator), labels)


def broadcast(value: object, accelerator: Accelerator) -> object:
    """The main process's value, in every process."""
    return value if accelerator.num_processes == 1 else broadcast_object_list([value])[0]


@contextmanager
def exclusive_run(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """The main process alone is in ``folder`` (``files.locked``), from before any process begins until all are done.

    A process that fails does not wait for the others: its launcher ends them.
    """
    with locked(folder) if accelerator.is_main_process else nullcontext():
        accelerator.wait_for_everyone()
        yield
        accelerator.wait_for_everyone()
