"""Extraction of descriptors with a trained network."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from ..data.augment import mirror, normalise
from ..data.pixels import upload
from ..models.output import output_of
from ..progress import with_progress


@torch.inference_mode()
def extract(
    model: nn.Module,
    pixels: np.ndarray,
    *,
    accelerator: Accelerator,
    boxes: np.ndarray | None = None,
    batch: int = 256,
    flip: bool = False,
    unit: bool = False,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    log: Callable[[str], None] = print,
) -> Tensor:
    """Descriptors (N, D), float32, of decoded images (N, H, W, 3).

    They stay on the accelerator's device if there is room (``has_room``), since metrics and re-ranking run where the
    descriptors are; otherwise they are on the CPU.

    ``boxes`` (N, n, 4) as in ``train``; ``flip`` adds the mirror image's descriptor; ``unit`` then L2-normalises;
    ``change`` is applied to each batch of images; ``log`` gets lines of progress. Several processes divide the images
    among them; each returns all descriptors.
    """
    torch.backends.cudnn.benchmark = False  # no search: batches are few, and the last one has another size
    model.eval()
    with torch.inference_mode(False):  # else the weights that are moved could never again take part in a gradient
        model.to(device=accelerator.device, memory_format=torch.channels_last)
    descriptors, processes, process = None, accelerator.num_processes, accelerator.process_index
    starts = range(0, len(pixels), batch * processes)
    for start in with_progress(starts, f"descriptors of {len(pixels):,} images", log if process == 0 else None):
        rows = np.arange(start, min(start + batch * processes, len(pixels)))
        # Equally many images for each process; the last one is repeated where the batch does not divide.
        by_process = np.pad(rows, (0, -len(rows) % processes), "edge").reshape(processes, -1)
        decoded = pixels[by_process[process]]
        images = normalise(upload(change(decoded) if change else decoded, accelerator.device))
        regions = None if boxes is None else upload(boxes[by_process[process]], images.device)
        with accelerator.autocast():
            result = output_of(model, images, regions).descriptor.float()
            if flip:
                mirrored = None if regions is None else mirror(regions)
                result = result + output_of(model, images.flip(3), mirrored).descriptor.float()
        result = F.normalize(result) if unit else result
        if descriptors is None:
            shape = len(pixels), result.shape[1]
            device = accelerator.device if has_room(4 * math.prod(shape), accelerator.device) else "cpu"
            descriptors = torch.empty(shape, device=device)
        descriptors[rows[0] : rows[-1] + 1] = accelerator.gather(result)[: len(rows)]
    return descriptors


def has_room(size: int, device: torch.device) -> bool:
    """Whether ``size`` bytes of descriptors may stay on a device: at most an eighth of a GPU's free memory, since
    re-ranking takes several times as much."""
    return device.type != "cuda" or 8 * size <= torch.cuda.mem_get_info(device)[0]
