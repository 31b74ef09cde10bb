"""DRANet's figures 1 to 3, drawn from the network itself.

Each function takes the options of ``DRANet``; all shapes and sizes are those of a network built with them. The slides
number no equations, so each formula is printed beside its operation instead.
"""

import torch
from matplotlib.figure import Figure

from ...figures.schematic import Edge, Node, draw
from ...models.output import Output
from ...models.shapes import Flow, flows
from .network import DRANet

NECKS = {"bn-relu": ",\nBN, ReLU", "bn": ",\nBN", "none": ""}
SIZE = (384, 128)


def framework(**options) -> Figure:
    """Figure 1: the parts of stage 4's map, each with both reverse attentions, and the losses of B, C and D."""
    model, flow, output = _trace(options)
    part, count = flow["classifiers.b.0.f3x3"].inputs, model.part_count
    middle = 1.6 * (count - 1) / 2
    nodes = [
        Node("image", "image", "image", (0.4, middle), (3, *options.get("size", SIZE)), size=(0.4, 1.0)),
        Node("backbone", "operation", options.get("backbone", "resnet50").replace("resnet", "ResNet-"), (1.55, middle)),
        Node("A", "feature", "stage 4", (2.85, middle), tuple(output.maps["stage4"].shape[1:])),
    ]
    edges = [Edge("image", "backbone"), Edge("backbone", "A")]
    for i in range(count):
        y, last = 1.6 * i, f"part{i}"
        nodes.append(Node(last, "feature", f"$A$, part {i + 1}", (4.15, y), part))
        edges.append(Edge("A", last))
        if model.rcam:
            nodes.append(Node(f"rcam{i}", "attention", "RCAM\n(figure 2)", (5.45, y)))
            nodes.append(Node(f"c{i}", "loss", "ID loss of $C$", (8.4, y - 0.5)))
            edges += [Edge(last, f"rcam{i}"), Edge(f"rcam{i}", f"c{i}", "vh", dashed=True)]
            last = f"rcam{i}"
        module = ("attention", "RSAM\n(figure 3)") if model.rsam else ("operation", "classifier")
        nodes += [Node(f"rsam{i}", *module, (6.9, y)), Node(f"b{i}", "loss", "ID loss of $B$", (8.4, y))]
        edges += [Edge(last, f"rsam{i}", text="$B$" if model.rcam else "$B=A$"), Edge(f"rsam{i}", f"b{i}")]
        if model.rsam:
            nodes.append(Node(f"d{i}", "loss", "ID loss of $D$", (8.4, y + 0.5)))
            edges.append(Edge(f"rsam{i}", f"d{i}", "vh", dashed=True))
    hard = "Dashed: hard examples, which exist in training only. " if model.rcam or model.rsam else ""
    pieces = " and ".join({"b": "$B$", "f": r"$f_{3\times 3}(B)$"}[name] for name in model.described)
    note = f"{hard}Test descriptor: the average of {pieces} of each part, {output.descriptor.shape[1]} numbers."
    return draw(nodes, edges, "DRANet (after figure 1)", note)


