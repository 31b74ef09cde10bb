"""Writing files so that nobody ever reads half of one."""

import errno
import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path`` and put it in place when whole, so nothing half-written is read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "file write failed" in str(error)
        reason = "the disk is full" if full else str(error).splitlines()[0]
        raise OSError(f"cannot write {path}: {reason}") from error
