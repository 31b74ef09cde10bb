"""ImageNet pre-training on a miniature: three classes of a few coloured pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from reidnb.papers import PAPERS
from reidnb.papers.attention_driven import pretraining
from reidnb.papers.attention_driven.network import PRETRAINED, AttentionDriven, pretrained_file
from reidnb.papers.experiments import one_experiment
from reidnb.runs import run
from reidnb.training.recipe import Shuffle, learning_rate

TINY = replace(pretraining.RECIPE, size=(64, 32), epochs=1, sampler=Shuffle(4))
OPTIONS = {"backbone": "five-branch-eighth", "cpu": True, "log": lambda line: None}


@pytest.fixture
def imagenet(tmp_path):
    """Three classes of four pictures of other sizes and formats, below 'train'."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("n01", "n02", "n03")):
        folder = tmp_path / "imagenet" / "train" / name
        folder.mkdir(parents=True)
        for i in range(4):
            picture = random.integers(0, 60, (40 + 10 * i, 50, 3)) + 60 * number
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i}.{'png' if i % 2 else 'jpg'}")
    return tmp_path / "imagenet"


def test_recipe_is_as_stated():
    recipe = pretraining.RECIPE
    assert (recipe.batch, recipe.epochs, recipe.size) == (32, 9, (384, 192))
    np.testing.assert_allclose(
        [learning_rate(recipe, e) for e in (0, 2.9, 3, 5, 6, 8)], [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    )


def test_pictures_are_read_like_an_array(imagenet):
    dataset = pretraining.find_images(imagenet)
    assert dataset.classes == ["n01", "n02", "n03"] and len(dataset.samples) == 12
    pictures = pretraining.Pictures([path for path, _ in dataset.samples], (64, 32))
    batch = pictures[np.array([5, 0, 5])]
    assert len(pictures) == 12 and batch.shape == (3, 64, 32, 3) and batch.dtype == np.uint8
    np.testing.assert_array_equal(batch[0], batch[2])
    with Image.open(dataset.samples[5][0]) as image:
        expected = np.asarray(image.resize((32, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(batch[0], expected)


def test_fine_tuning_starts_from_the_file(imagenet, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    file = pretraining.pretrain(imagenet, recipe=TINY, **OPTIONS)
    assert file == pretrained_file("five-branch-eighth") and list(file.parent.iterdir()) == [file]
    state = load_file(file)
    assert all(name.startswith(PRETRAINED) for name in state)
    torch.manual_seed(0)
    model = AttentionDriven(7, (64, 32), "five-branch-eighth", "imagenet")
    pretrained = {name: value for name, value in model.state_dict().items() if name.startswith(PRETRAINED)}
    assert set(pretrained) == set(state)
    assert all(torch.equal(pretrained[name], state[name]) for name in pretrained)
    torch.manual_seed(0)
    untrained = AttentionDriven(7, (64, 32), "five-branch-eighth")
    assert not torch.equal(untrained.conv1.weight, model.conv1.weight)
    torch.testing.assert_close(untrained.classifiers["fused"].weight.std(), model.classifiers["fused"].weight.std())


def test_each_kind_of_attention_is_pretrained_apart(imagenet, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    pointwise = {"decomposed": False, "undecomposed": "1x1"}
    file = pretraining.pretrain(imagenet, pointwise, TINY, **OPTIONS)
    assert file == pretrained_file("five-branch-eighth", "-undecomposed-1x1")
    AttentionDriven(7, (64, 32), "five-branch-eighth", "imagenet", **pointwise)
    for options in ({}, {"decomposed": False}, {"masking": "plain"}, {"intra": False}):
        with pytest.raises(FileNotFoundError, match="No ImageNet weights of this network"):
            AttentionDriven(7, (64, 32), "five-branch-eighth", "imagenet", **options)


def test_a_run_from_pretrained_weights(imagenet, tmp_path, street_small):
    file = pretraining.pretrain(imagenet, recipe=TINY, target=tmp_path / "own.safetensors", **OPTIONS)
    again = pretraining.pretrain("/nowhere", target=file)  # it is there already
    assert again == file
    experiment = one_experiment(
        PAPERS["attention_driven"], {}, {"epochs": 1}, "street-small", "smoke", weights=str(file)
    )
    assert run(experiment, street_small, results=tmp_path, cpu=True, log=lambda line: None).metrics["queries"] > 0


def test_wrong_folders_and_broken_pictures_are_refused(imagenet, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        pretraining.pretrain(tmp_path / "nowhere", target=tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no image folders, one per class"):
        pretraining.find_images(tmp_path / "empty")
    (imagenet / "train" / "n02" / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"n02/0.jpg cannot be decoded"):
        pretraining.pretrain(imagenet, recipe=TINY, target=tmp_path / "x.safetensors", **OPTIONS)