def channel_hard(**options) -> Figure:
    """Figure 2: reverse channel attention (RCAM) makes the attended map B and the channel-hard example C of a part."""
    model, flow, _ = _trace(options)
    if not model.rcam:
        raise ValueError("figure 2 shows reverse channel attention, which this network lacks: rcam=False")
    a, hidden, m = (flow[f"attention.0{name}"] for name in ("", ".w0", ""))
    mask = (*m.output, 1, 1)
    gap = "GAP" + (", normalised\nover images" if options.get("centred") else "")
    nodes = [
        Node("A", "feature", "$A$, one part", (0.6, 1.7), a.inputs),
        Node("gap", "operation", gap, (2.0, 1.7)),
        Node("g", "feature", "$g$", (3.2, 1.7), (*hidden.inputs, 1, 1)),
        Node("w0", "operation", f"$W_0$ ({hidden.output[0]}),\nReLU", (4.5, 1.7)),
        Node("w1", "operation", f"$W_1$ ({m.output[0]}),\n$\\sigma$", (5.8, 1.7)),
        Node("m", "attention", "$m$", (7.2, 1.7), mask),
        Node("attended", "operation", "×", (7.2, 0.3)),
        Node("B", "feature", r"$B=A\cdot m$", (8.6, 0.3), a.inputs),
        Node("reverse", "attention", rf"$\bar m=(1-m)^{{\alpha_c}}$, $\alpha_c={model.alpha_c:g}$", (7.2, 2.7)),
        Node("hard", "operation", "×", (7.2, 3.4)),
        Node("C", "feature", r"$C=A\cdot\bar m$", (8.6, 3.4), a.inputs),
    ]
    edges = [Edge(*pair) for pair in (("A", "gap"), ("gap", "g"), ("g", "w0"), ("w0", "w1"), ("w1", "m"))]
    edges += [Edge(*pair) for pair in (("m", "attended"), ("m", "reverse"), ("reverse", "hard"))]
    edges += [Edge("A", "attended", "vh"), Edge("A", "hard", "vh"), Edge("attended", "B"), Edge("hard", "C")]
    gradient = "Gradients flow" if model.gradient else "No gradient flows"
    note = f"$C$ is the channel-hard example, made in training only. {gradient} through the reverse mask."
    return draw(nodes, edges, "Reverse channel attention, RCAM (after figure 2)", note)


def spatial_hard(**options) -> Figure:
    """Figure 3: reverse spatial attention (RSAM) makes the spatial-hard example D of B by the map of its identity n."""
    model, flow, output = _trace(options)
    if not model.rsam:
        raise ValueError("figure 3 shows reverse spatial attention, which this network lacks: rsam=False")
    f = flow["classifiers.b.0.f3x3"]
    identities, place = flow["classifiers.b.0.f1x1"].output[0], f.output[1:]
    unit = {"minmax": "minimum 0,\nmaximum 1", "sigmoid": "$\\sigma$"}[model.normalisation]
    reverse = rf"$\bar H_n=(1-H_n)^{{\alpha_s}}$, $\alpha_s={model.alpha_s:g}$"
    nodes = [
        Node("B", "feature", "$B$, one part", (0.6, 1.4), f.inputs),
        Node("f3x3", "operation", f"$f_{{3\\times 3}}${NECKS[options.get('neck', 'bn-relu')]}", (1.95, 1.4)),
        Node("f", "feature", "", (3.25, 1.4), f.output),
        Node("f1x1", "operation", r"$f_{1\times 1}$", (4.45, 1.4)),
        Node("maps", "feature", "class maps", (5.65, 1.4), (identities, *place)),
        Node("loss", "loss", "ID loss of $B$", (8.2, 0.3)),
        Node("unit", "operation", f"map $n$,\n{unit}", (7.05, 1.4)),
        Node("H", "attention", "$H_n$", (8.5, 1.4), (output.maps["h"].shape[1], *place)),
        Node("reverse", "attention", reverse, (6.7, 2.6)),
        Node("hard", "operation", "×", (6.7, 3.4)),
        Node("D", "feature", r"$D=B\cdot\bar H_n$", (8.4, 3.4), f.inputs),
    ]
    edges = [Edge(*pair) for pair in (("B", "f3x3"), ("f3x3", "f"), ("f", "f1x1"), ("f1x1", "maps"), ("maps", "unit"))]
    edges += [Edge("maps", "loss", "vh", f"GAP ({identities})"), Edge("unit", "H"), Edge("H", "reverse", "vh")]
    edges += [Edge("reverse", "hard"), Edge("B", "hard", "vh"), Edge("hard", "D")]
    gradient = "Gradients flow" if model.gradient else "No gradient flows"
    note = f"$D$ is the spatial-hard example, made where $n$ is known. {gradient} through the reverse mask."
    return draw(nodes, edges, "Reverse spatial attention, RSAM (after figure 3)", note)


def _trace(options: dict) -> tuple[DRANet, dict[str, Flow], Output]:
    """The network with these options, the shapes at its modules and its output in training; nothing is computed."""
    with torch.device("meta"):
        model = DRANet(**{"identities": 751} | options).eval()
        images, labels = torch.empty(1, 3, *options.get("size", SIZE)), torch.zeros(1, dtype=torch.long)
        return model, *flows(model, images, labels)
