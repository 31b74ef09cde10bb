"""Descriptors of one's images, and search of a gallery: with any finished run, or a backbone's weights file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from torch import Tensor, nn

from . import pose, weight_files
from .data import pixels
from .data.market import SUFFIXES
from .files import absolute, results_dir, write_atomically
from .models.backbone import BACKBONES, Backbone, best_fit
from .models.output import Output
from .papers.experiments import all_options, by_pose
from .results import Run
from .runs import extract_descriptors, load_model
from .training.loop import make_accelerator
from .training.recipe import Recipe


@dataclass(frozen=True)
class Describer:
    """A network, and how its test treats images."""

    model: nn.Module
    recipe: Recipe
    beta: float | None = None
    """Overlap of the regions around the joints; None for a network that takes no regions."""

    def boxes(self, paths: list[str]) -> np.ndarray | None:
        """The regions (N, 5, 4) of images, as fractions, by Keypoint R-CNN; None for a network that takes none."""
        if self.beta is None:
            return None
        joints, sizes = pose.detect(paths)
        return pose.as_fractions(pose.boxes(pose.fill(joints, sizes), sizes, beta=self.beta), sizes)

    @cached_property
    def identity(self) -> str:
        """A digest of everything that decides the descriptors of images."""
        recipe = self.recipe
        result = hashlib.sha256(repr((recipe.size, recipe.flip_test, recipe.normalise_test, self.beta)).encode())
        for name, values in self.model.state_dict().items():
            result.update(name.encode() + values.cpu().contiguous().numpy().tobytes())
        return result.hexdigest()

    def describe(self, images: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
        """The descriptors (N, D) float32 of images (N, H, W, 3) uint8 of the recipe's size."""
        accelerator = make_accelerator(self.recipe.precision)
        return extract_descriptors(self.model, images, self.recipe, accelerator, boxes).numpy()


def describer(model: Run | str | Path) -> Describer:
    """The network of ``model``: a finished run, its folder or the folder's name, or a weights file of a backbone.

    A backbone's weights ('imagenet', 'street', or a file that one of ``BACKBONES`` fits) give the mean of stage 4's
    map, L2-normalised, of images of 256 x 128 pixels. Raises FileNotFoundError when there is no such run or file, and
    for a run without weights; ValueError for a file that fits no network.
    """
    run = _run(model)
    if run:
        experiment = run.experiment
        beta = all_options(experiment)["beta"] if by_pose(experiment) else None
        return Describer(load_model(run), experiment.recipe, beta)
    recipe = Recipe(size=(256, 128), normalise_test=True)
    if str(model) in ("imagenet", "street"):
        return Describer(_Pooled({"imagenet": "resnet50", "street": "resnet10-quarter"}[str(model)], model), recipe)
    path = absolute(model)
    if not path.is_file():
        raise FileNotFoundError(
            f"model {model}: no such file, and no finished run of this name in {results_dir() / 'runs'}"
        )
    name, match = best_fit(weight_files.read_state(path))
    if match.missing:
        known = ", ".join(BACKBONES)
        raise ValueError(f"weights {path} fit no backbone of this package ({known}); give a finished run")
    return Describer(_Pooled(name, path), recipe)


def _run(model: Run | str | Path) -> Run | None:
    """The finished run that ``model`` names; None for anything else."""
    if isinstance(model, Run):
        return model
    path = Path(model).expanduser()
    folders = (path, path.parent if path.name == "model.safetensors" else path, results_dir() / "runs" / path)
    run = next((Run(folder) for folder in folders if str(model) and Run(folder).is_finished), None)
    if run is None and path.is_dir():
        raise FileNotFoundError(f"{path} is not the folder of a finished run: it has no metrics.json")
    return run


