"""The shared losses against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.models.losses import batch_hard_triplet, id_loss


def test_id_loss_is_smoothed_cross_entropy():
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
    labels = np.array([0, 1])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.full((2, 3), 0.1 / 3) + 0.9 * np.eye(3)[labels]
    expected = -(target * log_p).sum(1).mean()
    assert id_loss(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), people=st.integers(2, 5), images=st.integers(1, 4), margin=st.floats(0, 2))
def test_batch_hard_triplet_is_the_double_loop(seed, people, images, margin):
    random = np.random.default_rng(seed)
    x = random.normal(size=(people * images, 6))
    y = np.repeat(np.arange(people), images)
    expected = []
    for i in range(len(x)):
        d = np.sqrt(((x - x[i]) ** 2).sum(1))
        expected.append(max(0.0, margin + d[y == y[i]].max() - d[y != y[i]].min()))
    got = batch_hard_triplet(torch.tensor(x), torch.tensor(y), margin)
    assert got.item() == pytest.approx(np.mean(expected), abs=1e-4)


def test_batch_hard_triplet_of_several_features_is_the_mean_of_their_losses():
    x, y = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 1, 1, 2, 2])
    each = torch.stack([batch_hard_triplet(features, y) for features in x])
    assert each.std() > 0.01
    torch.testing.assert_close(batch_hard_triplet(x, y), each.mean())


def test_triplet_gradient_is_finite_where_features_coincide():
    x = torch.zeros(4, 3, requires_grad=True)
    batch_hard_triplet(x, torch.tensor([0, 0, 1, 1])).backward()
    assert x.grad.isfinite().all()


def test_one_identity_has_no_negative():
    with pytest.raises(ValueError, match="at least two identities"):
        batch_hard_triplet(torch.randn(4, 3), torch.zeros(4, dtype=torch.long))
