"""Launches, memory traffic and arithmetic of a training step, counted without a GPU (`performance.ipynb`).

A training step runs on tensors that have shapes, types and a device but no values, and every operation that PyTorch
dispatches is recorded. These operations give a floor: the minimum time per image that the memory bandwidth and the
arithmetic peak of a machine allow.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import pandas as pd
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ..papers.experiments import build, by_pose
from ..training.distributed import Losses
from ..training.experiment import Experiment
from ..training.recipe import make_optimizer
from ..training.stepping import eager_step

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The data type of products in each of Accelerate's precisions."""
TENSORS_PER_LAUNCH = 36
"""Tensors per kernel of a fused or foreach operation: PyTorch's multi_tensor_apply with four lists, as for Adam."""
NAMES = {
    "convolution": "convolution convolution_backward",
    "matrix product": "mm addmm bmm baddbmm",
    "batch normalisation": "native_batch_norm native_batch_norm_backward cudnn_batch_norm cudnn_batch_norm_backward",
    "ReLU": "relu relu_ threshold_backward",
    "pooling and resampling": (
        "max_pool2d_with_indices max_pool2d_with_indices_backward avg_pool2d avg_pool2d_backward"
        " adaptive_max_pool2d adaptive_max_pool2d_backward _adaptive_avg_pool2d _adaptive_avg_pool2d_backward"
        " upsample_bilinear2d upsample_bilinear2d_backward grid_sampler_2d grid_sampler_2d_backward"
    ),
    "reductions and softmax": (
        "mean sum amax amin max min argmax argmin all any std var var_mean topk sort linalg_vector_norm"
        " _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data nll_loss_forward nll_loss_backward"
    ),
}
"""The operations of each kind that is recognised by name."""
KIND_OF = {name: kind for kind, names in NAMES.items() for name in names.split()}
KERNELS = {"native_batch_norm": 3, "native_batch_norm_backward": 2}
"""Kernels of PyTorch's batch normalisation, used for bf16 on a GPU instead of cuDNN's: statistics, running statistics
and normalisation; backward, sums and gradient (ATen's native/cuda/Normalization.cu)."""
WEIGHT_CASTS, GRADIENT_CASTS = "casts of weights", "casts of weight gradients"
ELEMENTWISE, OTHER_CASTS = "other elementwise", "other casts"
COUNTERS, COPIES, OPTIMISER = "counters", "copies and the rest", "optimiser"
KINDS = (*NAMES, ELEMENTWISE, WEIGHT_CASTS, GRADIENT_CASTS, OTHER_CASTS, COUNTERS, COPIES, OPTIMISER)
"""All kinds, in the order in which tables show them."""

COLUMNS = ("launches", "bytes", "floor_bytes", "multiply_adds")
"""The counts of each operation in ``record``."""


@dataclass(frozen=True)
class Limits:
    """Limits of a machine: memory bandwidth (bytes/s, read plus written) and arithmetic peak (FLOP/s)."""

    bandwidth: float
    peak: float


H100 = Limits(bandwidth=3.35e12, peak=989e12)
"""From NVIDIA's data sheet of the H100 SXM: HBM3, and dense products in bf16."""


def step_operations(experiment: Experiment, identities: int) -> pd.DataFrame:
    """The operations of one training step (``record``) on a GPU: forward pass, losses, backward pass, optimiser.

    The batch is already on the device, and the optimiser has its state. The GPU is simulated, so the result is the same
    on every machine.
    """
    recipe, device = experiment.recipe, torch.device("cuda")
    model = build(experiment, identities).to(memory_format=torch.channels_last)
    accelerator = SimpleNamespace(
        num_processes=1,
        process_index=0,
        device=device,
        autocast=lambda: _autocast(recipe.precision),
        backward=_backward,
    )
    with FakeTensorMode():
        _remove_values(model, device)
        losses, optimizer = Losses(model, accelerator).train(), make_optimizer(model, recipe)
        images = torch.empty(recipe.batch, *recipe.size, 3, device=device).permute(0, 3, 1, 2)  # channels last
        labels = torch.empty(recipe.batch, dtype=torch.long, device=device)
        boxes = {"boxes": torch.empty(recipe.batch, 5, 4, device=device)} if by_pose(experiment) else {}
        for _ in range(2):  # the first step also creates the optimiser's state
            operations = record(lambda: eager_step(losses, optimizer, accelerator, images, labels, **boxes))
    return operations