class _Pooled(nn.Module):
    """A backbone whose descriptor is the mean (B, C) of stage 4's map."""

    def __init__(self, name: str, weights: str | Path):
        super().__init__()
        self.backbone = Backbone(name, weights)

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose activation maps are drawn."""
        return self.backbone.stages[3]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        return Output(self.backbone(images)[-1].mean((2, 3)))


def images_in(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """The image files of a folder and its folders, sorted; a file, or a list of files, as it is.

    Raises FileNotFoundError when there is nothing at a path, and ValueError for a folder without an image.
    """
    if not isinstance(paths, str | Path):
        return [file for path in paths for file in images_in(path)]
    path = Path(paths).expanduser()
    if path.is_file():
        return [str(path)]
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is neither an image nor a folder of images")
    visible = (file for file in path.rglob("*") if not file.name.startswith(".") and file.is_file())
    files = sorted(str(file) for file in visible if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{path} holds no image ({', '.join(SUFFIXES)})")
    return files


def extract(paths: str | Path | Sequence[str | Path], model: Run | str | Path | Describer) -> np.ndarray:
    """The descriptors (N, D) float32 of images, as the network's test makes them; a row for each of ``images_in``.

    ``model`` as for ``describer``. Raises as ``images_in`` and ``describer``, and ValueError that names every file that
    is not an image.
    """
    files = images_in(paths)
    network = model if isinstance(model, Describer) else describer(model)
    return network.describe(pixels.decode(files, network.recipe.size), network.boxes(files))


def search(
    query: str | Path, gallery: str | Path | Sequence[str | Path], model: Run | str | Path | Describer, top: int = 10
) -> pd.DataFrame:
    """The ``top`` nearest gallery images of one query image: rank, path and Euclidean distance, nearest first.

    ``gallery`` is a folder, a list of files, or a file of ``save``, which spares their extraction. Raises as
    ``extract``, and ValueError for a query that is a folder, a ``top`` below 1, and descriptors of another network.
    """
    _check_top(top)
    if Path(query).expanduser().is_dir():
        raise ValueError(f"the query {query} is a folder: it has to be one image")
    network = model if isinstance(model, Describer) else describer(model)
    one = extract([query], network)  # before the gallery, which may take long
    files, descriptors = described(gallery, network)
    return nearest(one[0], descriptors, top).assign(path=lambda frame: [files[row] for row in frame.row])


def described(
    gallery: str | Path | Sequence[str | Path], model: Run | str | Path | Describer
) -> tuple[list[str], np.ndarray]:
    """The images of a gallery and their descriptors (N, D): read from a file of ``save``, or extracted now.

    Raises ValueError for a file that another network made, where it names its network.
    """
    if isinstance(gallery, str | Path) and Path(gallery).suffix in WRITERS:
        paths, descriptors, made_by = _read(gallery)
        network = model if isinstance(model, Describer) else describer(model)
        if made_by not in ("", network.identity):
            raise ValueError(f"{gallery} holds descriptors of another network: extract them with this one")
        return paths, descriptors
    files = images_in(gallery)
    return files, extract(files, model)


def nearest(query: np.ndarray, gallery: np.ndarray, top: int = 10) -> pd.DataFrame:
    """The ``top`` rows of the gallery (G, D) nearest to the query (D,): rank from 1, row and distance.

    Raises ValueError for a ``top`` below 1, and for descriptors of another network than the query's, by their number of
    dimensions.
    """
    _check_top(top)
    if len(query) != gallery.shape[1]:
        raise ValueError(
            f"the gallery's descriptors have {gallery.shape[1]} dimensions, this network's {len(query)}:"
            " extract both with one network"
        )
    distances = np.linalg.norm(gallery - query, axis=1)
    rows = np.argsort(distances, kind="stable")[:top]
    return pd.DataFrame({"rank": range(1, len(rows) + 1), "row": rows, "distance": distances[rows]})


def _check_top(top: int) -> None:
    if top < 1:
        raise ValueError(f"top={top}: the list has at least 1 image")


def save(file: str | Path, paths: Sequence[str], descriptors: np.ndarray, network: Describer | None = None) -> Path:
    """Write descriptors (N, D) and their images' paths: ``.npz``, arrays ``paths`` and ``descriptors``, or
    ``.parquet``, columns path, d0, d1, ...; a ``.npz`` also has the ``identity`` of the ``network`` that made them.

    Raises ValueError for another suffix, and where parquet's library is missing.
    """
    file = Path(file).expanduser()
    if file.suffix not in WRITERS:
        raise ValueError(f"descriptors are written as {' or '.join(WRITERS)}, found {file.name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    identity = network.identity if network else ""
    write_atomically(file, lambda target: WRITERS[file.suffix](target, list(paths), descriptors, identity))
    return file


def load(file: str | Path) -> tuple[list[str], np.ndarray]:
    """The paths and descriptors (N, D) of a file of ``save``. Raises ValueError for any other file."""
    return _read(file)[:2]


def _read(file: str | Path) -> tuple[list[str], np.ndarray, str]:
    """As ``load``, and the identity of the network that made them; '' where it is not known."""
    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    try:
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file)
            return frame.path.tolist(), frame.drop(columns="path").to_numpy(np.float32), ""
        with np.load(file, allow_pickle=False) as arrays:
            paths, descriptors = arrays["paths"].tolist(), arrays["descriptors"].astype(np.float32, casting="same_kind")
            network = str(arrays["network"]) if "network" in arrays else ""
        if descriptors.ndim != 2 or len(paths) != len(descriptors):
            raise ValueError
        return paths, descriptors, network
    except ImportError as error:
        raise ValueError(f"{file.name} needs the package pyarrow: pip install pyarrow, or write .npz") from error
    except (KeyError, OSError, TypeError, ValueError, AttributeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{file} holds no descriptors with paths: write it by python -m reidnb extract") from error


def _save_npz(file: Path, paths: list[str], descriptors: np.ndarray, network: str) -> None:
    with file.open("wb") as target:
        np.savez_compressed(target, paths=np.array(paths), descriptors=descriptors, network=np.array(network))


def _save_parquet(file: Path, paths: list[str], descriptors: np.ndarray, network: str) -> None:
    columns = {f"d{n}": column for n, column in enumerate(descriptors.T)}
    try:
        pd.DataFrame({"path": paths, **columns}).to_parquet(file)
    except ImportError as error:
        raise ValueError(f"{file.name} needs the package pyarrow: pip install pyarrow, or write .npz") from error


WRITERS = {".npz": _save_npz, ".parquet": _save_parquet}
"""The kinds of files that hold descriptors."""
