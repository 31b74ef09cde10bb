"""Figures 3 and 5 of the attention-driven network, drawn from the network itself.

Each function takes the options of ``AttentionDriven``; all shapes and sizes are those of a network built with them.
The four parts run as one network of grouped convolutions; the drawings show the channels of one part.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from matplotlib.figure import Figure

from ...figures.schematic import Edge, Node, draw
from ...models.output import Output
from ...models.shapes import Flow, Shape, flows
from .branches import PARTS, STRIPS, UNITS, IntraAttention
from .network import AttentionDriven

SIZE = (384, 192)
REGIONS = ("whole_body", *PARTS)


def framework(**options) -> Figure:
    """Figure 3: the five regions, their branches, the inter-attention that fuses them, and six losses."""
    model, flow, output = _trace(options)
    where = ("pose, and\nboxes", "eq. 1, 2") if model.regions == "pose" else ("fixed\nstrips", "")
    middle, pitch = 2.7, 1.35
    nodes = [
        Node("image", "image", "image", (0.5, middle - 0.9), (3, *model.size), size=(0.5, 1.0)),
        Node("regions", "operation", where[0], (0.5, middle + 0.7), equation=where[1]),
        Node("conv1", "operation", f"conv1\n({flow['conv1'].output[0]}),\nshared", (3.0, middle), size=(0.7, 6.0)),
    ]
    edges = [Edge("image", "regions")]
    for i, name in enumerate(REGIONS):
        row, links = _branch(model, flow, i, pitch * i)
        nodes += row
        edges += [Edge("regions", name), Edge(name, "conv1", "h"), Edge("conv1", f"{name} blocks", "h"), *links]
    fused, links = _fusion(model, flow, middle, pitch)
    nodes += fused
    edges += links
    weight = (
        "" if model.fusion == "concat" else f"λ = {model.intra_weight:g} times the sum of the regions' losses, plus "
    )
    loss = f"{weight}the fused one's" if weight else "the sum of the regions' losses"
    note = f"AP: average pooling. Loss: {loss} (eq. 11). Test descriptor: {output.descriptor.shape[1]} numbers."
    return draw(nodes, edges, "Attention-driven network (after figure 3)", note)


def intra_attention(block: int = 2, region: str = "whole_body", **options) -> Figure:
    """Figure 5: the four blocks of a branch, and the two paths of one of them, 2 to 4, in detail."""
    model, flow, _ = _trace(options)
    branch = "body" if region == "whole_body" else "parts"
    if str(block) not in getattr(model, branch).attention:
        raise ValueError(f"block {block} of this network has no intra-attention, which figure 5 shows")
    groups = getattr(model, branch).groups
    attention = f"{branch}.attention.{block}"

    def shape(name: str, inputs: bool = False) -> Shape:
        full = flow[name].inputs if inputs else flow[name].output
        return (full[0] // groups, *full[1:])

    nodes, names = [Node("v1", "feature", "$v_1$", (0.55, 0.5), shape(f"{branch}.blocks.0", inputs=True))], ["v1"]
    for i in range(1, 5):
        kind = "attention" if str(i) in getattr(model, branch).attention else "operation"
        nodes.append(Node(f"B{i}", kind, f"$B_{i}$", (2.05 * i - 0.5, 0.5)))
        nodes.append(
            Node(f"v{i + 1}", "feature", f"$v_{i + 1}$", (0.55 + 2.05 * i, 0.5), shape(f"{branch}.blocks.{i - 1}"))
        )
        names += [f"B{i}", f"v{i + 1}"]
    path, decomposed = f"{branch}.blocks.{block - 1}", model.get_submodule(attention).decomposed
    nodes += [
        Node("v", "feature", f"$v_{block}$", (0.55, 2.3), shape(path, inputs=True)),
        Node("units", "operation", f"{UNITS} residual units", (2.8, 2.3), equation="eq. 3"),
        Node("a", "feature", f"$a_{block}$", (5.0, 2.3), shape(path)),
        Node("mask", "operation", "⊙", (7.1, 2.3), equation="eq. 7"),
        Node("next", "feature", f"$v_{block + 1}$", (8.7, 2.3), shape(path)),
        Node("m", "attention", f"$m_{block}$", (7.1, 3.65), shape(f"{attention}.mix")),
        Node("mix", "operation", "1×1 conv, $\\sigma$", (8.6, 3.65 if decomposed else 5.4), equation="eq. 4"),
    ]
    edges = [Edge(a, b) for a, b in [*pairwise(names), ("v", "units"), ("units", "a"), ("a", "mask"), ("mask", "next")]]
    edges += [Edge("mix", "m", "" if decomposed else "vh"), Edge("m", "mask")]
    encoder, links = _encoder_decoder(len(getattr(model, branch).attention[str(block)].down), shape, attention)
    scores, more = _scores(model.get_submodule(attention), shape, attention, block)
    note = (
        "Down: max pooling and a residual unit; up: upsampling, added to the map of that size."
        f" Eq. 7: $v_{block + 1}=(1+m_{block})\\odot a_{block}$."
    )
    title = f"Intra-attention: block {block}, {region.replace('_', ' ')} (after figure 5)"
    return draw([*nodes, *encoder, *scores], [*edges, *links, *more], title, note)


def _branch(model: AttentionDriven, flow: dict[str, Flow], i: int, y: float) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges of region ``i``, from its crop to its feature and loss, in a row at ``y``."""
    name, body = REGIONS[i], i == 0
    top, bottom = STRIPS[i][1], STRIPS[i][3]
    branch, groups, size = ("body", 1, model.size) if body else ("parts", len(PARTS), model.part_size)
    feature, intra = f"$E_{'g' if body else i}$", len(model.body.attention) > 0
    blocks = "blocks 1–4,\nattention\n(figure 5)" if intra else "blocks 1–4"
    last = flow[f"{branch}.blocks.3"].output
    width = flow[f"reduce_{branch}"].output[0] // groups
    picture = (0.5, 1.0) if body else (0.5, 0.25)
    nodes = [
        Node(name, "image", name.replace("_", " "), (2.1, y), (3, *size), size=picture, part=(top, bottom)),
        Node(f"{name} blocks", "attention" if intra else "operation", blocks, (4.05, y)),
        Node(f"{name} map", "feature", "", (5.2, y), (last[0] // groups, *last[1:])),
        Node(f"{name} reduce", "operation", "AP,\nFC", (6.0, y)),
        Node(f"{name} feature", "feature", feature, (6.65, y), (width,)),
        Node(f"{name} loss", "loss", "ID loss", (7.2, y - 0.5)),
    ]
    names = [f"{name} {part}" for part in ("blocks", "map", "reduce", "feature")]
    return nodes, [*(Edge(a, b) for a, b in pairwise(names)), Edge(names[-1], f"{name} loss", "vh")]


def _fusion(
    model: AttentionDriven, flow: dict[str, Flow], middle: float, pitch: float
) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges from the regions' features to the fused one and its loss."""
    features = [flow[f"reduce_{branch}"].output[0] for branch in ("body", "parts")]
    nodes = [Node("concat", "feature", "fused", (8.75, middle), (sum(features),))]
    edges = []
    for i, name in enumerate(REGIONS):
        last = f"{name} feature"
        if model.inter and i > 0:
            nodes.append(Node(f"{name} mu", "attention", rf"× $(1+\mu_{i})$", (7.5, pitch * i), equation="eq. 8, 9"))
            edges.append(Edge(last, f"{name} mu"))
            last = f"{name} mu"
        edges.append(Edge(last, "concat", "" if i else "hv"))
    last, y = "concat", middle + 1.1
    if model.fc:
        nodes[0] = Node("concat", "feature", "all", (8.75, middle), flow["fc"].inputs)
        nodes.append(Node("fc", "operation", "FC", (8.75, middle + 0.85)))
        nodes.append(Node("fused", "feature", "fused", (8.75, middle + 1.4), flow["fc"].output))
        edges += [Edge("concat", "fc"), Edge("fc", "fused")]
        last, y = "fused", middle + 2.4
    if "fused" in model.classifiers:
        nodes.append(Node("fused loss", "loss", "ID loss", (8.75, y)))
        edges.append(Edge(last, "fused loss"))
    return nodes, edges


def _encoder_decoder(poolings: int, shape: Callable[[str], Shape], attention: str) -> tuple[list[Node], list[Edge]]:
    """The encoder-decoder of figure 5, which goes down ``poolings`` times and up again to A."""
    left, y, step = 1.55, 4.3, 0.8
    nodes = [Node("down0", "feature", "", (left, y), shape(f"{attention}.entry"))]
    edges = [Edge("v", "down0", "vh")]
    for level in range(1, poolings + 1):
        at = (left + step * level, y + 0.95 * level)
        nodes.append(Node(f"down{level}", "feature", "", at, shape(f"{attention}.down.{level - 1}")))
        edges.append(Edge(f"down{level - 1}", f"down{level}", "vh"))
    last = f"down{poolings}"
    for level in reversed(range(poolings)):
        nodes.append(Node(f"up{level}", "operation", "+", (4.1 - 0.5 * level, y + 0.95 * level)))
        edges += [Edge(last, f"up{level}", "hv"), Edge(f"down{level}", f"up{level}")]
        last = f"up{level}"
    nodes.append(Node("A", "feature", "$A$", (4.85, y), shape(f"{attention}.entry")))
    return nodes, [*edges, Edge(last, "A")]


def _scores(
    module: IntraAttention, shape: Callable[[str], Shape], attention: str, block: int
) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges from A to the last convolution of the mask: S and C, or none without the decomposition."""
    if not module.decomposed:
        return [], [Edge("A", "mix", "vh")]
    kernel = "×".join(map(str, module.spatial[0].kernel_size))
    norm = ",\nBN" if len(module.spatial) > 1 else ""
    nodes = [
        Node("space", "operation", f"{kernel} conv{norm}", (6.2, 5.2), equation="eq. 6"),
        Node("S", "attention", f"$S_{block}$", (7.35, 5.2), shape(f"{attention}.spatial")),
        Node("channel", "operation", f"AP,\n1×1 conv{norm}", (6.2, 6.3)),
        Node("C", "attention", f"$C_{block}$", (7.35, 6.3), shape(f"{attention}.channel")),
        Node("product", "operation", "×", (8.6, 5.75)),
    ]
    links = [
        ("A", "space", "vh"),
        ("space", "S"),
        ("S", "product"),
        ("A", "channel", "vh"),
        ("channel", "C"),
        ("C", "product", "hv"),
    ]
    return nodes, [*(Edge(*link) for link in links), Edge("product", "mix")]


def _trace(options: dict) -> tuple[AttentionDriven, dict[str, Flow], Output]:
    """The network with these options, the shapes at its modules and its output; nothing is computed."""
    with torch.device("meta"):
        model = AttentionDriven(**{"identities": 751} | options).eval()
        images, boxes = torch.empty(1, 3, *options.get("size", SIZE)), torch.empty(1, len(REGIONS), 4)
        return model, *flows(model, images, boxes=boxes)