def record(work: Callable[[], object]) -> pd.DataFrame:
    """A row for each operation that ``work`` dispatches to the device, views and allocations left out.

    operation      its name in PyTorch's aten
    kind           one of ``KINDS``
    launches       kernels: the minimum of one per operation, except for ``KERNELS``, one per gradient of a convolution,
                   and one per ``TENSORS_PER_LAUNCH`` tensors of a fused optimiser
    bytes          inputs read and outputs written, each once in each kernel; batch normalisation reads its input, and
                   in the backward pass input and gradient, twice
    floor_bytes    the part of ``bytes`` that remains when elementwise operations are fused (``floor``)
    multiply_adds  of convolutions and matrix products: half the FLOPs of ``torch.utils.flop_counter``
    """
    with _Recorder() as recorder:
        work()
    return pd.DataFrame(recorder.rows)


def by_kind(operations: pd.DataFrame) -> pd.DataFrame:
    """The sums of ``record``'s counts for each kind that occurs, in the order of ``KINDS``."""
    sums = operations.groupby("kind")[list(COLUMNS)].sum()
    return sums.reindex([kind for kind in KINDS if kind in sums.index])


def floor(operations: pd.DataFrame, batch: int, machine: Limits) -> dict[str, float]:
    """Minimum seconds per image of a step with these operations: for ``memory`` traffic, ``arithmetic``, and both.

    At best memory traffic and arithmetic overlap, so the ``floor`` is the larger of

        memory     = (convolutions + batch normalisations + optimiser, in bytes) / batch / bandwidth
        arithmetic = 2 multiply-adds / batch / peak

    A convolution (or matrix product) reads input x and weight w and writes output y; in the backward pass one
    kernel computes the gradient of x (reads dy and w, writes dx) and another that of w (reads dy and x, writes dw).
    Batch normalisation reads its input once more for the statistics, and in the backward pass input and gradient once
    more for their sums. The optimiser reads weights, gradients and state, and writes weights and state. Everything else
    (normalising, ReLU, residual additions, casts, pooling, losses) is fused into these without traffic. No data stays
    in a cache from one kernel to the next; a machine whose cache holds a small map may be faster than this.
    """
    memory = operations.floor_bytes.sum() / batch / machine.bandwidth
    arithmetic = 2 * operations.multiply_adds.sum() / batch / machine.peak
    return {"memory": memory, "arithmetic": arithmetic, "floor": max(memory, arithmetic)}


def limits(device: torch.device, precision: str, repeats: int = 5) -> Limits:
    """This machine's limits, measured by a large copy and a large matrix product in ``precision``; best of ``repeats``.

    In float32 the product uses TensorFloat-32 on GPUs that support it, as PyTorch's convolutions do.
    """
    on_gpu = device.type == "cuda"
    # 512 MB and 64 MB exceed any cache; the products keep every core busy for at least a millisecond.
    source = torch.ones(2**27 if on_gpu else 2**24, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * source.nbytes / _least_seconds(lambda: target.copy_(source), device, repeats)
    side = 8192 if on_gpu else 1024
    a, b = torch.ones(2, side, side, device=device, dtype=DTYPES[precision])
    setting = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if on_gpu else setting)
    try:
        peak = 2 * side**3 / _least_seconds(lambda: a @ b, device, repeats)
    finally:
        torch.set_float32_matmul_precision(setting)
    return Limits(bandwidth, peak)


def _least_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    seconds = []
    for _ in range(repeats + 1):  # the first is the warm-up
        finish()
        start = time.perf_counter()
        work()
        finish()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


