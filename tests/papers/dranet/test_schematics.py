"""DRANet's figures 1 to 3: the shapes in print and of an independent pass, and what the options change."""

import matplotlib.pyplot as plt
import pytest
import torch
from schematic_layout import arrows, check_layout, words

from reidnb.papers.dranet import schematics
from reidnb.papers.dranet.network import DRANet

FIGURES = ("framework", "channel_hard", "spatial_hard")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("number", range(1, 4))
def test_each_printed_figure_is_named_and_legible(number):
    figure = getattr(schematics, FIGURES[number - 1])()
    assert words(figure)["title"].endswith(f"(after figure {number})")
    check_layout(figure)


@pytest.mark.parametrize(
    "options",
    [
        {"centred": True, "gradient": True, "alpha_c": 0.5, "alpha_s": 0.25, "descriptor": "attended"},
        {"normalisation": "sigmoid", "neck": "none", "part_count": 6, "descriptor": "classified"},
        {"last_stride": 2, "neck": "bn", "part_count": 1, "backbone": "resnet18"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", FIGURES)
def test_every_reading_is_legible(name, options):
    check_layout(getattr(schematics, name)(**options))


@pytest.mark.parametrize("options", [{"rcam": False}, {"rsam": False}, {"rcam": False, "rsam": False}], ids=str)
def test_the_rows_of_table_4_have_only_their_losses(options):
    figure = schematics.framework(**options)
    check_layout(figure)
    drawn = {text[-2] for text in words(figure).values() if text.startswith("ID loss of")}
    assert drawn == set("B" + "C" * options.get("rcam", True) + "D" * options.get("rsam", True))
    dashed = [arrow for arrow in arrows(figure) if arrow.get_linestyle() != "-"]
    assert len(dashed) == 3 * (len(drawn) - 1), "hard examples, which exist in training only"


def test_shapes_are_those_of_a_computed_pass():
    options = {"size": (96, 32), "backbone": "resnet10-eighth", "reduction": 8, "width": 0.25}
    model = DRANet(10, **options).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, 96, 32), torch.tensor([3]))
        part = output.maps["stage4"].tensor_split(3, 2)[0]
        features = model.classifiers["b"][0].f3x3(part)
        classes = model.classifiers["b"][0].f1x1(features)

    def printed(x):
        return "×".join(str(n) for n in x.shape[1:])

    framework = words(schematics.framework(identities=10, **options))
    assert framework["A"].endswith(printed(output.maps["stage4"])) and framework["part2"].endswith(printed(part))
    assert f" {output.descriptor.shape[1]} numbers" in framework["note"]
    rcam, rsam = (getattr(schematics, name)(identities=10, **options) for name in FIGURES[1:])
    channel, spatial = words(rcam), words(rsam)
    assert [channel[name].split("\n")[-1] for name in "ABC"] == [printed(part)] * 3
    assert f"({model.attention[0].w0.weight.shape[0]})" in channel["w0"]
    assert spatial["f"] == printed(features) and spatial["maps"].endswith(printed(classes))
    assert spatial["H"].endswith("1×" + printed(part).split("×", 1)[1])


def test_shapes_of_the_default_follow_from_resnet_50_and_three_parts():
    framework, rsam = words(schematics.framework()), words(schematics.spatial_hard())
    assert framework["A"] == "stage 4\n2048×24×8" and framework["part0"] == "$A$, part 1\n2048×8×8"
    assert rsam["f"] == "1024×8×8" and rsam["maps"] == "class maps\n751×8×8"


def test_options_change_what_is_drawn():
    assert words(schematics.framework(last_stride=2))["A"] == "stage 4\n2048×12×4"
    assert words(schematics.framework(part_count=2)).keys() & {"part1", "part2"} == {"part1"}
    assert "alpha_c=2" in words(schematics.channel_hard(alpha_c=2.0))["reverse"]
    assert "alpha_s=2" in words(schematics.spatial_hard(alpha_s=2.0))["reverse"]
    assert "ReLU" not in words(schematics.spatial_hard(neck="bn"))["f3x3"]
    assert words(schematics.spatial_hard(normalisation="sigmoid"))["unit"] == "map $n$,\n$\\sigma$"


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("channel_hard", "rcam", "figure 2 shows reverse channel attention, which this network lacks: rcam=False"),
        ("spatial_hard", "rsam", "figure 3 shows reverse spatial attention, which this network lacks: rsam=False"),
    ],
)
def test_a_figure_of_a_missing_module_is_refused(name, option, message):
    with pytest.raises(ValueError, match=message):
        getattr(schematics, name)(**{option: False})
