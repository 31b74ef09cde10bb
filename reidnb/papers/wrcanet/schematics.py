"""WRCANet's figures 1 to 5, drawn from the network itself.

Each function takes the options of ``WRCANet``; all shapes and sizes are those of a network built with them.
"""

from itertools import pairwise

import torch
from matplotlib.figure import Figure

from ...figures.schematic import Edge, Node, draw
from ...models.output import Output
from ...models.shapes import Flow, flows
from .network import STAGES, WRCANet

IMAGE = (0.5, 0.9)
"""Width and height of an image in the drawings, in inches."""
NAMES = dict(zip(STAGES, ("stage 1", "stage 2", "stage 3", "stage 4"), strict=True)) | {"gp": "GP", "ms": "MS"}
BRANCHES = {"ms": "multi-scale fusion (MS, figure 3)", "gp": "multi-granularity fusion (GP, figures 4 and 5)"}


def framework(**options) -> Figure:
    """Figure 1: the backbone between the two branches of context awareness, and every loss of eq. 4."""
    model, flow, _ = _trace(options)
    columns = dict(zip(STAGES, (2.3, 4.0, 5.7, 7.4), strict=True))
    nodes = [Node("image", "image", "image", (0.4, 2.7), _image_shape(options), size=IMAGE)]
    edges = [Edge("image", "stage1", "h")]
    if model.wra:
        where = "image" if model.wra == "image" else "each stage"
        nodes.append(Node("wra", "attention", f"WRA of\n{where}", (1.35, 2.7), equation="eq. 1 to 3"))
        edges = [Edge("image", "wra"), Edge("wra", "stage1")]
    for i, name in enumerate(STAGES):
        nodes.append(Node(name, "feature", f"stage {i + 1}", (columns[name], 2.7), flow[_stage(model, i)].output))
        nodes += _loss(model, name, (columns[name] + 0.78, 1.45))
        edges += _edges(model, name, name, route="vh", text="GAP")
    edges += [Edge(a, b) for a, b in pairwise(STAGES)]
    last = flow[_stage(model, 3)].output
    for name, y, after in (("ms", 0.6, -0.25), ("gp", 4.4, 5.2)):
        if name in flow:
            nodes += [
                Node(name, "operation", BRANCHES[name], (4.85, y), size=(5.9, 0.4)),
                Node(f"{name} vector", "feature", "", (4.85, after), flow[name].output),
                *_loss(model, name, (6.7, after)),
            ]
            edges += [Edge(stage, name, "v") for stage in STAGES]
            edges.append(Edge(name, f"{name} vector", "v"))
            edges += _edges(model, name, f"{name} vector")
    widths = {name: flow[name].output[0] if name in flow else last[0] for name in model.described}
    described = ", ".join(f"{NAMES[name]} ({width})" for name, width in widths.items())
    note = f"Loss: the sum of all (eq. 4). Test descriptor, each part L2-normalised: {described}."
    return draw(nodes, edges, "WRCANet (after figure 1)", note)


