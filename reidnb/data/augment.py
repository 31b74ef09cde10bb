"""Augmentation of a batch on its device, with an independent random draw for each image."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Channel means and standard deviations of ImageNet, with which torchvision's weights were trained."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image; zero switches a change off."""

    flip: float = 0.5
    """Probability of a horizontal flip."""
    pad: int = 10
    """Pixels of black padding on each side before a crop of the original size."""
    erase: float = 0.5
    """Probability of random erasing (Zhong et al. 2020): area 2 to 40 %, aspect 0.3 to 3.3, filled with the mean."""


def draw(augmentation: Augmentation, batch: int, size: tuple[int, int], generator: torch.Generator) -> dict:
    """The random draws for a batch: flip (B,), top and left (B,), and the erased boxes (B, 4) as y0, x0, y1, x1.

    Drawn on the CPU, so that the same seed gives the same images on every device.
    """
    height, width = size

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    flip = uniform(0, 1, batch) < augmentation.flip
    offsets = torch.randint(0, 2 * augmentation.pad + 1, (2, batch), generator=generator) - augmentation.pad
    # The published code tries up to ten boxes until one fits; here all ten are drawn and the first that fits is taken.
    area = uniform(0.02, 0.4, batch, 10) * height * width
    aspect = torch.exp(uniform(math.log(0.3), math.log(1 / 0.3), batch, 10))
    box_h, box_w = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (box_h < height) & (box_w < width)
    first_fit = fits.float().argmax(1, keepdim=True)
    box_h, box_w = box_h.gather(1, first_fit)[:, 0], box_w.gather(1, first_fit)[:, 0]
    top = (uniform(0, 1, batch) * (height - box_h + 1)).floor()
    left = (uniform(0, 1, batch) * (width - box_w + 1)).floor()
    erased = (uniform(0, 1, batch) < augmentation.erase) & fits.any(1)
    boxes = torch.stack([top, left, top + box_h, left + box_w], 1).long() * erased[:, None]
    return {"flip": flip, "top": offsets[0], "left": offsets[1], "boxes": boxes}


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Augmented and normalised batch (B, 3, H, W), float, channels-last, of uint8 images (B, H, W, 3)."""
    return apply(images, draw(augmentation, len(images), tuple(images.shape[1:3]), generator))


def apply(images: Tensor, drawn: dict) -> Tensor:
    """As ``augment``, with the draws that ``draw`` returned."""
    batch, height, width, _ = images.shape
    device = images.device
    drawn = {key: value.to(device) for key, value in drawn.items()}
    rows = torch.arange(height, device=device)[None] + drawn["top"][:, None]
    columns = torch.arange(width, device=device)[None] + drawn["left"][:, None]
    columns = torch.where(drawn["flip"][:, None], width - 1 - columns, columns)
    inside_h, inside_w = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    # A single indexing operation flips and crops.
    image = torch.arange(batch, device=device)[:, None, None]
    cropped = images[image, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    cropped = cropped * (inside_h[:, :, None] & inside_w[:, None, :])[..., None]
    result = normalise(cropped)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    y0, x0, y1, x1 = drawn["boxes"][:, :, None].unbind(1)
    erased = ((y >= y0) & (y < y1))[:, None, :, None] & ((x >= x0) & (x < x1))[:, None, None, :]
    return result.masked_fill_(erased, 0.0)  # zero is the channel mean after normalisation


def move(boxes: Tensor, drawn: dict, size: tuple[int, int]) -> Tensor:
    """Boxes (B, n, 4) of images of ``size`` (H, W) as ``apply`` moves them, clipped to the image.

    Boxes are x0, y0, x1, y1 as fractions of the image's width and height. A flip mirrors them, a crop shifts them.
    """
    flip, top, left = (drawn[name].to(boxes.device) for name in ("flip", "top", "left"))
    boxes = torch.where(flip[:, None, None], mirror(boxes), boxes)
    shift = torch.stack([left / size[1], top / size[0]] * 2, 1)
    return (boxes - shift[:, None]).clamp(0, 1)


def mirror(boxes: Tensor) -> Tensor:
    """The boxes (..., 4), as fractions, of the mirrored images."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([1 - x1, y0, 1 - x0, y1], -1)


def normalise(images: Tensor) -> Tensor:
    """Uint8 images (B, H, W, 3) as float (B, 3, H, W), standardised by ImageNet's channel means and deviations."""
    mean, std = _statistics(images.device)
    # A permuted view of (B, H, W, 3) is already channels-last, the fastest memory format for convolutions.
    return ((images - mean) / std).permute(0, 3, 1, 2)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's statistics on ``device``; cached, since each copy from the CPU would synchronise the GPU."""
    with torch.inference_mode(False):
        return torch.tensor(MEAN, device=device) * 255, torch.tensor(STD, device=device) * 255
