"""Decoded images: each file is decoded once, at the experiment's size, into one memory-mapped array.

Training slices its batches from the array without worker processes, so it behaves the same in a notebook and in a
script, at the speed of memory.
"""

import hashlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from ..files import cache_dir, create_once, reporting_damage, write_atomically
from ..progress import with_progress

PIECE = 1024
"""Images that are decoded before each write."""
BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for a file that it cannot decode."""
DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of grey images with more than 8 bits, which its conversion to RGB would clip at 255."""
VERSION = 2
"""Of the way from file to pixels: part of the cache's keys."""


def decode(paths: list[str], size: tuple[int, int], cache: Path | None = None) -> np.ndarray:
    """The images of ``paths`` as one read-only uint8 array (N, H, W, 3), memory-mapped from the cache.

    ``size`` is (H, W) in pixels; images are resized bilinearly. The cache identifies a file by path, size and
    modification time, so a changed image is decoded again. Raises ValueError that names every corrupt file or the
    damaged array, and FileNotFoundError that names the first missing image.
    """
    folder = (cache or cache_dir()) / "pixels"
    target = folder / f"{_key(paths, size)}.npy"
    with create_once(target) as missing:
        if missing:
            write_atomically(target, lambda file: _decode_all(paths, size, file))
    with reporting_damage(target, "delete it, and the images are decoded again"):
        store = np.load(target, mmap_mode="r")
        if store.shape != (len(paths), *size, 3):
            raise ValueError(f"it is of shape {store.shape}")
    return store


def read(paths: list[str], size: tuple[int, int]) -> np.ndarray:
    """A few images (n, H, W, 3) uint8, resized to ``size`` (H, W), without the cache."""
    images = np.empty((len(paths), *size, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            images[index] = resized(image, size)
    return images


def resize(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images (n, H, W, 3) uint8 at ``size`` (H, W), resized as ``read`` resizes files."""
    return np.stack([resized(Image.fromarray(image), size) for image in images])


def upload(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Values on ``device``; the copy to a GPU goes through pinned memory, so that it is asynchronous."""
    tensor = torch.as_tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def reader(store: np.ndarray, device: torch.device) -> Callable[[np.ndarray], Tensor]:
    """A function from indices (B,) to the images (B, H, W, 3) uint8 of a decoded array on ``device``.

    An array of at most a quarter of the GPU's free memory is kept on the GPU.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    if getattr(store, "nbytes", math.inf) <= free / 4:
        resident = torch.from_numpy(np.array(store)).to(device)
        return lambda index: resident[upload(index, device)]
    return lambda index: upload(store[index], device)


def resized(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """An opened image (H, W, 3) uint8, resized to ``size`` (H, W) as in ``decode``."""
    height, width = size
    # The JPEG decoder skips detail that the resize would discard; on its side, an image is drafted as it lies.
    image.draft("RGB", (height, width) if on_its_side(image) else (width, height))
    return np.asarray(rgb(image).resize((width, height), Image.Resampling.BILINEAR))


def rgb(image: Image.Image) -> Image.Image:
    """An opened image as RGB, upright by its EXIF orientation; 16-bit grey is scaled to 8 bits, not clipped."""
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        grey = np.asarray(image, np.float64)
        # 16 bits unless the values say otherwise: floats are often fractions.
        white = 1 if image.mode == "F" and grey.max(initial=0) <= 1 else 255 if image.mode == "F" else 65535
        return Image.fromarray(np.rint(grey / white * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """The height and width of an opened image as ``rgb`` returns it, from its header alone."""
    return (image.width, image.height) if on_its_side(image) else (image.height, image.width)


def on_its_side(image: Image.Image) -> bool:
    """Whether the EXIF orientation turns the image by a quarter."""
    return _orientation(image) in (5, 6, 7, 8)


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _key(paths: list[str], size: tuple[int, int]) -> str:
    digest = hashlib.sha256(f"{VERSION} {tuple(size)}".encode())
    missing = []
    for path in paths:
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            missing.append(path)
            continue
        digest.update(f"{path}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    if missing:
        raise FileNotFoundError(f"{len(missing)} images are missing, the first is {missing[0]}")
    return digest.hexdigest()[:24]


def _decode_all(paths: list[str], size: tuple[int, int], target: Path) -> None:
    broken: list[str] = []

    def decode_one(path: str) -> bytes:
        try:
            with Image.open(path) as image:
                return resized(image, size).tobytes()
        except FileNotFoundError:
            reason = "missing"
        except BROKEN as error:
            reason = "empty file" if os.path.getsize(path) == 0 else str(error).splitlines()[0]
        broken.append(f"{path} ({reason})")
        return b""

    header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), *map(int, size), 3)}
    # The file is written, not mapped: on a full disk a write raises an error, whereas a mapped file kills the process.
    with target.open("wb") as file, ThreadPoolExecutor() as pool:  # Pillow releases the GIL
        np.lib.format.write_array_header_1_0(file, header)
        for start in with_progress(range(0, len(paths), PIECE), f"decoding {len(paths):,} images (first use only)"):
            file.writelines(pool.map(decode_one, paths[start : start + PIECE]))
    if broken:
        raise ValueError(f"{len(broken)} of {len(paths)} images cannot be decoded:\n" + "\n".join(sorted(broken)))
