"""The training loop: schedules by hand, bit-for-bit resumption, and error messages."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reidnb.data.augment import Augmentation
from reidnb.files import write_atomically
from reidnb.models.output import Output
from reidnb.papers.wrcanet.network import WRCANet
from reidnb.training import loop
from reidnb.training.extract import extract, has_room
from reidnb.training.loop import history_of, make_accelerator, train
from reidnb.training.recipe import (
    PK,
    OneCycle,
    Recipe,
    Shuffle,
    Steps,
    epoch_batches,
    learning_rate,
    make_optimizer,
    with_changes,
)

RECIPE = Recipe(
    size=(32, 16),
    epochs=4,
    sampler=PK(identities=4, images=2),
    optimizer="adamw",
    lr=1e-3,
    schedule=OneCycle(warmup=0.3),
    augmentation=Augmentation(0.5, 2, 0.3),
)


def tiny_data(people=8, images=8):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(people), images)
    colours = random.integers(0, 255, (people, 1, 1, 3))
    pixels = (colours[labels] + random.integers(-20, 20, (len(labels), 32, 16, 3))).clip(0, 255).astype(np.uint8)
    return pixels, labels.astype(np.int64)


def tiny_model():
    torch.manual_seed(0)
    return WRCANet(8, (32, 16), backbone="resnet10-eighth")


def run_tiny(folder: Path, recipe: Recipe = RECIPE, after_epoch=None, checkpoint_every=None):
    torch.set_num_threads(1)
    model = tiny_model()
    history = train(
        model,
        *tiny_data(),
        recipe,
        seed=3,
        accelerator=make_accelerator(recipe.precision, cpu=True),
        checkpoint=folder / "checkpoint.pt",
        checkpoint_every=checkpoint_every,
        after_epoch=after_epoch,
        log=lambda line: None,
    )
    torch.save(model.state_dict(), folder / "end.pt")
    return model, history


def test_steps_schedule_by_hand():
    recipe = Recipe(lr=1.0, schedule=Steps(warmup=10, milestones=(40, 70)), epochs=120)
    for epoch, rate in [
        (0, 0.1),
        (0.99, 0.1),
        (1, 0.2),
        (9, 1.0),
        (39.9, 1.0),
        (40, 0.1),
        (70, 0.01),
        (119, 0.01),
    ]:
        assert learning_rate(recipe, epoch) == pytest.approx(rate)


def test_warmup_between_two_given_rates_by_hand():
    """From 0.1 in the first epoch to 0.4 in the fourth, the last of the warm-up; then 1."""
    recipe = Recipe(lr=1.0, schedule=Steps(warmup=4, warmup_from=0.1, warmup_to=0.4, milestones=(6,)), epochs=8)
    rates = [learning_rate(recipe, epoch) for epoch in range(8)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 1.0, 1.0, 0.1, 0.1])
    assert learning_rate(with_changes(recipe, {"schedule": {"warmup": 0}}), 0) == 1.0


def test_fresh_momentum_resets_the_state_at_each_epoch(tmp_path):
    ends = {}
    for epochs in (1, 2):
        for fresh in (False, True):
            folder = tmp_path / f"{epochs}-{fresh}"
            folder.mkdir()
            recipe = replace(RECIPE, optimizer="sgd", schedule=Steps(warmup=0), epochs=epochs, fresh_momentum=fresh)
            model, _ = run_tiny(folder, recipe)
            ends[epochs, fresh] = model.backbone.stem[0].weight.detach()
    assert torch.equal(ends[1, False], ends[1, True])  # before the first epoch the state is empty
    assert not torch.equal(ends[2, False], ends[2, True])


def test_onecycle_is_torchs():
    recipe = Recipe(lr=2e-3, schedule=OneCycle(warmup=0.3), epochs=10)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    torchs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=1001, pct_start=0.3, final_div_factor=400)
    theirs = []
    for _ in range(1001):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step() if len(theirs) < 1001 else None
    ours = [learning_rate(recipe, 10 * step / 1000) for step in range(1001)]
    np.testing.assert_allclose(ours, theirs, atol=8e-6)


def test_training_learns_and_keeps_history(tmp_path):
    seen = []
    _, history = run_tiny(tmp_path, after_epoch=lambda m, e: seen.append(e))
    assert list(history.epoch) == seen == [1, 2, 3, 4]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    parts = [c for c in history if c.startswith("loss_")]
    np.testing.assert_allclose(history[parts].sum(axis=1), history.loss, rtol=1e-5)
    assert (history.images_per_second > 0).all()


def test_checkpoints_that_are_far_apart_lose_no_epoch_to_a_stop(tmp_path):
    kept = []

    def inspect(model, epoch: int) -> None:
        kept.append(len(history_of(tmp_path / "checkpoint.pt")))
        if epoch == 3 and len(kept) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path, after_epoch=inspect, checkpoint_every=1e9)
    assert kept == [0, 0, 0] and len(history_of(tmp_path / "checkpoint.pt")) == 3
    _, history = run_tiny(tmp_path, after_epoch=inspect, checkpoint_every=1e9)
    assert kept == [0, 0, 0, 4] and len(history) == 4  # the last epoch's is always written: evaluation may be killed


def test_bf16_and_shuffled_batches_train_too(tmp_path):
    _, history = run_tiny(tmp_path, replace(RECIPE, epochs=1, precision="bf16", sampler=Shuffle(8)))
    assert np.isfinite(history.loss).all()


def test_extract_is_the_models_descriptor_and_flip_adds_the_mirror(tmp_path):
    model, pixels = tiny_model(), tiny_data()[0][:5]
    accelerator = make_accelerator(cpu=True)
    full = extract(model, pixels, accelerator=accelerator)
    torch.testing.assert_close(extract(model, pixels, accelerator=accelerator, batch=2), full, atol=1e-5, rtol=1e-4)
    mirror = extract(model, pixels[:, :, ::-1].copy(), accelerator=accelerator)
    both = extract(model, pixels, accelerator=accelerator, flip=True)
    torch.testing.assert_close(both, full + mirror, atol=1e-5, rtol=1e-4)
    unit = extract(model, pixels, accelerator=accelerator, flip=True, unit=True)
    torch.testing.assert_close(unit, both / both.norm(dim=1, keepdim=True), atol=1e-5, rtol=1e-4)
    assert not any(weight.is_inference() for weight in model.parameters()), "the model can still be explained"


@pytest.mark.parametrize(("free", "room"), [(7999, False), (8000, True)])
def test_descriptors_stay_on_a_gpu_with_room_for_reranking(monkeypatch, free, room):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**6))
    assert has_room(1000, torch.device("cuda")) == room
    assert has_room(10**12, torch.device("cpu"))


class _Broken(WRCANet):
    """Its GP loss becomes NaN at the sixth step."""

    steps = 0

    def loss(self, output, labels):
        self.steps += 1
        parts = super().loss(output, labels)
        return parts | {"id_gp": parts["id_gp"] * (float("nan") if self.steps >= 6 else 1.0)}


def test_each_epoch_has_a_line_with_the_time_that_is_left():
    row = {"epoch": 1, "loss": 2.0, "lr": 0.001, "images_per_second": 50.0}
    history = [row | {"seconds": 600.0}, row | {"epoch": 2, "seconds": 60.0}, row | {"epoch": 3, "seconds": 60.0}]
    assert loop._summary_line(history, 8) == "epoch   3/8  loss 2.000  lr 1.0e-03  50 images/s  about 5 min left"
    assert loop._summary_line([row | {"seconds": 4.0}], 3).endswith("50 images/s  about 8 s left")
    assert loop._summary_line(history, 3).endswith("50 images/s")


def test_nan_loss_names_epoch_step_and_part(tmp_path):
    torch.manual_seed(0)
    model = _Broken(8, (32, 16), backbone="resnet10-eighth")
    assert len(epoch_batches(RECIPE, tiny_data()[1], 3, 0)) >= 6
    with pytest.raises(FloatingPointError, match="the loss id_gp is nan at epoch 1, step 6"):
        train(
            model,
            *tiny_data(),
            RECIPE,
            seed=3,
            accelerator=make_accelerator(cpu=True),
            checkpoint=tmp_path / "c.pt",
            log=lambda line: None,
        )
    assert not (tmp_path / "c.pt").exists()


class _Greedy(WRCANet):
    def loss(self, output, labels):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_out_of_memory_names_the_batch(tmp_path):
    model = _Greedy(8, (32, 16), backbone="resnet10-eighth")
    with pytest.raises(MemoryError, match="too little memory for a step of 8 images of 32x16"):
        train(
            model,
            *tiny_data(),
            RECIPE,
            seed=3,
            accelerator=make_accelerator(cpu=True),
            checkpoint=tmp_path / "c.pt",
            log=lambda line: None,
        )


def test_full_disk_is_named_and_keeps_the_file_before(tmp_path):
    target = tmp_path / "file"
    target.write_text("whole")

    def write(path):
        path.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"cannot write .*file: the disk is full"):
        write_atomically(target, write)
    assert target.read_text() == "whole" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "lion"}, "optimizer='lion': allowed are"),
        ({"schedule": "magic"}, "schedule='magic': a recipe's schedule is a Steps or OneCycle"),
        ({"sampler": "all"}, "sampler='all': a recipe's sampler is a PK or Shuffle"),
        ({"precision": "fp8"}, "precision='fp8': allowed are 'no', 'bf16', 'fp16'"),
        ({"epochs": 0}, "epochs=0: allowed is a whole number, at least 1"),
        ({"lr": -1.0}, "lr=-1.0: allowed is a number above 0"),
        ({"sampler": PK(9, 2)}, "takes 9 identities a batch, the training set has 8"),
    ],
)
def test_wrong_recipes_are_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run_tiny(tmp_path, replace(RECIPE, **change))


def test_frozen_parameters_are_not_optimised():
    model = WRCANet(8, (32, 16), backbone="resnet10-eighth", neck="bnneck")
    count = sum(len(group["params"]) for group in make_optimizer(model, RECIPE).param_groups)
    assert count == sum(p.requires_grad for p in model.parameters()) < len(list(model.parameters()))


def test_backbone_has_a_separate_rate_on_the_same_schedule(tmp_path, monkeypatch):
    taken = []

    class Watched(torch.optim.SGD):
        def step(self, *arguments, **options):
            taken.append([group["lr"] for group in self.param_groups])
            return super().step(*arguments, **options)

    monkeypatch.setattr(torch.optim, "SGD", Watched)
    rates = {"optimizer": "sgd", "lr": 0.1, "backbone_lr": 0.01, "schedule": Steps(warmup=0, milestones=(2,))}
    model, history = run_tiny(tmp_path, replace(RECIPE, epochs=3, **rates))
    steps = len(taken) // 3
    np.testing.assert_allclose(taken, [[0.01, 0.1]] * 2 * steps + [[0.001, 0.01]] * steps)
    np.testing.assert_allclose(history.lr, [0.1, 0.1, 0.01])
    backbone, rest = make_optimizer(model, replace(RECIPE, **rates)).param_groups
    assert {id(p) for p in backbone["params"]} == {id(p) for p in model.backbone.parameters()}
    count = sum(p.requires_grad for p in model.parameters())
    assert len(backbone["params"]) + len(rest["params"]) == count


def test_resumed_training_keeps_the_backbones_rate(tmp_path):
    recipe = replace(RECIPE, optimizer="sgd", lr=0.01, backbone_lr=0.001)
    (tmp_path / "full").mkdir()
    (tmp_path / "halved").mkdir()
    full, _ = run_tiny(tmp_path / "full", recipe)

    class Stop(Exception):
        pass

    def stop(model, epoch):
        if epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        run_tiny(tmp_path / "halved", recipe, after_epoch=stop)
    halved, _ = run_tiny(tmp_path / "halved", recipe)
    for name, value in full.state_dict().items():
        assert torch.equal(value, halved.state_dict()[name]), name


class Boxed(torch.nn.Module):
    """Its descriptor is the left edge of the first box and the mean of the image; it records its inputs."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1, 8)
        self.seen = []

    def forward(self, images, labels=None, boxes=None):
        self.seen.append(boxes)
        place = boxes[:, 0, :1]
        return Output(torch.cat([place, images.mean((1, 2, 3))[:, None]], 1), {"id": self.head(place)})

    def loss(self, output, labels):
        return {"id": torch.nn.functional.cross_entropy(output.id_logits["id"], labels)}