def backbone(**options) -> Figure:
    """Figure 2: two streams with the same parameters, and weak reverse attention between them (eq. 1 to 3)."""
    model, flow, output = _trace(options)
    if not model.wra:
        raise ValueError("figure 2 shows weak reverse attention, which this network lacks: wra=''")
    last = flow[_stage(model, 3)]
    kind, text, part, size = "image", "$I$", "ResNet-50", IMAGE
    shape, f = _image_shape(options), output.maps.get("f")
    if model.wra == "stage":
        kind, text, part, size = "feature", "$I$: input of stage 4", "stage 4", None
        shape, f = last.inputs, output.maps["f4"]
    if part == "ResNet-50" and options.get("backbone", "resnet50") != "resnet50":
        part = options["backbone"]
    mean = "mean over C, upsample,\nReLU" + (", to [0, 1]" if model.scale == "unit" else "")
    gradient = "" if model.gradient else " No gradient flows through f."
    nodes = [
        Node("I", kind, text, (0.5, 1.0), shape, size=size),
        Node("first", "operation", f"{part},\nfirst stream", (2.1, 1.0)),
        Node("A", "feature", "$A$", (3.7, 1.0), last.output),
        Node("alpha", "attention", rf"$\alpha$ ({last.output[0]}): mean over h, w", (5.0, 0.0), equation="eq. 1"),
        Node("weighted", "operation", "×", (5.3, 1.0)),
        Node("mean", "operation", mean, (6.9, 1.0), equation="eq. 2"),
        Node("f", "attention", "$f$", (8.5, 1.0), tuple(f.shape[1:])),
        Node(
            "weak", "attention", rf"$1-\lambda\,\sigma(f)$, $\lambda={model.strength:g}$", (2.1, 2.5), equation="eq. 3"
        ),
        Node("dimmed", "operation", "×", (2.1, 3.4)),
        Node("new", kind, "$I_{new}$", (3.7, 3.4), shape, size=size),
        Node("second", "operation", f"{part}, second stream\n(same parameters)", (5.9, 3.4)),
        Node("out", "feature", "used features", (8.3, 3.4), last.output),
    ]
    edges = [
        *(
            Edge(a, b)
            for a, b in (("I", "first"), ("first", "A"), ("A", "weighted"), ("weighted", "mean"), ("mean", "f"))
        ),
        Edge("A", "alpha", "vh"),
        Edge("alpha", "weighted", "v"),
        Edge("f", "weak", "vh"),
        Edge("weak", "dimmed"),
        Edge("I", "dimmed", "vh"),
        *(Edge(a, b) for a, b in (("dimmed", "new"), ("new", "second"), ("second", "out"))),
    ]
    statistics = "separate" if model.own_second else "shared"
    note = f"The streams share all parameters; their batch normalisation's statistics are {statistics}.{gradient}"
    return draw(nodes, edges, "Weak reverse attention (after figure 2)", note)


def multi_scale(**options) -> Figure:
    """Figure 3: the stages at one size, their channels weighted, and the fusion of the four."""
    model, flow, _ = _trace(options, branch="ms", figure=3)
    nodes, edges = [], []
    for i in range(len(STAGES)):
        y, shape = 1.0 + 1.55 * i, flow[_stage(model, i)].output
        kernel = model.ms.attention[i].kernel_size[0]
        nodes += [
            Node(f"stage{i}", "feature", f"stage {i + 1}", (0.5, y), shape),
            Node(f"pooled{i}", "feature", "", (2.6, y), (shape[0], *model.ms.size)),
            Node(f"weights{i}", "attention", f"GAP, 1-D conv ({kernel}), $\\sigma$", (4.1, y - 0.62)),
            Node(f"weighted{i}", "operation", "×", (4.6, y)),
        ]
        edges += [
            Edge(f"stage{i}", f"pooled{i}", text="average\npool"),
            Edge(f"pooled{i}", f"weights{i}", "vh"),
            Edge(f"weights{i}", f"weighted{i}", "v"),
            Edge(f"pooled{i}", f"weighted{i}"),
        ]
        last = f"weighted{i}"
        if model.ms.fused != "all":
            text = "mean over C" + (",\n× group's weight" if model.ms.fused == "stage" else "")
            nodes.append(Node(f"mean{i}", "operation", text, (5.75, y)))
            edges.append(Edge(last, f"mean{i}"))
            last = f"mean{i}"
        edges.append(Edge(last, "stacked"))
    centre = 1.0 + 1.55 * 1.5
    nodes += [
        Node("stacked", "feature", "concatenated", (7.9, centre), flow["ms.fuse"].inputs),
        Node("fuse", "operation", f"1-D conv ({model.ms.fuse.kernel_size[0]})", (7.9, centre + 1.05)),
        Node("ms", "feature", "MS", (7.9, centre + 1.7), flow["ms"].output),
        *_loss(model, "ms", (7.9, centre + 2.6)),
    ]
    edges += [Edge("stacked", "fuse"), Edge("fuse", "ms"), *_edges(model, "ms", "ms")]
    return draw(nodes, edges, "Multi-scale feature fusion (after figure 3)")


