"""Figures 2 to 5 of the hybrid-attention network, drawn from the network itself.

Each function takes the options of ``HybridAttention``; all shapes and sizes are those of a network built with them.
"""

from itertools import pairwise

import torch
from matplotlib.figure import Figure

from ...figures.schematic import Edge, Node, draw
from ...models.output import Output
from ...models.shapes import Flow, flows
from .network import HybridAttention, window_rows

SIZE = (384, 128)
MODULES = {"S": ("attention", "SAM\n(figure 3)"), "C": ("attention", "CAM\n(figure 4)")}


def framework(**options) -> Figure:
    """Figure 2: four stages at one size, attention and concatenation in their order, windows and their features."""
    model, flow, output = _trace(options)
    columns = dict(zip((1, 2, 3, 4), (2.0, 3.85, 5.7, 7.55), strict=True))
    nodes = [Node("image", "image", "image", (0.5, 0.5), (3, *options.get("size", SIZE)), size=(0.4, 1.0))]
    names = ["image"]
    for stage in range(1, max(model.fused) + 1):
        names.append(f"stage{stage}")
        nodes.append(Node(names[-1], "feature", f"stage {stage}", (columns[stage], 0.5), _map(output, names[-1])))
    edges = [Edge(a, b) for a, b in pairwise(names)]
    ends, y = {}, 2.35
    for stage in model.fused:
        name, shape = f"aligned{stage}", (_map(output, f"stage{stage}")[0], *model.shape)
        text = "" if shape == _map(output, f"stage{stage}") else "max\npool"
        nodes.append(Node(name, "feature", "", (columns[stage], y), shape))
        edges.append(Edge(f"stage{stage}", name, text=text))
        ends[stage] = name
    before, after = _split(model.order)
    for step, kind in enumerate(before):
        y += 1.05 if step == 0 else 0.8
        for stage in model.fused:
            name = f"{kind}{stage}"
            nodes.append(Node(name, *MODULES[kind], (columns[stage], y)))
            edges.append(Edge(ends[stage], name))
            ends[stage] = name
    if "concat" in model.order:
        y += 0.75 if before else 0.95
        nodes.append(Node("concat", "operation", "concatenation of channels", (4.4, y), size=(7.8, 0.32)))
        edges += [Edge(end, "concat", "v") for end in ends.values()]
        ends = {0: "concat"}
    chain, links = _chain(model, flow, output, after, y + 1.15)
    edges.append(Edge(next(iter(ends.values())), "fused", "v" if "concat" in model.order else "vhv"))
    note = f"Test descriptor: the features of all windows, {output.descriptor.shape[1]} numbers."
    if model.dropblock:
        note += f" In training a block of {model.block[0]:g} of the height is dropped ({model.dropblock})."
    return draw([*nodes, *chain], [*edges, *links], "Hybrid-attention network (after figure 2)", note)


def spatial_attention(**options) -> Figure:
    """Figure 3: SAM of the last fused stage."""
    model, flow, _ = _trace(options)
    module = _module(model, "S", "figure 3 shows spatial attention (S)")
    feature, pooled = flow[module].inputs, flow[f"{module}.convolution"]
    kernel = "×".join(map(str, model.get_submodule(f"{module}.convolution").kernel_size))
    nodes = [
        Node("F", "feature", "$F$", (0.6, 1.8), feature),
        Node("avg", "operation", "average\nover channels", (2.4, 1.25), size=(1.4, 0.55)),
        Node("max", "operation", "maximum\nover channels", (2.4, 2.35), size=(1.4, 0.55)),
        Node("pooled", "feature", "concatenated", (4.35, 1.8), pooled.inputs),
        Node("conv", "operation", f"{kernel} conv,\n$\\sigma$", (5.7, 1.8), equation="eq. 1"),
        Node("M", "attention", "$M_{SAM}$", (7.2, 1.8), pooled.output),
        Node("times", "operation", "×", (7.2, 0.5)),
        Node("out", "feature", "weighted map", (8.6, 0.5), feature),
    ]
    edges = [Edge("F", "avg"), Edge("F", "max"), Edge("avg", "pooled"), Edge("max", "pooled"), Edge("F", "times", "vh")]
    edges += [Edge(*pair) for pair in (("pooled", "conv"), ("conv", "M"), ("M", "times"), ("times", "out"))]
    return draw(nodes, edges, "Spatial attention module, SAM (after figure 3)")


