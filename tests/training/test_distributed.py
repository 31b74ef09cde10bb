"""Several processes: loss and gradient of the global batch, its division, and complete runs against one process."""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from reidnb.models.losses import batch_hard_triplet, id_loss
from reidnb.models.output import Output
from reidnb.results import Run
from reidnb.training import distributed
from reidnb.training.extract import extract

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(Path(__file__).with_name("two_processes.py"))


def process(index: int, processes: int, gather=None) -> SimpleNamespace:
    """The part of an accelerator's interface that the code uses, for one of several processes."""
    device = torch.device("cpu")
    return SimpleNamespace(
        num_processes=processes, process_index=index, device=device, gather=gather, autocast=nullcontext
    )


def test_local_rows_are_the_global_batch_in_order():
    rows = np.arange(12)
    parts_of_batch = [rows[distributed.local_rows(12, process(i, 3))] for i in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts_of_batch), rows)
    with pytest.raises(ValueError, match="a batch of 12 images cannot be divided equally among 5 processes"):
        distributed.local_rows(12, process(0, 5))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_gradients_of_the_processes_add_up_to_that_of_the_global_loss(processes):
    torch.manual_seed(0)
    labels = torch.arange(4).repeat_interleave(2)
    logits, features = torch.randn(8, 4), torch.randn(8, 6)

    def loss(output: Output) -> torch.Tensor:
        return id_loss(output.id_logits["x"], labels) + batch_hard_triplet(output.embeddings["x"], labels, 1.0)

    full = [x.clone().requires_grad_() for x in (logits, features)]
    expected = loss(Output(features, {"x": full[0]}, {"x": full[1]}))
    expected.backward()
    gradients = []
    for index in range(processes):
        by_width = {x.shape[1]: x for x in (logits, features)}
        accelerator = process(index, processes, lambda x, full=by_width: full[x.shape[1]])
        rows_of_process = distributed.local_rows(8, accelerator)
        logit, feature = (x[rows_of_process].clone().requires_grad_() for x in (logits, features))
        total = loss(distributed.gathered(Output(feature, {"x": logit}, {"x": feature}), accelerator))
        total.backward()
        torch.testing.assert_close(total, expected)
        gradients.append((logit.grad, feature.grad))
    for parts, x in zip(zip(*gradients, strict=True), full, strict=True):
        torch.testing.assert_close(torch.cat(parts), x.grad)


class Mean(torch.nn.Module):
    """An image's descriptor is its mean colour."""

    def forward(self, images):
        return Output(images.mean((2, 3)))


@pytest.mark.parametrize("count", [1, 7, 12])
def test_divided_extraction_gives_each_image_once_and_in_order(count):
    pixels = np.random.default_rng(0).integers(0, 255, (count, 4, 2, 3), np.uint8)
    parts_of_batch: list[list[torch.Tensor]] = []

    def part(index: int) -> None:
        parts_of_batch.append([])
        accelerator = process(index, 3, lambda x: parts_of_batch[-1].append(x) or torch.cat([x] * 3))
        extract(Mean(), pixels, accelerator=accelerator, batch=2)

    for index in range(3):
        part(index)
    expected = extract(Mean(), pixels, accelerator=process(0, 1, lambda x: x), batch=5)
    descriptors = torch.cat([torch.cat(step) for step in zip(*parts_of_batch, strict=True)])
    torch.testing.assert_close(descriptors[:count], expected)  # the rest fills the last step


def _run_command(*command: str) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    environment |= {"ACCELERATE_USE_CPU": "yes", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, street_small) -> Path:
    """Results of one experiment: of 'one' process, 'forked' as by a notebook, and 'resumed', stopped after an epoch."""
    made = tmp_path_factory.mktemp("processes")
    _run_command(SCRIPT, "forked", str(made), _free_port())
    return made


def _same(folder: Path, name: str) -> None:
    one, several = (Run(next((folder / results / "runs").iterdir())) for results in ("one", name))
    losses = [column for column in one.history if column.startswith("loss")]
    pd.testing.assert_frame_equal(several.history[losses], one.history[losses], rtol=1e-4)
    assert several.metrics["map"] == pytest.approx(one.metrics["map"], abs=0.1)
    assert (several.rankings["top"][:, 0] == one.rankings["top"][:, 0]).mean() > 0.95
    weights = [load_file(run.folder / "model.safetensors") for run in (one, several)]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, atol=1e-3, rtol=1e-3, msg=key)


@pytest.mark.slow
def test_a_notebooks_processes_train_as_one(folder):
    _same(folder, "forked")


@pytest.mark.slow
def test_launched_processes_resume_where_one_stopped_and_end_as_one(folder):
    shutil.copytree(folder / "resumed", folder / "launched", dirs_exist_ok=True)
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", _free_port()]
    _run_command(*launch, SCRIPT, "launched", str(folder), "0")
    _same(folder, "launched")
