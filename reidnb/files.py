"""Writing files so that nobody ever reads half of one, and what a writer that was killed leaves does not pile up."""

import errno
import glob
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

_PARENT = Path(__file__).resolve().parents[1]
CHECKOUT = _PARENT if (_PARENT / "pyproject.toml").exists() else None
"""The folder of the checkout; None where the package is installed without one."""
STALE = 7 * 24 * 3600
"""Seconds after which what is unfinished is a killed writer's."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path`` and put it in place when whole; errors as ``unfinished``."""
    with unfinished(path) as file:
        write(file)


@contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """A path in a hidden folder for a file or a folder, which takes the place of ``target`` when the block ends well.

    The hidden folder is gone in the end, and with it whatever a library has put there. Raises OSError that names
    ``target`` and says that the disk is full, or what else is wrong.
    """
    clear(target.parent, older_than=STALE)
    hidden = target.with_name(f".{uuid.uuid4().hex[:8]}.{target.name}")
    whole = hidden / target.name
    try:
        hidden.mkdir()
        yield whole
        if whole.is_file():
            whole.chmod(hidden.stat().st_mode & 0o666)  # some libraries' files are readable by their owner alone
            with whole.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(whole, target)
    except (OSError, RuntimeError, SafetensorError) as error:
        if reason := _reason(error):
            raise OSError(f"cannot write {target}: {reason}") from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one in ``folder``, which is made where it is not there; the lock dies with its process.

    Raises OSError in one sentence when nothing can be written in it.
    """
    check_writable(folder)
    with FileLock(folder / "lock"):
        yield


@contextmanager
def create_once(target: Path, name: str = "*") -> Iterator[bool]:
    """Yield True in the one job that must create ``target``; the others wait, then get False.

    Unfinished files of ``name`` that killed jobs left beside it are removed first. Errors as ``locked``.
    """
    if target.exists():
        yield False
        return
    with locked(target.parent):
        missing = not target.exists()
        if missing:
            clear(target.parent, name)
        yield missing


def clear(folder: Path, name: str = "*", older_than: float = 0) -> None:
    """Remove what killed writers left unfinished in ``folder``: of ``name``, untouched for ``older_than`` seconds."""
    for left in folder.glob(f".{'[0-9a-f]' * 8}.{name if name == '*' else glob.escape(name)}"):
        try:
            if time.time() - left.stat().st_mtime >= older_than:
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:
            continue  # its writer lives and has just finished


def check_writable(folder: Path) -> None:
    """Make ``folder`` where it is not there. Raises OSError in one sentence when nothing can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else _reason(error)
        raise OSError(f"cannot write in {folder}: {reason}") from error


def _reason(error: Exception) -> str:
    """Why a file could not be written, '' where the error is of another kind."""
    # torch and safetensors have words of their own for a full disk.
    words = ("file write failed", "unexpected pos", f"os error {errno.ENOSPC}")
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(word in str(error) for word in words):
        return "the disk is full"
    return (error.strerror or str(error).splitlines()[0]) if isinstance(error, OSError) else ""


def results_dir() -> Path:
    """``$REIDNB_RESULTS``, or the checkout's ``results``, or ``results`` in the working directory."""
    default = CHECKOUT / "results" if CHECKOUT else Path("results")
    return Path(os.environ.get("REIDNB_RESULTS") or default).expanduser().resolve()


def reference_dir() -> Path:
    """The committed results: the checkout's ``results/reference``, or that of ``results_dir`` without a checkout."""
    return (CHECKOUT / "results" if CHECKOUT else results_dir()) / "reference"


def cache_dir() -> Path:
    """Where made and decoded data is kept: ``$REIDNB_CACHE``, or ``~/.cache/reidnb``."""
    return Path(os.environ.get("REIDNB_CACHE") or Path.home() / ".cache" / "reidnb").expanduser()
