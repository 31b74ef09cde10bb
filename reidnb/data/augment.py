"""Augmentation of a whole batch at once, on its device, each image with its own random draw."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Channel means and deviations of ImageNet, which torchvision's weights expect."""


@dataclass(frozen=True)
class Augmentation:
    """What training does to an image; each is off at zero."""

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
    # Up to ten tries for a box that fits, as the paper's code does; all drawn at once, the first that fits taken.
    area = uniform(0.02, 0.4, batch, 10) * height * width
    aspect = torch.exp(uniform(math.log(0.3), math.log(1 / 0.3), batch, 10))
    box_h, box_w = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (box_h < height) & (box_w < width)
    first = fits.float().argmax(1, keepdim=True)
    box_h, box_w = box_h.gather(1, first)[:, 0], box_w.gather(1, first)[:, 0]
    top = (uniform(0, 1, batch) * (height - box_h + 1)).floor()
    left = (uniform(0, 1, batch) * (width - box_w + 1)).floor()
    erased = (uniform(0, 1, batch) < augmentation.erase) & fits.any(1)
    boxes = torch.stack([top, left, top + box_h, left + box_w], 1).long() * erased[:, None]
    return {"flip": flip, "top": offsets[0], "left": offsets[1], "boxes": boxes}


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Augmented and normalised batch (B, 3, H, W), float, channels-last, of uint8 images (B, H, W, 3)."""
    return apply(images, draw(augmentation, len(images), tuple(images.shape[1:3]), generator))


def apply(images: Tensor, drawn: dict) -> Tensor:
    """As ``augment``, with what ``draw`` has drawn."""
    batch, height, width, _ = images.shape
    device = images.device
    drawn = {key: value.to(device) for key, value in drawn.items()}
    rows = torch.arange(height, device=device)[None] + drawn["top"][:, None]
    columns = torch.arange(width, device=device)[None] + drawn["left"][:, None]
    columns = torch.where(drawn["flip"][:, None], width - 1 - columns, columns)
    inside_h, inside_w = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    # One gather does flip and crop together.
    each = torch.arange(batch, device=device)[:, None, None]
    cut = images[each, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    cut = cut * (inside_h[:, :, None] & inside_w[:, None, :])[..., None]
    result = normalise(cut)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    y0, x0, y1, x1 = drawn["boxes"][:, :, None].unbind(1)
    erased = ((y >= y0) & (y < y1))[:, None, :, None] & ((x >= x0) & (x < x1))[:, None, None, :]
    return result.masked_fill_(erased, 0.0)  # zero is the channel mean after normalisation


def move(boxes: Tensor, drawn: dict, size: tuple[int, int]) -> Tensor:
    """Where boxes (B, n, 4) of images of ``size`` (H, W) lie after ``apply``, clipped to the image.

    Boxes are x0, y0, x1, y1 as fractions of the image's width and height. A flip mirrors them, a crop moves them.
    """
    flip, top, left = (drawn[name].to(boxes.device) for name in ("flip", "top", "left"))
    boxes = torch.where(flip[:, None, None], mirror(boxes), boxes)
    moved = torch.stack([left / size[1], top / size[0]] * 2, 1)
    return (boxes - moved[:, None]).clamp(0, 1)


def mirror(boxes: Tensor) -> Tensor:
    """The boxes (..., 4) of the mirror images, as fractions."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack([1 - x1, y0, 1 - x0, y1], -1)


def normalise(images: Tensor) -> Tensor:
    """Uint8 images (B, H, W, 3) as float (B, 3, H, W), ImageNet's means and deviations taken out."""
    mean, std = _statistics(images.device)
    # A permuted view of (B, H, W, 3) is channels-last already, which convolutions like best.
    return ((images - mean) / std).permute(0, 3, 1, 2)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Made once, since a GPU waits for what comes from the CPU."""
    with torch.inference_mode(False):
        return torch.tensor(MEAN, device=device) * 255, torch.tensor(STD, device=device) * 255
