"""Requirements of a GPU, tested without one: all tensors on the device, no synchronisation, one compiled graph."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from reidnb.benchmarks import training as speed
from reidnb.papers.experiments import build, by_pose
from reidnb.training.distributed import Losses
from reidnb.training.experiment import Experiment

NETWORKS = speed.networks("smoke")
ALONE = SimpleNamespace(num_processes=1, process_index=0)

each_network = pytest.mark.parametrize("experiment", NETWORKS.values(), ids=[" ".join(name) for name in NETWORKS])


def batch(experiment: Experiment, device: str = "cpu") -> tuple[tuple, dict]:
    recipe = experiment.recipe
    images = torch.zeros(recipe.batch, 3, *recipe.size, device=device)
    labels = torch.arange(recipe.batch, device=device) // 4
    boxes = torch.zeros(recipe.batch, len(speed.BOXES), 4, device=device) + torch.tensor([0, 0, 1, 1]).to(device)
    return (images, labels), {"boxes": boxes} if by_pose(experiment) else {}


class NothingIsSent(TorchDispatchMode):
    """Fails if data are copied from CPU memory to a GPU, which waits for all pending work of the GPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        target = (kwargs or {}).get("device")
        if operation is torch.ops.aten._to_copy.default and target is not None and args[0].device.type == "cpu":
            assert torch.device(target).type == "cpu", f"{tuple(args[0].shape)} is sent to {target} in each step"
        return operation(*args, **(kwargs or {}))


@each_network
def test_losses_stay_on_the_device_without_synchronisation(experiment):
    losses = Losses(build(experiment, speed.IDENTITIES), ALONE)
    # Tensors without values: an operation on two devices, or access to a value, raises an error.
    with FakeTensorMode():
        images, boxes_input = batch(experiment, "cuda")
        tensors = [*losses.named_parameters(), *losses.named_buffers()]
        there = {name: torch.empty(x.shape, dtype=x.dtype, device="cuda") for name, x in tensors}
        with NothingIsSent():
            parts = functional_call(losses, there, images, boxes_input)
        assert {(part.device.type, part.dtype, part.shape) for part in parts.values()} == {("cuda", torch.float32, ())}


def test_synchronisation_is_detected():
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        bool(torch.zeros(3, device="cuda").sum() > 0)
    with FakeTensorMode(), NothingIsSent(), pytest.raises(AssertionError, match="is sent to cuda"):
        torch.zeros(3).to("cuda")
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        torch.zeros(3, device="cuda") + torch.zeros(3)


@each_network
def test_losses_compile_as_one_graph_once(experiment):
    torch._dynamo.reset()
    losses = Losses(build(experiment, speed.IDENTITIES), ALONE)
    graphs = []
    compiled = torch.compile(losses, backend=lambda graph, inputs: graphs.append(graph) or graph, fullgraph=True)
    for _ in range(2):
        images, boxes_input = batch(experiment)
        torch.stack(list(compiled(*images, **boxes_input).values())).sum().backward()
    assert len(graphs) == 1