def channel_attention(**options) -> Figure:
    """Figure 4: CAM, with the pools added before the MLP (as eq. 2 prints) or the MLP's two outputs (CBAM)."""
    model, flow, _ = _trace(options)
    module = _module(model, "C", "figure 4 shows channel attention (C)")
    feature, mask = flow[module].inputs, flow[module].output
    attention = model.get_submodule(module)
    scaled = "÷ root mean square,\n" if attention.scaled else ""
    mlp = f"{scaled}MLP: {mask[0]} to {flow[f'{module}.mlp.0'].output[0]},\nReLU, to {mask[0]}"
    nodes = [
        Node("F", "feature", "$F$", (0.6, 1.8), feature),
        Node("gap", "operation", "GAP", (1.9, 1.3)),
        Node("gmp", "operation", "GMP", (1.9, 2.3)),
        Node("sigmoid", "operation", "σ", (6.2, 1.8), equation="eq. 2"),
        Node("M", "attention", "$M_{CAM}$", (7.5, 1.8), mask),
        Node("times", "operation", "×", (7.5, 0.5)),
        Node("out", "feature", "weighted map", (8.7, 0.5), feature),
    ]
    if attention.pools == "sum":
        nodes += [Node("sum", "operation", "+", (2.9, 1.8)), Node("mlp", "operation", mlp, (4.5, 1.8))]
        links = (("gap", "sum", "hv"), ("gmp", "sum", "hv"), ("sum", "mlp"), ("mlp", "sigmoid"))
    else:
        nodes += [Node("mlp", "operation", mlp, (3.9, 1.3)), Node("same", "operation", "same MLP", (3.9, 2.3))]
        nodes.append(Node("sum", "operation", "+", (5.5, 1.8)))
        links = (("gap", "mlp"), ("gmp", "same"), ("mlp", "sum", "hv"), ("same", "sum", "hv"), ("sum", "sigmoid"))
    links += (("F", "gap"), ("F", "gmp"), ("F", "times", "vh"), ("sigmoid", "M"), ("M", "times"), ("times", "out"))
    return draw(nodes, [Edge(*link) for link in links], "Channel attention module, CAM (after figure 4)")


def windows_and_features(**options) -> Figure:
    """Figure 5: the windows of MGO, and MPFE for the first of them."""
    model, flow, output = _trace(options)
    full = _map(output, "fused")
    nodes = [
        Node("F", "feature", "$F$", (0.6, 0.5), full),
        Node("mgo", "operation", f"{_local(model)}: {len(model.windows)}\nwindows", (2.0, 0.5), equation="eq. 3"),
    ]
    x, level = 3.1, 1
    for number, (first, last) in enumerate(model.windows):
        heading = ""
        if number == 0 or last - first > level:
            x, level, heading = x + 0.25 * (number > 0), last - first, f"$l={last - first}$"
        part = (first / model.stripes, last / model.stripes)
        nodes.append(Node(f"window{number}", "feature", heading, (x, 0.5), part=part, size=(0.15, 0.5), label="above"))
        x += 0.22
    edges = [Edge("F", "mgo"), Edge("mgo", "window0"), Edge("window0", "window", "vhv")]
    rows = window_rows(model.windows[0], model.stripes, full[1])
    nodes.append(Node("window", "feature", "one window", (0.7, 2.7), (full[0], rows[1] - rows[0], full[2])))
    chain, links = (_mpfe if model.extractor else _average)(model, flow)
    losses = (
        "the mean of the ID losses and the mean of the triplet losses"
        if model.extractor
        else "the mean of the ID losses"
    )
    note = f"Each window has its own extractor; the loss is {losses} (eq. 4)."
    return draw([*nodes, *chain], [*edges, *links], "Windows and their features, MGO and MPFE (after figure 5)", note)


