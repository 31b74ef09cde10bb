"""One run in several processes, one per GPU: the loss of the global batch, which Accelerate does not provide.

Each process draws the same global batch and processes its part of it; the inputs of the losses are then gathered, so
that every process computes the loss of the global batch. Losses of the parts would differ: a batch-hard triplet loss
(Hermans et al. 2017, eq. 5) takes its hardest images from the batch, and the papers state the size of the global batch.

Besides rounding, two things may differ from a run in one process. Dropout and other random layers draw different
numbers in each process but the first. Batch normalisation uses the statistics of the global batch on GPUs
(SyncBatchNorm), but those of each process's part on a CPU, where PyTorch has no synchronised version.

Processes on several machines need the cache and the results in shared folders.
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
    # A static graph allows parameters without a gradient, such as those used by the descriptor only.
    DistributedDataParallelKwargs(static_graph=True),
    # The others wait while the main process decodes or evaluates.
    InitProcessGroupKwargs(timeout=timedelta(hours=12)),
)
"""Options of Accelerate for training in several processes."""


def is_distributed() -> bool:
    """Whether a launcher has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def is_main_process() -> bool:
    """Whether this is the process that writes and reports for all."""
    return int(os.environ.get("RANK", 0)) == 0


def local_rows(batch: int, accelerator: Accelerator) -> slice:
    """This process's rows of a global batch. Raises ValueError if the batch cannot be divided equally."""
    processes = accelerator.num_processes
    if batch % processes:
        raise ValueError(f"a batch of {batch} images cannot be divided equally among {processes} processes")
    size = batch // processes
    return slice(size * accelerator.process_index, size * (accelerator.process_index + 1))


def synchronised(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The model with batch normalisation over the global batch (on GPUs only), converted in place."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def gathered(output: Output, accelerator: Accelerator) -> Output:
    """Gather the outputs of the global batch from all processes; gradients flow to a process's local rows only.

    Each process computes the same loss L and its gradient with respect to the local rows, so the sum over the processes
    is the gradient of L. ``DistributedDataParallel`` averages instead, so L is multiplied by the number of processes.
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
    """A model's losses of the global batch by name, from this process's images and all labels of the batch.

    They are computed within a module since PyTorch reduces gradients over processes only for modules that return plain
    tensors.
    """

    def __init__(self, model: nn.Module, accelerator: Accelerator):
        super().__init__()
        self.model, self.accelerator = model, accelerator

    def forward(self, images: Tensor, labels: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        rows = local_rows(len(labels), self.accelerator)
        output = self.model(images, labels[rows], **inputs)
        return self.model.loss(gathered(output, self.accelerator), labels)


def broadcast(value: object, accelerator: Accelerator) -> object:
    """The main process's value, in every process."""
    return value if accelerator.num_processes == 1 else broadcast_object_list([value])[0]


@contextmanager
def exclusive_run(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Hold the lock of ``folder`` (``files.locked``) in the main process until all processes have finished.

    A process that fails does not wait for the others; its launcher terminates them.
    """
    with locked(folder) if accelerator.is_main_process else nullcontext():
        accelerator.wait_for_everyone()
        yield
        accelerator.wait_for_everyone()
