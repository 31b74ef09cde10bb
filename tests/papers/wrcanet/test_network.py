"""WRCANet: each equation against NumPy, shapes and sizes against the paper."""

import inspect

import numpy as np
import pytest
import torch
import torchvision

from reidnb.models.backbone import Backbone
from reidnb.papers.wrcanet import network as wrcanet
from reidnb.papers.wrcanet.network import (
    GranularityFusion,
    ScaleFusion,
    WRCANet,
    reverse_attention_map,
    unit_range,
    weaken,
)


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resize with pixel centres at half-integers, pixel by pixel."""
    h, w = image.shape
    out = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            y = np.clip((i + 0.5) * h / height - 0.5, 0, h - 1)
            x = np.clip((j + 0.5) * w / width - 0.5, 0, w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
            bottom = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
            out[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


def test_equations_1_to_3():
    random = np.random.default_rng(0)
    a = random.normal(size=(5, 3, 2))
    image = random.normal(size=(3, 12, 8))
    alpha = a.mean((1, 2))  # eq. 1
    weighted = sum(alpha[c] * a[c] for c in range(5)) / 5
    f = np.maximum(bilinear(weighted, 12, 8), 0)  # eq. 2
    new = image * (1 - 0.5 / (1 + np.exp(-f)))  # eq. 3
    got = reverse_attention_map(torch.tensor(a)[None], (12, 8))
    np.testing.assert_allclose(got[0, 0], f, atol=1e-6)
    np.testing.assert_allclose(weaken(torch.tensor(image)[None], got)[0], new, atol=1e-6)


def test_eq_3_dims_every_pixel_by_at_least_half_lambda():
    image = torch.ones(1, 3, 4, 4)
    f = torch.rand(1, 1, 4, 4) * 5
    new = weaken(image, f, 0.5)
    assert (new <= 0.75).all() and (new >= 0.5).all()


def test_granularity_fusion_by_hand():
    torch.manual_seed(0)
    module = GranularityFusion((4, 6), width=5, kernel=3)
    maps = [torch.randn(2, 4, 3, 3), torch.randn(2, 6, 2, 2)]
    got = module(maps).detach().numpy()
    vectors = []
    for a, conv in zip(maps, module.reduce, strict=True):
        pooled = a.numpy().max((2, 3)) + a.numpy().mean((2, 3))
        vectors.append(pooled @ conv.weight.detach().numpy()[:, :, 0, 0].T + conv.bias.detach().numpy())
    stacked = np.pad(np.stack(vectors, 1), ((0, 0), (0, 0), (1, 1)))  # (2, channels 2, 5 + 2)
    weight, bias = module.fuse.weight.detach().numpy()[0], module.fuse.bias.item()
    expected = np.stack([(stacked[:, :, i : i + 3] * weight).sum((1, 2)) + bias for i in range(5)], 1)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_scale_fusion_by_hand():
    torch.manual_seed(0)
    module = ScaleFusion((4,), (2, 2), kernel=1)
    a = torch.randn(1, 4, 4, 4)
    pooled = a.numpy()[0].reshape(4, 2, 2, 2, 2).mean((2, 4))  # adaptive average pooling 4x4 -> 2x2
    kernel = module.attention[0].weight.detach().numpy()[0, 0]
    padded = np.pad(pooled.mean((1, 2)), len(kernel) // 2)
    weight = 1 / (1 + np.exp(-np.array([(padded[c : c + len(kernel)] * kernel).sum() for c in range(4)])))
    vector = (weight[:, None, None] * pooled).mean(0).ravel()
    expected = vector * module.fuse.weight.item() + module.fuse.bias.item()
    np.testing.assert_allclose(module([a]).detach().numpy()[0], expected, atol=1e-5)


@pytest.mark.slow
def test_shapes_of_the_paper_at_384x192():
    model = WRCANet(751).eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 384, 192))
    assert output.maps["stage4"].shape == (1, 2048, 24, 12)
    assert output.maps["f"].shape == (1, 1, 384, 192)
    assert output.maps["new"].shape == (1, 3, 384, 192)
    assert model.classifiers["ms"].in_features == 288 == 24 * 12
    assert model.classifiers["gp"].in_features == 256
    assert output.descriptor.shape == (1, 2048 + 256 + 288)
    assert {k: v.shape[1] for k, v in output.embeddings.items()} == {
        "stage1": 256,
        "stage2": 512,
        "stage3": 1024,
    }


@pytest.mark.parametrize("wra", ["image", "stage", "parallel", ""])
def test_wra_adds_no_parameter(wra):
    resnet = torchvision.models.resnet50()
    expected = sum(p.numel() for p in resnet.parameters()) - sum(p.numel() for p in resnet.fc.parameters())
    model = WRCANet(10, wra=wra, gp=False, ms=False, neck="none")
    assert sum(p.numel() for p in model.backbone.parameters()) == expected == 23_508_032
    extra = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("backbone."))
    assert extra == 2048 * 10 + 10  # only stage 4's classifier


def tiny(**options) -> WRCANet:
    return WRCANet(4, (64, 32), backbone="resnet10-eighth", **options)


def test_image_reading_is_two_passes_of_one_network():
    torch.manual_seed(0)
    model, images = tiny().eval(), torch.randn(2, 3, 64, 32)
    output = model(images)
    f = reverse_attention_map(model.backbone(images)[-1], (64, 32))
    expected = model.backbone(weaken(images, f))[-1]
    torch.testing.assert_close(output.maps["stage4"], expected)


def test_what_the_scale_fusion_fuses():
    maps = [torch.rand(2, c, 8, 4) for c in (3, 5)]
    for fused, inputs in (("mean", 2), ("all", 8), ("stage", 2)):
        module = ScaleFusion((3, 5), (4, 2), fused=fused)
        assert module.fuse.in_channels == inputs
        vectors = []
        for a, convolution in zip(maps, module.attention, strict=True):
            pooled = torch.nn.functional.adaptive_avg_pool2d(a, (4, 2))
            weight = torch.sigmoid(convolution(pooled.mean((2, 3))[:, None]))[:, 0]
            weighted = (weight[:, :, None, None] * pooled).flatten(2)
            vectors.append(weighted if fused == "all" else weighted.mean(1, keepdim=True))
        if fused == "stage":
            torch.nn.init.constant_(module.groups, 2.0)
        expected = module.fuse((2.0 if fused == "stage" else 1.0) * torch.cat(vectors, 1))[:, 0]
        torch.testing.assert_close(module(maps), expected)


def test_a_learned_convolution_takes_each_stages_channels_to_one():
    torch.manual_seed(0)
    module = ScaleFusion((3, 5), (4, 2), fused="1x1")
    maps, graphs = [torch.rand(2, c, 8, 4) for c in (3, 5)], []
    for a, attention, one in zip(maps, module.attention, module.collapse, strict=True):
        pooled = a.numpy().reshape(2, -1, 4, 2, 2, 2).mean((3, 5))  # 8x4 to 4x2
        kernel = attention.weight.detach().numpy()[0, 0]
        padded = np.pad(pooled.mean((2, 3)), ((0, 0), (len(kernel) // 2,) * 2))
        scores = np.stack([padded[:, c : c + len(kernel)] @ kernel for c in range(pooled.shape[1])], 1)
        weighted = pooled / (1 + np.exp(-scores))[:, :, None, None]
        learnt, bias = one.weight.detach().numpy()[0, :, 0], one.bias.item()
        graphs.append(np.einsum("bchw,c->bhw", weighted, learnt).reshape(2, -1) + bias)
    stacked = np.pad(np.stack(graphs, 1), ((0, 0), (0, 0), (1, 1)))
    fuse, bias = module.fuse.weight.detach().numpy()[0], module.fuse.bias.item()
    expected = np.stack([(stacked[:, :, i : i + 3] * fuse).sum((1, 2)) + bias for i in range(8)], 1)
    np.testing.assert_allclose(module(maps).detach().numpy(), expected, atol=1e-5)


def test_eq_5_word_by_word_smooths_inside_the_logarithm():
    logits, labels = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]]), torch.tensor([0, 1])
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = -np.mean([np.log(0.9 * p[0, 0] + 0.1 / 3), np.log(0.9 * p[1, 1] + 0.1 / 3)])
    assert wrcanet.smoothed_inside(logits, labels, 0.1).item() == pytest.approx(expected, rel=1e-6)
    images, labels = torch.rand(4, 3, 64, 32), torch.tensor([0, 0, 1, 1])
    model = tiny(id_loss="inside")
    assert model.loss(model(images, labels), labels)["id_stage4"].isfinite()


def test_unit_scale_brings_each_images_f_to_zero_and_one():
    f = torch.tensor([[[[0.2, 0.3], [0.4, 0.7]]], [[[5.0, 5.0], [5.0, 5.0]]]])
    expected = torch.tensor([[[[0.0, 0.2], [0.4, 1.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(unit_range(f), expected)
    maps = tiny(scale="unit").eval()(torch.rand(2, 3, 64, 32)).maps
    assert (maps["f"].amin((1, 2, 3)) == 0).all() and (maps["f"].amax((1, 2, 3)) == 1).all()


def test_stage_reading_weakens_each_stage_input():
    torch.manual_seed(0)
    model, images = tiny(wra="stage").eval(), torch.randn(2, 3, 64, 32)
    x = model.backbone.stem(images)
    for stage in model.backbone.stages:
        x = stage(weaken(x, reverse_attention_map(stage(x), x.shape[2:])))
    torch.testing.assert_close(model(images).maps["stage4"], x)


def test_parallel_reading_masks_each_stage_of_one_stream_by_the_other():
    torch.manual_seed(0)
    model, images = tiny(wra="parallel").eval(), torch.randn(2, 3, 64, 32)
    undimmed, x = model.backbone(images), model.backbone.stem(images)
    for a, stage in zip(undimmed, model.backbone.stages, strict=True):
        alpha = a.mean((2, 3), keepdim=True)
        size = x.shape[2:]
        f = torch.nn.functional.interpolate((alpha * a).mean(1, keepdim=True), size=size, mode="bilinear").clamp(min=0)
        x = stage(x * (1 - 0.5 / (1 + torch.exp(-f))))
    torch.testing.assert_close(model(images).maps["stage4"], x)
    other = tiny(wra="stage").eval()
    other.load_state_dict(model.state_dict())
    assert not torch.allclose(other(images).maps["stage4"], x)


def test_dimmed_pixels_shrink_towards_black():
    pixels = torch.rand(2, 3, 64, 32)
    mean, std = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    maps = tiny(dimmed="pixels").eval()((pixels - mean) / std).maps
    dimmed = pixels * (1 - 0.5 / (1 + torch.exp(-maps["f"])))
    torch.testing.assert_close(maps["new"], (dimmed - mean) / std)
    assert not any("black" in name for name in tiny(dimmed="pixels").state_dict())


def test_each_stream_keeps_its_own_batch_statistics():
    torch.manual_seed(0)
    images = torch.randn(4, 3, 64, 32) + 1
    separate, shared = tiny(), tiny(statistics="shared")
    shared.load_state_dict(separate.state_dict(), strict=False)  # all but the second stream
    torch.testing.assert_close(separate(images).maps["stage4"], shared(images).maps["stage4"])  # training is the same
    first, second = separate.backbone.stem[1].running_mean, separate.second.stem[1].running_mean
    new = weaken(images, separate.eval()(images).maps["f"])
    assert not torch.allclose(first, second)
    torch.testing.assert_close(first, 0.1 * separate.backbone.stem[0](images).mean((0, 2, 3)))
    assert shared.second is shared.backbone
    assert new.mean() < images.mean()


def test_streams_share_all_parameters():
    model = tiny()
    assert [id(p) for p in model.backbone.parameters()] == [id(p) for p in model.second.parameters()]
    model.to(torch.float64, memory_format=torch.channels_last)
    assert [id(p) for p in model.backbone.parameters()] == [id(p) for p in model.second.parameters()]


@pytest.mark.parametrize("wra", ["image", "stage", "parallel"])
def test_gradient_reading_decides_whether_f_learns(wra):
    images, labels = torch.randn(4, 3, 64, 32), torch.tensor([0, 0, 1, 1])
    grads = []
    for gradient in (True, False):
        torch.manual_seed(0)
        model = tiny(wra=wra, gradient=gradient)
        sum(model.loss(model(images), labels).values()).backward()
        grads.append(model.backbone.stem[0].weight.grad)
    assert not torch.allclose(*grads)


@pytest.mark.parametrize(
    ("losses", "softmax", "triplet"),
    [
        ("branches+stage4", {"stage4", "gp", "ms"}, {"stage1", "stage2", "stage3"}),
        ("branches", {"gp", "ms"}, {"stage1", "stage2", "stage3", "stage4"}),
        ("all", {"stage1", "stage2", "stage3", "stage4", "gp", "ms"}, set()),
        (
            "both",
            {"stage1", "stage2", "stage3", "stage4", "gp", "ms"},
            {"stage1", "stage2", "stage3", "stage4", "gp", "ms"},
        ),
    ],
)
def test_loss_readings(losses, softmax, triplet):
    model = tiny(losses=losses)
    labels = torch.tensor([0, 0, 1, 1])
    parts = model.loss(model(torch.randn(4, 3, 64, 32)), labels)
    assert set(parts) == {f"id_{n}" for n in softmax} | {f"triplet_{n}" for n in triplet}
    assert all(value.isfinite() for value in parts.values())


def test_triplet_as_printed_is_the_sum_over_anchors():
    torch.manual_seed(0)
    model, images, labels = tiny(), torch.randn(4, 3, 64, 32), torch.tensor([0, 0, 1, 1])
    output = model(images)
    mean = model.loss(output, labels)["triplet_stage1"]
    model.triplet = "sum"
    torch.testing.assert_close(model.loss(output, labels)["triplet_stage1"], 4 * mean)


def test_a_variant_without_a_branch_has_no_loss_for_it():
    model = tiny(gp=False)
    parts = model.loss(model(torch.randn(4, 3, 64, 32)), torch.tensor([0, 0, 1, 1]))
    assert not any("gp" in name for name in parts) and "id_ms" in parts


def test_descriptor_parts_have_the_same_weight():
    descriptor = tiny().eval()(torch.randn(2, 3, 64, 32)).descriptor
    assert descriptor.shape[1] == 64 + 256 + 8
    torch.testing.assert_close(descriptor.square().sum(1), torch.full((2,), 3.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wra": "both"}, "wra='both'"),
        ({"dimmed": "image"}, "dimmed='image': allowed are 'normalised', 'pixels'"),
        ({"fused": "max"}, "fused='max'"),
        ({"losses": "none"}, "losses='none'"),
        ({"neck": "x"}, "neck='x'"),
        ({"strength": 1.5}, "strength"),
        ({"gp": False, "ms": False, "descriptor": "branches"}, "needs a branch"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_every_reading_of_the_ledger_is_an_option():
    from reidnb.papers.wrcanet.tables import READINGS

    signature = inspect.signature(wrcanet.WRCANet).parameters
    for reading in [reading for reading in READINGS if reading.of == "network"]:
        assert signature[reading.option].default == reading.default
        for value in reading.alternatives:
            tiny(**{reading.option: value})


def test_backbone_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    source = torchvision.models.resnet18()
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    net = Backbone("resnet18", tmp_path / "resnet18.pth")
    torch.testing.assert_close(net.stages[3][1].conv2.weight, source.layer4[1].conv2.weight)
    assert net(torch.randn(1, 3, 64, 32))[3].shape == (1, 512, 4, 2)


def test_backbone_weights_from_safetensors(tmp_path):
    from safetensors.torch import save_file

    source = torchvision.models.resnet18()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    net = Backbone("resnet18", tmp_path / "w.safetensors")
    torch.testing.assert_close(net.stem[0].weight, source.conv1.weight)


def test_bad_weights(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Backbone("resnet18", tmp_path / "none.pth")
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "r50.pth")
    with pytest.raises(ValueError, match="not a resnet18's"):
        Backbone("resnet18", tmp_path / "r50.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read"):
        Backbone("resnet18", tmp_path / "broken.pth")
    with pytest.raises(ValueError, match="no ImageNet weights for resnet18-half"):
        Backbone("resnet18-half", "imagenet")


def test_imagenet_weights_without_a_network(monkeypatch, tmp_path):
    from urllib.error import URLError

    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "_dir", None, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(OSError, match=r"put resnet18-.*\.pth at .*or weights='' for random"):
        Backbone("resnet18", "imagenet")
