"""Kinds of steps: which are allowed where, and that all of them train the same network.

Without a GPU a stand-in takes the place of the CUDA graph: it captures nothing but the call, and replays it on the
same buffers. What only a GPU can show is tested at the end.
"""

import os
import shutil
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from training.test_loop import RECIPE, tiny_data, tiny_model

from reidnb.benchmarks import training as speed
from reidnb.models.output import Output
from reidnb.papers.experiments import build
from reidnb.study import session
from reidnb.training import loop as training
from reidnb.training import stepping
from reidnb.training.loop import make_accelerator, prepared, train
from reidnb.training.recipe import Recipe, Steps, epoch_batches, make_optimizer
from reidnb.training.stepping import CaptureError, Stepper, choose, forget, hold_rates, set_rate

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

EXACT = replace(RECIPE, epochs=3, lr=2**-10, schedule=Steps(warmup=0, milestones=(1,), factor=0.5))
"""Its rates are exact in float32, so that a graph, which reads them as such, takes the same steps as eager training."""
OPTIMIZERS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "sgd": {"optimizer": "sgd", "lr": 2**-6},
    "nesterov": {"optimizer": "sgd", "lr": 2**-6, "nesterov": True},
}
each_optimizer = pytest.mark.parametrize("changes", OPTIMIZERS.values(), ids=OPTIMIZERS)


class StandIn:
    """A CUDA graph without CUDA: ``replay`` repeats the recorded step and writes its losses to the same tensors."""

    def __init__(self, take):
        self.take, self.losses, self.replays = take, {}, 0

    def replay(self) -> None:
        self.replays += 1
        for name, loss in self.take().items():
            self.losses.setdefault(name, torch.empty_like(loss)).copy_(loss)


@pytest.fixture
def graphs(monkeypatch) -> list[StandIn]:
    """Replaces CUDA's streams and graphs; gives the recorded graphs."""
    recorded = []

    def record(take, stream):
        recorded.append(StandIn(take))
        return recorded[-1], recorded[-1].losses

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(stepping, "record", record)
    monkeypatch.setattr(stepping, "choose", lambda requested, accelerator: requested.replace("auto", "graph"))
    monkeypatch.setattr(training, "choose", lambda requested, accelerator: requested)
    return recorded


def train_tiny(folder: Path, recipe: Recipe = EXACT, step: str = "eager", cpu: bool = True, **options):
    """The trained network and its history."""
    torch.set_num_threads(1)
    model = tiny_model()
    accelerator = make_accelerator(recipe.precision, cpu=cpu)
    options = {"log": lambda line: None} | options
    checkpoint = folder / f"{step}.pt"
    history = train(
        model, *tiny_data(), recipe, seed=3, accelerator=accelerator, checkpoint=checkpoint, step=step, **options
    )
    return model, history


def steps(epochs: int) -> int:
    """Number of steps of ``train_tiny``."""
    return sum(len(epoch_batches(EXACT, tiny_data()[1], 3, epoch)) for epoch in range(epochs))


def assert_same_training(one, other) -> None:
    """The same bit for bit."""
    got = other[0].state_dict()
    assert [name for name, value in one[0].state_dict().items() if not torch.equal(value, got[name])] == []
    assert list(other[1].loss) == list(one[1].loss)


def on(device: str, processes: int = 1, scaler: object = None) -> SimpleNamespace:
    return SimpleNamespace(device=torch.device(device), num_processes=processes, scaler=scaler)


def test_auto_is_a_graph_on_one_gpu_and_eager_elsewhere():
    assert choose("auto", on("cuda")) == "graph"
    for accelerator in (on("cpu"), on("cuda", processes=2), on("cuda", scaler=object())):
        assert choose("auto", accelerator) == "eager"


@pytest.mark.parametrize("step", stepping.CAPTURED)
@pytest.mark.parametrize(
    ("accelerator", "reason"),
    [
        (on("cpu"), "this training runs on the CPU"),
        (on("cuda", processes=2), "this training runs in 2 processes"),
        (on("cuda", scaler=object()), "precision='fp16'"),
    ],
)
def test_an_unsupported_graph_is_refused_in_one_sentence(step, accelerator, reason):
    with pytest.raises(ValueError, match=f"step='{step}' captures a step of one process on one GPU, but {reason}"):
        choose(step, accelerator)
    assert choose("compiled", accelerator) == "compiled"


