"""Training steps in eager mode, compiled, or as replays of one CUDA graph.

A step of ResNet-50 launches over a thousand kernels, most of which run for less time on the GPU than their launch takes
on the CPU. A CUDA graph launches all of them at once; ``torch.compile`` fuses them into fewer, which takes time once.
"""

import os
from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import is_compiled_module
from torch import Tensor, nn

from ..files import cache_dir
from ..models.options import check

CHOICES = ("auto", "eager", "graph", "compiled", "compiled-graph")
COMPILED = ("compiled", "compiled-graph")
CAPTURED = ("graph", "compiled-graph")
ON_ONE_GPU = "graph"
"""The choice of 'auto' on one GPU. On an otherwise idle H100 (ResNet-50 with DRANet's part classifiers, bf16, batches
of 64 images of 192x64) it trains 7,400 images/s, 'eager' 1,930, 'compiled' 2,120, 'compiled-graph' 8,810; the first
five steps take 1.5 s, and over a minute when compiled, which pays off only in trainings of more than five minutes."""
WARM_UP_STEPS = 3
"""Training steps before the capture, in which cuDNN selects its kernels and the optimiser allocates its state."""
COMPILED_NETWORKS = 256
"""Number of networks that one process may compile; PyTorch's default of 8 is too small for a study."""


def choose(requested: str, accelerator: Accelerator) -> str:
    """Resolve 'auto' and return the choice for ``accelerator``. Raises ValueError if it does not support the choice."""
    check("step", requested, CHOICES)
    device, processes = accelerator.device.type, accelerator.num_processes
    can_capture = device == "cuda" and processes == 1 and accelerator.scaler is None
    if requested == "auto":
        return ON_ONE_GPU if can_capture else "eager"
    if requested in CAPTURED and not can_capture:
        reason = f"this training runs on the {device.upper()}"
        if processes > 1:
            reason = f"this training runs in {processes} processes"
        elif device == "cuda":  # the scaler decides in Python whether to skip a step
            reason = "precision='fp16' rescales the loss from step to step"
        raise ValueError(f"step={requested!r} captures a step of one process on one GPU, but {reason}: use 'eager'")
    return requested


def eager_step(
    losses_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    images: Tensor,
    labels: Tensor,
    **inputs: Tensor,
) -> dict[str, Tensor]:
    """One step on this process's images (B, 3, H, W) with the labels of the global batch: the losses by name."""
    with accelerator.autocast():
        parts = losses_of(images, labels, **inputs)
    total = torch.stack(list(parts.values())).sum()
    optimizer.zero_grad()
    accelerator.backward(total * accelerator.num_processes)
    optimizer.step()
    return parts


class Stepper:
    """Performs training steps; ``choice`` is one of ``CHOICES`` and falls back to 'eager' where 'auto' cannot capture.

    The optimiser's state must be loaded beforehand, as a captured step always updates the same memory.
    """

    def __init__(
        self,
        requested: str,
        losses_of: nn.Module,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        log: Callable[[str], None] = print,
    ):
        self.requested, self.optimizer, self.log = requested, optimizer, log
        self.choice = choose(requested, accelerator)
        self.eager = partial(eager_step, losses_of, optimizer, accelerator)
        if self.choice in COMPILED and not is_compiled_module(losses_of):  # Accelerate may have compiled it
            _compile(losses_of)
        self.captured = CapturedStep(self.eager, optimizer, accelerator.device) if self.choice in CAPTURED else None
        # A graph reads the rate from GPU memory; in a checkpoint it may be a tensor or a float.
        hold_rates(optimizer, accelerator.device if self.captured else None)

    def __call__(self, **batch: Tensor) -> dict[str, Tensor]:
        """Perform one step on ``images``, ``labels`` and further inputs of the network; returns the losses by name.

        Raises RuntimeError if a graph was requested explicitly and the step cannot be captured.
        """
        if self.captured is None:
            return self.eager(**batch)
        try:
            return self.captured(**batch)
        except CaptureError as error:
            if self.requested != "auto":
                raise RuntimeError(
                    f"step={self.requested!r}: this step cannot be captured as a CUDA graph ({error}): use 'eager'"
                ) from error
            self.log(f"the step cannot be captured as a CUDA graph ({error}): training continues eagerly")
        # The compiled module stays compiled.
        self.captured, self.choice = None, "compiled" if self.choice in COMPILED else "eager"
        hold_rates(self.optimizer, None)
        return self.eager(**batch)


class CaptureError(Exception):
    """A step could not be captured; model and optimiser are unchanged."""


