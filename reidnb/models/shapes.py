"""The shapes of what flows through a network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """The shapes of a module's first input and of its output, for one image; empty where that is no tensor."""

    inputs: Shape
    output: Shape


def flows(network: nn.Module, *inputs: Tensor, **others: Tensor) -> tuple[dict[str, Flow], object]:
    """The shapes at every module of the network, by its name, and the network's output.

    On the meta device this computes nothing. A module that is called more than once has the shapes of its last call.
    """
    shapes: dict[str, Flow] = {}

    def hook(name: str):
        def record(_: nn.Module, arguments: tuple, output: object) -> None:
            shapes[name] = Flow(_shape(arguments[0]), _shape(output))

        return record

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules() if name]
    try:
        with torch.inference_mode():
            return shapes, network(*inputs, **others)
    finally:
        for handle in handles:
            handle.remove()


def _shape(value: object) -> Shape:
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()
