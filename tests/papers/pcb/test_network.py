"""PCB: stripes, layers and loss against NumPy, shapes against the paper."""

import numpy as np
import pytest
import torch

from reidnb.papers.pcb.network import PCB


def test_shapes_are_the_papers():
    with torch.device("meta"):
        g, h = (PCB(751, descriptor=d).eval() for d in ("g", "h"))
        output = g(torch.zeros(1, 3, 384, 128))
        assert h(torch.zeros(1, 3, 384, 128)).descriptor.shape == (1, 1536)
    assert output.maps["stage4"].shape == (1, 2048, 24, 8)
    assert output.descriptor.shape == (1, 12288)
    assert [logits.shape for logits in output.id_logits.values()] == [(1, 751)] * 6
    added = 2048 * 256 + 2 * 256 + 6 * 257 * 751
    assert sum(p.numel() for p in g.parameters()) == 23_508_032 + added


@pytest.mark.parametrize("reductions", ["shared", "own"])
@pytest.mark.parametrize("classifiers", ["shared", "own"])
def test_stripes_and_loss_by_hand(reductions, classifiers):
    torch.manual_seed(0)
    options = {"backbone": "resnet10-eighth", "parts": 3, "width": 5}
    model = PCB(4, reductions=reductions, classifiers=classifiers, **options).eval()
    for head in model.classifiers:
        torch.nn.init.normal_(head.weight)
    with torch.no_grad():
        output = model(torch.randn(2, 3, 96, 32))
    t, labels = output.maps["stage4"].numpy(), np.array([2, 0])
    assert t.shape[2] == 6
    gs, loss = [], 0.0
    for i in range(3):
        g = t[:, :, 2 * i : 2 * i + 2].mean((2, 3))
        convolution = model.reductions[i if reductions == "own" else 0][0].weight.detach().numpy()[:, :, 0, 0]
        h = np.maximum(g @ convolution.T / np.sqrt(1 + 1e-5), 0)
        head = model.classifiers[i if classifiers == "own" else 0].weight.detach().numpy()
        logits = h @ head.T
        loss += np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(2), labels])
        gs.append(g)
    expected = np.stack(gs, 2).reshape(2, -1)
    np.testing.assert_allclose(
        output.descriptor, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    assert model.loss(output, torch.tensor(labels))["id"].item() == pytest.approx(loss, rel=1e-4)


def test_a_map_of_fewer_rows_than_stripes_has_them_repeated():
    model = PCB(4, backbone="resnet10-eighth").eval()
    with torch.no_grad():
        output = model(torch.randn(1, 3, 64, 32))
    channels = model.backbone.channels[-1]
    g = output.descriptor.reshape(channels, 6)
    assert output.maps["stage4"].shape[2] == 4
    rows = output.maps["stage4"][0].mean(2)  # stripe 1 is row 1; stripe 2 is a third of row 1's and two of row 2's
    stripes = torch.stack([rows[:, 0], (rows[:, 0] + rows[:, 1]) / 2], 1)
    np.testing.assert_allclose(g[:, 0] / g.norm(), rows[:, 0] * g[0, 0] / rows[0, 0] / g.norm(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(g[:, 1], stripes[:, 1] * g[0, 0] / rows[0, 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 0}, "parts=0: a map has at least one stripe"),
        ({"descriptor": "f"}, "descriptor='f': allowed are 'g', 'h'"),
        ({"classifiers": "some"}, "classifiers='some': allowed are 'shared', 'own'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PCB(4, backbone="resnet10-eighth", **options)
