"""A trained network as one file for other programs: ONNX or TorchScript, compared with the network itself."""

import warnings
from copy import deepcopy
from keyword import iskeyword
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data.augment import mirror, normalise
from .files import write_atomically
from .models.output import output_of
from .pose import strips
from .search import Describer

TOLERANCE = 1e-3
"""Largest difference of a number of two L2-normalised descriptors that counts as agreement."""
SUFFIXES = (".onnx", ".pt")


class Described(nn.Module):
    """Images to descriptors as the network's test makes them, with the normalisation of colours inside.

    The input is ``images`` (B, H, W, 3), uint8, RGB, of the recipe's size, and for a network with regions around the
    joints ``boxes`` (B, 5, 4), float32, as fractions of the image; the output (B, D) float32.
    """

    def __init__(self, describer: Describer):
        super().__init__()
        self.model, self.recipe = deepcopy(describer.model).cpu().eval().requires_grad_(False), describer.recipe
        for heads in [module for module in self.model.modules() if isinstance(module, nn.ModuleDict)]:
            for name in filter(iskeyword, list(heads)):
                del heads[name]  # a classifier called 'global', which no descriptor needs, breaks the exported code

    def forward(self, images: Tensor, boxes: Tensor | None = None) -> Tensor:
        x = normalise(images)
        result = output_of(self.model, x, boxes).descriptor.float()
        if self.recipe.flip_test:
            mirrored = None if boxes is None else mirror(boxes)
            result = result + output_of(self.model, x.flip(3), mirrored).descriptor.float()
        return F.normalize(result) if self.recipe.normalise_test else result


def export(describer: Describer, file: str | Path) -> float:
    """Write the network as ``.onnx`` or ``.pt`` (TorchScript), for batches of any size, and check what was written.

    Returns the largest difference between the descriptors of the file and of the network, L2-normalised, on a batch of
    another size than that of the export. Raises ValueError for another suffix, for a difference above ``TOLERANCE``
    (nothing is then written), where the packages of ONNX are missing, and for a network with an operation that torch
    cannot write as ONNX.
    """
    file = Path(file).expanduser()
    if file.suffix not in SUFFIXES:
        raise ValueError(f"a network is exported as {' or '.join(SUFFIXES)}, found {file.name}")
    network = Described(describer).eval()
    write = _write_onnx if file.suffix == ".onnx" else _write_torchscript
    run = _run_onnx if file.suffix == ".onnx" else _run_torchscript
    differences = []

    inputs = _example(describer, 3)
    with torch.inference_mode():
        # Before the export: what the package computes once and keeps must not be a fake tensor of torch's exporter.
        expected = F.normalize(network(*inputs))

    def write_and_check(target: Path) -> None:
        write(network, _example(describer, 2), target)
        differences.append(float((F.normalize(run(target, inputs)) - expected).abs().max()))
        if not differences[0] <= TOLERANCE:
            raise ValueError(f"{file.name} gives other descriptors than the network: they differ by {differences[0]}")

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, write_and_check)
    return differences[0]


def _example(describer: Describer, count: int) -> tuple[Tensor, ...]:
    """Random images, and regions where the network takes some."""
    rng = np.random.default_rng(count)
    images = torch.from_numpy(rng.integers(0, 256, (count, *describer.recipe.size, 3), dtype=np.uint8))
    if describer.beta is None:
        return (images,)
    regions = strips(np.ones((count, 2)))
    return images, torch.from_numpy(regions)


def _write_torchscript(network: nn.Module, inputs: tuple[Tensor, ...], file: Path) -> None:
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the tracer warns of, constants in the code, is what the check is for
        torch.jit.trace(network, inputs, check_trace=False).save(str(file))


def _run_torchscript(file: Path, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but read by many programs
        return torch.jit.load(str(file))(*inputs)


def _write_onnx(network: nn.Module, inputs: tuple[Tensor, ...], file: Path) -> None:
    try:
        import onnxruntime  # noqa: F401, what the check needs
        import onnxscript  # noqa: F401, what torch.onnx needs
    except ImportError as error:
        raise ValueError(
            f"{file.name} needs the packages of ONNX: pip install --editable '.[export]' in the checkout"
        ) from error
    names = ("images", "boxes")[: len(inputs)]
    options = {"input_names": names, "output_names": ["descriptors"], "dynamo": True, "external_data": False}
    batch = torch.export.Dim("batch", min=1)
    try:
        torch.onnx.export(
            network, inputs, str(file), dynamic_shapes=[{0: batch}] * len(inputs), verbose=False, **options
        )
    except Exception as error:  # each step of the exporter raises its own kind, with pages of advice
        raise ValueError(f"torch {torch.__version__} cannot write this network as ONNX: export it as .pt") from error


def _run_onnx(file: Path, inputs: tuple[Tensor, ...]) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    fed = {given.name: value.numpy() for given, value in zip(session.get_inputs(), inputs, strict=True)}
    try:
        return torch.from_numpy(session.run(None, fed)[0])
    except Exception as error:  # onnxruntime's own kinds
        raise ValueError("the ONNX file does not take batches of any size: export the network as .pt") from error
