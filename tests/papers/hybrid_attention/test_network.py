"""The hybrid-attention network: each equation against NumPy, windows and shapes against the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reidnb.models.losses import batch_hard_triplet, id_loss
from reidnb.papers.hybrid_attention.network import (
    ChannelAttention,
    GroupedLinear,
    HybridAttention,
    MultiPoolExtractor,
    SpatialAttention,
    drop_block,
    pool_windows,
    window_rows,
    windows,
)

LABELS = torch.tensor([0, 0, 1, 1])
TABLE_9 = ("", "S", "C", "concat+C+S", "C+S+concat", "C+concat+S", "concat+S+C", "S+C+concat", "S+concat+C")


def tiny(**options) -> HybridAttention:
    torch.manual_seed(0)
    return HybridAttention(4, (96, 32), backbone="resnet10-eighth", **options)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 96, 32, generator=torch.Generator().manual_seed(1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_spatial_attention_is_equation_1():
    torch.manual_seed(0)
    module, x = SpatialAttention(kernel=3), np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    pooled = np.pad(np.stack([x.mean(0), x.max(0)]), ((0, 0), (1, 1), (1, 1)))
    kernel = module.convolution.weight.detach().numpy()[0]
    expected = np.array([[(pooled[:, i : i + 3, j : j + 3] * kernel).sum() for j in range(3)] for i in range(4)])
    np.testing.assert_allclose(module(torch.tensor(x)[None]).detach()[0, 0], sigmoid(expected), atol=1e-6)


@pytest.mark.parametrize("pools", ["sum", "cbam"])
@pytest.mark.parametrize("scaled", [False, True])
def test_channel_attention_is_equation_2(pools, scaled):
    torch.manual_seed(0)
    module = ChannelAttention(8, reduction=4, pools=pools, scaled=scaled)
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype(np.float32) * 5
    first, second = (module.mlp[i].weight.detach().numpy() for i in (0, 2))

    def mlp(v):
        if scaled:
            v = v / np.sqrt((v**2).mean())
        return second @ np.maximum(first @ v, 0)

    average, maximum = x.mean((1, 2)), x.max((1, 2))
    expected = sigmoid(mlp(average + maximum) if pools == "sum" else mlp(average) + mlp(maximum))
    got = module(torch.tensor(x)[None]).detach()[0, :, 0, 0]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert first.shape == (2, 8) and second.shape == (8, 2)


def test_the_21_windows_of_six_stripes_and_their_rows():
    spans = windows(6, 6)
    assert len(spans) == 21 and spans[-1] == (0, 6)
    rows = [window_rows(w, 6, 24) for w in spans]
    expected = [(4 * k, 4 * (k + level)) for level in (1, 2, 3, 4, 5, 6) for k in range(7 - level)]
    assert rows == expected
    assert rows[:6] == [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20), (20, 24)]  # PCB's stripes
    assert rows[6:8] == [(0, 8), (4, 12)] and rows[-1] == (0, 24)


@settings(max_examples=25, deadline=None)
@given(stripes=st.integers(1, 7), height=st.integers(1, 25), full=st.booleans(), seed=st.integers(0, 99))
def test_pooled_windows_are_each_windows_own_average_and_maximum(stripes, height, full, seed):
    levels = stripes if full else 1
    x = torch.tensor(np.random.default_rng(seed).normal(size=(2, 3, height, 4)), dtype=torch.float32)
    average, maximum = pool_windows(x, stripes, levels)
    for number, window in enumerate(windows(stripes, levels)):
        first, last = window_rows(window, stripes, height)
        cut = x[:, :, first:last].numpy()
        np.testing.assert_allclose(average[:, number], cut.mean((2, 3)), atol=1e-5)
        np.testing.assert_array_equal(maximum[:, number], cut.max((2, 3)))
    assert average.shape[1] == number + 1


def test_drop_block_drops_one_block_for_the_whole_batch():
    torch.manual_seed(0)
    kept = drop_block(torch.ones(3, 2, 24, 8), 0.33, 1.0)
    assert (kept == kept[:1, :1]).all()
    rows = kept[0, 0].sum(1)
    gone = torch.nonzero(rows == 0)[:, 0]
    assert len(gone) == 8 == round(0.33 * 24) and (gone.diff() == 1).all() and set(rows.tolist()) == {0.0, 8.0}
    tops = {int((drop_block(torch.ones(1, 1, 24, 8))[0, 0, :, 0] == 0).nonzero()[0]) for _ in range(300)}
    assert tops == set(range(17))  # every place, the last one too


def test_drop_block_of_each_image_differs():
    torch.manual_seed(0)
    kept = drop_block(torch.ones(16, 2, 24, 8), 0.25, 0.5, each=True)
    assert (kept == kept[:, :1]).all() and not (kept == kept[:1]).all()
    torch.testing.assert_close(kept[:, 0].sum((1, 2)), torch.full((16,), 24 * 8 - 6 * 4.0))


def test_grouped_linear_is_a_linear_layer_for_each_window():
    torch.manual_seed(0)
    module, x = GroupedLinear(3, 5, 2), torch.randn(4, 3, 5)
    module.bias.data.normal_()
    for n in range(3):
        expected = torch.nn.functional.linear(x[:, n], module.weight[n].T, module.bias[n, 0])
        torch.testing.assert_close(module(x)[:, n], expected)


@pytest.mark.parametrize("activation", ["relu", "leaky"])
def test_multi_pool_extractor_by_hand(activation):
    torch.manual_seed(0)
    module = MultiPoolExtractor(groups=3, channels=5, reduced=4, width=6, activation=activation)
    average, maximum = torch.randn(8, 3, 5), torch.randn(8, 3, 5)
    embedding, tested = (x.detach().numpy() for x in module(average, maximum))

    def normalised(v):
        return (v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5)

    for n in range(3):
        x = np.concatenate([maximum[:, n], average[:, n]], 1) @ module.reduce.weight[n].detach().numpy()
        x = normalised(x)
        x = np.where(x > 0, x, 0.1 * x if activation == "leaky" else 0)
        x = x @ module.embed.weight[n].detach().numpy() + module.embed.bias[n].detach().numpy()
        np.testing.assert_allclose(embedding[:, n], x, atol=1e-4)
        np.testing.assert_allclose(tested[:, n], normalised(x), atol=1e-3)


@pytest.mark.slow
def test_shapes_of_the_paper_at_384x128():
    model = HybridAttention(751).eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 384, 128))
    assert output.maps["stage4"].shape == (1, 2048, 24, 8)
    assert output.maps["fused"].shape == (1, 3840, 24, 8)
    assert [output.maps[f"S{i}"].shape for i in (1, 2, 3, 4)] == [(1, 1, 24, 8)] * 4
    assert output.maps["C"].shape == (1, 3840, 1, 1)
    assert model.extractor.reduce.weight.shape == (21, 7680, 256)
    assert output.embeddings["windows"].shape == (1, 21, 512)
    assert output.id_logits["windows"].shape == (1, 21, 751)
    assert output.descriptor.shape == (1, 10_752) and 10_752 == 21 * 512


@pytest.mark.parametrize("order", TABLE_9)
def test_the_nine_orders_of_table_9(order):
    """Each order step by step, with the network's own attention modules."""
    model = tiny(stages="1234" if "concat" in order else "4", order=order).eval()
    stages = model.backbone(images())
    maps = [torch.nn.functional.adaptive_max_pool2d(stages[i - 1], (6, 2)) for i in model.fused]
    for name, step in zip(order.split("+") if order else (), model.steps, strict=True):
        maps = [torch.cat(maps, 1)] if name == "concat" else [a * step[i](a) for i, a in enumerate(maps)]
    (expected,) = maps
    torch.testing.assert_close(model(images()).maps["fused"], expected)
    if order == "S+concat+C":
        assert [len(step) for step in model.steps] == [4, 0, 1]
        assert isinstance(model.steps[0][3], SpatialAttention) and isinstance(model.steps[2][0], ChannelAttention)


