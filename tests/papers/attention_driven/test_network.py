"""The attention-driven network: each equation against NumPy, grouped branches against single ones, table 1's shapes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from reidnb.papers.attention_driven.branches import BODY_WIDTHS, PARTS, Branches, IntraAttention, Unit, cut
from reidnb.papers.attention_driven.network import (
    AttentionDriven,
    InterAttention,
    fuse,
    pretrained_file,
    strips,
    variant,
)

SIZE = (64, 32)


def tiny(identities: int = 5, **options) -> AttentionDriven:
    torch.manual_seed(0)
    return AttentionDriven(identities, SIZE, "five-branch-eighth", **{"regions": "strips"} | options)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- cropping the parts


def test_strips_are_the_images_own_rows():
    images = torch.rand(2, 3, *SIZE)
    full = cut(images, strips(2)[:, :1], SIZE)
    torch.testing.assert_close(full[:, 0], images)
    parts = cut(images, strips(2)[:, 1:], (16, 32))
    for i in range(4):
        torch.testing.assert_close(parts[:, i], images[:, :, 16 * i : 16 * i + 16])


def test_a_box_is_resized_bilinearly():
    image = torch.arange(8.0).expand(1, 1, 8, 8).clone()  # the value is the column
    box = torch.tensor([[[0.25, 0.0, 0.75, 1.0]]])  # columns 2 to 6, pixel edges
    got = cut(image, box, (8, 8))[0, 0, 0, 0]
    expected = 2 + (np.arange(8) + 0.5) / 8 * 4 - 0.5  # centre of each of eight half pixels
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_outside_the_image_is_the_channel_mean():
    got = cut(torch.ones(1, 3, 8, 4), torch.tensor([[[0.0, 0.5, 1.0, 1.5]]]), (8, 4))
    assert (got[0, 0, :, :4] == 1).all() and (got[0, 0, :, 4:] == 0).sum() == 3 * 4 * 4


# --- units and branches


def test_padded_shortcut_by_hand():
    torch.manual_seed(0)
    unit = Unit(2, 3, 5, stride=2, groups=2).eval()
    x = torch.randn(1, 4, 4, 4)
    added = (unit(x) - F.relu(unit.residual(x))).detach()
    shortcut = np.zeros((1, 10, 2, 2), np.float32)
    shortcut[:, 0:2], shortcut[:, 5:7] = x[:, 0:2, ::2, ::2], x[:, 2:4, ::2, ::2]
    expected = F.relu(unit.residual(x) + torch.from_numpy(shortcut)) - F.relu(unit.residual(x))
    torch.testing.assert_close(added, expected.detach())


def one_of(grouped: nn.Module, single: nn.Module, group: int, groups: int) -> nn.Module:
    """``single`` with the weights of one group of ``grouped``."""
    state = {
        name: value if value.ndim == 0 else value.chunk(groups)[group] for name, value in grouped.state_dict().items()
    }
    single.load_state_dict(state)
    return single.eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shortcut": "projection"},
        {"decomposed": False},
        {"decomposed": False, "undecomposed": "1x1"},
        {"normalised": False},
        {"masking": "plain"},
    ],
)
def test_grouped_branches_are_four_branches(options):
    torch.manual_seed(0)
    arguments = (4, (2, 4, 8, 16), (1, 2), (2, 4, 4))
    grouped = Branches(*arguments, groups=4, **options)
    x = torch.randn(2, 16, 16, 32)
    for _ in range(3):
        grouped(x)  # separate batch statistics for each group
    full, masks = grouped.eval()(x)
    assert set(masks) == {2, 3, 4}
    for i in range(4):
        part, part_masks = one_of(grouped, Branches(*arguments, **options), i, 4)(x.chunk(4, 1)[i])
        torch.testing.assert_close(full.chunk(4, 1)[i], part)
        torch.testing.assert_close(masks[3][:, i], part_masks[3][:, 0])


def test_shapes_of_table_1():
    body, parts = Branches(32, BODY_WIDTHS, (2, 2)), Branches(32, (16, 32, 64, 128), (1, 2), groups=4)
    x, shapes = torch.zeros(1, 32, 192, 96), []
    v = F.max_pool2d(x, 3, 2, 1)
    for block in body.blocks:
        v = block(v)
        shapes.append(tuple(v.shape[1:]))
    assert shapes == [(64, 96, 48), (128, 48, 24), (256, 24, 12), (512, 24, 12)]
    assert parts(torch.zeros(1, 128, 48, 96))[0].shape == (1, 4 * 256, 12, 12)
    layers = [m for m in body.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == 4 * 9  # "9" in the column of layers for each of conv2x..conv5x


# --- intra-attention


@pytest.mark.parametrize(("number", "poolings", "smallest"), [(2, 2, (2, 1)), (3, 1, (4, 2)), (4, 1, (4, 2))])
def test_poolings_of_each_block(number, poolings, smallest):
    branches = Branches(4, (2, 4, 8, 16), (1, 1), (2, 4, 4))
    attention, sizes = branches.attention[str(number)], []
    for unit in attention.down:
        unit.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
    stride = {2: 2, 3: 2, 4: 1}[number]
    attention(torch.randn(2, {2: 4, 3: 8, 4: 16}[number], 8 * stride, 4 * stride))
    assert len(sizes) == poolings and sizes[-1] == smallest
    assert "1" not in branches.attention  # block 1 has none


def test_mask_by_hand():
    """Eq. 6 and the following text, for two groups of three channels."""
    torch.manual_seed(0)
    module = IntraAttention(2, 3, 1, 1, 2, groups=2, normalised=False).eval()
    v = torch.randn(1, 4, 6, 4)
    a = module.encode_decode(v).detach().numpy()[0]
    weight = {name: value.detach().numpy() for name, value in module.named_parameters()}
    expected = []
    for g in range(2):
        group = a[3 * g : 3 * g + 3]
        padded = np.pad(group, ((0, 0), (1, 1), (1, 1)))
        s = np.array(
            [
                [(padded[:, i : i + 3, j : j + 3] * weight["spatial.0.weight"][g]).sum() for j in range(4)]
                for i in range(6)
            ]
        )
        s += weight["spatial.0.bias"][g]
        rows = slice(3 * g, 3 * g + 3)
        c = weight["channel.0.weight"][rows, :, 0, 0] @ group.mean((1, 2)) + weight["channel.0.bias"][rows]
        product = s[None] * c[:, None, None]
        mixed = np.einsum("oc,chw->ohw", weight["mix.weight"][rows, :, 0, 0], product)
        expected.append(sigmoid(mixed + weight["mix.bias"][rows][:, None, None]))
    np.testing.assert_allclose(module(v).detach().numpy()[0], np.concatenate(expected), atol=1e-5)


def test_encoder_decoder_by_hand():
    torch.manual_seed(0)
    module = IntraAttention(2, 4, 2, 2, 2).eval()
    v = torch.randn(1, 2, 16, 8)
    a0 = module.entry(v)
    a1 = module.down[0](F.max_pool2d(a0, 2))
    a2 = module.down[1](F.max_pool2d(a1, 2))
    up = lambda x: nn.Upsample(scale_factor=2, mode="bilinear")(x)  # noqa: E731
    torch.testing.assert_close(module.encode_decode(v), a0 + up(a1 + up(a2)))
    assert module(v).shape == (1, 4, 8, 4)


@pytest.mark.parametrize(("masking", "kept"), [("residual", 1), ("plain", 0)])
def test_masks_of_eq_7_and_5(masking, kept):
    torch.manual_seed(0)
    branches = Branches(4, (2, 4, 8, 16), (1, 1), (2, 4, 4), masking=masking).eval()
    x = torch.randn(2, 4, 16, 8)
    v = branches.blocks[0](F.max_pool2d(x, 3, 1, 1))
    for number in (2, 3, 4):
        mask = branches.attention[str(number)](v)
        assert mask.min() >= 0 and mask.max() <= 1
        v = (kept + mask) * branches.blocks[number - 1](v)
    got, masks = branches(x)
    torch.testing.assert_close(got, v)
    torch.testing.assert_close(masks[4], mask.mean(1, keepdim=True))


@pytest.mark.parametrize(("undecomposed", "kernel"), [("3x3", 3), ("1x1", 1)])
def test_without_decomposition_there_is_a_score_for_each_number(undecomposed, kernel):
    torch.manual_seed(0)
    module = IntraAttention(2, 3, 1, 1, 2, decomposed=False, undecomposed=undecomposed).eval()
    v = torch.randn(1, 2, 6, 4)
    a = module.encode_decode(v).detach().numpy()[0]
    weight, bias = module.mix.weight.detach().numpy(), module.mix.bias.detach().numpy()
    border = kernel // 2
    padded = np.pad(a, ((0, 0), (border, border), (border, border)))
    expected = np.empty((3, 6, 4))
    for channel, row, column in np.ndindex(3, 6, 4):
        seen = padded[:, row : row + kernel, column : column + kernel]
        expected[channel, row, column] = (weight[channel] * seen).sum() + bias[channel]
    np.testing.assert_allclose(module(v).detach().numpy()[0], sigmoid(expected), atol=1e-5)
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"entry", "down", "mix"}


# --- inter-attention, descriptor, loss


def test_equations_8_and_9():
    torch.manual_seed(0)
    module, e = InterAttention(6), torch.randn(3, 4, 6)
    mu = np.stack(
        [
            sigmoid(e[:, i].numpy() @ layer.weight.detach().numpy()[0] + layer.bias.item())
            for i, layer in enumerate(module.layers)
        ],
        1,
    )
    np.testing.assert_allclose(module(e).detach(), mu, atol=1e-6)
    expected = np.concatenate([(mu[:, i : i + 1] + 1) * e[:, i].numpy() for i in range(4)], 1)
    np.testing.assert_allclose(fuse(e, torch.from_numpy(mu)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("fusion", "names", "width"),
    [("inter", {"fused"}, 768), ("fc", {"fused"}, 100), ("concat", set(), 768)],
)
def test_fusions(fusion, names, width):
    model = tiny(fusion=fusion, fc_width=100).eval()
    output = model(torch.randn(3, 3, *SIZE))
    assert output.descriptor.shape == (3, width)
    assert set(output.id_logits) == {"global", *PARTS} | names
    assert ("mu" in output.maps) == (fusion == "inter")


def test_halves_of_the_descriptor_have_the_same_weight():
    images = torch.randn(3, 3, *SIZE)
    model = tiny().eval()
    descriptor = model(images).descriptor
    torch.testing.assert_close(descriptor[:, :256].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(descriptor[:, 256:].norm(dim=1), torch.ones(3))
    plain = tiny(halves="plain").eval()(images).descriptor
    torch.testing.assert_close(F.normalize(plain[:, 256:]), descriptor[:, 256:])
    assert (plain[:, :256].norm(dim=1) - 1).abs().min() > 1e-3


def test_inter_attention_weighs_the_parts_of_the_descriptor():
    images = torch.randn(2, 3, *SIZE)
    model = tiny(halves="plain").eval()
    mu = model(images).maps["mu"]
    without = tiny(halves="plain", fusion="concat").eval()
    without.load_state_dict(model.state_dict(), strict=False)
    head = model.columns["head"]
    expected = (1 + mu[:, :1]) * without(images).descriptor[:, head]
    torch.testing.assert_close(model(images).descriptor[:, head], expected)


def test_loss_of_eq_11_by_hand():
    model, labels = tiny(intra_weight=0.3).eval(), torch.tensor([0, 4, 2])
    output = model(torch.randn(3, 3, *SIZE))
    total = 0.0
    for name, logits in output.id_logits.items():
        x = logits.detach().double().numpy()
        mean = np.mean([-np.log(np.exp(row[label]) / np.exp(row).sum()) for row, label in zip(x, labels, strict=True)])
        total += mean if name == "fused" else 0.3 * mean
    parts = model.loss(output, labels)
    assert len(parts) == 6
    assert sum(parts.values()).item() == pytest.approx(total, rel=1e-5)


def test_a_learned_weight_of_the_body():
    """Eq. 8 for E_g too: 1 + mu_0 scales its half of what l_inter sees and of the descriptor, whose halves are equal
    without it."""
    images, model = torch.randn(3, 3, *SIZE), tiny(body_weight="learned").eval()
    plain = tiny(body_weight="learned", halves="plain", inter_input="normalised").eval()
    plain.load_state_dict(model.state_dict())
    output, raw = model(images), plain(images).descriptor.detach().numpy()
    layer, body = model.inter_body, slice(0, 256)
    e_g = tiny(halves="plain", fusion="concat").eval()
    e_g.load_state_dict(model.state_dict(), strict=False)
    e_g = e_g(images).descriptor[:, body].detach().numpy()
    weight = 1 + sigmoid(e_g @ layer.weight.detach().numpy().T + layer.bias.item())  # (3, 1)
    np.testing.assert_allclose(raw[:, body], weight * e_g, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(output.descriptor[:, body].norm(dim=1).detach(), weight[:, 0], rtol=1e-4)
    np.testing.assert_allclose(output.descriptor[:, 256:].norm(dim=1).detach(), 1, rtol=1e-4)
    np.testing.assert_allclose(output.maps["mu_body"].detach(), weight - 1, rtol=1e-4)
    logits = plain.classifiers["fused"](model(images).descriptor)  # halves of length 1, then weighted
    torch.testing.assert_close(plain(images).id_logits["fused"], logits)
    output.id_logits["fused"].sum().backward()
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("option", ["raw", "normalised", "parts"])
def test_what_the_loss_of_inter_attention_sees(option):
    images, model = torch.randn(3, 3, *SIZE), tiny(inter_input=option, halves="plain").eval()
    output = model(images)
    x = output.descriptor.detach().numpy()
    halves = [x[:, :256], x[:, 256:]]
    if option == "normalised":
        halves = [half / np.linalg.norm(half, axis=1, keepdims=True) for half in halves]
    seen = halves[1] if option == "parts" else np.concatenate(halves, 1)
    layer = model.classifiers["fused"]
    expected = seen @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(output.id_logits["fused"].detach(), expected, rtol=1e-4, atol=1e-5)
    grad = torch.autograd.grad(output.id_logits["fused"].sum(), model.reduce_body.weight, allow_unused=True)[0]
    assert (grad is None) == (option == "parts")


def test_concatenation_weighted_by_lambda():
    images, labels = torch.randn(3, 3, *SIZE), torch.tensor([0, 1, 2])
    one, scaled = (tiny(fusion="concat", intra_weight=0.3, concat_weight=weight).eval() for weight in ("one", "lambda"))
    losses = [sum(model.loss(model(images), labels).values()).item() for model in (one, scaled)]
    assert losses[1] == pytest.approx(0.3 * losses[0], rel=1e-5)


def test_concatenation_has_no_loss_of_its_own():
    model = tiny(fusion="concat", intra_weight=0.1)
    output = model(torch.randn(3, 3, *SIZE))
    parts = model.loss(output, torch.tensor([0, 1, 2]))
    assert set(parts) == {f"id_{name}" for name in ("global", *PARTS)}
    expected = F.cross_entropy(output.id_logits["head"], torch.tensor([0, 1, 2]))
    torch.testing.assert_close(parts["id_head"], expected)


# --- the full model


def test_branches_take_the_boxes():
    """Boxes that are the strips give the strips' descriptor; another head box changes only the head."""
    images = torch.randn(2, 3, *SIZE)
    model = tiny(regions="pose", fusion="concat", halves="plain").eval()
    plain = tiny(fusion="concat", halves="plain").eval()
    torch.testing.assert_close(model(images, None, strips(2)).descriptor, plain(images).descriptor)
    boxes = strips(2).clone()
    boxes[:, 1] = torch.tensor([0.2, 0.0, 0.8, 0.2])
    changed = (model(images, None, boxes).descriptor - plain(images).descriptor).abs().amax(0) > 1e-6
    assert changed[model.columns["head"]].any()
    assert not changed[: model.columns["head"].start].any() and not changed[model.columns["head"].stop :].any()