def test_wrong_choices_are_named_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="step='fast': allowed are 'auto', 'eager', 'graph'"):
        train_tiny(tmp_path, step="fast")
    with pytest.raises(ValueError, match="step='graph' captures a step of one process on one GPU"):
        session.train(None, step="graph", cpu=True)


def test_history_records_the_kind_of_step(tmp_path):
    _, history = train_tiny(tmp_path, replace(EXACT, epochs=1), "auto")
    assert history.attrs["step"] == "eager"


def optimised(changes: dict, prepare) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
    """A tiny network's parameters after some steps; ``prepare`` is called with the optimiser and each step's number."""
    model, recipe = tiny_model(), replace(EXACT, **changes)
    optimizer = make_optimizer(model, recipe)
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        prepare(optimizer, number)
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return [p.detach() for p in model.parameters()], optimizer


@each_optimizer
def test_a_rate_held_in_a_tensor_is_the_rate(changes):
    """float32 holds these rates exactly, so the results are the same bit for bit."""
    rates = [2.0**-k for k in range(6, 12)]

    def in_tensor(optimizer, number):
        if number == 0:
            hold_rates(optimizer, torch.device("cpu"))
            in_tensor.held = optimizer.param_groups[0]["lr"]
        set_rate(optimizer, rates[number])

    expected, _ = optimised(changes, lambda optimizer, number: set_rate(optimizer, rates[number]))
    got, optimizer = optimised(changes, in_tensor)
    assert optimizer.param_groups[0]["lr"] is in_tensor.held  # a graph reads it where it was
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


@each_optimizer
def test_any_rate_held_in_a_tensor_differs_by_its_rounding_only(changes):
    def in_tensor(optimizer, number):
        hold_rates(optimizer, torch.device("cpu"))
        set_rate(optimizer, 1e-3 / (number + 3))

    expected, _ = optimised(changes, lambda optimizer, number: set_rate(optimizer, 1e-3 / (number + 3)))
    got, _ = optimised(changes, in_tensor)
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@each_optimizer
def test_a_state_zeroed_in_place_is_an_empty_one_bit_for_bit(changes):
    def clear(optimizer, number):
        if number == 3:
            optimizer.state.clear()

    def zero(optimizer, number):
        if number == 3:
            before = [id(value) for state in optimizer.state.values() for value in state.values()]
            forget(optimizer)
            assert before == [id(value) for state in optimizer.state.values() for value in state.values()]

    expected, _ = optimised(changes, clear)
    got, _ = optimised(changes, zero)
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
    unchanged, _ = optimised(changes, lambda optimizer, number: None)
    assert not all(torch.equal(a, b) for a, b in zip(expected, unchanged, strict=True))


@each_optimizer
@pytest.mark.parametrize("fresh_momentum", [False, True])
def test_captured_training_is_the_eager_one(tmp_path, graphs, changes, fresh_momentum):
    recipe = replace(EXACT, fresh_momentum=fresh_momentum, **changes)
    captured = train_tiny(tmp_path, recipe, "graph")
    assert captured[1].attrs["step"] == "graph"
    assert [graph.replays for graph in graphs] == [steps(3) - stepping.WARM_UP_STEPS]
    assert_same_training(train_tiny(tmp_path, recipe), captured)


