"""Ranking lists, heat maps and curves: what is drawn, where, and what is refused."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from PIL import Image
from torch import nn

from reidnb.figures import curves, heatmaps, ranking, sheet, style
from reidnb.figures.cam import cam
from reidnb.models.output import Output

INFERNO = mpl.colormaps["inferno"]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 16, 8, 3), np.uint8)


def borders(figure) -> list[tuple[str, str]]:
    """Colour and dash of every image's border, in drawing order."""
    patches = [axes.patches[0] for axes in figure.axes if axes.patches]
    return [(to_hex(p.get_edgecolor()), p.get_linestyle()) for p in patches]


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


# Style


def test_match_and_mismatch_differ_without_colour():
    assert style.MATCH["linestyle"] == "solid" and style.MISMATCH["linestyle"] == "dashed"
    assert min(style.MATCH["linewidth"], style.MISMATCH["linewidth"]) >= 3


def test_any_two_of_twenty_curves_have_at_most_one_mark_in_common():
    looks = [tuple(look.values()) for look in style.lines(20)]
    for i, a in enumerate(looks):
        assert all(sum(x == y for x, y in zip(a, b, strict=True)) <= 1 for b in looks[:i])


def test_a_figure_is_saved_atomically_closed_and_reproducible(tmp_path):
    def draw():
        return ranking.ranking_list(images(1), images(1, 2), np.array([[True, False]]))

    first, second = (style.save(draw(), tmp_path / "new" / f"{name}.webp") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in first.parent.iterdir()) == ["a.pdf", "a.webp", "b.pdf", "b.webp"]  # no partial file
    assert first.with_suffix(".pdf").read_bytes() == second.with_suffix(".pdf").read_bytes()
    assert Image.open(first).size[0] > 200
    assert not plt.get_fignums()


def test_a_figures_pdf_has_vectors_and_fonts_that_publishers_take(tmp_path):
    style.use()
    figure, axes = plt.subplots()
    axes.plot([0, 1], label="one")
    pdf = style.save(figure, tmp_path / "a.webp").with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/FontFile2" in pdf
    assert b"/Type3" not in pdf and b"/Subtype /Image" not in pdf


def test_a_figure_is_only_saved_as_webp(tmp_path):
    with pytest.raises(ValueError, match=r"must be saved as \.webp, got a\.pdf"):
        style.save(plt.figure(), tmp_path / "a.pdf")


# Ranking lists


def test_a_ranking_list_has_an_image_each_with_its_border():
    matches = np.array([[True, False, True], [False, False, True]])
    figure = ranking.ranking_list(images(2), images(2, 3), matches)
    assert len(figure.axes) == 2 * (1 + 3)
    green, red, black = (style.MATCH["edgecolor"], style.MISMATCH["edgecolor"], "#000000")
    dash = {True: (green.lower(), "solid"), False: (red.lower(), "dashed")}
    expected = [((black, "solid"), *(dash[bool(r)] for r in row)) for row in matches]
    assert borders(figure) == [border for row in expected for border in row]
    assert words(figure) == ["query", "1", "2", "3"] * 2


def test_every_image_keeps_its_aspect_and_size():
    figure = ranking.ranking_list(images(2), images(2, 3), np.ones((2, 3), bool), titles=["a", "b"])
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert np.allclose([box.height / box.width for box in boxes], 2)
    assert np.allclose([box.width for box in boxes], boxes[0].width)


def test_images_and_words_do_not_overlap_or_leave_the_figure():
    style.use()
    rankings = (images(2, 5), np.ones((2, 5), bool))
    lists = {"ResNet-50+WRA+MS+GP": rankings, "a name that is far too long for " * 3: rankings}
    figure = ranking.compare_rankings(images(2), lists, titles=["one", "two"])
    figure.canvas.draw()
    boxes = [axes.get_window_extent() for axes in figure.axes] + [t.get_window_extent() for t in figure.texts]
    for i, a in enumerate(boxes):
        assert (
            figure.bbox.x0 <= a.x0 and a.x1 <= figure.bbox.x1 + 1 and figure.bbox.y0 <= a.y0 and a.y1 <= figure.bbox.y1
        )
        for b in boxes[:i]:
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
            assert apart


def test_missing_entries_are_not_drawn():
    matches = np.ma.array([[True, False, False]], mask=[[False, False, True]])
    figure = ranking.ranking_list(images(1), images(1, 3), matches, names=[["a", "b", "c"]])
    assert len(figure.axes) == 3
    assert words(figure) == ["query", "1", "2", "a", "b"]


