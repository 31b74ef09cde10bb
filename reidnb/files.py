"""Atomic writes and locks: no reader sees a partial file, and the remains of killed writers are removed."""

import errno
import glob
import os
import shutil
import tempfile
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

_PARENT = Path(__file__).resolve().parents[1]
CHECKOUT = _PARENT if (_PARENT / "pyproject.toml").exists() else None
"""The folder of the checkout; None where the package is installed without one."""
STALE = 7 * 24 * 3600
"""Seconds after which an unfinished file is taken to be a killed writer's."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path``, then move it into place; errors as ``unfinished``."""
    with unfinished(path) as file:
        write(file)


@contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """Yield a path in a hidden folder for a file or folder that replaces ``target`` if the block succeeds.

    The hidden folder is removed in any case, with every temporary file that a library has put there. Raises OSError
    that names ``target`` and the reason, such as a full disk.
    """
    clear(target.parent, older_than=STALE)
    hidden = target.with_name(f".{uuid.uuid4().hex[:8]}.{target.name}")
    complete = hidden / target.name
    try:
        hidden.mkdir()
        yield complete
        if complete.is_file():
            complete.chmod(hidden.stat().st_mode & 0o666)  # some libraries create files that only their owner can read
            with complete.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(complete, target)
    except (OSError, RuntimeError, SafetensorError) as error:
        if reason := _reason(error):
            raise OSError(f"cannot write {target}: {reason}") from error
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``folder``, created if missing; the lock is released even if its process is killed.

    Raises OSError in one sentence when the folder is not writable.
    """
    check_writable(folder)
    with FileLock(folder / "lock"):
        yield


@contextmanager
def create_once(target: Path, name: str = "*") -> Iterator[bool]:
    """Yield True in the one job that must create ``target``; the others wait, then get False.

    Unfinished files called ``name`` that killed jobs left beside it are removed first. Errors as ``locked``.
    """
    if target.exists():
        yield False
        return
    with locked(target.parent):
        missing = not target.exists()
        if missing:
            clear(target.parent, name)
        yield missing


@contextmanager
def reporting_damage(file: Path, remedy: str) -> Iterator[None]:
    """Read a file of arrays. Raises ValueError that names the file and the remedy for whatever shows its damage."""
    try:
        yield
    except (EOFError, LookupError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} is damaged ({str(error).splitlines()[0]}): {remedy}") from error


def clear(folder: Path, name: str = "*", older_than: float = 0) -> None:
    """Remove unfinished files called ``name`` from ``folder`` that were not modified for ``older_than`` seconds."""
    for leftover in folder.glob(f".{'[0-9a-f]' * 8}.{name if name == '*' else glob.escape(name)}"):
        try:
            if time.time() - leftover.stat().st_mtime >= older_than:
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:
            continue  # its writer is alive and has just finished


def check_writable(folder: Path) -> None:
    """Create ``folder`` if it is missing. Raises OSError in one sentence when it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else _reason(error)
        raise OSError(f"cannot write in {folder}: {reason}") from error


def _reason(error: Exception) -> str:
    """Why a file could not be written; '' for an error of another kind."""
    # torch and safetensors report a full disk only in the text of their own exceptions.
    phrases = ("file write failed", "unexpected pos", f"os error {errno.ENOSPC}")
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(phrase in str(error) for phrase in phrases):
        return "the disk is full"
    return (error.strerror or str(error).splitlines()[0]) if isinstance(error, OSError) else ""


def results_dir() -> Path:
    """``$REIDNB_RESULTS``, or the checkout's ``results``, or ``results`` in the working directory."""
    default = CHECKOUT / "results" if CHECKOUT else Path("results")
    return absolute(os.environ.get("REIDNB_RESULTS") or default).resolve()


def reference_dir() -> Path:
    """The committed results: the checkout's ``results/reference``, or that of ``results_dir`` without a checkout."""
    return (CHECKOUT / "results" if CHECKOUT else results_dir()) / "reference"


def cache_dir() -> Path:
    """The folder for generated and decoded data: ``$REIDNB_CACHE``, or ``~/.cache/reidnb``."""
    try:
        return absolute(os.environ.get("REIDNB_CACHE") or "~/.cache/reidnb")
    except OSError as error:
        raise OSError(f"{error}; set REIDNB_CACHE to a folder for generated and decoded data") from error


def absolute(path: str | Path) -> Path:
    """The path as the user means it: '~' is the home directory, and other paths start at the working directory.

    Raises OSError where a path begins with '~' and there is no home directory.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise OSError(f"cannot find {path}: no home directory is known (HOME is not set)") from error


def fix_folders() -> None:
    """Make the folders in the environment absolute, for processes that start in another working directory."""
    for name in ("REIDNB_RESULTS", "REIDNB_CACHE"):
        if os.environ.get(name):
            os.environ[name] = str(absolute(os.environ[name]))