def test_captured_training_resumes_from_a_checkpoint_of_any_kind(tmp_path, graphs):
    expected = train_tiny(tmp_path)

    def stop(model, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    for first, second in (("eager", "graph"), ("graph", "eager"), ("graph", "graph")):
        folder = tmp_path / f"{first}-{second}"
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            train_tiny(folder, step=first, after_epoch=stop)
        (folder / f"{first}.pt").rename(folder / f"{second}.pt")
        assert_same_training(expected, train_tiny(folder, step=second))


def test_adam_is_capturable_in_the_capture_only(tmp_path, graphs, monkeypatch):
    seen = []

    class Watched(torch.optim.AdamW):
        def step(self, *arguments, **options):
            seen.append(self.param_groups[0]["capturable"])
            return super().step(*arguments, **options)

    def record(take, stream):
        seen.append("capture")
        optimizer = take.__closure__[0].cell_contents.optimizer
        seen.append(optimizer.param_groups[0]["capturable"])
        graphs.append(StandIn(take))
        return graphs[-1], graphs[-1].losses

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    monkeypatch.setattr(stepping, "record", record)
    train_tiny(tmp_path, replace(EXACT, epochs=1), "graph")
    assert seen == [False] * stepping.WARM_UP_STEPS + ["capture", True] + [False] * (steps(1) - stepping.WARM_UP_STEPS)


def stepper_of_tiny(requested: str, log=print) -> tuple[nn.Module, Stepper]:
    model, accelerator = tiny_model(), make_accelerator(cpu=True)
    losses_of, optimizer = prepared(model, EXACT, accelerator)
    losses_of.train()
    return model, Stepper(requested, losses_of, optimizer, accelerator, log)


def batch(count: int) -> dict[str, torch.Tensor]:
    images = torch.rand(count, 3, 32, 16, generator=torch.Generator().manual_seed(count))
    return {"images": images, "labels": torch.arange(count) // 2}


def test_a_batch_of_another_shape_is_taken_eagerly(graphs):
    sizes = [8, 8, 6, 8, 8, 6, 8]
    expected, eager = stepper_of_tiny("eager")
    model, captured = stepper_of_tiny("graph")
    for size in sizes:
        theirs, ours = eager(**batch(size)), captured(**batch(size))
        assert all(torch.equal(ours[name], loss) for name, loss in theirs.items())
    assert [graph.replays for graph in graphs] == [2]
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), model.parameters(), strict=True))


def test_losses_of_a_replay_outlast_the_next(graphs):
    _, captured = stepper_of_tiny("graph")
    losses = [captured(**batch(8)) for _ in range(stepping.WARM_UP_STEPS + 3)]
    values = [float(sum(parts.values())) for parts in losses]
    assert len(set(values)) == len(values) and not any(loss.requires_grad for loss in losses[-1].values())


def broken(take, stream):
    try:
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with TORCH_USE_CUDA_DSA")
    except RuntimeError:
        raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904


def test_if_a_capture_fails_auto_continues_eagerly_and_graph_raises(tmp_path, graphs, monkeypatch):
    monkeypatch.setattr(stepping, "record", broken)
    printed = []
    fallen_back = train_tiny(tmp_path, step="auto", log=printed.append)
    message = "the step cannot be captured as a CUDA graph (operation not permitted when stream is capturing)"
    assert [line for line in printed if not line.startswith("epoch")] == [f"{message}: training continues eagerly"]
    assert fallen_back[1].attrs["step"] == "eager"
    assert_same_training(train_tiny(tmp_path), fallen_back)

    with pytest.raises(RuntimeError, match=r"^step='graph': this step cannot be captured .* use 'eager'$") as caught:
        train_tiny(tmp_path, step="graph")
    assert isinstance(caught.value.__cause__, CaptureError)


