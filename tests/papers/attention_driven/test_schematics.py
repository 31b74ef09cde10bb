"""Figures 3 and 5: the shapes in print and of an independent pass, and what the options change."""

from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
import torch
from schematic_layout import check_layout, words

from reidnb.papers import PAPERS
from reidnb.papers.attention_driven import schematics
from reidnb.papers.attention_driven.branches import BODY_WIDTHS, PARTS
from reidnb.papers.attention_driven.network import AttentionDriven

SMALL = {"size": (128, 64), "backbone": "five-branch-eighth"}
ROWS = {
    row.name: {option: value for option, value in row.options.items() if option != "tuned"}
    for name in ("table6", "table9")
    for row in PAPERS["attention_driven"].table(name).rows
}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize(("number", "make"), [(3, schematics.framework), (5, schematics.intra_attention)])
def test_each_printed_figure_is_named_and_legible(number, make):
    figure = make()
    assert words(figure)["title"].endswith(f"(after figure {number})")
    check_layout(figure)


@pytest.mark.parametrize("region", ["whole_body", "lower_leg"])
@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("options", [{"decomposed": False}, {"normalised": False, "attention": "table1"}], ids=str)
def test_every_block_is_legible(block, region, options):
    check_layout(schematics.intra_attention(block, region, **options))


@pytest.mark.parametrize("name", ROWS)
def test_each_row_of_the_ablation_is_drawn_as_it_is(name):
    figure = schematics.framework(**SMALL, **ROWS[name])
    check_layout(figure)
    drawn, options = words(figure), ROWS[name]
    assert drawn["regions"].startswith("pose" if options.get("regions", "pose") == "pose" else "fixed")
    assert ("attention" in drawn["head blocks"]) == options.get("intra", True)
    assert ("head mu" in drawn) == (options.get("fusion", "inter") == "inter")
    assert ("fc" in drawn) == (options.get("fusion") == "fc")
    model = AttentionDriven(10, **SMALL, **options)
    assert sum(text == "ID loss" for text in drawn.values()) == len(model.classifiers)


def test_shapes_are_the_printed_ones():
    framework = words(schematics.framework())
    assert framework["conv1"] == "conv1\n(32),\nshared"  # table 1
    assert framework["whole_body feature"].endswith("\n256") and framework["concat"].endswith("\n768")
    assert framework["whole_body map"] == "512×24×12"
    for name in PARTS:
        assert framework[f"{name} feature"].endswith("\n128") and framework[f"{name} map"].startswith("256×")
        assert framework[name].endswith("\n3×96×192")
    body, part = words(schematics.intra_attention()), words(schematics.intra_attention(region="head"))
    for i, width in enumerate(BODY_WIDTHS):
        assert f"\n{2 * width}×" in body[f"v{i + 2}"] and f"\n{width}×" in part[f"v{i + 2}"]


@pytest.mark.parametrize(("block", "poolings"), [(2, 2), (3, 1), (4, 1)])
def test_max_pooling_is_applied_twice_in_block_2_and_once_in_blocks_3_and_4(block, poolings):
    drawn = words(schematics.intra_attention(block))
    sizes = [
        tuple(map(int, drawn[f"down{n}"].split("×"))) for n in range(sum(name.startswith("down") for name in drawn))
    ]
    assert len(sizes) == poolings + 1
    for (_, h, w), (_, lower_h, lower_w) in pairwise(sizes):
        assert (lower_h, lower_w) == (h // 2, w // 2)


def test_shapes_are_those_of_a_computed_pass():
    model = AttentionDriven(10, **SMALL).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, 128, 64), boxes=model.strips)
        v = torch.rand(1, 4 * 4, 16, 16)
        mask = model.parts.attention["2"](v)

    def printed(shape):
        return "×".join(str(n) for n in shape)

    body = words(schematics.intra_attention(3, **SMALL))
    assert body["S"].endswith("\n" + printed(output.maps["body3"].shape[1:]))
    part = words(schematics.intra_attention(2, "head", **SMALL))
    assert part["m"].split("\n")[1].split("×")[0] == str(mask.shape[1] // 4)
    assert part["S"].endswith("\n" + printed((1, *output.maps["parts2"].shape[2:])))
    assert part["C"].endswith("\n" + printed((mask.shape[1] // 4, 1, 1)))
    assert f" {output.descriptor.shape[1]} numbers" in words(schematics.framework(**SMALL))["note"]


def test_options_change_what_is_drawn():
    assert words(schematics.intra_attention(decomposed=False, **SMALL)).keys() & {"S", "C", "m"} == {"m"}
    assert "BN" not in words(schematics.intra_attention(normalised=False, **SMALL))["space"]
    assert "λ = 0.1 times" in words(schematics.framework(intra_weight=0.1, **SMALL))["note"].replace("\n", " ")
    wide, square = (words(schematics.intra_attention(region="head", pooling=p, **SMALL))["v1"] for p in ("1x2", "1x1"))
    assert wide != square


def test_a_network_without_intra_attention_has_no_figure_5():
    with pytest.raises(ValueError, match="block 2 of this network has no intra-attention, which figure 5 shows"):
        schematics.intra_attention(intra=False, **SMALL)
    with pytest.raises(ValueError, match="block 1 of this network has no intra-attention"):
        schematics.intra_attention(block=1, **SMALL)
