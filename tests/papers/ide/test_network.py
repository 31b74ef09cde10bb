"""IDE: layers against NumPy, shapes against the paper."""

import numpy as np
import pytest
import torch

from reidnb.papers import find_paper
from reidnb.papers.experiments import experiments
from reidnb.papers.ide.network import IDE


def test_shapes_are_the_papers():
    with torch.device("meta"):
        model = IDE(751).eval()
        output = model(torch.zeros(1, 3, 384, 128))
        removed = IDE(751, last_stride=1).eval()(torch.zeros(1, 3, 384, 128))
    assert output.descriptor.shape == (1, 2048) and output.id_logits["id"].shape == (1, 751)
    assert output.maps["stage4"].shape == (1, 2048, 12, 4) and removed.maps["stage4"].shape == (1, 2048, 24, 8)
    # ResNet-50 without its 1000-way layer, FC with batch normalisation, the classifier.
    assert sum(p.numel() for p in model.parameters()) == 23_508_032 + 2048 * 256 + 2 * 256 + 257 * 751


def test_layers_and_loss_by_hand():
    torch.manual_seed(0)
    model = IDE(4, backbone="resnet10-eighth", hidden=5, descriptor="fc").eval()
    torch.nn.init.normal_(model.classifier.weight)
    with torch.no_grad():
        output = model(torch.randn(3, 3, 64, 32))
    linear, _, _ = model.fc
    pool5 = output.maps["stage4"].numpy().mean((2, 3))
    fc = np.maximum(pool5 @ linear.weight.detach().numpy().T / np.sqrt(1 + 1e-5), 0)  # a fresh BN divides by ~1
    np.testing.assert_allclose(output.descriptor, fc / np.linalg.norm(fc, axis=1, keepdims=True), rtol=1e-4, atol=1e-6)
    logits = fc @ model.classifier.weight.detach().numpy().T
    labels = np.array([1, 0, 3])
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(3), labels])
    assert model.loss(output, torch.tensor(labels))["id"].item() == pytest.approx(expected, rel=1e-4)


def test_dropout_is_for_training_and_not_in_pool5():
    torch.manual_seed(0)
    model = IDE(4, backbone="resnet10-eighth")
    images = torch.randn(4, 3, 64, 32)
    output = model.train()(images)
    average = output.maps["stage4"].mean((2, 3))
    np.testing.assert_allclose(
        output.descriptor.detach(), torch.nn.functional.normalize(average).detach(), rtol=1e-4, atol=1e-6
    )
    model.eval()
    assert torch.equal(model(images).id_logits["id"], model(images).id_logits["id"])


def test_hidden_0_classifies_pool5():
    model = IDE(4, backbone="resnet10-eighth", hidden=0)
    assert model.classifier.in_features == model.backbone.channels[-1]
    with pytest.raises(ValueError, match="descriptor='fc' needs the layer FC"):
        IDE(4, backbone="resnet10-eighth", hidden=0, descriptor="fc")
    with pytest.raises(ValueError, match="descriptor='pool4': allowed are 'pool5', 'fc'"):
        IDE(4, backbone="resnet10-eighth", descriptor="pool4")


def test_the_recipe_is_that_of_sun_et_al():
    recipe = experiments(find_paper("ide"), "table2", "market1501", "paper")[0][1].recipe
    assert recipe == experiments(find_paper("pcb"), "table2", "market1501", "paper")[0][1].recipe