class CapturedStep:
    """A training step as replays of one CUDA graph of its eager kernels, the optimiser's included.

    The first ``WARM_UP_STEPS`` run eagerly on a side stream (PyTorch, CUDA semantics, "Whole-network capture"), and so
    does any batch whose shape differs from the first. After the capture, parameters and optimiser state may be changed
    in place only.
    """

    def __init__(self, take: Callable[..., dict[str, Tensor]], optimizer: torch.optim.Optimizer, device: torch.device):
        self.take, self.optimizer = take, optimizer
        self.stream = torch.cuda.Stream(device)
        self.warm_ups, self.graph = 0, None
        self.shapes: dict[str, torch.Size] = {}
        self.inputs: dict[str, Tensor] = {}
        self.losses: dict[str, Tensor] = {}

    def __call__(self, **batch: Tensor) -> dict[str, Tensor]:
        shapes = {name: value.shape for name, value in batch.items()}
        self.shapes = self.shapes or shapes
        if shapes != self.shapes:
            return self.take(**batch)
        if self.warm_ups < WARM_UP_STEPS:
            return self._warm_up(batch)
        if self.graph is None:
            self._capture(batch)
        for name, value in batch.items():
            self.inputs[name].copy_(value)
        self.graph.replay()
        return {name: loss.clone() for name, loss in self.losses.items()}

    def _warm_up(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        main = torch.cuda.current_stream()
        # Waiting both ways also prevents the allocator from reusing memory that the other stream still reads.
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            losses = _detached(self.take(**batch))
        main.wait_stream(self.stream)
        self.warm_ups += 1
        return losses

    def _capture(self, batch: dict[str, Tensor]) -> None:
        self.inputs = {name: value.clone() for name, value in batch.items()}
        self.optimizer.zero_grad(set_to_none=True)  # the backward pass then allocates them in the graph's memory
        # Adam requires it during the capture and warns about it in uncaptured steps; SGD has no such field.
        groups = [group for group in self.optimizer.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = True
        try:
            self.graph, self.losses = record(lambda: _detached(self.take(**self.inputs)), self.stream)
        except RuntimeError as error:
            self.optimizer.zero_grad(set_to_none=True)
            cause: BaseException = error
            while cause.__context__ is not None:  # ending a failed capture raises as well
                cause = cause.__context__
            raise CaptureError((str(cause) or type(cause).__name__).splitlines()[0]) from error
        finally:
            for group in groups:
                group["capturable"] = False


def record(
    take: Callable[[], dict[str, Tensor]], stream: torch.cuda.Stream
) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
    """Capture the kernels that ``take`` launches, without running them, and the tensors to which replays write.

    Each replay takes seed and offset of PyTorch's default CUDA generator, which the kernels read from GPU memory, and
    advances the offset as the eager step does (ATen's CUDAGraph::replay and CUDAGeneratorState::replay_prologue). So
    ``torch.manual_seed`` between two epochs applies to replays too.
    """
    generator = torch.cuda.default_generators[stream.device.index]
    state = generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            result = take()
    except RuntimeError:
        generator.graphsafe_set_state(state)  # the current state may still be marked as being captured
        raise
    return graph, result


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set each group's learning rate to ``scale * rate``: in place if it is a tensor, since a graph reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(group["scale"] * rate)
        else:
            group["lr"] = group["scale"] * rate


def hold_rates(optimizer: torch.optim.Optimizer, device: torch.device | None) -> None:
    """Store each group's learning rate as float32 on ``device``, as fused optimisers require; None: as a float."""
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["lr"] = rate if device is None else torch.tensor(rate, dtype=torch.float32, device=device)


def forget(optimizer: torch.optim.Optimizer) -> None:
    """Zero the optimiser's state in place, which for Adam and SGD without dampening equals an empty state."""
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses without their autograd graph, whose nodes are tied to the stream of their step."""
    return {name: loss.detach() for name, loss in losses.items()}


def _compile(losses_of: nn.Module) -> None:
    """Compile the module in place, at its first call; compiled code is kept in the study's cache."""
    # Imported here since it takes more than a second.
    from torch._dynamo import config
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Importing torch._dynamo, as torchvision does, already sets the variable to a folder that a reboot may empty.
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, os.path.abspath(default_cache_dir())):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_dir() / "compiled")
    config.recompile_limit = max(config.recompile_limit, COMPILED_NETWORKS)
    # Each size is compiled separately: the size-independent kernels that a second size would get are slower.
    losses_of.compile(dynamic=False)
