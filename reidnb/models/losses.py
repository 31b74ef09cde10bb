"""The losses that several papers use."""

import torch
import torch.nn.functional as F
from torch import Tensor


def id_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy over training identities with label smoothing (Szegedy et al. 2016, section 7).

    logits (B, identities), labels (B,); averaged over the batch.
    """
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Batch-hard triplet loss (Hermans et al. 2017, eq. 5), Euclidean, mean over the batch's anchors.

    For each anchor: [margin + distance to the farthest image of its identity - distance to the nearest image of
    another]_+ . features (B, D), labels (B,). For several features of the same images, (N, B, D), it is the mean
    of their N losses. Raises ValueError when the batch has a single identity; on a GPU (to avoid a synchronisation)
    and in compiled code the loss is NaN instead.
    """
    features = features.float()
    same = labels[:, None] == labels[None, :]
    single_identity = same.all()
    if single_identity.device.type == "cpu" and not torch.compiler.is_compiling() and single_identity:
        raise ValueError("batch-hard triplet loss needs at least two identities in a batch, found one")
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        square = features.square().sum(-1)
        distance = square[..., :, None] + square[..., None, :] - 2 * features @ features.mT
        farthest = distance.masked_fill(~same, -torch.inf).argmax(-1)  # (..., B)
        nearest = distance.masked_fill(same, torch.inf).argmin(-1)
    # Only the selected pairs carry a gradient, so only they are computed exactly. The epsilon keeps the gradient of
    # the square root finite where an anchor is its own farthest positive.
    positive = ((features - _rows(features, farthest)).square().sum(-1) + 1e-12).sqrt()
    negative = ((features - _rows(features, nearest)).square().sum(-1) + 1e-12).sqrt()
    return F.relu(margin + positive - negative).mean().masked_fill(single_identity, torch.nan)


def _rows(features: Tensor, index: Tensor) -> Tensor:
    """The rows of features (..., B, D) at ``index`` (..., B)."""
    return features.gather(-2, index[..., None].expand_as(features))
