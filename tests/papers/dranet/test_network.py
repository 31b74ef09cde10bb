"""DRANet: each equation against NumPy, its variants against each other, shapes against the paper."""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from reidnb.models.backbone import Backbone
from reidnb.papers.dranet import tables
from reidnb.papers.dranet.network import ChannelAttention, DRANet, PartClassifier, reverse, unit_interval

LABELS = torch.tensor([0, 1, 2, 3])
VARIANTS = [{"rcam": c, "rsam": s} for c in (False, True) for s in (False, True)]


def tiny(**options) -> DRANet:
    torch.manual_seed(0)
    return DRANet(4, **{"size": (96, 32), "backbone": "resnet10-eighth", **options})


def images(count: int = 4, height: int = 96) -> torch.Tensor:
    return torch.randn(count, 3, height, 32, generator=torch.Generator().manual_seed(1))


def parts_of(a: np.ndarray) -> list[np.ndarray]:
    """The thirds of a map (B, C, h, w)."""
    third = a.shape[2] // 3
    return [a[:, :, i * third : (i + 1) * third] for i in range(3)]


def logits_by_hand(head: PartClassifier, x: np.ndarray) -> np.ndarray:
    """GAP(f_1x1(f_3x3(x))) with every class map made in full, f_3x3 a bare convolution ('none')."""
    f = f_by_hand(head, x)
    weight, bias = head.f1x1.weight.detach().numpy()[:, :, 0, 0], head.f1x1.bias.detach().numpy()
    maps = np.einsum("bchw,nc->bnhw", f, weight) + bias[:, None, None]
    return maps.mean((2, 3))


def f_by_hand(head: PartClassifier, x: np.ndarray) -> np.ndarray:
    weight, bias = head.f3x3[0].weight.detach().numpy(), head.f3x3[0].bias.detach().numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    shifts = [(y, x_) for y in range(3) for x_ in range(3)]
    return bias[:, None, None] + sum(
        np.einsum("bchw,oc->bohw", padded[:, :, y : y + height, z : z + width], weight[:, :, y, z]) for y, z in shifts
    )


def test_channel_mask_is_squeeze_and_excitation():
    torch.manual_seed(0)
    module, a = ChannelAttention(32, reduction=16), torch.randn(2, 32, 4, 3)
    w0, w1 = module.w0.weight.detach().numpy(), module.w1.weight.detach().numpy()
    assert w0.shape == (2, 32) and w1.shape == (32, 2)
    g = a.numpy().mean((2, 3))
    m = 1 / (1 + np.exp(-(np.maximum(g @ w0.T, 0) @ w1.T)))
    np.testing.assert_allclose(module(a).detach().numpy(), m, rtol=1e-5)


def test_centred_channel_mask_takes_the_batch_mean_out_first():
    module = ChannelAttention(16, reduction=4, centred=True, bias=True)
    a = torch.rand(8, 16, 3, 2, generator=torch.Generator().manual_seed(0)) + 5  # far from zero, as after ReLU
    g = a.numpy().mean((2, 3)).astype(np.float64)
    g = (g - g.mean(0)) / np.sqrt(g.var(0) + 1e-5)
    w0, b0, w1, b1 = (p.detach().numpy() for p in (*module.w0.parameters(), *module.w1.parameters()))
    m = 1 / (1 + np.exp(-(np.maximum(g @ w0.T + b0, 0) @ w1.T + b1)))
    np.testing.assert_allclose(module(a).detach().numpy(), m, rtol=1e-3)
    assert not list(module.centre.parameters())


@settings(deadline=None)
@given(st.floats(0, 1), st.sampled_from([0.5, 1.0, 2.0]))
def test_reverse_mask_by_hand(mask, alpha):
    result = reverse(torch.tensor([mask], dtype=torch.float32), alpha).item()
    assert result == pytest.approx((1 - np.float32(mask)) ** alpha, abs=1e-6)


def test_hard_example_is_empty_where_the_mask_is_one():
    mask = torch.tensor([1.0, 0.0, 0.75])
    for alpha in (0.5, 1, 2):
        torch.testing.assert_close(reverse(mask, alpha), torch.tensor([0.0, 1.0, 0.25**alpha]))
    model = tiny(rsam=False)
    model.attention[1] = _Constant(torch.tensor([1.0, 0.25]).repeat(32))
    maps = model(images(), LABELS).maps
    middle = maps["stage4"].tensor_split(3, dim=2)[1] * maps["reverse_m"][:, :, 1:2]
    assert (middle[:, ::2] == 0).all()
    torch.testing.assert_close(maps["c"][:, :, 2:4], middle.mean(1, keepdim=True))
    torch.testing.assert_close(middle[:, 1::2], maps["stage4"][:, 1::2, 2:4] * 0.75)


