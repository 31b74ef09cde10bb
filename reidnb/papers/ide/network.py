"""IDE: the identity embedding (its table is in ``tables``).

A convolutional network is trained to classify the training identities; at test time the activation before the
classifier is the descriptor, compared by Euclidean distance (Zheng et al. 2016). The layers after 'pool5' are those of
Sun et al. 2018 beside PCB.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ...models.backbone import Backbone
from ...models.layers import classifier
from ...models.losses import id_loss
from ...models.options import check
from ...models.output import Output


class IDE(nn.Module):
    """ResNet-50, global average pooling ('pool5', 2048), dropout, FC (256) with BN and ReLU, and a classifier.

    identities   training identities
    size         (H, W) of the images; nothing in the network depends on it
    last_stride  of stage 4: 2 as in ResNet, or 1
    dropout      of 'pool5'
    hidden       units of FC; 0 leaves it out, so that 'pool5' is classified
    descriptor   the test feature: 'pool5' or 'fc'
    smoothing    label smoothing of the ID loss
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (384, 128),
        backbone: str = "resnet50",
        weights: str = "",
        last_stride: int = 2,
        dropout: float = 0.5,
        hidden: int = 256,
        descriptor: str = "pool5",
        smoothing: float = 0.0,
    ):
        super().__init__()
        check("last_stride", last_stride, (1, 2))
        check("descriptor", descriptor, ("pool5", "fc"))
        if descriptor == "fc" and not hidden:
            raise ValueError("descriptor='fc' needs the layer FC: hidden=0 leaves it out")
        self.backbone = Backbone(backbone, weights, last_stride=last_stride)
        self.described, self.smoothing = descriptor, smoothing
        channels = self.backbone.channels[-1]
        self.dropout = nn.Dropout(dropout)
        layers = [nn.Linear(channels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()] if hidden else []
        self.fc = nn.Sequential(*layers)
        self.classifier = classifier(hidden or channels, identities)

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn."""
        return self.backbone.stages[3]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors (B, 2048) or (B, 256) and logits of images (B, 3, H, W); ``labels`` are ignored."""
        stage4 = self.backbone(images)[-1]
        pool5 = stage4.mean((2, 3))
        fc = self.fc(self.dropout(pool5))
        descriptor = pool5 if self.described == "pool5" else fc
        return Output(F.normalize(descriptor.float()), {"id": self.classifier(fc)}, maps={"stage4": stage4})

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The ID loss; labels (B,) are 0..identities-1."""
        return {"id": id_loss(output.id_logits["id"], labels, self.smoothing)}
