"""Initial weights from a file, in any of the usual containers; a file is identified by its content, not its path.

Only tensors and numbers of a checkpoint are unpickled. The containers that are understood: a plain state dict
(torchvision, timm), one under 'state_dict' (torchreid, Lightning), 'model' (fastreid, timm's training script) or
similar, and any of these from a model in ``DataParallel`` ('module.' before every name) or from a re-identification
model whose ResNet is called 'backbone.' or 'base.'.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from .files import absolute, write_atomically
from .parameters import NAMED

CONTAINERS = ("state_dict", "model", "model_state_dict", "model_state", "net", "network")
PREFIXES = ("module.", "model.", "backbone.", "base.", "encoder.")
HEADS = ("fc.", "classifier.", "head.", "heads.", "bottleneck.", "bnneck.")
"""Prefixes of classifier parameters: a checkpoint's classifier belongs to other classes and is not used."""


@dataclass(frozen=True)
class Source:
    """The origin of initial weights, as recorded in a run's provenance."""

    name: str
    """The file's name without its folder, 'imagenet', 'street', or '' for random weights."""
    sha256: str = ""
    """Of the file's bytes, in hexadecimal; '' if the weights are not a local file."""
    description: str = ""
    """The metadata field 'description' of a .safetensors file."""

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:8]})" if self.sha256 else self.name or "random"


def source(weights: str | Path) -> Source:
    """The source of ``weights``. Raises FileNotFoundError or ValueError as ``read_state`` for a file."""
    if str(weights) in NAMED:
        return Source(str(weights))
    path = existing_file(weights)
    return Source(path.name, sha256(path), metadata(path).get("description", ""))


def identity(weights: str | Path) -> str:
    """The part of an experiment's key for ``weights``: a name of ``NAMED``, or the SHA-256 of the file's content."""
    return str(weights) if str(weights) in NAMED else f"sha256:{sha256(existing_file(weights))}"


def record(weights: str | Path) -> dict[str, str]:
    """The source of ``weights`` as JSON."""
    return asdict(source(weights))


def existing_file(weights: str | Path) -> Path:
    """The file as an absolute path. Raises FileNotFoundError when there is none, IsADirectoryError for a folder."""
    path = absolute(weights)
    if path.is_dir():
        raise IsADirectoryError(f"weights {weights}: this is a folder, give the file of weights in it")
    if not path.is_file():
        raise FileNotFoundError(f"weights {weights}: no such file (or 'imagenet', 'street', or '' for random weights)")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, computed again only when its size or modification time changes."""
    status = os.stat(path)
    return _sha256(path, status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file; empty for other files."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except Exception as error:
        raise unreadable(path, error) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors, by name, of a .safetensors file or a torch checkpoint, unwrapped from their container.

    Raises ValueError, in one sentence that names the file, if it is empty, truncated, a web page, a Git LFS pointer or
    not a state dict.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            # torchreid stores rank-1 as a NumPy scalar; unpickling these types cannot execute code.
            with torch.serialization.safe_globals(_numpy_numbers()):
                state = torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # each reader raises its own exceptions for a corrupt file
        raise unreadable(path, error) from error
    return _tensors(state, path)


def unreadable(path: Path, error: Exception) -> ValueError:
    """A ValueError that names the file and the reason why it cannot be read."""
    return ValueError(f"weights {path} cannot be read: {_reason(path, error)}")


def _reason(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself (git lfs pull fetches it)"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, as a proxy or a login page returns instead of the file"
    if "central directory" in str(error) or "header" in str(error).lower() or "incomplete" in str(error).lower():
        return "the file is cut short (its download was not finished)"
    is_other_archive = "not in a subdirectory" in str(error)  # .zip and .npz, which torch's own are in form
    if path.suffix != ".safetensors" and (is_other_archive or not start.startswith((b"pk", b"\x80"))):
        return "it is neither a .safetensors file nor a checkpoint of torch"
    if "weights_only" in str(error).lower() or "unpickl" in type(error).__name__.lower():
        return "it holds Python objects beside tensors, which are not loaded: save its state dict alone"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _numpy_numbers() -> list:
    types = [np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
    return [np._core.multiarray.scalar, np.dtype, *types]


def _tensors(state: object, path: Path) -> dict[str, Tensor]:
    """The state dict inside a container, at most three levels deep."""
    for _ in range(3):
        inner = next((state[name] for name in CONTAINERS if _is_mapping(state, name)), None)
        if inner is None:
            break
        state = inner
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        content = (
            f"the entries {', '.join(map(repr, list(state)[:5])) or '(none)'}"
            if isinstance(state, Mapping)
            else f"a {type(state).__name__}"
        )
        raise ValueError(f"weights {path} hold no state dict, but {content}")
    return tensors


def _is_mapping(state: object, name: str) -> bool:
    return isinstance(state, Mapping) and isinstance(state.get(name), Mapping)


def without_prefix(state: Mapping[str, Tensor], needed: Collection[str]) -> dict[str, Tensor]:
    """The state without the prefix (one or two of ``PREFIXES``) whose removal gives the most ``needed`` names."""
    candidates = ["", *PREFIXES, *(f"module.{prefix}" for prefix in PREFIXES), "model.backbone."]
    best = max(candidates, key=lambda prefix: sum(prefix + name in state for name in needed))
    return {name.removeprefix(best): value for name, value in state.items()}


@dataclass(frozen=True)
class Match:
    """A file's arrays compared with a network's."""

    state: dict[str, Tensor]
    """The arrays whose name and shape agree, by the network's names."""
    needed: int
    missing: tuple[str, ...]
    """Names missing from the file, except batch-norm counters; for an array of another shape, with both shapes."""
    extra: tuple[str, ...]
    """Names that do not exist in the network, except classifiers."""

    def __str__(self) -> str:
        lacking = f"{len(self.missing)} of {self.needed} arrays are missing or of another shape"
        return lacking + (f" (first: {', '.join(self.missing[:3])})" if self.missing else "")