def test_models_are_compared_on_the_same_query():
    lists = {"without": (images(2, 3), np.zeros((2, 3), bool)), "with": (images(2, 2), np.ones((2, 2), bool))}
    figure = ranking.compare_rankings(images(2), lists)
    assert len(figure.axes) == 2 * (1 + 3 + 2)
    assert [dash for _, dash in borders(figure)] == (["solid"] + ["dashed"] * 3 + ["solid"] * 2) * 2
    assert [w for w in words(figure) if w in lists] == ["without", "with"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((images(2).astype(float), images(2, 3), np.ones((2, 3), bool)), r"queries must be uint8 .* got float64"),
        ((images(2), images(3, 3), np.ones((3, 3), bool)), r"\(3, 3, 16, 8, 3\) does not match queries"),
        ((images(2), images(2, 3), np.ones((2, 4), bool)), r"must be bool \(2, 3\), got bool \(2, 4\)"),
        ((images(2), images(2, 3), np.ones((2, 3))), "got float64"),
        ((images(2), images(2)[:, 0], np.ones((2, 3), bool)), "galleries of the ranking must be uint8 of shape"),
    ],
)
def test_a_ranking_of_wrong_shape_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ranking.ranking_list(*arguments)


def test_a_comparison_needs_models_and_as_many_titles_as_queries():
    with pytest.raises(ValueError, match="no model to compare"):
        ranking.compare_rankings(images(2), {})
    with pytest.raises(ValueError, match="2 titles expected, got 1"):
        ranking.ranking_list(images(2), images(2, 1), np.ones((2, 1), bool), titles=["a"])


# Heat maps


def test_an_overlay_blends_at_known_points():
    image = np.full((8, 4, 3), 100, np.uint8)
    heat = np.zeros((8, 4))
    heat[2, 1], heat[5, 3] = 5, 10
    blended = heatmaps.overlay(image, heat, alpha=0.5)
    for place, level in {(0, 0): 0.0, (2, 1): 0.5, (5, 3): 1.0}.items():
        expected = 0.5 * 100 + 0.5 * 255 * np.array(INFERNO(level)[:3])
        np.testing.assert_allclose(blended[place], expected, atol=1)
    assert blended.dtype == np.uint8 and blended.shape == image.shape


def test_a_map_grows_bilinearly():
    enlarged = heatmaps.colour(np.array([[0.0, 1.0]]), (1, 4))  # sampled at 0, 1/4, 3/4, 1
    levels = np.array([INFERNO(v, bytes=True)[:3] for v in (0.0, 0.25, 0.75, 1.0)])
    np.testing.assert_array_equal(enlarged[0], levels)


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e3))
def test_a_map_looks_the_same_at_any_scale_and_offset(offset, scale):
    heat = np.arange(6.0).reshape(2, 3)
    moved = heatmaps.colour(heat * scale * max(1, abs(offset)) + offset).astype(int)
    assert np.abs(moved - heatmaps.colour(heat)).max() <= 3


def test_a_constant_map_is_zero():
    assert (heatmaps.colour(np.full((3, 2), 7.0)) == INFERNO(0.0, bytes=True)[:3]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: heatmaps.colour(np.zeros((2, 2, 2))), r"shape \(h, w\), got \(2, 2, 2\)"),
        (lambda: heatmaps.colour(np.array([[np.nan]])), "NaN or infinite"),
        (lambda: heatmaps.overlay(np.zeros((4, 4, 3)), np.zeros((2, 2))), "uint8"),
        (lambda: heatmaps.overlay(images(), np.zeros((2, 2)), alpha=2), "alpha must lie in"),
        (lambda: heatmaps.grid([[], []]), "at least one picture"),
        (lambda: heatmaps.grid([[images()]], ["a", "b"]), "1 row titles expected, got 2"),
        (lambda: heatmaps.grid([[images()] * 2], None, ["a"]), "2 column titles expected, got 1"),
    ],
)
def test_a_bad_map_or_grid_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_grid_has_rows_columns_and_titles():
    figure = heatmaps.grid([[images()] * 3, [images()] * 2], ["first", "ResNet-50+WRA+MS+GP"], ["a", "b", "c"])
    assert len(figure.axes) == 5
    assert words(figure) == ["a", "b", "c", "first", "ResNet-50+\nWRA+MS+GP"]
    lefts = [axes.get_position().x0 for axes in figure.axes]
    assert lefts[0] == lefts[3] and lefts[1] == lefts[4]


