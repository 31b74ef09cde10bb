"""Which GPU a job is given, where several jobs share a machine."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from filelock import FileLock, Timeout

from ..files import cache_dir


def gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes; none without any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    import torch  # takes seconds, which a job without a GPU need not wait

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def one_gpu(names: list[str]) -> Iterator[str]:
    """Hold one of ``names`` that no other job on this machine holds, and wait while there is none.

    A Slurm job shares only what Slurm gave it, which every job may see as GPU 0. The lock dies with its process, so a
    job that was killed leaves its GPU free.
    """
    if not names:
        raise ValueError("a GPU was asked for, and this machine has none to give (see CUDA_VISIBLE_DEVICES)")
    folder = cache_dir() / "devices"
    folder.mkdir(parents=True, exist_ok=True)
    owner = f"{platform.node()}-{os.environ.get('SLURM_JOB_ID', '')}"  # machines may share the cache
    for name in cycle(names):
        lock = FileLock(folder / f"{owner}-{name.replace('/', '-')}.lock")
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            continue
        try:
            yield name
        finally:
            lock.release()
        return