def _mpfe(model: HybridAttention, flow: dict[str, Flow]) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges of MPFE after 'window'."""
    reduce, embed = flow["extractor.reduce"], flow["extractor.embed"]
    activation = type(model.extractor.activation).__name__
    nodes = [
        Node("gmp", "operation", "GMP", (2.0, 2.2)),
        Node("gap", "operation", "GAP", (2.0, 3.2)),
        Node("pooled", "feature", "concatenated", (3.25, 2.7), reduce.inputs[1:]),
        Node("conv", "operation", f"1×1 conv ({reduce.output[1]}),\nBN, {activation}", (4.95, 2.7)),
        Node("embed", "operation", "FC", (6.2, 2.7)),
        Node("fc", "feature", "", (7.05, 2.7), embed.output[1:]),
        Node("neck", "operation", "BN", (7.85, 2.7)),
        Node("bn", "feature", "test feature", (8.8, 2.7), flow["extractor.neck"].output[1:]),
        Node("triplet", "loss", f"triplet loss\nof each {model.triplet}", (5.6, 3.9)),
        Node("id", "loss", f"FC ({flow['classifier'].output[1]}),\nID loss", (8.8, 4.4)),
    ]
    links = [("window", "gmp"), ("window", "gap"), ("gmp", "pooled"), ("gap", "pooled"), ("pooled", "conv")]
    links += [("conv", "embed"), ("embed", "fc"), ("fc", "neck"), ("neck", "bn"), ("bn", "id")]
    return nodes, [*(Edge(*link) for link in links), Edge(model.compared, "triplet", "vh")]


def _average(model: HybridAttention, flow: dict[str, Flow]) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges after 'window' without MPFE."""
    classified = flow["classifier"]
    nodes = [
        Node("gap", "operation", "GAP", (2.2, 2.7)),
        Node("bn", "feature", "test feature", (5.4, 2.7), classified.inputs[1:]),
        Node("id", "loss", f"FC ({classified.output[1]}),\nID loss", (7.6, 2.7)),
    ]
    names = ["window", "gap", "bn", "id"]
    if model.neck:
        nodes.append(Node("neck", "operation", "BN", (3.7, 2.7)))
        names.insert(2, "neck")
    return nodes, [Edge(a, b) for a, b in pairwise(names)]


def _chain(
    model: HybridAttention, flow: dict[str, Flow], output: Output, after: tuple[str, ...], y: float
) -> tuple[list[Node], list[Edge]]:
    """The nodes and edges of figure 2 from the fused map to the losses, in a row at ``y``."""
    count = len(model.windows)
    extractor = "MPFE" if model.extractor else "GAP, BN" if model.neck else "GAP"
    row = [("fused", "feature", "fused", _map(output, "fused"))]
    row += [(kind, *MODULES[kind], ()) for kind in after]
    row += [("windows", "operation", f"{_local(model)}:\n{count} window" + "s" * (count > 1), ())]
    row += [
        ("extractor", "operation", f"{extractor}\nof each", ()),
        ("features", "feature", "features", flow["classifier"].inputs),
    ]
    step = 6.1 / (len(row) - 1)
    nodes = [Node(n, kind, text, (1.0 + i * step, y), shape) for i, (n, kind, text, shape) in enumerate(row)]
    edges = [Edge(a.name, b.name) for a, b in pairwise(nodes)]
    nodes.append(Node("id", "loss", "ID loss", (8.6, y), equation="eq. 4"))
    edges.append(Edge("features", "id"))
    if model.extractor:
        early = model.compared == "fc"
        nodes.append(Node("triplet", "loss", "triplet loss", (8.6, y + (1.2 if early else 0.75)), equation="eq. 4"))
        edges.append(Edge("extractor", "triplet", "vh") if early else Edge("features", "triplet"))
    return nodes, edges


def _trace(options: dict) -> tuple[HybridAttention, dict[str, Flow], Output]:
    """The network with these options, the shapes at its modules and its output for an image of zeros."""
    with torch.device("meta"):
        model = HybridAttention(**{"identities": 751} | options).eval()
    # Autocast, which the windows' pooling switches off, does not know the meta device; the values do not matter.
    return model, *flows(model.to_empty(device="cpu"), torch.zeros(1, 3, *options.get("size", SIZE)))


def _map(output: Output, name: str) -> tuple[int, ...]:
    return tuple(output.maps[name].shape[1:])


def _local(model: HybridAttention) -> str:
    """What gives the windows, as it is called in the drawings."""
    return "MGO" if model.levels > 1 else "stripes" if model.stripes > 1 else "full map"


def _split(order: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The attention modules before and after the concatenation; without one, all come before."""
    at = order.index("concat") if "concat" in order else len(order)
    return order[:at], order[at + 1 :]


def _module(model: HybridAttention, kind: str, shown: str) -> str:
    """The name of the last attention module of this kind, 'S' or 'C'. Raises ValueError if there is none."""
    if kind not in model.order:
        raise ValueError(f"{shown}, which this network lacks: order={'+'.join(model.order)!r}")
    step = model.order.index(kind)
    return f"steps.{step}.{len(model.steps[step]) - 1}"
