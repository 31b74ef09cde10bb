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
from PIL import Image
from torch import Tensor

from ..files import cache_dir, create_once, write_atomically

PIECE = 1024
"""Images that are decoded before each write."""


def decode(paths: list[str], size: tuple[int, int], cache: Path | None = None) -> np.ndarray:
    """The images of ``paths`` as one read-only uint8 array (N, H, W, 3), memory-mapped from the cache.

    ``size`` is (H, W) in pixels; images are resized bilinearly. The cache identifies a file by path, size and
    modification time, so a changed image is decoded again. Raises ValueError that names every corrupt file, and
    FileNotFoundError that names the first missing one.
    """
    folder = (cache or cache_dir()) / "pixels"
    target = folder / f"{_key(paths, size)}.npy"
    with create_once(target) as missing:
        if missing:
            write_atomically(target, lambda file: _decode_all(paths, size, file))
    return np.load(target, mmap_mode="r")


def read(paths: list[str], size: tuple[int, int]) -> np.ndarray:
    """A few images (n, H, W, 3) uint8, resized to ``size`` (H, W), without the cache."""
    images = np.empty((len(paths), *size, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            images[index] = _resized(image, size)
    return images


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


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    image.draft("RGB", (width, height))  # the JPEG decoder skips detail that the resize would discard
    return image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)


def _key(paths: list[str], size: tuple[int, int]) -> str:
    digest = hashlib.sha256(repr(tuple(size)).encode())
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
                return _resized(image, size).tobytes()
        except FileNotFoundError:
            reason = "missing"
        except (OSError, SyntaxError, ValueError) as error:
            reason = "empty file" if os.path.getsize(path) == 0 else str(error).splitlines()[0]
        broken.append(f"{path} ({reason})")
        return b""

    header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), *map(int, size), 3)}
    # The file is written, not mapped: on a full disk a write raises an error, whereas a mapped file kills the process.
    with target.open("wb") as file, ThreadPoolExecutor() as pool:  # Pillow releases the GIL
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(paths), PIECE):
            file.writelines(pool.map(decode_one, paths[start : start + PIECE]))
    if broken:
        raise ValueError(f"{len(broken)} of {len(paths)} images cannot be decoded:\n" + "\n".join(sorted(broken)))
