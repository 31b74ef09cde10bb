"""The drawing of schematics: what is written, where arrows go, and what is refused."""

from itertools import pairwise

import matplotlib.pyplot as plt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schematic_layout import arrows, check_layout, line, words

from reidnb.figures.schematic import COLOURS, ROUTES, Edge, Node, draw
from reidnb.figures.style import PALETTE


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_node_tells_its_text_its_shape_and_its_equation():
    figure = draw([Node("a", "feature", "stage 4", (0, 0), (2048, 24, 12), "eq. 1")], [], "A map", "Random weights.")
    written = words(figure)
    assert written["a"] == "stage 4\n2048×24×12\neq. 1"
    assert (written["title"], written["note"]) == ("A map", "Random weights.")
    check_layout(figure)


def test_the_legend_names_the_kinds_that_are_drawn():
    nodes = [Node("a", "image", "a", (0, 0)), Node("b", "loss", "b", (0, 2))]
    texts = [t.get_text() for t in draw(nodes, [], "").axes[0].texts if t.get_gid() == "legend"]
    assert texts == ["image", "loss"]
    assert {colour for kind, colour in COLOURS.items() if kind != "operation"} < set(PALETTE)


@given(st.integers(1, 4096), st.integers(1, 96), st.integers(1, 48))
@settings(max_examples=25, deadline=None)
def test_more_channels_make_a_slab_wider_and_more_rows_make_it_higher(channels, height, width):
    def size(*shape):
        figure = draw([Node("a", "feature", "", (0, 0), shape)], [], "")
        front = figure.axes[0].patches[0].get_path().get_extents()
        plt.close(figure)
        return front.width, front.height

    w, h = size(channels, height, width)
    assert size(2 * channels, height, width)[0] > w
    assert size(channels, 2 * height, width)[1] > h


# Beside and below each other, so that every corner has room.
apart = st.builds(lambda far, sign: sign * far, st.floats(1.2, 4), st.sampled_from([-1, 1]))


@given(st.tuples(apart, apart), st.sampled_from([route for route in ROUTES if route not in ("h", "v")]))
@settings(max_examples=60, deadline=None)
def test_an_arrow_leads_from_the_rim_of_one_box_to_that_of_the_other(at, route):
    nodes = [Node("a", "operation", "", (0, 0), size=(1, 1)), Node("b", "loss", "", at, size=(1, 1))]
    figure = draw(nodes, [Edge("a", "b", route)], "")
    corners = line(arrows(figure)[0])
    plt.close(figure)
    for a, b in pairwise(corners):
        assert min(abs(a - b)) < 0.05, "a segment is level or upright"
    first, last = corners[0], corners[-1] - at
    for point, across in ((first, not route.startswith("v")), (last, not route.endswith("v"))):
        assert abs(abs(point[0 if across else 1]) - 0.5) < 0.1
        assert abs(point[1 if across else 0]) < 0.05


def test_a_straight_arrow_stands_where_the_smaller_box_is():
    nodes = [Node("a", "feature", "", (1, 0), size=(0.2, 0.2)), Node("b", "operation", "", (0, 2), size=(4, 0.3))]
    for edge in (Edge("a", "b", "v"), Edge("b", "a", "v")):
        assert line(arrows(draw(nodes, [edge], ""))[0])[:2, 0] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Node("a", "map", "", (0, 0)), "node 'a': kind 'map' is none of image, feature"),
        (lambda: Edge("a", "b", "x"), "edge a to b: route 'x' is none of"),
        (lambda: draw([Node("a", "loss", "", (0, 0))], [Edge("a", "b")], ""), "edge a to b: there is no node 'b'"),
        (lambda: draw([Node("a", "loss", "", (0, 0))] * 2, [], ""), "two nodes are called 'a'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
