"""PCB: the part-based convolutional baseline (its tables are in ``tables``).

Stage 4's map T is cut into p horizontal stripes; the average of each stripe is a column vector g (2048), which a 1x1
convolution reduces to h (256); each h is classified by its classifier (Sun et al. 2018). Input 384x128,
ResNet-50 with the last down-sampling removed, so that T is 2048x24x8 and a stripe 4x8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.backbone import Backbone
from ...models.layers import classifier
from ...models.losses import id_loss
from ...models.options import check
from ...models.output import Output


class PCB(nn.Module):
    """The network, without refined part pooling.

    identities   training identities
    size         (H, W) of the images; nothing in the network depends on it
    last_stride  of stage 4: 1 (24x8 at 384x128) or 2
    parts        p, the horizontal stripes
    width        channels of h
    reductions   the 1x1 convolutions: one for all stripes ('shared') or one each ('own')
    classifiers  of the stripes: one each ('own'), or one for all ('shared')
    descriptor   the test feature: G, the g of all stripes ('g', p*2048), or H, their h ('h', p*256)
    """

    def __init__(
        self,
        identities: int,
        size: tuple[int, int] = (384, 128),
        backbone: str = "resnet50",
        weights: str = "",
        last_stride: int = 1,
        parts: int = 6,
        width: int = 256,
        reductions: str = "shared",
        classifiers: str = "own",
        descriptor: str = "g",
    ):
        super().__init__()
        check("last_stride", last_stride, (1, 2))
        check("reductions", reductions, ("shared", "own"))
        check("classifiers", classifiers, ("shared", "own"))
        check("descriptor", descriptor, ("g", "h"))
        if parts < 1:
            raise ValueError(f"parts={parts}: a map has at least one stripe")
        self.backbone = Backbone(backbone, weights, last_stride=last_stride)
        self.parts, self.described = parts, descriptor
        channels = self.backbone.channels[-1]
        self.reductions = nn.ModuleList(_reduction(channels, width) for _ in range(parts if reductions == "own" else 1))
        self.classifiers = nn.ModuleList(
            classifier(width, identities) for _ in range(parts if classifiers == "own" else 1)
        )

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn: the last one before the stripes."""
        return self.backbone.stages[3]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        """Descriptors of images (B, 3, H, W), and the logits (B, identities) of each stripe; ``labels`` are ignored."""
        stage4 = self.backbone(images)[-1]
        # A tiny map, of fewer rows than stripes, has its rows repeated.
        rows = stage4.repeat_interleave(self.parts, 2) if stage4.shape[2] < self.parts else stage4
        g = F.adaptive_avg_pool2d(rows, (self.parts, 1))  # (B, C, p, 1)
        if len(self.reductions) == 1:
            h = self.reductions[0](g)[..., 0]  # (B, width, p)
        else:
            stripes = zip(self.reductions, g.split(1, 2), strict=True)
            h = torch.cat([reduce(stripe)[..., 0] for reduce, stripe in stripes], 2)
        heads = [self.classifiers[i % len(self.classifiers)] for i in range(self.parts)]
        described = g[..., 0] if self.described == "g" else h
        return Output(
            descriptor=F.normalize(described.flatten(1).float()),
            id_logits={f"{i + 1}": head(h[:, :, i]) for i, head in enumerate(heads)},
            maps={"stage4": stage4},
        )

    def loss(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The sum of the stripes' cross-entropy losses; labels (B,) are 0..identities-1."""
        return {"id": sum(id_loss(logits, labels, smoothing=0.0) for logits in output.id_logits.values())}


def _reduction(channels: int, width: int) -> nn.Sequential:
    """The 1x1 convolution from g to h, with batch normalisation and ReLU."""
    return nn.Sequential(nn.Conv2d(channels, width, kernel_size=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
