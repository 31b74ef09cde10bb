"""The network of two pools: stage 4's averages and maxima, each classified (the table is in ``tables``)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.backbone import Backbone
from ...models.layers import classifier
from ...models.losses import id_loss
from ...models.options import check
from ...models.output import Output

POOLS = {"average": ("average",), "maximum": ("maximum",), "both": ("average", "maximum")}


class TwoPools(nn.Module):
    """ResNet-50, and a classifier for each pooled feature (2048); ``pools`` is a key of ``POOLS``."""

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (256, 128),
        backbone: str = "resnet50",
        weights: str = "",
        pools: str = "both",
    ):
        super().__init__()
        check("pools", pools, POOLS)
        self.backbone = Backbone(backbone, weights)
        width = self.backbone.channels[-1]
        self.classifiers = nn.ModuleDict({name: classifier(width, identities) for name in POOLS[pools]})

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors and logits of images (B, 3, H, W)."""
        stage4 = self.backbone(images)[-1]
        pooled = {"average": stage4.mean((2, 3)), "maximum": stage4.amax((2, 3))}
        features = {name: pooled[name] for name in self.classifiers}
        descriptor = torch.cat([F.normalize(x.float()) for x in features.values()], 1)
        return Output(descriptor, {name: self.classifiers[name](x) for name, x in features.items()})

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The ID loss of each feature; labels (B,) are 0..identities-1."""
        return {name: id_loss(logits, labels) for name, logits in output.id_logits.items()}