def test_roots_of_a_mask_have_a_finite_gradient_where_it_is_one():
    mask = torch.tensor([1.0, 0.75], requires_grad=True)
    reverse(mask, 0.5).sum().backward()
    torch.testing.assert_close(mask.grad, torch.tensor([0.0, -1.0]))


def test_class_map_is_the_row_of_the_ground_truth():
    torch.manual_seed(0)
    head = PartClassifier(8, 6, identities=5, neck="none")
    torch.nn.init.normal_(head.f1x1.weight)
    torch.nn.init.normal_(head.f1x1.bias)
    f, labels = torch.randn(3, 6, 4, 2), torch.tensor([4, 0, 4])
    every = head.f1x1(f)  # all maps, as figure 3 draws them
    torch.testing.assert_close(head.class_map(f, labels)[:, 0], every[torch.arange(3), labels])
    torch.testing.assert_close(head.logits(f), every.mean((2, 3)))


def test_f_3x3_is_a_convolution_normalised_and_rectified():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 4, 3)
    plain = PartClassifier(8, 6, 5, "none")
    np.testing.assert_allclose(plain.f3x3(x).detach(), f_by_hand(plain, x.numpy()), atol=1e-5)
    head = PartClassifier(8, 6, 5, "bn-relu")
    raw = F.conv2d(x, head.f3x3[0].weight, padding=1).detach().numpy()
    normed = (raw - raw.mean((0, 2, 3), keepdims=True)) / np.sqrt(raw.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(head.f3x3(x).detach(), np.maximum(normed, 0), atol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_minmax_takes_each_map_to_zero_and_one(seed):
    h = torch.randn(3, 1, 4, 2, generator=torch.Generator().manual_seed(seed)) * 10
    result = unit_interval(h, "minmax").numpy()
    for n in range(3):
        own = h[n].numpy()
        np.testing.assert_allclose(result[n], (own - own.min()) / (own.max() - own.min()), atol=1e-6)
    np.testing.assert_allclose(unit_interval(h, "sigmoid"), 1 / (1 + np.exp(-h.numpy())), rtol=1e-4)


def test_a_constant_map_hides_nothing():
    assert (reverse(unit_interval(torch.full((2, 1, 3, 3), 7.0), "minmax"), 1.0) == 1).all()


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_b_c_and_d_by_hand(alpha):
    model = tiny(neck="none", alpha_c=alpha, alpha_s=alpha).eval()
    for name, value in model.classifiers["b"].named_parameters():
        torch.nn.init.normal_(value, std=0.1) if "f1x1" in name else None
    x = images()
    output = model(x, LABELS)
    result = {name: value.detach().numpy() for name, value in output.id_logits.items()}
    descriptor, total = [], {"b": 0.0, "c": 0.0, "d": 0.0}
    for i, a in enumerate(parts_of(model.backbone(x)[-1].detach().numpy())):
        head = model.classifiers["b"][i]
        m = model.attention[i](torch.from_numpy(a)).detach().numpy()[:, :, None, None]
        b, c = a * m, a * (1 - m) ** alpha
        f = f_by_hand(head, b)
        weight, bias = head.f1x1.weight.detach().numpy()[:, :, 0, 0], head.f1x1.bias.detach().numpy()
        h = np.stack([np.einsum("chw,c->hw", f[n], weight[label]) + bias[label] for n, label in enumerate(LABELS)])
        low, high = h.min((1, 2), keepdims=True), h.max((1, 2), keepdims=True)
        d = b * ((1 - (h - low) / (high - low)) ** alpha)[:, None]
        for name, hard in {"b": b, "c": c, "d": d}.items():
            logits = logits_by_hand(head, hard)
            np.testing.assert_allclose(result[f"{name}{i + 1}"], logits, atol=2e-5)
            chosen = logits[np.arange(4), LABELS.numpy()]
            total[name] += np.mean(np.log(np.exp(logits).sum(1)) - chosen)
        descriptor += [x.mean((2, 3)) for x in (b, f)]
    descriptor = np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in descriptor], 1)
    descriptor /= np.linalg.norm(descriptor, axis=1, keepdims=True)
    np.testing.assert_allclose(output.descriptor.detach(), descriptor, atol=1e-5)
    losses = model.loss(output, LABELS)
    assert {name: value.item() for name, value in losses.items()} == {
        f"id_{name}": pytest.approx(value, rel=1e-4) for name, value in total.items()
    }