@given(st.text("ab+-_ ", max_size=40), st.integers(3, 20))
def test_wrapping_loses_no_letter(text, width):
    wrapped = sheet.wrap(text, width)
    assert wrapped.replace("\n", "").replace(" ", "") == text.replace(" ", "")
    assert max(map(len, wrapped.split("\n"))) <= width + 1


class Toy(nn.Module):
    """Descriptor: the normalised mean over space of a map of the image; ``twice``: first of the mirrored image."""

    def __init__(self, twice: bool = False):
        super().__init__()
        self.layer, self.unused, self.twice = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), twice
        with torch.no_grad():
            self.layer.weight[:] = torch.tensor([1.0, 2, 3, 0.1])[:, None, None, None]
            self.layer.bias[:] = torch.tensor([1.0, 1, 1, 3])

    def forward(self, x, labels=None):
        assert labels is None
        if self.twice:
            x = x + 1e-6 * self.layer(x.flip(3)).mean()
        return Output(nn.functional.normalize(torch.relu(self.layer(x)).mean((2, 3))))


@pytest.mark.parametrize("twice", [False, True])
def test_a_cam_is_high_where_the_descriptor_comes_from(twice):
    x = torch.zeros(2, 3, 8, 8)
    x[0, :, :2, :2], x[1, :, 6:, 4:6] = 2.0, 2.0
    model = Toy(twice).train().requires_grad_(False)
    with torch.inference_mode():
        maps = cam(model, model.layer, x)
    assert maps.shape == (2, 8, 8) and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() <= 1
    for heat, image in zip(maps, x, strict=True):
        inside = image[0].numpy() > 0
        assert heat[inside].min() > 0.9 and heat[~inside].max() < 0.6
    assert model.training and model.layer.training


class Cropping(Toy):
    """A toy that takes a box for each image, and is blind to the columns outside."""

    def forward(self, x, labels=None, boxes=None):
        column = torch.arange(x.shape[3]) / x.shape[3]
        inside = (column >= boxes[:, 0, :1]) & (column < boxes[:, 0, 2:3])
        return super().forward(x * inside[:, None, None])


def test_a_cam_gives_each_image_its_boxes():
    model, x = Cropping(), torch.full((2, 3, 8, 8), 2.0)
    maps = cam(model, model.layer, x, torch.tensor([[[0.0, 0, 0.5, 1]], [[0.5, 0, 1, 1]]]))
    for heat, inside in zip(maps, (slice(0, 4), slice(4, 8)), strict=True):
        assert heat[:, inside].min() > 0.9 and np.delete(heat, inside, 1).max() < 0.6


def test_a_cam_explains_another_target():
    x = torch.zeros(1, 3, 4, 4)
    x[0, :, 0, 0] = 1.0
    model = Toy()
    maps = cam(model, model.layer, x, target=lambda descriptor: descriptor[0])
    assert maps[0, 0, 0] == maps.max() > 0.9


def test_a_cam_needs_a_layer_that_contributes():
    model = Toy()
    with pytest.raises(ValueError, match="does not contribute to the descriptor"):
        cam(model, model.unused, torch.zeros(1, 3, 4, 4))


# Curves


def trained(epochs: int = 6, parts: tuple[str, ...] = ("id", "triplet"), accuracy: bool = False) -> pd.DataFrame:
    frame = pd.DataFrame({"epoch": np.arange(1, epochs + 1)})
    for n, part in enumerate(parts):
        frame[f"loss_{part}"] = (n + 1) / frame.epoch
    frame.insert(1, "loss", frame.filter(like="loss_").sum(axis=1))
    frame["lr"], frame["images_per_second"] = 1e-3, 100.0
    if accuracy:
        frame["rank1"] = np.where(frame.epoch % 3 == 0, 10.0 * frame.epoch, np.nan)
        frame["map"] = frame.rank1 / 2
    return frame


def axes_of(figure) -> dict[str, plt.Axes]:
    return {axes.get_title(loc="left") or axes.get_title(): axes for axes in figure.axes}


class Pooled(nn.Sequential):
    """Layers whose descriptor is the mean of the last one's map."""

    def forward(self, x):
        return Output(super().forward(x).mean((2, 3)))


