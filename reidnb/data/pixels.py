"""Decoded images: each file is decoded once, at the experiment's size, into one memory-mapped array.

Training then cuts batches from the array without worker processes, so it is the same in a notebook and in a
script, and as fast as memory.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .catalog import cache_dir


def decode(paths: list[str], size: tuple[int, int], cache: Path | None = None) -> np.ndarray:
    """The images of ``paths`` as one read-only uint8 array (N, H, W, 3), memory-mapped from the cache.

    ``size`` is (H, W) in pixels; images are resized bilinearly. The cache knows a file by path, size and time
    of change, so a changed image is decoded again. Raises ValueError that names every file that is broken.
    """
    folder = (cache or cache_dir()) / "pixels"
    target = folder / f"{_key(paths, size)}.npy"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _decode_all(paths, size, target)
    return np.load(target, mmap_mode="r")


def read(paths: list[str], size: tuple[int, int]) -> np.ndarray:
    """A few images (n, H, W, 3) uint8, resized to ``size`` (H, W), without the cache."""
    images = np.empty((len(paths), *size, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            images[index] = _resized(image, size)
    return images


def upload(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Values on ``device``; to a GPU from pinned memory, so that neither it nor the CPU waits for the other."""
    tensor = torch.as_tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def reader(store: np.ndarray, device: torch.device) -> Callable[[np.ndarray], Tensor]:
    """A function from indices (B,) to the images (B, H, W, 3) uint8 of a decoded array on ``device``.

    Where the array is at most a quarter of what a GPU has free it lies there as a whole.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    if getattr(store, "nbytes", math.inf) <= free / 4:
        resident = torch.from_numpy(np.array(store)).to(device)
        return lambda index: resident[upload(index, device)]
    return lambda index: upload(store[index], device)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    image.draft("RGB", (width, height))  # lets the JPEG decoder skip detail that the resize would drop
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
    height, width = size
    broken: list[str] = []
    # Written beside the target and renamed when whole, so that a half-written store is never read.
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".decoding-", suffix=".npy")
    os.close(handle)
    try:
        store = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(paths), height, width, 3))

        def decode_one(index: int) -> None:
            try:
                with Image.open(paths[index]) as image:
                    store[index] = _resized(image, size)
            except (OSError, SyntaxError, ValueError) as error:
                reason = "empty file" if os.path.getsize(paths[index]) == 0 else str(error).splitlines()[0]
                broken.append(f"{paths[index]} ({reason})")

        with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes outside Python's lock
            list(pool.map(decode_one, range(len(paths))))
        if broken:
            raise ValueError(f"{len(broken)} of {len(paths)} images cannot be decoded:\n" + "\n".join(sorted(broken)))
        store.flush()
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