def test_d_looks_at_the_map_of_the_ground_truth_only():
    model = tiny(rcam=False).eval()
    torch.nn.init.normal_(model.classifiers["b"][0].f1x1.weight)
    before = model(images(), LABELS).maps["reverse_h"]
    other = model(images(), torch.tensor([3, 1, 2, 3])).maps["reverse_h"]
    assert not torch.allclose(before[0], other[0])  # its label changed
    torch.testing.assert_close(before[1:], other[1:])
    with torch.no_grad():
        for head in model.classifiers["b"]:
            head.f1x1.weight[0] += 1  # identity 0's
    after = model(images(), LABELS).maps["reverse_h"]
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1:], after[1:])


def test_without_modules_the_loss_is_the_baselines():
    """The baseline, written out: parts, f_3x3, classifier, cross-entropy summed over the parts."""
    model, x = tiny(rcam=False, rsam=False), images()
    a = model.backbone(x)[-1].tensor_split(3, dim=2)
    heads = model.classifiers["b"]
    logits = [
        head.f1x1(head.f3x3(part).mean((2, 3), keepdim=True)).flatten(1) for head, part in zip(heads, a, strict=True)
    ]
    baseline = sum(F.cross_entropy(one, LABELS) for one in logits)
    losses = model.loss(model(x, LABELS), LABELS)
    assert list(losses) == ["id_b"] and torch.equal(losses["id_b"], baseline)
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for module in (model.backbone, heads) for p in module.parameters()
    )


@pytest.mark.parametrize("options", VARIANTS)
def test_each_module_adds_its_loss(options):
    model = tiny(**options)
    losses = model.loss(model(images(), LABELS), LABELS)
    assert list(losses) == ["id_b"] + ["id_c"] * options["rcam"] + ["id_d"] * options["rsam"]
    assert losses["id_b"].item() == pytest.approx(3 * math.log(4), rel=0.3)  # untrained: near chance


def test_rsam_leaves_the_loss_of_b_as_it_is():
    with_it, without = (tiny(rcam=False, rsam=rsam) for rsam in (True, False))
    result = [model.loss(model(images(), LABELS), LABELS)["id_b"] for model in (with_it, without)]
    assert torch.equal(*result)


@pytest.mark.parametrize("options", VARIANTS)
def test_evaluation_needs_no_labels_and_is_the_same_for_every_variant(options):
    """Given the same weights; of RCAM's m what is printed for the variants without it: m = 1."""
    full, variant = tiny(), tiny(**options)
    for model in (full, variant):
        model.train()
        model(images(), LABELS)  # moves the batch statistics, also those of hard examples
    variant.load_state_dict({k: v for k, v in full.state_dict().items() if k in variant.state_dict()})
    for model in (full.eval(), variant.eval()):
        for i in range(3 * model.rcam):
            model.attention[i] = _Constant(torch.ones(64))
    result = variant(images())
    torch.testing.assert_close(result.descriptor, full(images()).descriptor)
    assert torch.equal(result.descriptor, variant(images(), LABELS).descriptor)
    assert set(result.id_logits) == {"b1", "b2", "b3"} and not {"c", "d", "reverse_m", "h"} & set(result.maps)


def test_hard_examples_leave_the_statistics_of_b_alone():
    full, baseline = tiny(rcam=False), tiny(rcam=False, rsam=False)
    for model in (full, baseline):
        model(images(), LABELS)
    for name, value in baseline.state_dict().items():
        torch.testing.assert_close(full.state_dict()[name], value)
    b, d = (full.classifiers[name][0].f3x3[1].running_mean for name in "bd")
    assert not torch.allclose(b, d)


@pytest.mark.parametrize("rcam", [True, False])
def test_gradient_reading_decides_whether_masks_learn(rcam):
    """Of the loss of C alone, the attention's weights have a gradient only through the mask; of D, f_1x1's."""
    for gradient in (True, False):
        model = tiny(rcam=rcam, rsam=not rcam, gradient=gradient, classifiers="own")
        losses = model.loss(model(images(), LABELS), LABELS)
        losses["id_c" if rcam else "id_d"].backward()
        learnt = model.attention[0].w1.weight if rcam else model.classifiers["b"][0].f1x1.weight
        assert (learnt.grad is not None and bool(learnt.grad.abs().sum() > 0)) is gradient


