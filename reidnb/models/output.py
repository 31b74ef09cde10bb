"""The output of every model of the study, and the call that gives it."""

from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class Output:
    """The result of ``model(images)``.

    ``descriptor`` (B, D) float32 ranks the gallery; ``id_logits`` (B, identities) and ``embeddings`` (B, d) are the
    inputs of the losses, by the name of the loss; ``maps`` are the attention maps that the figures draw.
    """

    descriptor: Tensor
    id_logits: dict[str, Tensor] = field(default_factory=dict)
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


def output_of(model: nn.Module, images: Tensor, boxes: Tensor | None = None) -> Output:
    """``model(images)``, with the regions ``boxes`` (B, n, 4), as fractions of the image, where it takes some."""
    return model(images) if boxes is None else model(images, boxes=boxes)