def test_boxes_reach_the_model_with_their_image(tmp_path):
    pixels, labels = tiny_data()
    boxes = np.zeros((len(pixels), 5, 4), np.float32)
    boxes[:, :, 0] = labels[:, None] / 16  # the left edge encodes the identity
    boxes[:, :, 2] = boxes[:, :, 0] + 0.25
    model, recipe = Boxed(), replace(RECIPE, epochs=1, augmentation=Augmentation(0, 0, 0))
    accelerator = make_accelerator("no", cpu=True)
    train(
        model,
        pixels,
        labels,
        recipe,
        seed=0,
        accelerator=accelerator,
        checkpoint=tmp_path / "c.pt",
        boxes=boxes,
        log=lambda line: None,
    )
    batches = epoch_batches(recipe, labels, 0, 0)
    np.testing.assert_array_equal(torch.stack(model.seen)[:, :, 0, 0], labels[batches] / 16)

    descriptors = extract(model, pixels, accelerator=accelerator, boxes=boxes, batch=10)
    np.testing.assert_allclose(descriptors[:, 0], labels / 16)
    mirrored = extract(model, pixels, accelerator=accelerator, boxes=boxes, flip=True)
    np.testing.assert_allclose(mirrored[:, 0], labels / 16 + (1 - labels / 16 - 0.25), atol=1e-6)