def test_classifiers_are_bs_own_or_shared():
    shared, own = tiny(), tiny(classifiers="own")
    for name in "cd":
        assert shared.classifiers[name][1].f1x1.weight is shared.classifiers["b"][1].f1x1.weight
        assert own.classifiers[name][1].f1x1.weight is not own.classifiers["b"][1].f1x1.weight
    assert len(list(own.parameters())) - len(list(shared.parameters())) == 2 * 3 * 5


def test_parts_share_their_modules_or_not():
    own, shared = tiny(), tiny(parts="shared")
    assert own.attention[0].w0.weight is not own.attention[2].w0.weight
    assert shared.attention[0].w0.weight is shared.attention[2].w0.weight
    assert shared.classifiers["d"][2].f1x1.weight is shared.classifiers["b"][0].f1x1.weight


@pytest.mark.parametrize(("height", "rows"), [(96, (2, 2, 2)), (128, (3, 3, 2)), (32, (2, 2, 2))])
def test_every_part_has_rows(height, rows):
    maps = tiny().eval()(images(height=height), LABELS).maps
    assert maps["h"].shape[2] == sum(rows) and maps["m"].shape[2] == 3
    if height >= 48:
        thirds = maps["stage4"].split(rows, dim=2)
        b = torch.cat([(a * maps["m"][:, :, i : i + 1]).mean(1, keepdim=True) for i, a in enumerate(thirds)], 2)
        torch.testing.assert_close(maps["b"], b)


@pytest.mark.slow
def test_shapes_of_the_paper_at_384x128():
    model = DRANet(751).eval()
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 384, 128), torch.tensor([7]))
    assert output.maps["stage4"].shape == (1, 2048, 24, 8)
    assert output.maps["h"].shape == output.maps["reverse_h"].shape == (1, 1, 24, 8)
    assert output.maps["m"].shape == output.maps["reverse_m"].shape == (1, 2048, 3, 1)
    assert output.descriptor.shape == (1, 3 * (2048 + 1024))
    assert output.id_logits["d3"].shape == (1, 751)
    own = sum(p.numel() for p in Backbone("resnet50").parameters())
    attention, head = 2 * 2048 * 128, 2048 * 1024 * 9 + 2 * 1024 + 1025 * 751
    assert sum(p.numel() for p in model.parameters()) == own + 3 * (attention + head)


