"""What a GPU asks of each network, tried without one: everything on its device, no waiting for a number, one graph."""

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
    """Fails where something is copied from the CPU's memory to a GPU, which waits for all that the GPU has to do."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        target = (kwargs or {}).get("device")
        if operation is torch.ops.aten._to_copy.default and target is not None and args[0].device.type == "cpu":
            assert torch.device(target).type == "cpu", f"{tuple(args[0].shape)} is sent to {target} in each step"
        return operation(*args, **(kwargs or {}))


@each_network
def test_losses_stay_on_the_device_and_ask_it_for_no_number(experiment):
    losses = Losses(build(experiment, speed.IDENTITIES), ALONE)
    # Tensors without values: two devices in one operation, or a value that is asked for, end in an error.
    with FakeTensorMode():
        images, also = batch(experiment, "cuda")
        own = [*losses.named_parameters(), *losses.named_buffers()]
        there = {name: torch.empty(x.shape, dtype=x.dtype, device="cuda") for name, x in own}
        with NothingIsSent():
            parts = functional_call(losses, there, images, also)
        assert {(part.device.type, part.dtype, part.shape) for part in parts.values()} == {("cuda", torch.float32, ())}


def test_what_would_make_a_gpu_wait_is_noticed():
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
        images, also = batch(experiment)
        torch.stack(list(compiled(*images, **also).values())).sum().backward()
    assert len(graphs) == 1