def test_a_failed_capture_leaves_model_and_optimiser_as_they_were(graphs, monkeypatch):
    monkeypatch.setattr(stepping, "record", broken)
    model, stepper = stepper_of_tiny("graph")
    for _ in range(stepping.WARM_UP_STEPS):
        stepper(**batch(8))
    before = deepcopy((model.state_dict(), stepper.optimizer.state_dict()))
    with pytest.raises(RuntimeError, match="cannot be captured"):
        stepper(**batch(8))
    after = model.state_dict(), stepper.optimizer.state_dict()
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert after[1]["param_groups"] == before[1]["param_groups"]
    assert all(torch.equal(x, after[1]["state"][k][n]) for k, s in before[1]["state"].items() for n, x in s.items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", speed.networks("smoke"), ids=" ".join)
def test_a_network_that_is_moved_again_keeps_its_memory(name):
    """``extract`` moves it after an epoch, while a graph keeps updating the memory with which it was captured."""
    model = build(speed.networks("smoke")[name], 8).to(memory_format=torch.channels_last)
    before = [tensor.data_ptr() for tensor in model.state_dict().values()]
    model.to(device="cpu", memory_format=torch.channels_last)
    assert before == [tensor.data_ptr() for tensor in model.state_dict().values()]


class Small(nn.Module):
    """Has few operations, as compiling takes a second."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 8)

    def forward(self, images, labels=None):
        descriptor = self.layers(images).mean((2, 3))
        return Output(descriptor, {"id": self.head(descriptor)})

    def loss(self, output, labels):
        return {"id": nn.functional.cross_entropy(output.id_logits["id"], labels)}


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_training_is_the_eager_one_and_a_second_is_not_compiled_again(tmp_path, monkeypatch):
    # As importing torch._dynamo leaves it.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", os.path.abspath(default_cache_dir()))
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    torch._dynamo.reset()
    trained = {}
    for step in ("eager", "compiled", "compiled again"):
        torch.manual_seed(0)
        model = Small()
        history = train(
            model,
            *tiny_data(),
            replace(EXACT, optimizer="sgd", lr=2**-6),
            seed=3,
            accelerator=make_accelerator(cpu=True),
            checkpoint=tmp_path / f"{step}.pt",
            step=step.split()[0],
            log=lambda line: None,
        )
        trained[step] = model, history
        if step == "compiled":
            assert history.attrs["step"] == "compiled"
            graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
            assert any((tmp_path / "cache" / "compiled").iterdir())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    for a, b in zip(trained["eager"][0].parameters(), trained["compiled"][0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(trained["compiled"][1].loss, trained["eager"][1].loss, rtol=1e-4)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "compiled")


@needs_gpu
@each_optimizer
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_graph_trains_as_eager_steps_do_on_a_gpu(tmp_path, changes, precision):
    recipe = replace(EXACT, fresh_momentum=True, precision=precision, **changes)
    runs = {step: train_tiny(tmp_path, recipe, step, cpu=False) for step in ("eager", "graph")}
    assert runs["graph"][1].attrs["step"] == "graph"
    # Another order of sums, and TF32 in float32 convolutions: the two trainings diverge (on an H100 by 0.15 % in
    # the first epoch, 2.5 % after three).
    epochs = [runs[step][1].loss.to_numpy() for step in ("graph", "eager")]
    np.testing.assert_allclose(epochs[0][0], epochs[1][0], rtol=1e-2)
    np.testing.assert_allclose(*epochs, rtol=1e-1)


def test_a_cache_folder_that_the_user_has_set_is_used(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    stepping._compile(Small())
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"


class Noisy(nn.Module):
    """Its loss is the mean of a dropout, which depends on the random numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images, labels):
        return {"drawn": nn.functional.dropout(torch.ones_like(images)).mean() + 0 * self.weight.sum()}


@needs_gpu
def test_replays_draw_what_eager_steps_draw_after_each_seed():
    drawn = {}
    for step in ("eager", "graph"):
        accelerator = make_accelerator()
        model = Noisy()
        optimizer = torch.optim.SGD([{"params": model.parameters(), "scale": 1.0}], lr=0.1, fused=True)
        model, optimizer = accelerator.prepare(model, optimizer)
        stepper = Stepper(step, model, optimizer, accelerator)
        inputs = {name: value.cuda() for name, value in batch(8).items()}
        drawn[step] = []
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            drawn[step] += [float(stepper(**inputs)["drawn"].detach()) for _ in range(6)]
    assert drawn["graph"] == drawn["eager"]
    assert drawn["graph"][:6] == drawn["graph"][12:] != drawn["graph"][6:12]


class Asking(Noisy):
    """It reads a value from the GPU, which a capture does not allow."""

    def forward(self, images, labels):
        if float(images.sum()) < 0:
            raise AssertionError
        return super().forward(images, labels)


@needs_gpu
def test_if_a_gpu_refuses_the_capture_auto_continues():
    accelerator, printed = make_accelerator(), []
    model = Asking()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "scale": 1.0}], lr=0.1, fused=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    stepper = Stepper("auto", model, optimizer, accelerator, printed.append)
    inputs = {name: value.cuda() for name, value in batch(8).items()}
    for _ in range(stepping.WARM_UP_STEPS + 3):
        torch.manual_seed(0)
        stepper(**inputs)
    torch.cuda.synchronize()
    assert len(printed) == 1 and stepper.choice == "eager"
