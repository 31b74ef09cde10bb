"""OSNet: its layers by hand, the paper's numbers of parameters and operations, and the names of the published file."""

import numpy as np
import torch
from torch import nn

from reidnb.models.backbone import Backbone, network
from reidnb.models.osnet import Gate, Lite3x3, OmniScaleBlock

CLASSIFIED = 512
"""Features of the paper's last fully connected layer, which our network does not have."""


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    """The parameters, drawn at random, by name."""
    for name, parameter in module.named_parameters():
        parameter.data.normal_(1.0 if name.endswith("bn.weight") else 0.0, 0.5)
    return {name: value.numpy() for name, value in module.double().eval().state_dict().items()}


def normalised(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Batch normalisation at test time of a map (C, H, W) whose running mean is 0 and variance 1."""
    return (x.T / np.sqrt(1 + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]).T


def lite(x: np.ndarray, w: dict[str, np.ndarray], name: str = "") -> np.ndarray:
    """Each channel's sum of the channels, then a 3x3 sum of products within each channel."""
    _, height, width = x.shape
    mixed = np.einsum("oi,ihw->ohw", w[f"{name}conv1.weight"][:, :, 0, 0], x)
    padded, kernel = np.pad(mixed, ((0, 0), (1, 1), (1, 1))), w[f"{name}conv2.weight"][:, 0]
    out = np.zeros_like(x)
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            out += kernel[:, row, column, None, None] * window
    return relu(normalised(out, w, f"{name}bn"))


def gate(x: np.ndarray, w: dict[str, np.ndarray], name: str = "") -> np.ndarray:
    """One weight per channel, from the channels' averages."""
    hidden = relu(w[f"{name}fc1.weight"][:, :, 0, 0] @ x.mean((1, 2)) + w[f"{name}fc1.bias"])
    return sigmoid(w[f"{name}fc2.weight"][:, :, 0, 0] @ hidden + w[f"{name}fc2.bias"])


def image(channels: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0.5, 1, (channels, 5, 4))


def computed(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x)[None])[0].numpy()


def test_a_lite_convolution_is_1x1_then_3x3_in_each_channel():
    torch.manual_seed(0)
    layer, x = Lite3x3(6), image(6)
    w = weights(layer)
    assert np.allclose(computed(layer, x), lite(x, w))


def test_the_gate_weighs_each_channel_by_the_average_of_all():
    torch.manual_seed(0)
    layer, x = Gate(32), image(32)
    w = weights(layer)
    assert w["fc1.weight"].shape == (2, 32, 1, 1)
    assert np.allclose(computed(layer, x)[:, 0, 0], gate(x, w))


def test_a_block_sums_four_streams_that_one_gate_weighs():
    """Eq. 1 to 3: y = ReLU(x + W sum_t G(x_t) x_t), where x_t is t lite convolutions of the narrowed x."""
    torch.manual_seed(0)
    block, x = OmniScaleBlock(24, 64), image(24)
    w = weights(block)

    def pointwise(name, x):
        return normalised(np.einsum("oi,ihw->ohw", w[f"{name}.conv.weight"][:, :, 0, 0], x), w, f"{name}.bn")

    narrow, total = relu(pointwise("conv1", x)), 0
    for depth, stream in enumerate("abcd", 1):
        out = narrow
        for number in range(depth):
            out = lite(out, w, f"conv2{stream}." + (f"{number}." if depth > 1 else ""))
        total = total + gate(out, w, "gate.")[:, None, None] * out
    expected = relu(pointwise("conv3", total) + pointwise("downsample", x))
    assert np.allclose(computed(block, x), expected)


def test_the_streams_see_3_5_7_and_9_pixels():
    block = OmniScaleBlock(64, 64).double().eval()
    for name, parameter in block.named_parameters():
        parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
    for stream, size in zip("abcd", (3, 5, 7, 9), strict=True):
        x = torch.zeros(1, 16, 11, 11, dtype=torch.double)
        x[..., 5, 5] = 1
        seen = getattr(block, f"conv2{stream}")(x)[0, 0] > 0
        assert seen.any(0).sum() == seen.any(1).sum() == size


def test_parameters_and_multiply_adds_are_the_papers():
    """2.2 million and 978.9 million at 256x128: of convolutions and of the fully connected layer to 512 features."""
    net, counts = network("osnet"), []
    stem, stages = net.stem_and_stages(last_stride=1)

    def count(layer, given, output):
        counts.append(output[0].numel() * layer.weight[0].numel())

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        last = nn.Sequential(stem, *stages).eval()(torch.zeros(1, 3, 256, 128))
    assert last.shape == (1, 512, 16, 8)
    connected = 512 * CLASSIFIED
    assert round((sum(counts) + connected) / 1e6, 1) == 978.9
    parameters = sum(p.numel() for p in net.parameters())
    assert round((parameters + connected + 3 * CLASSIFIED) / 1e6, 1) == 2.2


def test_names_of_the_published_file():
    """As in torchreid's osnet_x1_0_imagenet.pth, without fc and classifier."""

    def layer(name, *convolutions):
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{name}.{each}.weight" for each in convolutions} | {f"{name}.bn.{each}" for each in norm}

    expected = layer("conv1", "conv") | layer("conv5", "conv")
    for stage in ("conv2", "conv3", "conv4"):
        for block in (f"{stage}.0", f"{stage}.1"):
            expected |= layer(f"{block}.conv1", "conv") | layer(f"{block}.conv3", "conv")
            for stream in ("a", "b.0", "b.1", "c.0", "c.1", "c.2", "d.0", "d.1", "d.2", "d.3"):
                expected |= layer(f"{block}.conv2{stream}", "conv1", "conv2")
            expected |= {f"{block}.gate.{fc}.{each}" for fc in ("fc1", "fc2") for each in ("weight", "bias")}
        expected |= layer(f"{stage}.0.downsample", "conv")
    expected |= layer("conv2.2.0", "conv") | layer("conv3.2.0", "conv")
    with torch.device("meta"):
        state = network("osnet").state_dict()
    assert set(state) == expected
    shapes = {
        "conv1.conv.weight": (64, 3, 7, 7),
        "conv2.0.conv1.conv.weight": (64, 64, 1, 1),
        "conv2.0.conv2d.3.conv2.weight": (64, 1, 3, 3),
        "conv2.0.downsample.conv.weight": (256, 64, 1, 1),
        "conv3.1.gate.fc1.weight": (6, 96, 1, 1),
        "conv4.0.conv3.bn.running_var": (512,),
        "conv5.conv.weight": (512, 512, 1, 1),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_transitions_begin_the_stage_after_them():
    with torch.device("meta"):
        stages = Backbone("osnet").stages
    assert [sum(isinstance(m, OmniScaleBlock) for m in stage) for stage in stages] == [2, 2, 2, 0]
    assert [sum(isinstance(m, nn.AvgPool2d) for m in stage.modules()) for stage in stages] == [0, 1, 1, 0]
