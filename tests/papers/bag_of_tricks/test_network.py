"""The strong baseline: layers and losses against NumPy, shapes, schedule and rows against the paper."""

import numpy as np
import pytest
import torch

from reidnb.papers import find_paper
from reidnb.papers.bag_of_tricks.network import StrongBaseline
from reidnb.papers.bag_of_tricks.tables import RECIPE
from reidnb.papers.experiments import experiments
from reidnb.training.recipe import learning_rate


def test_shapes_are_the_papers():
    with torch.device("meta"):
        model = StrongBaseline(751).eval()
        output = model(torch.zeros(1, 3, 256, 128))
        kept = StrongBaseline(751, last_stride=2).eval()(torch.zeros(1, 3, 256, 128))
    assert output.maps["stage4"].shape == (1, 2048, 16, 8) and kept.maps["stage4"].shape == (1, 2048, 8, 4)
    assert output.descriptor.shape == output.embeddings["triplet"].shape == (1, 2048)
    # ResNet-50 without its 1000-way layer, BNNeck, and a classifier without bias (section 3.5).
    assert sum(p.numel() for p in model.parameters()) == 23_508_032 + 2 * 2048 + 2048 * 751
    assert not model.neck.bias.requires_grad and model.classifier.bias is None


def test_bnneck_and_losses_by_hand():
    torch.manual_seed(0)
    model = StrongBaseline(3, backbone="resnet10-eighth").train()
    torch.nn.init.normal_(model.classifier.weight)
    labels = np.array([0, 0, 1, 1, 2, 2])
    with torch.no_grad():
        output = model(torch.randn(6, 3, 64, 32))
        losses = model.loss(output, torch.tensor(labels))
    f_t = output.maps["stage4"].numpy().mean((2, 3))
    np.testing.assert_allclose(output.embeddings["triplet"], f_t, rtol=1e-4, atol=1e-6)
    f_i = (f_t - f_t.mean(0)) / np.sqrt(f_t.var(0) + 1e-5)
    np.testing.assert_allclose(
        output.descriptor, f_i / np.linalg.norm(f_i, axis=1, keepdims=True), rtol=1e-3, atol=1e-5
    )
    # Eq. 4: q is 1 - (N-1)/N * 0.1 for the identity, 0.1/N for the others.
    logits = f_i @ model.classifier.weight.detach().numpy().T
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    q = np.full((6, 3), 0.1 / 3)
    q[np.arange(6), labels] = 1 - 2 / 3 * 0.1
    assert losses["id"].item() == pytest.approx(-(q * log_p).sum(1).mean(), rel=1e-3)
    distance = np.linalg.norm(f_t[:, None] - f_t[None], axis=2)
    same = labels[:, None] == labels
    hardest = [0.3 + d[s].max() - d[~s].min() for d, s in zip(distance, same, strict=True)]
    assert losses["triplet"].item() == pytest.approx(np.maximum(hardest, 0).mean(), rel=1e-3)


def test_without_neck_both_features_are_one():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 32)
    models = [StrongBaseline(3, backbone="resnet10-eighth", neck=False, descriptor=d).eval() for d in ("f_i", "f_t")]
    models[1].load_state_dict(models[0].state_dict())
    assert torch.equal(models[0](images).descriptor, models[1](images).descriptor)
    with pytest.raises(ValueError, match="descriptor='f': allowed are 'f_i', 'f_t'"):
        StrongBaseline(3, backbone="resnet10-eighth", descriptor="f")


def test_the_rate_is_that_of_section_3_1():
    rates = [learning_rate(RECIPE, epoch) for epoch in (0, 9, 10, 39, 40, 69, 70, 119)]
    assert rates == pytest.approx([3.5e-5, 3.5e-4, 3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6])


def test_each_row_of_table_1_adds_one_trick():
    rows = [experiment for _, experiment in experiments(find_paper("bag_of_tricks"), "table1", "market1501", "paper")]

    def tricks(experiment):
        recipe, options = experiment.recipe, {"last_stride": 1, "neck": True, "smoothing": 0.1} | experiment.options
        return [
            recipe.schedule.warmup == 10,
            recipe.augmentation.erase == 0.5,
            options["smoothing"] == 0.1,
            options["last_stride"] == 1,
            options["neck"],
        ]

    assert [tricks(row) for row in rows] == [[True] * n + [False] * (5 - n) for n in range(6)]
