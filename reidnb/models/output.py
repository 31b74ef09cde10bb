"""What every model of the study returns."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Output:
    """The result of ``model(images)``.

    ``descriptor`` (B, D) float32 is what ranks the gallery; ``id_logits`` (B, identities) and ``embeddings`` (B, d)
    are what the losses see, by the name of their loss; ``maps`` are the attention maps that the figures draw.
    """

    descriptor: Tensor
    id_logits: dict[str, Tensor] = field(default_factory=dict)
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)