@pytest.mark.parametrize("precision", ["cpu"])
def test_bfloat16_learns_too(precision):
    model = tiny()
    with torch.autocast(precision, torch.bfloat16):
        total = sum(model.loss(model(images(), LABELS), LABELS).values())
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalisation": "softmax"}, "normalisation='softmax': allowed are 'minmax', 'sigmoid'"),
        ({"classifiers": "two"}, "classifiers='two'"),
        ({"parts": 6}, "parts=6"),
        ({"neck": "bnneck"}, "neck='bnneck'"),
        ({"descriptor": "all"}, "descriptor='all'"),
        ({"last_stride": 3}, "last_stride=3"),
        ({"alpha_c": 0}, "alpha_c must be positive, got 0"),
        ({"pooled": "max"}, "pooled='max': allowed are 'post-relu', 'pre-relu'"),
        ({"part_width": 0}, "part_width must be positive, got 0"),
        ({"weight_b": -1}, "weight_b must be positive, got -1"),
        ({"alpha_s": -1.0}, "alpha_s must be positive, got -1.0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


@pytest.mark.parametrize("reading", [r for r in tables.READINGS if r.of == "network"], ids=lambda r: r.option)
def test_every_reading_of_the_ledger_is_an_option_that_trains(reading):
    assert inspect.signature(DRANet).parameters[reading.option].default == reading.default
    for value in reading.alternatives:
        model = tiny(**{reading.option: value})
        total = sum(model.loss(model(images(), LABELS), LABELS).values())
        total.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        assert tables.experiment({reading.option: value}, "street") != tables.experiment({}, "street")


def test_pieces_of_the_descriptor_are_normalised_apart_or_together():
    x = images()
    apart, together = (tiny(pieces=how).eval()(x).descriptor for how in ("apart", "together"))
    torch.testing.assert_close(torch.linalg.vector_norm(apart, dim=1), torch.ones(len(x)))
    torch.testing.assert_close(torch.linalg.vector_norm(together, dim=1), torch.ones(len(x)))
    channels, width = 64, 32
    for start in range(0, apart.shape[1], channels + width):
        for piece in (slice(start, start + channels), slice(start + channels, start + channels + width)):
            length = torch.linalg.vector_norm(apart[:, piece], dim=1)
            torch.testing.assert_close(length, torch.full_like(length, 6**-0.5))


@pytest.mark.parametrize("backbone", ["resnet10-eighth", "resnet50"])
def test_before_the_last_relu_of_stage_4(backbone):
    torch.manual_seed(0)
    net, seen = Backbone(backbone).eval(), []
    # A block uses its ReLU several times and in place: what goes into the last call, and before it is overwritten.
    net.stages[3][-1].relu.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    after = net(images(1))[-1]
    expected = seen[-1]
    torch.testing.assert_close(net.before_last_relu(images(1)), expected)
    assert (expected < 0).any() and torch.equal(expected.clamp(min=0), after)


def test_g_before_the_relu_is_the_average_of_what_becomes_a():
    after, before = tiny().eval(), tiny(pooled="pre-relu").eval()
    before.load_state_dict(after.state_dict())
    maps, full = before(images()).maps, before.backbone.before_last_relu(images())
    torch.testing.assert_close(maps["stage4"], after(images()).maps["stage4"])
    for i, part in enumerate(full.tensor_split(3, dim=2)):
        attention = before.attention[i]
        g = part.mean((2, 3))
        assert (g < 0).any()
        m = 1 / (1 + torch.exp(-(g @ attention.w0.weight.T).clamp(min=0) @ attention.w1.weight.T))
        torch.testing.assert_close(maps["m"][:, :, i, 0], m)
    assert not torch.allclose(maps["m"], after(images()).maps["m"])


@pytest.mark.parametrize("options", [{"pooled": "pre-relu"}, {"part_width": 0.5}, {}])
def test_the_last_stage_gives_a(options):
    model, seen = tiny(**options).eval(), []
    model.last_stage.register_forward_hook(lambda _, __, output: seen.append(output))
    output = model(images())
    assert len(seen) == 1 and torch.equal(seen[0], output.maps["stage4"])


def test_narrow_parts_have_1024_and_1024_numbers():
    model = tiny(part_width=0.5, pooled="pre-relu").eval()
    output, stage4 = model(images(), LABELS), model.backbone(images())[-1]
    convolution, norm = model.reduce
    weight = convolution.weight[:, :, 0, 0]
    reduced = torch.einsum("bchw,oc->bohw", stage4, weight) / (1 + norm.eps) ** 0.5  # statistics are still 0 and 1
    torch.testing.assert_close(output.maps["stage4"], reduced.clamp(min=0), atol=1e-5, rtol=1e-4)
    first = model.attention[0](reduced.tensor_split(3, dim=2)[0])
    torch.testing.assert_close(output.maps["m"][:, :, 0, 0], first)
    assert output.descriptor.shape[1] == 3 * (32 + 32)  # 64 channels in stage 4; of 2048, 3 * (1024 + 1024)


def test_without_the_channel_hard_example_b_is_attended_all_the_same():
    with_c, without = tiny(rsam=False), tiny(rsam=False, channel_hard=False)
    outputs = [model(images(), LABELS) for model in (with_c, without)]
    torch.testing.assert_close(outputs[0].descriptor, outputs[1].descriptor)
    assert set(with_c.loss(outputs[0], LABELS)) == {"id_b", "id_c"} and "reverse_m" not in outputs[1].maps
    losses = without.loss(outputs[1], LABELS)
    assert set(losses) == {"id_b"}
    losses["id_b"].backward()
    assert without.attention[0].w1.weight.grad.abs().sum() > 0


def test_the_loss_of_b_is_weighed():
    once, twice = (tiny(weight_b=weight) for weight in (1.0, 2.0))
    losses = [model.loss(model(images(), LABELS), LABELS) for model in (once, twice)]
    torch.testing.assert_close(losses[1]["id_b"], 2 * losses[0]["id_b"])
    torch.testing.assert_close(losses[1]["id_d"], losses[0]["id_d"])


def test_six_parts_have_six_classifiers():
    model = tiny(part_count=6)
    output = model(images(), LABELS)
    assert {name for name in output.id_logits if name.startswith("b")} == {f"b{i}" for i in range(1, 7)}
    sum(model.loss(output, LABELS).values()).backward()


def test_the_size_reading_is_the_recipes():
    stated = tables.experiment({"size": [256, 128], "rsam": False}, "market1501", seed=2)
    assert stated.recipe.size == (256, 128) and stated.options == {"rsam": False} and stated.seed == 2
    assert stated.recipe.batch == 64


class _Constant(torch.nn.Module):
    """A channel attention whose mask is always the same."""

    def __init__(self, mask: torch.Tensor):
        super().__init__()
        self.mask = mask

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.mask.expand(len(a), -1)