def test_cam_keeps_the_cells_of_the_layer():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 4, 3, stride=4, padding=1)
    model, x = Pooled(layer, torch.nn.ReLU()), torch.randn(2, 3, 16, 8)
    cells, full = (cam(model, layer, x, resized=resized) for resized in (False, True))
    assert cells.shape == (2, 4, 2) and full.shape == (2, 16, 8)
    activations = layer(x).detach().requires_grad_(True)
    empty = model(torch.zeros_like(x[:1])).descriptor.detach()
    (-torch.nn.functional.cosine_similarity(activations.relu().mean((2, 3)), empty)).sum().backward()
    direct = (activations.grad.relu() * activations).detach().sum(1).relu()  # LayerCAM, eq. 6 and 7
    low, high = (direct.amin((1, 2), keepdim=True), direct.amax((1, 2), keepdim=True))
    np.testing.assert_allclose(cells, (direct - low) / (high - low), atol=1e-5)


def test_a_history_shows_loss_parts_and_rate():
    style.use()
    axes = axes_of(curves.history(trained()))
    assert set(axes) == {"Loss", "its parts", "Learning rate"}
    np.testing.assert_allclose(axes["Loss"].get_lines()[0].get_ydata(), 3 / np.arange(1, 7))
    assert [line.get_label() for line in axes["its parts"].get_lines()] == ["id", "triplet"]


def test_a_history_of_one_epoch_shows_its_points():
    axes = axes_of(curves.history(trained(1)))
    for title in ("Loss", "Learning rate"):
        (line,) = axes[title].get_lines()
        assert line.get_marker() == "o"
        assert [tick for tick in axes[title].get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_a_history_shows_accuracy_where_it_was_measured():
    style.use()
    lines = axes_of(curves.history(trained(accuracy=True)))["Accuracy (%)"].get_lines()
    assert [line.get_label() for line in lines] == ["rank-1", "mAP"]
    np.testing.assert_array_equal(lines[0].get_xdata(), [3, 6])
    np.testing.assert_array_equal(lines[1].get_ydata(), [15, 30])


def test_many_losses_become_a_band_for_each_kind():
    style.use()
    parts = tuple(f"id_window{n}" for n in range(21)) + tuple(f"triplet_level{n}" for n in range(6))
    axes = axes_of(curves.history(trained(parts=parts)))["its parts"]
    assert [line.get_label() for line in axes.get_lines()] == ["id (mean of 21)", "triplet (mean of 6)"]
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), np.arange(1, 22).mean() / np.arange(1, 7))
    assert len(axes.collections) == 2


def test_a_single_loss_needs_no_parts():
    style.use()
    assert set(axes_of(curves.history(trained(parts=("id",))))) == {"Loss", "Learning rate"}


def test_a_frame_that_is_not_a_history_is_refused():
    with pytest.raises(ValueError, match="no column 'loss'"):
        curves.history(pd.DataFrame({"epoch": [1]}))
    with pytest.raises(ValueError, match="it has no row"):
        curves.history(trained(0))


def test_cmc_curves_differ_and_the_best_is_named_first():
    values = {"a": np.linspace(0.2, 0.9, 30), "b": [0.5, 0.6]}
    axes = curves.cmc(values).axes[0]
    lines = axes.get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), 100 * values["a"][:20])
    np.testing.assert_array_equal(lines[0].get_xdata(), np.arange(1, 21))
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines]
    assert all(x != y for x, y in zip(*looks, strict=True))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["50.0  b", "20.0  a"]


@pytest.mark.parametrize(
    ("given_curves", "message"),
    [
        ({}, "no CMC curve"),
        ({"a": []}, "'a' must contain fractions"),
        ({"a": [50.0, 60.0]}, "'a' must contain fractions"),
        ({"a": [0.5, np.nan]}, "'a' must contain fractions"),
        ({"a": [0.6, 0.5]}, "'a' decreases"),
    ],
)
def test_a_bad_cmc_curve_is_refused(given_curves, message):
    with pytest.raises(ValueError, match=message):
        curves.cmc(given_curves)


def test_row_titles_in_capitals_are_not_cut():
    figure = heatmaps.grid([[np.zeros((4, 2, 3), np.uint8)]], ["RCAM+RSAM WWWWWW"])
    figure.canvas.draw()
    assert min(text.get_window_extent().x0 for text in figure.texts) >= 0
