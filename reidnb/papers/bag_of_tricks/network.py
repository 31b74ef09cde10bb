"""The strong baseline of Luo et al. 2019 (its tables are in ``tables``).

ResNet-50 with global average pooling: the feature f_t goes to the triplet loss, and through the batch normalisation
neck (BNNeck), as f_i, to the classifier. Input 256x128; with the last stride removed stage 4
gives 2048x16x8.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ...models.backbone import Backbone
from ...models.layers import bnneck, classifier
from ...models.losses import batch_hard_triplet, id_loss
from ...models.options import check
from ...models.output import Output


class StrongBaseline(nn.Module):
    """The network; its options, with the recipe, give every row of table 1 but the last.

    identities   training identities
    size         (H, W) of the images; nothing in the network depends on it
    last_stride  of stage 4: 1 or 2 (the standard baseline)
    neck         whether BNNeck stands between f_t and the classifier, which then has no bias
    descriptor   the test feature: 'f_i', after BNNeck, or 'f_t', before it; without BNNeck they are the same
    smoothing    label smoothing of the ID loss
    margin       of the triplet loss
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (256, 128),
        backbone: str = "resnet50",
        weights: str = "",
        last_stride: int = 1,
        neck: bool = True,
        descriptor: str = "f_i",
        smoothing: float = 0.1,
        margin: float = 0.3,
    ):
        super().__init__()
        check("last_stride", last_stride, (1, 2))
        check("descriptor", descriptor, ("f_i", "f_t"))
        self.backbone = Backbone(backbone, weights, last_stride=last_stride)
        self.described, self.smoothing, self.margin = descriptor, smoothing, margin
        channels = self.backbone.channels[-1]
        self.neck = bnneck(channels) if neck else nn.Identity()
        self.classifier = classifier(channels, identities, bias=not neck)

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn."""
        return self.backbone.stages[3]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors (B, 2048), logits and f_t of images (B, 3, H, W); ``labels`` are ignored."""
        stage4 = self.backbone(images)[-1]
        f_t = stage4.mean((2, 3))
        f_i = self.neck(f_t)
        # Normalised, so that the Euclidean distance ranks like the cosine one, with which f_i is compared.
        descriptor = F.normalize((f_i if self.described == "f_i" else f_t).float())
        return Output(descriptor, {"id": self.classifier(f_i)}, {"triplet": f_t}, {"stage4": stage4})

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """L = L_ID + L_Triplet (without the centre loss) by name; labels (B,) are 0..identities-1."""
        return {
            "id": id_loss(output.id_logits["id"], labels, self.smoothing),
            "triplet": batch_hard_triplet(output.embeddings["triplet"], labels, self.margin),
        }
