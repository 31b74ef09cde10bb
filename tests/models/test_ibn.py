"""IBN-a: the layer by hand, where it stands, and the names of the published weight files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reidnb.models.backbone import network
from reidnb.models.ibn import IBN

EPS = 1e-5


def by_hand(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """In training: the first half normalised over an image's pixels, the rest over the batch's."""
    half, out = x.shape[1] // 2, np.empty_like(x)
    for channel in range(x.shape[1]):
        for image in range(len(x)):
            over = x[image, channel] if channel < half else x[:, channel]
            out[image, channel] = (x[image, channel] - over.mean()) / np.sqrt(over.var() + EPS)
    return out * scale[:, None, None] + shift[:, None, None]


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 99))
def test_half_of_the_channels_are_normalised_by_image_the_others_by_batch(channels, images, seed):
    draw = np.random.default_rng(seed)
    x = draw.normal(draw.normal(size=(images, channels, 1, 1)), 1 + draw.random(), (images, channels, 4, 3))
    scale, shift = draw.normal(size=(2, channels))
    layer, half = IBN(channels).double().train(), channels // 2
    for name, part in (("IN", slice(0, half)), ("BN", slice(half, None))):
        getattr(layer, name).weight.data = torch.from_numpy(scale[part])
        getattr(layer, name).bias.data = torch.from_numpy(shift[part])
    assert np.allclose(layer(torch.from_numpy(x)).detach().numpy(), by_hand(x, scale, shift), atol=1e-9)


def test_the_instance_half_forgets_an_images_contrast_and_brightness_at_test_time_too():
    torch.manual_seed(0)
    layer, x = IBN(6).eval(), torch.randn(2, 6, 8, 4)
    with torch.no_grad():
        plain, changed = layer(x), layer(3 * x + 2)
    torch.testing.assert_close(changed[:, :3], plain[:, :3], atol=1e-4, rtol=0)
    assert (changed[:, 3:] - plain[:, 3:]).abs().mean() > 1


@pytest.mark.parametrize(("name", "blocks"), [("resnet50-ibn-a", (3, 4, 6, 3)), ("resnet101-ibn-a", (3, 4, 23, 3))])
def test_names_and_shapes_of_the_published_files(name, blocks):
    """As in XingangPan/IBN-Net: torchvision's names, but for bn1 of the blocks of layers 1 to 3."""
    batch_norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn1.{each}" for each in batch_norm}
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            place = f"layer{layer}.{block}"
            expected |= {f"{place}.conv{n}.weight" for n in (1, 2, 3)}
            expected |= {f"{place}.bn{n}.{each}" for n in (2, 3) for each in batch_norm}
            expected |= {f"{place}.bn1{'.BN' if layer < 4 else ''}.{each}" for each in batch_norm}
            expected |= {f"{place}.bn1.IN.{each}" for each in ("weight", "bias")} if layer < 4 else set()
        expected |= {f"layer{layer}.0.downsample.0.weight"}
        expected |= {f"layer{layer}.0.downsample.1.{each}" for each in batch_norm}
    with torch.device("meta"):
        state = network(name).state_dict()
    assert set(state) == expected
    for layer, width in ((1, 64), (2, 128), (3, 256)):
        for part in ("IN.weight", "BN.running_var"):
            assert state[f"layer{layer}.0.bn1.{part}"].shape == (width // 2,)


def test_it_has_as_many_parameters_as_the_resnet():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in network(name).parameters()) for name in ("resnet50", "resnet50-ibn-a")]
    assert counts[0] == counts[1]