def test_orders_differ():
    fused = {order: tiny(order=order).eval()(images()).maps["fused"].sum().item() for order in TABLE_9[3:]}
    assert len(set(fused.values())) == 6


@pytest.mark.parametrize("stages", ["1", "2", "3", "4", "12", "123", "234", "24", "1234"])
def test_any_stages_can_be_fused(stages):
    model = tiny(stages=stages)
    output = model(images())
    channels = {"1": 32, "2": 64, "3": 128, "4": 256}
    fraction = 1 / 4  # resnet10-eighth's stages: 8, 16, 32, 64
    assert output.maps["fused"].shape == (4, sum(int(channels[s] * fraction) for s in stages), 6, 2)
    sum(model.loss(output, LABELS).values()).backward()
    assert all(p.grad is not None for p in model.parameters())  # nothing idle: later stages are left out


@pytest.mark.parametrize(("local", "count"), [("mgo", 21), ("pcb", 6), ("", 1)])
@pytest.mark.parametrize(("extractor", "width"), [("mpfe", 512), ("gap", 120)])
def test_local_and_extractor_compose(local, count, extractor, width):
    model = tiny(local=local, extractor=extractor)
    output = model(images())
    assert output.descriptor.shape == (4, count * width)
    parts = model.loss(output, LABELS)
    assert set(parts) == ({"id", "triplet"} if extractor == "mpfe" else {"id"})
    assert all(part.isfinite() for part in parts.values())


def test_baseline_is_resnet_with_one_classifier():
    model = tiny(stages="4", order="", local="", extractor="gap", neck=False, dropblock="").eval()
    last = model.backbone(images())[3].mean((2, 3))
    output = model(images())
    torch.testing.assert_close(output.descriptor, last)
    torch.testing.assert_close(output.id_logits["windows"][:, 0], last @ model.classifier.weight[0])
    beside = [name for name, _ in model.named_parameters() if not name.startswith("backbone.")]
    assert beside == ["classifier.weight", "classifier.bias"]