class _Recorder(TorchDispatchMode):
    """Records each operation on the device, including those of the backward pass."""

    def __init__(self):
        super().__init__()
        self.rows: list[dict] = []
        self.weight_shapes: set[torch.Size] = set()

    def __torch_dispatch__(self, operation: OpOverload, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = operation.overloadpacket.__name__
        # Fake tensors do not support the fused optimisers, which work in place and so need no result.
        result = None if name.startswith("_fused_") else operation(*args, **kwargs)
        if not _launches_nothing(operation, name):
            counts = _counts(name, args, kwargs, result)
            if counts["bytes"]:
                kind = self._kind(operation, name, args, result)
                self.rows.append({"operation": name, "kind": kind} | counts)
        return result

    def _kind(self, operation: OpOverload, name: str, args: tuple, result: object) -> str:
        if name.startswith(("_fused_", "_foreach_")):
            return OPTIMISER
        if name in KIND_OF:
            return KIND_OF[name]
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if name == "_to_copy" and tensor is not None and tensor.dtype != result.dtype:
            if isinstance(tensor, nn.Parameter):
                self.weight_shapes.add(tensor.shape)
                return WEIGHT_CASTS
            # In the backward pass the gradient of a weight is cast to the weight's precision. It is recognised by its
            # shape, which an activation shares by chance only in the smallest networks.
            is_gradient = result.dtype == torch.float32 and tensor.shape in self.weight_shapes
            return GRADIENT_CASTS if is_gradient else OTHER_CASTS
        if name == "add_" and tensor.dtype == torch.int64 and tensor.ndim == 0:
            return COUNTERS  # BatchNorm's num_batches_tracked
        return ELEMENTWISE if torch.Tag.pointwise in operation.tags else COPIES


def _launches_nothing(operation: OpOverload, name: str) -> bool:
    """Whether an operation is a view, allocates memory without filling it, or does not run on the device."""
    is_view = operation.is_view or name in {"_unsafe_view", "lift_fresh"}
    return is_view or operation.namespace != "aten" or name.startswith(("empty", "new_empty"))


def _counts(name: str, args: tuple, kwargs: dict, result: object) -> dict[str, int]:
    """``COLUMNS`` of one operation, counted as described in ``record``."""
    launches, traffic, floor_traffic = KERNELS.get(name, 1), _bytes((args, kwargs)) + _bytes(result), 0
    if name == "convolution_backward":
        gradient, x, weight = (_bytes(tensor) for tensor in args[:3])
        of_x, of_weight, of_bias = args[-1]  # which gradients are computed
        launches = of_x + of_weight + of_bias
        floor_traffic = of_x * (gradient + weight) + of_weight * (gradient + x) + _bytes(result)
        traffic = floor_traffic + of_bias * gradient
    elif name.startswith("_fused_"):
        weights, _, *state = args
        launches = math.ceil(len(weights) / TENSORS_PER_LAUNCH)
        traffic = floor_traffic = _bytes((args, kwargs)) + _bytes((weights, state))
    elif name.startswith("_foreach_"):
        launches = math.ceil(len(args[0]) / TENSORS_PER_LAUNCH)
    elif KIND_OF.get(name) in {"convolution", "matrix product"}:
        floor_traffic = traffic
    elif KIND_OF.get(name) == "batch normalisation":
        # cuDNN's backward takes the input first, PyTorch's the gradient; both are read once more.
        floor_traffic = _bytes(args[:2] if name.endswith("backward") else args[0])
        traffic += floor_traffic
    formula = flop_registry.get(getattr(torch.ops.aten, name))
    flops = formula(*args, **kwargs, out_val=result) if formula else 0
    return dict(zip(COLUMNS, (launches, traffic, floor_traffic, flops // 2), strict=True))


def _bytes(values: object) -> int:
    """Bytes of all tensors in a nested structure; elements repeated by ``expand`` count once."""
    total = 0
    for tensor in tree_leaves(values):
        if isinstance(tensor, Tensor):
            sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
            total += math.prod(sizes) * tensor.element_size()
    return total


def _remove_values(model: nn.Module, device: torch.device) -> None:
    """Replace parameters and buffers in place by tensors without values on a device; shared ones remain shared."""
    copies: dict[int, Tensor] = {}
    originals = [*model.parameters(), *model.buffers()]  # kept alive, so that ids stay unique
    for tensor in originals:
        copy = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
        is_parameter = isinstance(tensor, nn.Parameter)
        copies[id(tensor)] = nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            tensors |= {name: copies[id(tensor)] for name, tensor in tensors.items() if tensor is not None}


def _backward(loss: Tensor) -> None:
    """``loss.backward()``, node by node, as PyTorch's engine accesses the GPU's streams, which need a GPU."""
    gradients: dict[torch.autograd.graph.Node, list[Tensor | None]] = {loss.grad_fn: [torch.ones_like(loss)]}
    while gradients:
        # The node created last: all nodes that use its output have been processed.
        node = max(gradients, key=lambda candidate: candidate._sequence_nr())
        with torch.no_grad():
            results = node(*gradients.pop(node))
            results = results if isinstance(results, tuple) else (results,)
            for (target, place), gradient in zip(node.next_functions, results, strict=True):
                if target is None or gradient is None:
                    continue
                inputs = target._input_metadata
                if tuple(gradient.shape) != tuple(inputs[place].shape):  # its operation broadcast the input
                    gradient = gradient.sum_to_size(inputs[place].shape)
                gradient = gradient.to(inputs[place].dtype)
                if hasattr(target, "variable"):  # a parameter accumulates its gradient
                    known = target.variable.grad
                    target.variable.grad = gradient if known is None else known + gradient
                else:
                    waiting = gradients.setdefault(target, [None] * len(inputs))
                    waiting[place] = gradient if waiting[place] is None else waiting[place] + gradient


@contextmanager
def _autocast(precision: str) -> Iterator[None]:
    """``torch.autocast`` for a GPU, which itself requires a GPU."""
    if precision == "no":
        yield
        return
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", DTYPES[precision])
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()  # the cache of cast weights
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
