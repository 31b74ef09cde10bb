"""Activation maps, by grad-cam: apart from the other figures, since importing it takes seconds that few jobs need."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_grad_cam import LayerCAM
from torch import Tensor, nn


def cam(
    model: nn.Module,
    layer: nn.Module,
    images: Tensor,
    *,
    target: Callable[[Tensor], Tensor] | None = None,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> np.ndarray:
    """Where the descriptor comes from: LayerCAM (Jiang et al. 2021) at a layer, (B, H, W) in [0, 1], by grad-cam.

    model       called as ``model(images, None)`` in evaluation mode; its ``.descriptor`` (B, D) is explained
    layer       a module of the model whose output is (B, C, h, w); if it runs twice, its last run is looked at
    images      (B, 3, H, W) float, as the model takes them
    target      what of a descriptor (D,) is explained, a scalar; by default how far it points away from the
                descriptor of an empty image (zeros, the channel means): minus their cosine. The similarity to the
                image's own descriptor would explain nothing: it is at its maximum, so its gradient is zero
    forward     images -> descriptors (B, D), for a model that gives them in another way

    The model's modes are put back; its gradients are cleared. Raises ValueError when the layer takes no part in the
    descriptor or its output is no map.
    """
    wrapped = _Described(model, forward or (lambda x: model(x, None).descriptor))
    modes = {module: module.training for module in model.modules()}
    with torch.inference_mode(False), torch.enable_grad():
        # Gradients with respect to the images reach the layer even where all parameters are frozen.
        # In plain memory order, as a loaded network is: torch 2.15 has crashed in the backward pass of a convolution of
        # tiny maps on several CPU threads where the images were channels-last and the weights were not.
        images = images.detach().clone(memory_format=torch.contiguous_format).requires_grad_(True)
        with _LastRun(wrapped, [layer]) as explain:
            if target is None:
                with torch.no_grad():
                    empty = wrapped(torch.zeros_like(images[:1]).to(explain.device))[0]
                target = lambda descriptor: -F.cosine_similarity(descriptor, empty, dim=0)  # noqa: E731
            maps = explain(images, [target] * len(images))
    model.zero_grad(set_to_none=True)
    for module, mode in modes.items():
        module.training = mode
    return maps.astype(np.float32)


class _Described(nn.Module):
    """A model whose output is the descriptor alone, which is what grad-cam differentiates."""

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model, self.describe = model, forward

    def forward(self, images: Tensor) -> Tensor:
        return self.describe(images)


class _LastRun(LayerCAM):
    """LayerCAM at the last of the layer's runs in a forward pass: WRCANet's features are the second stream's."""

    def compute_cam_per_layer(self, *arguments) -> list[np.ndarray]:
        seen = self.activations_and_grads
        if not seen.gradients:
            raise ValueError("the layer takes no part in the descriptor: there is no gradient at it")
        if seen.activations[-1].ndim != 4:
            raise ValueError(f"the layer's output is no map (B, C, h, w) but {tuple(seen.activations[-1].shape)}")
        seen.activations, seen.gradients = seen.activations[-1:], seen.gradients[-1:]
        return super().compute_cam_per_layer(*arguments)