def test_loss_is_the_mean_over_windows():
    model = tiny()
    output = model(images())
    logits, features = output.id_logits["windows"], output.embeddings["windows"]
    parts = model.loss(output, LABELS)
    ids = [id_loss(logits[:, n], LABELS, 0.1) for n in range(21)]
    triplets = [batch_hard_triplet(features[:, n], LABELS, 1.0) for n in range(21)]
    torch.testing.assert_close(parts["id"], torch.stack(ids).mean())
    torch.testing.assert_close(parts["triplet"], torch.stack(triplets).mean())


def test_released_triplet_is_one_for_each_level_of_the_normalised_features():
    model = tiny(triplet="level", compared="bn")
    output = model(images())
    tested = output.descriptor.view(4, 21, 512)
    torch.testing.assert_close(output.embeddings["windows"], tested)
    cuts = [(0, 6), (6, 11), (11, 15), (15, 18), (18, 20), (20, 21)]
    losses = [batch_hard_triplet(tested[:, a:b].reshape(4, -1), LABELS, 1.0) for a, b in cuts]
    torch.testing.assert_close(model.loss(output, LABELS)["triplet"], torch.stack(losses).mean())


def test_dropblock_is_for_training_only():
    model = tiny(dropblock="batch")
    gone = (model(images()).maps["fused"] == 0).all(0).all(0)  # (6, 2)
    assert gone.any() and not gone.all()
    assert not (model.eval()(images()).maps["fused"] == 0).all(0).all(0).any()


def test_dropblock_of_the_input_drops_one_block_of_all_images():
    model, seen = tiny(dropblock="input").train(), []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(torch.ones(4, 3, 96, 32))
    dropped = seen[0] == 0
    assert (dropped == dropped[:1]).all() and dropped[0, 0].sum() == round(0.33 * 96) * 32
    model.eval()(torch.ones(4, 3, 96, 32))
    assert (seen[1] == 1).all()


def test_the_released_layers_have_no_biases_and_hes_spread():
    torch.manual_seed(0)
    model = tiny(fc="released", order="concat", reduced=64, width=128)
    assert model.extractor.embed.bias is None and model.classifier.bias is None
    assert model.extractor.embed.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    reference = nn.Linear(64, 128)
    nn.init.kaiming_normal_(reference.weight, mode="fan_out")
    assert model.extractor.embed.weight.std().item() == pytest.approx(reference.weight.std().item(), rel=0.05)
    model(torch.rand(2, 3, 96, 32))


def test_last_stride_2_is_resnets_own_map():
    maps = [tiny(stages="4", order="", local="", extractor="gap", last_stride=stride).eval() for stride in (1, 2)]
    shapes = [tuple(model(torch.ones(1, 3, 96, 32)).maps["fused"].shape[2:]) for model in maps]
    assert shapes == [(6, 2), (3, 1)]


@pytest.mark.parametrize(("dropblock", "average_drops"), [("batch", True), ("max", False)])
def test_dropblock_of_what_the_maximum_sees_leaves_the_average_whole(dropblock, average_drops):
    model, seen = tiny(dropblock=dropblock, stages="4", order=""), []
    model.extractor.register_forward_pre_hook(lambda module, pooled: seen.append(pooled))
    dropped = model(images()).maps["fused"].detach().numpy()
    rows = [window_rows(window, 6, 6) for window in model.windows]
    full = model(images()).maps["stage4"].detach().numpy()  # in training, so by the same batch's statistics
    average, maximum = (x.detach().numpy() for x in seen[0])
    for n, (first, last) in enumerate(rows):
        expected = (dropped if average_drops else full)[:, :, first:last].mean((2, 3))
        np.testing.assert_allclose(average[:, n], expected, atol=1e-5)
        np.testing.assert_allclose(maximum[:, n], dropped[:, :, first:last].max((2, 3)), atol=1e-5)
    assert (maximum == 0).all((0, 2)).any() and (average == 0).all((0, 2)).any() == average_drops


def test_every_window_has_its_own_head():
    model = tiny().eval()
    before = model(images()).descriptor.view(4, 21, 512)
    model.extractor.embed.weight.data[7] += 1
    changed = (model(images()).descriptor.view(4, 21, 512) != before).any(2).any(0)
    assert changed.nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": "5"}, "stages='5'"),
        ({"stages": "21"}, "stages='21'"),
        ({"stages": ""}, "stages=''"),
        ({"order": "S+X"}, "'X' is none of S, C, concat"),
        ({"order": "S"}, "leaves the maps of 4 stages"),
        ({"local": "stripes"}, "local='stripes'"),
        ({"extractor": "x"}, "extractor='x'"),
        ({"cam": "x"}, "cam='x'"),
        ({"activation": "x"}, "activation='x'"),
        ({"dropblock": "x"}, "dropblock='x'"),
        ({"triplet": "x"}, "triplet='x'"),
        ({"compared": "x"}, "compared='x'"),
        ({"stripes": 0}, "must be at least 1, got 0"),
        ({"drop_height": 1.0}, "drop_height must lie in"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
