"""WRCANet's figures 1 to 5: the shapes in print and of an independent pass, and what the options change."""

import matplotlib.pyplot as plt
import pytest
import torch
from schematic_layout import check_layout, words

from reidnb.papers.wrcanet import schematics
from reidnb.papers.wrcanet.network import SOFTMAX, WRCANet

FIGURES = ("framework", "backbone", "multi_scale", "gp_net", "multi_granularity")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("number", range(1, 6))
def test_each_printed_figure_is_named_and_legible(number):
    figure = getattr(schematics, FIGURES[number - 1])()
    assert words(figure)["title"].endswith(f"(after figure {number})")
    check_layout(figure)


@pytest.mark.parametrize(
    "options",
    [
        {"wra": "stage", "gradient": False, "scale": "unit", "fused": "all", "losses": "both"},
        {"statistics": "shared", "backbone": "resnet18", "fused": "stage", "losses": "all", "neck": "none"},
        {"descriptor": "stage4", "losses": "branches", "size": (128, 64), "backbone": "resnet10-eighth"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", FIGURES)
def test_every_reading_is_legible(name, options):
    check_layout(getattr(schematics, name)(**options))


def test_shapes_are_the_printed_ones():
    framework = words(schematics.framework())
    assert framework["stage4"] == "stage 4\n2048×24×12"  # section 3.1 and 3.3
    assert (framework["gp vector"], framework["ms vector"]) == ("256", "288")
    scale = words(schematics.multi_scale())
    assert scale["stacked"] == "concatenated\n4×288" and scale["ms"] == "MS\n288"
    assert [scale[f"pooled{i}"] for i in range(4)] == [f"{c}×24×12" for c in (256, 512, 1024, 2048)]
    assert words(schematics.multi_granularity())["stacked"] == "concatenated\n4×256"


def test_shapes_are_those_of_a_computed_pass():
    options = {"size": (64, 32), "backbone": "resnet10-eighth"}
    model = WRCANet(10, **options).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, 64, 32))
        stages = model.second(output.maps["new"])

    def printed(x):
        return "×".join(str(n) for n in x.shape[1:])

    framework, backbone = words(schematics.framework(**options)), words(schematics.backbone(**options))
    assert [framework[f"stage{i}"].split("\n")[1] for i in range(1, 5)] == [printed(a) for a in stages]
    assert (framework["gp vector"], framework["ms vector"]) == (printed(model.gp(stages)), printed(model.ms(stages)))
    assert backbone["f"].endswith(printed(output.maps["f"])) and backbone["new"].endswith(printed(output.maps["new"]))
    numbers = [
        int(word.strip("(),.")) for word in framework["note"].split() if word.startswith("(") and "eq" not in word
    ]
    assert sum(numbers) == output.descriptor.shape[1]


def test_losses_are_those_of_the_network():
    for losses, softmax in SOFTMAX.items():
        drawn = {
            name.removesuffix(" loss")
            for name, text in words(schematics.framework(losses=losses)).items()
            if "ID" in text
        }
        assert drawn == set(softmax)


def test_options_change_what_is_drawn():
    full, plain = words(schematics.framework()), words(schematics.framework(wra="", gp=False))
    assert full.keys() - plain.keys() >= {"wra", "gp", "gp vector", "gp loss"}
    assert "GP" in full["note"] and "GP" not in plain["note"]
    assert words(schematics.backbone(strength=0.25))["weak"] != words(schematics.backbone())["weak"]
    assert words(schematics.backbone(wra="stage"))["I"] == "$I$: input of stage 4\n1024×24×12"
    assert words(schematics.multi_scale(fused="all"))["stacked"] == "concatenated\n3840×288"
    assert words(schematics.multi_scale(fusion_kernel=1))["fuse"] == "1-D conv (1)"
    assert words(schematics.gp_net(stage=1))["stage"] == "stage 1\n256×96×48"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("backbone", {"wra": ""}, "figure 2 shows weak reverse attention, which this network lacks: wra=''"),
        ("multi_scale", {"ms": False}, "figure 3 shows the branch ms, which this network lacks: ms=False"),
        ("gp_net", {"gp": False}, "figure 4 shows the branch gp, which this network lacks: gp=False"),
    ],
)
def test_a_figure_of_a_missing_module_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(schematics, name)(**options)
