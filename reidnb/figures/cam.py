"""Activation maps by grad-cam, in a separate module since its import takes seconds that few commands need."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_grad_cam import LayerCAM
from torch import Tensor, nn

from ..models.output import output_of


def cam(
    model: nn.Module,
    layer: nn.Module,
    images: Tensor,
    boxes: Tensor | None = None,
    *,
    target: Callable[[Tensor], Tensor] | None = None,
    resized: bool = True,
) -> np.ndarray:
    """LayerCAM (Jiang et al. 2021) of the descriptor at a layer, (B, H, W) in [0, 1], by grad-cam.

    model       called by ``output_of`` in evaluation mode; its ``.descriptor`` (B, D) is explained
    layer       a module of the model whose output is (B, C, h, w); if it runs twice, its last run is used
    images      (B, 3, H, W) float, as the model takes them
    boxes       (B, n, 4), the regions of a model that takes some; an empty image has those of the first image
    target      the scalar of a descriptor (D,) that is explained; by default minus its cosine similarity to the
                descriptor of an empty image (zeros, the channel means). The similarity to the image's own descriptor
                cannot be used: it is at its maximum, so its gradient is zero
    resized     to the images' size, bilinearly; False leaves the layer's cells, (B, h, w)

    The model's modes are restored and its gradients cleared. Raises ValueError if the layer does not contribute to the
    descriptor or its output is not a map.
    """
    wrapped = _Described(model, boxes)
    modes = {module: module.training for module in model.modules()}
    with torch.inference_mode(False), torch.enable_grad():
        # Gradients with respect to the images reach the layer even where all parameters are frozen.
        # Contiguous, like the weights of a loaded network: torch 2.15 has crashed in the backward pass of a convolution
        # of tiny maps on several CPU threads where the images were channels-last and the weights were not.
        images = images.detach().clone(memory_format=torch.contiguous_format).requires_grad_(True)
        with _LastRun(wrapped, [layer]) as explain:
            explain.resized = resized
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
    """A model that returns only the descriptor, as grad-cam requires."""

    def __init__(self, model: nn.Module, boxes: Tensor | None):
        super().__init__()
        self.model, self.boxes = model, boxes

    def forward(self, images: Tensor) -> Tensor:
        boxes = None if self.boxes is None else self.boxes[: len(images)]
        return output_of(self.model, images, boxes).descriptor


class _LastRun(LayerCAM):
    """LayerCAM at the layer's last run in a forward pass, since WRCANet's features are those of the second stream."""

    resized = True

    def get_target_width_height(self, images: Tensor) -> tuple[int, int] | None:
        return super().get_target_width_height(images) if self.resized else None

    def compute_cam_per_layer(self, *arguments) -> list[np.ndarray]:
        recorded = self.activations_and_grads
        if not recorded.gradients:
            raise ValueError("the layer does not contribute to the descriptor: it has no gradient")
        if recorded.activations[-1].ndim != 4:
            raise ValueError(
                f"the layer's output must have shape (B, C, h, w), got {tuple(recorded.activations[-1].shape)}"
            )
        recorded.activations, recorded.gradients = recorded.activations[-1:], recorded.gradients[-1:]
        return super().compute_cam_per_layer(*arguments)