def match(net: nn.Module, state: Mapping[str, Tensor], skip: tuple[str, ...] = ()) -> Match:
    """Compare ``state`` with the parameters and buffers of ``net`` except those whose names begin with ``skip``."""
    needed = {name: value for name, value in net.state_dict().items() if not skip or not name.startswith(skip)}
    state = without_prefix(state, needed)
    matching = {
        name: state[name] for name, value in needed.items() if name in state and state[name].shape == value.shape
    }
    missing = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}" if name in state else name
        for name, value in needed.items()
        if name not in matching and not name.endswith("num_batches_tracked")
    ]
    extra = [name for name in state if name not in needed and not name.startswith((*HEADS, *skip))]
    return Match(matching, len(needed), tuple(missing), tuple(extra))


def fill(net: nn.Module, state: Mapping[str, Tensor], path: str | Path, kind: str, skip: tuple[str, ...] = ()) -> None:
    """Load ``state`` into ``net``, except the parameters whose names begin with ``skip``.

    Warns about arrays of the file that do not exist in the network, except classifiers. Raises ValueError, naming
    the first three, when arrays of the network are missing or of another shape.
    """
    result = match(net, state, skip)
    if result.missing:
        raise ValueError(f"weights {path} are not a {kind}'s: {result}")
    if result.extra:
        warnings.warn(
            f"weights {path}: {len(result.extra)} arrays are not a {kind}'s and are not used"
            f" ({', '.join(result.extra[:3])}{', ...' if len(result.extra) > 3 else ''})",
            stacklevel=2,
        )
    net.load_state_dict(result.state, strict=False)


def published_state(published: WeightsEnum, name: str, instead: str) -> dict[str, Tensor]:
    """The state dict of torchvision's ``published`` weights, downloaded once into torch's cache.

    Raises OSError when they cannot be downloaded and ValueError when the file in the cache is not the published one;
    both messages name the file and end with ``instead``, the alternative.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if not file.is_file():
        try:
            return published.get_state_dict(progress=False, check_hash=True)
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the download's hash differs
            reason = str(getattr(error, "reason", error)).splitlines()[0]
            raise OSError(
                f"the weights of {name} cannot be fetched ({reason}): put {file.name} at {file}, {instead}"
            ) from error
    expected = file.stem.rpartition("-")[2]
    if not sha256(file).startswith(expected):
        raise ValueError(
            f"{file} is not the published file (its SHA-256 begins with {sha256(file)[: len(expected)]},"
            f" not with {expected}): remove it, or {instead}"
        )
    return read_state(file)


def descriptions(results: Path) -> dict[str, dict[str, str]]:
    """The users' descriptions of weights files (``describe``), by SHA-256: ``name`` and ``description``."""
    file = results / "weights.json"
    try:
        return json.loads(file.read_text("utf-8")) if file.exists() else {}
    except ValueError as error:
        raise ValueError(
            f"{file} is not readable JSON ({error}): mend it, or remove it to lose the descriptions"
        ) from error


def describe(weights: str | Path, description: str, results: Path) -> Path:
    """Store a weights file's description in ``results/weights.json``, for the captions of runs that start from it."""
    origin, file = source(weights), results / "weights.json"
    if not origin.sha256:
        raise ValueError(f"only a file can be described, and weights={str(weights)!r} is not a file")
    content = descriptions(results) | {origin.sha256: {"name": origin.name, "description": description}}
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(file, lambda target: target.write_text(text, "utf-8"))
    return file


def in_words(weights: Source, results: Path) -> str:
    """The name of initial weights in a caption, such as 'ImageNet weights'."""
    named = {
        "": "from scratch (random initial weights)",
        "imagenet": "ImageNet weights",
        "street": "weights learnt on another street",
    }
    if weights.name in named and not weights.sha256:
        return named[weights.name]
    description = descriptions(results).get(weights.sha256, {}).get("description", "") or weights.description
    return f"{description} ({weights.name}, {weights.sha256[:8]})" if description else f"weights of {weights}"
