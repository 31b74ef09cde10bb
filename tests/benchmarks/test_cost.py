"""Cost of a training step: counts and floor against values computed by hand, and the same on every machine."""

import math
from dataclasses import replace

import pandas as pd
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from reidnb.benchmarks import cost
from reidnb.benchmarks import training as speed
from reidnb.papers.experiments import build

B, C, D, H, W = 2, 3, 4, 8, 6
X, Y = B * C * H * W, B * D * H * W  # numbers of a convolution's input and output
KERNEL = D * C * 3 * 3


def block() -> nn.Module:
    return nn.Sequential(nn.Conv2d(C, D, 3, padding=1, bias=False), nn.BatchNorm2d(D), nn.ReLU())


def forward_and_backward(layer: nn.Module, x: torch.Tensor) -> None:
    y = layer(x)
    y.backward(torch.empty_like(y))


def counted(layer: nn.Module, *shape: int) -> pd.DataFrame:
    x = torch.ones(shape, requires_grad=True)
    return cost.by_kind(cost.record(lambda: forward_and_backward(layer, x)))


def test_convolution_batch_normalisation_and_relu_by_hand():
    kinds = counted(block(), B, C, H, W)
    forward, of_x, of_weight = X + KERNEL + Y, Y + KERNEL + X, Y + X + KERNEL
    assert kinds.loc["convolution"].tolist() == [
        3,
        4 * (forward + of_x + of_weight),
        4 * (forward + of_x + of_weight),
        3 * Y * C * 9,
    ]
    # Read twice and written; in the backward pass, input and gradient twice. Vectors: weight, bias, running and batch
    # statistics; in the backward pass, the same without bias, and two gradients.
    maps, vectors = (2 + 1) + (4 + 1), 6 + 7
    assert kinds.loc["batch normalisation"].tolist() == [3 + 2, 4 * (maps * Y + vectors * D), 4 * (1 + 2) * Y, 0]
    assert kinds.loc["ReLU"].tolist() == [2, 4 * (2 + 3) * Y, 0, 0]
    assert kinds.loc["counters"].tolist() == [1, 16, 0, 0]
    assert kinds.floor_bytes.sum() == 4 * (3 * (X + Y + KERNEL) + 3 * Y)


def test_linear_layer_by_hand():
    kinds = counted(nn.Linear(C, D), B, C)
    products = 3 * (B * C + D * C + B * D) + D  # forward with the bias
    assert kinds.loc["matrix product"].tolist() == [3, 4 * products, 4 * products, 3 * B * C * D]
    assert kinds.loc["reductions and softmax"].tolist() == [1, 4 * (B * D + D), 0, 0]  # the gradient of the bias


def test_input_without_a_gradient_saves_a_kernel():
    operations = cost.record(lambda: forward_and_backward(block(), torch.ones(B, C, H, W)))
    assert operations[operations.operation == "convolution_backward"].launches.tolist() == [1]


def test_what_expand_repeats_is_read_once():
    operations = cost.record(lambda: torch.ones(3, 1).expand(3, 100).add(1))
    assert operations[operations.operation == "add"].bytes.tolist() == [4 * 3 + 4 * 300]


def test_floor_by_hand():
    operations = pd.DataFrame({"floor_bytes": [600, 0, 200], "multiply_adds": [50, 30, 0]})
    memory_bound = cost.floor(operations, 4, cost.Limits(bandwidth=100.0, peak=1000.0))
    assert memory_bound == {"memory": 2.0, "arithmetic": 0.04, "floor": 2.0}
    arithmetic_bound = cost.floor(operations, 4, cost.Limits(bandwidth=1e6, peak=10.0))
    assert arithmetic_bound["floor"] == arithmetic_bound["arithmetic"] == 4.0


def test_counts_are_the_same_with_values_on_a_cpu_and_without_on_a_simulated_gpu():
    def step(layer: nn.Module, x: torch.Tensor, backward) -> pd.DataFrame:
        return cost.by_kind(cost.record(lambda: backward(layer(x).square().sum())))

    here = step(block(), torch.ones(B, C, H, W, requires_grad=True), torch.Tensor.backward)
    layer = block()
    with FakeTensorMode():
        cost._remove_values(layer, torch.device("cuda"))
        there = step(layer, torch.empty(B, C, H, W, device="cuda", requires_grad=True), cost._backward)
    columns = ["bytes", "floor_bytes", "multiply_adds"]  # launches of batch normalisation may be cuDNN's there
    for kind in ("convolution", "batch normalisation", "ReLU", "counters"):
        assert there.loc[kind, columns].tolist() == here.loc[kind, columns].tolist()


def test_backward_gives_the_gradients_of_autograd():
    torch.manual_seed(0)
    first, second = nn.Linear(5, 5), nn.Linear(5, 1)
    x, scale = torch.randn(4, 5), torch.randn(5, requires_grad=True)
    parameters = [*first.parameters(), *second.parameters(), scale]

    def gradients(backward) -> list[torch.Tensor]:
        hidden = (first(first(x).relu()) * scale).bfloat16()  # used twice, broadcast, in another type
        backward((second(hidden.float()) + hidden.float().var(0)).square().mean())
        result = [p.grad for p in parameters]
        for p in parameters:
            p.grad = None
        return result

    expected = gradients(torch.Tensor.backward)
    torch.testing.assert_close(gradients(cost._backward), expected, rtol=1e-6, atol=1e-7)


def test_step_of_a_network():
    experiment = speed.networks("smoke", "bf16")["dranet", "baseline"]
    casting = cost.step_operations(experiment, 10)
    plain = cost.step_operations(replace(experiment, recipe=replace(experiment.recipe, precision="no")), 10)
    kinds, without = cost.by_kind(casting), cost.by_kind(plain)
    assert not torch.is_autocast_enabled("cuda")
    assert kinds.multiply_adds.sum() == without.multiply_adds.sum() > 0
    assert kinds.loc["convolution", "bytes"] < 0.6 * without.loc["convolution", "bytes"]
    assert not {"casts of weights", "casts of weight gradients"} & set(without.index)
    parameters = [p for p in build(experiment, 10).parameters() if p.requires_grad]
    fused = casting[casting.operation == "_fused_adamw_"]
    assert fused.launches.tolist() == [math.ceil(len(parameters) / 36)]
    # In float32: weight, gradient and two moments read, all but the gradient written; and the counters of steps.
    assert 0 <= fused.bytes.item() - 7 * 4 * sum(p.numel() for p in parameters) <= 8 * len(parameters)
    # A counter and casts for each layer.
    layers = list(build(experiment, 10).modules())
    assert kinds.launches["counters"] == sum(isinstance(m, nn.BatchNorm2d) for m in layers)
    weights = [p for m in layers if isinstance(m, nn.Conv2d) for p in m.parameters()]
    assert kinds.launches["casts of weights"] == kinds.launches["casts of weight gradients"] == len(weights)


def test_limits_are_measured_and_restore_settings():
    before = torch.get_float32_matmul_precision()
    machine = cost.limits(torch.device("cpu"), "no", repeats=1)
    assert 1e8 < machine.bandwidth < 1e13 and 1e8 < machine.peak < 1e15
    assert torch.get_float32_matmul_precision() == before