def gp_net(stage: int = 4, **options) -> Figure:
    """Figure 4: the GP net of one stage, 1 to 4."""
    model, flow, _ = _trace(options, branch="gp", figure=4)
    shape, reduced = flow[_stage(model, stage - 1)].output, flow[f"gp.reduce.{stage - 1}"]
    nodes = [
        Node("stage", "feature", f"stage {stage}", (0.5, 1.0), shape),
        Node("gmp", "operation", "global maximum\n(GMP)", (2.5, 0.5), size=(1.7, 0.55)),
        Node("gap", "operation", "global average\n(GAP)", (2.5, 1.5), size=(1.7, 0.55)),
        Node("sum", "operation", "+", (4.0, 1.0)),
        Node("pooled", "feature", "", (5.2, 1.0), reduced.inputs),
        Node("conv", "operation", "1×1 conv", (6.8, 1.0)),
        Node("vector", "feature", "GP feature", (8.2, 1.0), reduced.output),
    ]
    edges = [
        Edge("stage", "gmp"),
        Edge("stage", "gap"),
        Edge("gmp", "sum", "hv"),
        Edge("gap", "sum", "hv"),
        *(Edge(a, b) for a, b in (("sum", "pooled"), ("pooled", "conv"), ("conv", "vector"))),
    ]
    return draw(nodes, edges, "GP net of one stage (after figure 4)")


def multi_granularity(**options) -> Figure:
    """Figure 5: the four stages' GP features and their fusion."""
    model, flow, _ = _trace(options, branch="gp", figure=5)
    nodes = [Node("stacked", "feature", "concatenated", (4.3, 1.9), flow["gp.fuse"].inputs)]
    edges = []
    for i in range(len(STAGES)):
        y = 0.4 + i * 1.0
        nodes += [
            Node(f"net{i}", "operation", f"GP net of stage {i + 1}", (0.9, y)),
            Node(f"vector{i}", "feature", "", (2.7, y), flow[f"gp.reduce.{i}"].output[:1]),
        ]
        edges += [Edge(f"net{i}", f"vector{i}"), Edge(f"vector{i}", "stacked")]
    nodes += [
        Node("fuse", "operation", f"1-D conv ({model.gp.fuse.kernel_size[0]})", (5.9, 1.9)),
        Node("gp", "feature", "GP", (7.2, 1.9), flow["gp"].output),
        *_loss(model, "gp", (8.6, 1.9)),
    ]
    edges += [Edge("stacked", "fuse"), Edge("fuse", "gp"), *_edges(model, "gp", "gp")]
    return draw(nodes, edges, "Multi-granularity feature fusion (after figure 5)")


def _trace(options: dict, branch: str = "", figure: int = 0) -> tuple[WRCANet, dict[str, Flow], Output]:
    """The network with these options, the shapes at its modules and its output; nothing is computed.

    Raises ValueError if it lacks the ``branch`` that a ``figure`` of the paper shows.
    """
    with torch.device("meta"):
        model = WRCANet(**{"identities": 751} | options).eval()
        if branch and not getattr(model, branch):
            raise ValueError(f"figure {figure} shows the branch {branch}, which this network lacks: {branch}=False")
        return model, *flows(model, torch.empty(1, 3, *options.get("size", (384, 192))))


def _stage(model: WRCANet, index: int) -> str:
    """The name of a module: that of stage 1..4 (``index`` 0..3) of the stream whose features are used."""
    return f"{'own_second' if model.own_second else 'backbone'}.stages.{index}"


def _image_shape(options: dict) -> tuple[int, ...]:
    return 3, *options.get("size", (384, 192))


def _loss_name(model: WRCANet, name: str) -> str:
    """The losses of a feature, such as 'BN, ID loss'; empty if it has none."""
    neck = "BN, " if name in model.necks else ""
    losses = [f"{neck}ID loss"] * (name in model.classifiers) + ["triplet loss"] * (name in model.compared)
    return "\n".join(losses)


def _loss(model: WRCANet, name: str, at: tuple[float, float]) -> list[Node]:
    text = _loss_name(model, name)
    return [Node(f"{name} loss", "loss", text, at)] if text else []


def _edges(model: WRCANet, name: str, start: str, **properties) -> list[Edge]:
    """The arrow from node ``start`` to the loss of the feature ``name``, if it has one."""
    return [Edge(start, f"{name} loss", **properties)] if _loss_name(model, name) else []