def test_image_means_make_the_result_invariant_to_a_colour_cast():
    images = torch.randn(2, 3, *SIZE)
    cast = images + torch.tensor([0.5, -0.2, 0.1])[:, None, None]
    model = tiny(means="image").eval()
    torch.testing.assert_close(model(images).descriptor, model(cast).descriptor, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(tiny().eval()(images).descriptor, tiny().eval()(cast).descriptor, atol=1e-3)


def test_undivided_channels_keep_their_scale():
    """An image minus its means, in [0, 1], is what reaches conv1, whatever the divisors are."""
    raw = torch.rand(2, 3, *SIZE)
    mean, std = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    body, parts = tiny(divided=False)._cut((raw - mean) / std, None)
    torch.testing.assert_close(body, raw - mean)
    torch.testing.assert_close(parts[:, 1], (raw - mean)[:, :, 16:32])
    body, _ = tiny(divided=False, means="image")._cut((raw - mean) / std, None)
    torch.testing.assert_close(body, raw - raw.mean((2, 3), keepdim=True))


def test_columns_cover_the_descriptor():
    columns = tiny().columns
    assert [columns[n].stop - columns[n].start for n in ("global", *PARTS)] == [256, 128, 128, 128, 128]
    covered = np.concatenate([np.arange(768)[columns[n]] for n in ("global", *PARTS)])
    assert (covered == np.arange(768)).all()
    assert columns["parts"] == slice(256, 768) and columns["all"] == slice(0, 768)
    assert tiny(fusion="fc").columns == {}


def test_every_parameter_learns():
    model = tiny()
    sum(model.loss(model(torch.randn(4, 3, *SIZE)), torch.tensor([0, 1, 2, 3])).values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert [name for name, p in model.named_parameters() if not p.grad.abs().max() > 1e-12] == []


def test_parameters_of_table_12():
    def million(**options):
        model = AttentionDriven(1, **options)
        return sum(p.numel() for n, p in model.named_parameters() if not n.startswith("classifiers")) / 1e6

    base = million(intra=False, fusion="concat")
    full = million()
    assert base == pytest.approx(6.8, rel=0.02) and full == pytest.approx(10.4, rel=0.02)
    assert million(intra=False, fusion="concat", shortcut="projection") > 7.2  # would not round to 6.8


# --- weights and bad input


def test_every_kind_of_attention_has_a_file():
    kinds = [
        ({}, ""),
        ({"intra": False}, "-plain"),
        ({"intra": False, "decomposed": False, "masking": "plain"}, "-plain"),
        ({"decomposed": False}, "-undecomposed"),
        ({"decomposed": False, "undecomposed": "1x1"}, "-undecomposed-1x1"),
        ({"undecomposed": "1x1"}, ""),
        ({"masking": "plain"}, "-masked"),
        ({"decomposed": False, "masking": "plain"}, "-undecomposed-masked"),
    ]
    for options, kind in kinds:
        assert variant(**options) == kind


def test_pretrained_weights_are_all_but_classifiers_and_fusion(tmp_path, monkeypatch):
    source = tiny(identities=9, fusion="concat")
    nn.init.constant_(source.conv1.weight, 0.5)
    save_file(source.state_dict(), tmp_path / "own.safetensors")
    model = tiny(weights=str(tmp_path / "own.safetensors"))
    assert (model.conv1.weight == 0.5).all()
    torch.testing.assert_close(
        model.parts.blocks[2][0].residual[0].weight, source.parts.blocks[2][0].residual[0].weight
    )
    assert model.classifiers["global"].out_features == 5

    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"train them with reidnb\.papers\.attention_driven\.pretraining"):
        tiny(weights="imagenet")
    path = pretrained_file("five-branch-eighth")
    path.parent.mkdir()
    save_file(source.state_dict(), path)
    assert (tiny(weights="imagenet").conv1.weight == 0.5).all()


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(tiny(intra=False).state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"do not fit this network with these options: \d+ of its \d+ arrays"):
        tiny(weights=str(tmp_path / "plain.safetensors"))
    tiny(weights=str(tmp_path / "plain.safetensors"), intra=False)
    # Neither does a network without attention start from the trunk of one with it.
    save_file(tiny().state_dict(), tmp_path / "attentive.safetensors")
    undecomposed = {"decomposed": False, "undecomposed": "1x1"}
    for options in ({"intra": False}, {"decomposed": False}, undecomposed):
        with pytest.raises(ValueError, match=r"\d+ of the file belong to another network \(first: "):
            tiny(weights=str(tmp_path / "attentive.safetensors"), **options)
    save_file(tiny(**undecomposed).state_dict(), tmp_path / "pointwise.safetensors")
    with pytest.raises(ValueError, match=r"arrays are missing or have another shape.*first: body\.attention\.2\.mix"):
        tiny(weights=str(tmp_path / "pointwise.safetensors"), decomposed=False)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        tiny(weights=str(tmp_path / "broken.safetensors"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": "boxes"}, "regions='boxes': allowed are 'pose', 'strips'"),
        ({"fusion": "sum"}, "fusion='sum'"),
        ({"pooling": "2x1"}, "pooling='2x1'"),
        ({"undecomposed": "5x5"}, "undecomposed='5x5': allowed are '3x3', '1x1'"),
        ({"masking": "none"}, "masking='none': allowed are 'residual', 'plain'"),
        ({"inter_input": "global"}, "inter_input='global': allowed are 'raw', 'normalised', 'parts'"),
        ({"body_weight": "learned", "fusion": "fc"}, "body_weight='learned' needs a loss that sees E_g.*fusion='fc'"),
        ({"body_weight": "learned", "inter_input": "parts"}, "got fusion='inter' with inter_input='parts'"),
        ({"concat_weight": "half"}, "concat_weight='half'"),
        ({"intra_weight": 1.5}, r"intra_weight \(lambda of eq. 11\) must lie in \[0, 1\], got 1.5"),
        ({"beta": 0.7}, "beta, a fraction of the body's height H"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_missing_or_wrong_boxes_are_refused():
    model, images = tiny(regions="pose"), torch.randn(2, 3, *SIZE)
    with pytest.raises(ValueError, match="regions='pose' needs boxes"):
        model(images)
    with pytest.raises(ValueError, match=r"boxes must have shape \(2, 5, 4\) for 2 images, got \(2, 4, 4\)"):
        model(images, None, torch.zeros(2, 4, 4))
