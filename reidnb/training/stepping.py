"""How a training takes its steps: one kernel after another, compiled, or as replays of one CUDA graph.

A step of ResNet-50 launches over a thousand kernels, most of which take a GPU less time than launching them takes the
CPU. A CUDA graph launches them all at once; ``torch.compile`` fuses many into few, at the price of compiling them.
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
"""What 'auto' takes on one GPU. On an H100 (ResNet-50 with DRANet's part classifiers, bf16, batches of 64 images of
192x64, alone) it trains 7,400 images/s, 'eager' 1,930, 'compiled' 2,120, 'compiled-graph' 8,810; the first five steps
take 1.5 s, compiled ones over a minute, which pays in trainings of more than five."""
WARM_UP_STEPS = 3
"""Training steps before the capture: cuDNN chooses its kernels and the optimiser allocates its state in them."""
COMPILED_NETWORKS = 256
"""Networks that one process may compile; PyTorch's default of 8 would leave the ninth of a study uncompiled."""


def choose(requested: str, accelerator: Accelerator) -> str:
    """One of ``CHOICES`` but 'auto', for a training by ``accelerator``. Raises ValueError where that cannot be done."""
    check("step", requested, CHOICES)
    device, processes = accelerator.device.type, accelerator.num_processes
    can_capture = device == "cuda" and processes == 1 and accelerator.scaler is None
    if requested == "auto":
        return ON_ONE_GPU if can_capture else "eager"
    if requested in CAPTURED and not can_capture:
        reason = f"this training runs on the {device.upper()}"
        if processes > 1:
            reason = f"this training runs in {processes} processes"
        elif device == "cuda":  # the scaler decides in Python whether a step is taken
            reason = "precision='fp16' scales the loss anew from step to step"
        raise ValueError(f"step={requested!r} captures a step of one process on one GPU, but {reason}: take 'eager'")
    return requested


def eager_step(
    losses_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    images: Tensor,
    labels: Tensor,
    **also: Tensor,
) -> dict[str, Tensor]:
    """One step on this process's images (B, 3, H, W) with the labels of the whole batch; returns the losses by name."""
    with accelerator.autocast():
        parts = losses_of(images, labels, **also)
    total = torch.stack(list(parts.values())).sum()
    optimizer.zero_grad()
    accelerator.backward(total * accelerator.num_processes)
    optimizer.step()
    return parts


class Stepper:
    """Takes the steps of a training; ``choice`` names how, which changes to 'eager' where 'auto' cannot capture.

    The optimiser's state must have been loaded before: a captured step always updates the same memory.
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
        if self.choice in COMPILED and not is_compiled_module(losses_of):  # unless Accelerate was told to compile
            _compile(losses_of)
        self.captured = CapturedStep(self.eager, optimizer, accelerator.device) if self.choice in CAPTURED else None
        # A graph reads the rate from the GPU's memory; a checkpoint may hold it as either.
        hold_rates(optimizer, accelerator.device if self.captured else None)

    def __call__(self, **batch: Tensor) -> dict[str, Tensor]:
        """The losses by name of one step on ``images``, ``labels`` and what else the network takes.

        Raises RuntimeError in one sentence when a graph was asked for and the step cannot be captured.
        """
        if self.captured is None:
            return self.eager(**batch)
        try:
            return self.captured(**batch)
        except CaptureError as error:
            if self.requested != "auto":
                raise RuntimeError(
                    f"step={self.requested!r}: this step cannot be captured as a CUDA graph ({error}): take 'eager'"
                ) from error
            self.log(f"the step cannot be captured as a CUDA graph ({error}): training goes on eagerly")
        # The compiled module stays compiled.
        self.captured, self.choice = None, "compiled" if self.choice in COMPILED else "eager"
        hold_rates(self.optimizer, None)
        return self.eager(**batch)


class CaptureError(Exception):
    """A step could not be captured; nothing was computed, and model and optimiser are as before."""


class CapturedStep:
    """A training step as replays of one CUDA graph of its eager kernels, the optimiser's included.

    The first ``WARM_UP_STEPS`` are eager ones on a side stream (PyTorch, CUDA semantics, "Whole-network capture").
    A batch of another shape than the first one's is taken eagerly. After the capture, parameters and optimiser state
    may be changed in place only.
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
        # Waiting both ways also keeps the allocator from reusing memory that the other stream still reads.
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            losses = _detached(self.take(**batch))
        main.wait_stream(self.stream)
        self.warm_ups += 1
        return losses

    def _capture(self, batch: dict[str, Tensor]) -> None:
        self.inputs = {name: value.clone() for name, value in batch.items()}
        self.optimizer.zero_grad(set_to_none=True)  # the backward pass then allocates gradients in the graph's memory
        # Only the capture asks Adam for it, and only uncaptured steps would warn of it. SGD has no such field.
        groups = [group for group in self.optimizer.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = True
        try:
            self.graph, self.losses = record(lambda: _detached(self.take(**self.inputs)), self.stream)
        except RuntimeError as error:
            self.optimizer.zero_grad(set_to_none=True)
            cause: BaseException = error
            while cause.__context__ is not None:  # ending a broken capture raises too
                cause = cause.__context__
            raise CaptureError((str(cause) or type(cause).__name__).splitlines()[0]) from error
        finally:
            for group in groups:
                group["capturable"] = False


def record(
    take: Callable[[], dict[str, Tensor]], stream: torch.cuda.Stream
) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
    """The graph of what ``take`` launches, none of which is run, and the tensors in which replays leave its result.

    Each replay takes seed and offset of PyTorch's default CUDA generator, which its kernels then read from the GPU's
    memory, and advances the offset as the eager step does (ATen's CUDAGraph::replay and
    CUDAGeneratorState::replay_prologue). So ``torch.manual_seed`` between two epochs holds for replays too.
    """
    generator = torch.cuda.default_generators[stream.device.index]
    state = generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            result = take()
    except RuntimeError:
        generator.graphsafe_set_state(state)  # the former state may still count as being captured
        raise
    return graph, result


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate, times each group's ``scale``: in place where it is a tensor, as a graph reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(group["scale"] * rate)
        else:
            group["lr"] = group["scale"] * rate


def hold_rates(optimizer: torch.optim.Optimizer, device: torch.device | None) -> None:
    """Hold each group's learning rate in float32 on ``device``, which fused optimisers ask for; None: as a float."""
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["lr"] = rate if device is None else torch.tensor(rate, dtype=torch.float32, device=device)


def forget(optimizer: torch.optim.Optimizer) -> None:
    """Zero the optimiser's state in place: for Adam and for SGD without dampening the same as an empty one."""
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses without the graph behind them, whose gradient nodes belong to the stream of their step."""
    return {name: loss.detach() for name, loss in losses.items()}


def _compile(losses_of: nn.Module) -> None:
    """Compile the module in place, at its first call; what is compiled is kept in the study's cache."""
    # Takes more than a second.
    from torch._dynamo import config
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Importing torch._dynamo, as torchvision does, already sets the variable to a folder that a reboot may empty.
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, os.path.abspath(default_cache_dir())):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_dir() / "compiled")
    config.recompile_limit = max(config.recompile_limit, COMPILED_NETWORKS)
    # Each size is compiled for itself: kernels for any size, which a second size would otherwise get, are slower.
    losses_of.compile(dynamic=False)
