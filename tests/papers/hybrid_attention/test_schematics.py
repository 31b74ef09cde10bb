"""Figures 2 to 5: the shapes in print and of an independent pass, and what the options change."""

import matplotlib.pyplot as plt
import pytest
import torch
from schematic_layout import check_layout, words

from reidnb.papers import PAPERS
from reidnb.papers.hybrid_attention import schematics
from reidnb.papers.hybrid_attention.network import HybridAttention

FIGURES = ("framework", "spatial_attention", "channel_attention", "windows_and_features")
SMALL = {"size": (96, 32), "backbone": "resnet10-eighth", "width": 16, "reduced": 8}
ROWS = {
    row.name: row.options
    for name in ("table6", "table9", "table10")
    for row in PAPERS["hybrid_attention"].table(name).rows
}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("number", range(2, 6))
def test_each_printed_figure_is_named_and_legible(number):
    figure = getattr(schematics, FIGURES[number - 2])()
    assert words(figure)["title"].endswith(f"(after figure {number})")
    check_layout(figure)


@pytest.mark.parametrize(
    "options",
    [
        {"cam": "cbam", "cam_scaled": True, "compared": "fc", "order": "C+S+concat", "dropblock": "max"},
        {"cam_scaled": True, "order": "concat+S+C", "local": "pcb", "activation": "leaky", "triplet": "level"},
        {"order": "S+C", "stages": "4", "local": "", "extractor": "gap", "last_stride": 2},
        {"order": "S+concat+C", "stages": "24", "extractor": "gap", "neck": False, "stripes": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", FIGURES)
def test_every_reading_is_legible(name, options):
    check_layout(getattr(schematics, name)(**SMALL, **options))


@pytest.mark.parametrize("name", ROWS)
def test_each_row_of_the_ablation_is_drawn_as_it_is(name):
    figure = schematics.framework(**SMALL, **ROWS[name])
    check_layout(figure)
    drawn, order = words(figure), ROWS[name].get("order", "S+concat+C")
    for kind, module in (("S", "SAM"), ("C", "CAM")):
        assert any(text.startswith(module) for text in drawn.values()) == (kind in order.split("+"))
    assert ("concat" in drawn) == ("concat" in order)
    assert ("triplet" in drawn) == (ROWS[name].get("extractor", "mpfe") == "mpfe")


def test_shapes_are_the_printed_ones():
    framework = words(schematics.framework())
    assert framework["stage4"] == "stage 4\n2048×24×8"  # section 4.1
    assert framework["fused"] == "fused\n3840×24×8" and framework["features"] == "features\n21×512"
    sam, windows = words(schematics.spatial_attention()), words(schematics.windows_and_features())
    assert sam["pooled"] == "concatenated\n2×24×8" and sam["M"].endswith("\n1×24×8")
    assert windows["pooled"] == "concatenated\n7680" and windows["fc"] == "512"  # section 3.4
    assert windows["window"] == "one window\n3840×4×8" and sum(name[6:].isdigit() for name in windows) == 21


def test_shapes_are_those_of_a_computed_pass():
    model = HybridAttention(10, **SMALL).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, 96, 32))

    def printed(x):
        return "×".join(str(n) for n in x.shape[1:])

    framework = words(schematics.framework(identities=10, **SMALL))
    for stage in range(1, 5):
        assert framework[f"stage{stage}"].endswith("\n" + printed(output.maps[f"stage{stage}"]))
        assert framework[f"aligned{stage}"].split("×")[1:] == printed(output.maps["stage4"]).split("×")[1:]
    assert framework["fused"].endswith("\n" + printed(output.maps["fused"]))
    assert framework["features"].endswith("\n" + printed(output.embeddings["windows"]))
    assert f" {output.descriptor.shape[1]} numbers" in framework["note"]
    assert words(schematics.spatial_attention(**SMALL))["M"].endswith("\n" + printed(output.maps["S4"]))
    assert words(schematics.channel_attention(**SMALL))["M"].endswith("\n" + printed(output.maps["C"]))


def test_options_change_what_is_drawn():
    assert words(schematics.framework(last_stride=2))["stage4"] == "stage 4\n2048×12×4"
    assert words(schematics.framework(stages="24", **SMALL)).keys() & {"aligned1", "aligned2"} == {"aligned2"}
    assert words(schematics.spatial_attention(sam_kernel=3, **SMALL))["conv"].startswith("3×3 conv")
    assert "3840 to 120" in words(schematics.channel_attention(cam_reduction=32))["mlp"]
    assert "same" in words(schematics.channel_attention(cam="cbam", **SMALL))
    assert words(schematics.windows_and_features(local="pcb", **SMALL))["mgo"] == "stripes: 6\nwindows\neq. 3"
    assert "LeakyReLU" in words(schematics.windows_and_features(activation="leaky", **SMALL))["conv"]


@pytest.mark.parametrize(
    ("name", "order", "message"),
    [
        ("spatial_attention", "concat+C", r"figure 3 shows spatial attention \(S\), .* lacks: order='concat\+C'"),
        ("channel_attention", "S+concat", r"figure 4 shows channel attention \(C\), .* lacks: order='S\+concat'"),
    ],
)
def test_a_figure_of_a_missing_module_is_refused(name, order, message):
    with pytest.raises(ValueError, match=message):
        getattr(schematics, name)(order=order, **SMALL)
