"""ImageNet pre-training of the attention-driven network (section 4.1.3), for which no weights are published.

"The model is first pre-trained on the ImageNet (ILSVRC2012) for 9 epochs, where the learning rate is initially set as
0.01 and further divided by 10 after every 3 epochs"; batch 32. The branches are trained, each with its own loss, on
full images and their four strips, since there are no people; fine-tuning takes over all but classifiers and fusion.

    pretraining.pretrain("~/imagenet")                                  # days on one GPU; resumes after an interruption
    experiment = one_experiment(PAPER, {}, {}, "market1501", "paper", weights="imagenet")
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torchvision.datasets import ImageFolder, ImageNet

from ...data import pixels
from ...data.augment import Augmentation
from ...files import write_atomically
from ...training.loop import make_accelerator, train
from ...training.recipe import Recipe, Shuffle, Steps
from .network import PRETRAINED, AttentionDriven, pretrained_file, variant

RECIPE = Recipe(
    size=(384, 192),
    epochs=9,
    sampler=Shuffle(32),
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule=Steps(warmup=0, milestones=(3, 6)),
    augmentation=Augmentation(flip=0.5, pad=0, erase=0.0),
)
"""As stated in the paper, except momentum, weight decay and the flip, which it does not give."""


class Pictures:
    """Images on disk with the interface of an array (N, H, W, 3) uint8; each batch is read on access.

    ImageNet decoded at 384x192 would take 283 GB, so nothing is kept in memory.
    """

    def __init__(self, paths: list[str], size: tuple[int, int]):
        self.paths, self.size = paths, size
        self.pool = ThreadPoolExecutor()  # Pillow releases the GIL while it decodes and resizes

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return np.concatenate(list(self.pool.map(self._read, index)))

    def _read(self, number: int) -> np.ndarray:
        try:
            return pixels.read([self.paths[number]], self.size)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{self.paths[number]} cannot be decoded: {str(error).splitlines()[0]}") from error


def find_images(root: str | Path) -> ImageFolder:
    """The training images of ImageNet in ``root``.

    ``root`` holds torchvision's ``meta.bin``, or the archives of the development kit and the training images, or one
    folder per class, directly or under 'train'. Raises FileNotFoundError for any other folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"ImageNet: {root} is not a folder")
    if (root / "meta.bin").is_file() or (root / "ILSVRC2012_devkit_t12.tar.gz").is_file():
        return ImageNet(str(root), split="train")
    folder = root / "train" if (root / "train").is_dir() else root
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"ImageNet: {folder} holds no image folders, one per class") from error


def pretrain(
    root: str | Path,
    options: dict | None = None,
    recipe: Recipe = RECIPE,
    *,
    backbone: str = "five-branch",
    target: Path | None = None,
    seed: int = 0,
    cpu: bool = False,
    log: Callable[[str], None] = print,
) -> Path:
    """Train the branches on the classes of ``root`` and return the .safetensors file of their weights.

    options    options of ``AttentionDriven`` that change its branches, such as 'shortcut' and 'pooling'
    recipe     by default as the paper states it; for a trial use a smaller size or fewer epochs
    target     file of the weights; by default the one in the cache that ``weights="imagenet"`` reads

    An interrupted training resumes after its last completed epoch; an existing file is returned as it is. Raises what
    ``find_images`` and ``training.loop.train`` raise, and ValueError for an image that cannot be decoded.
    """
    kind = {name: value for name, value in (options or {}).items() if name in signature(variant).parameters}
    target = Path(target or pretrained_file(backbone, variant(**kind))).expanduser()
    if target.exists():
        return target
    dataset = find_images(root)
    log(f"pre-training on {len(dataset.samples)} images of {len(dataset.classes)} classes")
    torch.manual_seed(seed)
    branches = (options or {}) | {"regions": "strips", "fusion": "concat"}
    model = AttentionDriven(len(dataset.classes), recipe.size, backbone, **branches)
    target.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = target.with_suffix(".checkpoint.pt")
    paths, classes = zip(*dataset.samples, strict=True)
    train(
        model,
        Pictures(list(paths), recipe.size),
        np.asarray(classes, np.int64),
        recipe,
        seed=seed,
        accelerator=make_accelerator(recipe.precision, cpu),
        checkpoint=checkpoint,
        log=log,
    )
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    kept = {name: value for name, value in state.items() if name.startswith(PRETRAINED)}
    write_atomically(target, lambda file: save_file(kept, str(file)))
    checkpoint.unlink(missing_ok=True)
    return target
