"""Exercises of the papers' notebooks: a check of a student's function on small inputs, answered in one sentence."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[..., object]


@dataclass(frozen=True)
class Task:
    """A function to be written: its solution, the arguments of each call, and what usual mistakes give instead."""

    solution: Function
    calls: tuple[tuple, ...]
    mistakes: dict[str, Function]
    """A sentence for each wrong function with a typical mistake."""


def check(task: str, function: Function) -> str:
    """One sentence on a student's function for ``task``, a name of ``TASKS``: solved, not yet and why, or not begun.

    The function is called with copies of small tensors; whatever it raises becomes part of the sentence. Raises
    ValueError for an unknown task.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: known are {', '.join(TASKS)}")
    described = TASKS[task]
    for arguments in described.calls:
        call = f"{task}{_in_words(arguments)}"
        try:
            answer = function(*deepcopy(arguments))
        except Exception as error:  # whatever a student's code raises
            return f"Not yet: {call} raises {type(error).__name__}: {str(error).splitlines()[0] if str(error) else '-'}"
        if answer is None or answer is Ellipsis:
            return f"Not solved yet: {task} returns nothing."
        expected = described.solution(*arguments)
        if difference := _difference(answer, expected):
            hint = next(
                (h for h, wrong in described.mistakes.items() if not _difference(answer, wrong(*arguments))), ""
            )
            return f"Not yet: {call} {hint or difference}"
    return f"Solved: {task} is right on all {len(described.calls)} inputs."


def _in_words(arguments: tuple) -> str:
    words = (f"{'×'.join(map(str, x.shape))} tensor" if isinstance(x, Tensor) else repr(x) for x in arguments)
    return f"({', '.join(words)})"


def _difference(answer: object, expected: Tensor | float) -> str:
    """How an answer differs from the expected one, in words; '' if it does not."""
    try:
        given, expected = torch.as_tensor(answer).float(), torch.as_tensor(expected).float()
    except (TypeError, ValueError, RuntimeError):
        return f"returns a {type(answer).__name__}, not a {'tensor' if isinstance(expected, Tensor) else 'number'}."
    if given.shape != expected.shape:
        return f"has shape {tuple(given.shape)} instead of {tuple(expected.shape)}."
    wrong = ~torch.isclose(given, expected, atol=1e-5)
    return f"differs from the solution in {int(wrong.sum())} of {wrong.numel()} values." if wrong.any() else ""


def _erase(image: Tensor, f: Tensor, fraction: float) -> Tensor:
    places = round(fraction * f.shape[1] * f.shape[2])
    order = f.flatten(1).argsort(1, descending=True)
    kept = torch.ones_like(f).flatten(1).scatter(1, order[:, :places], 0.0).view_as(f)
    return image * kept[:, None]


def _erase_over_the_batch(image: Tensor, f: Tensor, fraction: float) -> Tensor:
    places = round(fraction * f.numel())
    kept = torch.ones(f.numel()).scatter(0, f.flatten().argsort(descending=True)[:places], 0.0)
    return image * kept.view_as(f)[:, None]


def _hard_fraction(logits_b: Tensor, logits_d: Tensor, labels: Tensor) -> Tensor:
    correct_b, correct_d = (logits.argmax(1) == labels for logits in (logits_b, logits_d))
    return (correct_b & ~correct_d).sum() / correct_b.sum().clamp(min=1)


def _window_means(stripes: Tensor) -> Tensor:
    count = stripes.shape[2]
    spans = [(top, top + height) for height in range(1, count + 1) for top in range(count - height + 1)]
    return torch.stack([stripes[..., top:end].mean(2) for top, end in spans], 2)


def _window_sums(stripes: Tensor) -> Tensor:
    count = stripes.shape[2]
    heights = [height for height in range(1, count + 1) for _ in range(count - height + 1)]
    return _window_means(stripes) * torch.tensor(heights)


def _windows_by_top(stripes: Tensor) -> Tensor:
    count = stripes.shape[2]
    spans = [(top, end) for top in range(count) for end in range(top + 1, count + 1)]
    return torch.stack([stripes[..., top:end].mean(2) for top, end in spans], 2)


def _visible_weights(mu: Tensor, visible: Tensor) -> Tensor:
    weights = mu * visible
    return weights * mu.sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1e-12)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


_LABELS = torch.tensor([0, 1, 2, 1, 0, 2])
_VISIBLE = torch.tensor([[True, True, False, True], [True, False, False, True], [True] * 4])

TASKS = {
    "erase": Task(
        _erase,
        (
            (_random(2, 3, 4, 4), _random(2, 4, 4, seed=1), 0.25),
            (_random(2, 3, 4, 2), _random(2, 4, 2, seed=1), 0.5),
            (_random(1, 3, 4, 4), _random(1, 4, 4, seed=2), 0.0),
        ),
        {
            "erases the places with the lowest f.": lambda image, f, fraction: _erase(image, -f, fraction),
            "keeps what it should erase.": lambda image, f, fraction: image - _erase(image, f, fraction),
            "takes the highest places of the batch together: each image has its own.": _erase_over_the_batch,
        },
    ),
    "hard_fraction": Task(
        _hard_fraction,
        (
            (_random(6, 3) + 0.7 * torch.eye(3)[_LABELS], _random(6, 3, seed=6), _LABELS),
            (torch.eye(3)[_LABELS], torch.eye(3)[_LABELS], _LABELS),
            (torch.eye(3)[_LABELS], -torch.eye(3)[_LABELS], _LABELS),
        ),
        {
            "counts all images: only those that B names right can become hard.": lambda b, d, labels: (
                ((b.argmax(1) == labels) & (d.argmax(1) != labels)).float().mean()
            ),
            "is the accuracy of D.": lambda b, d, labels: (d.argmax(1) == labels).float().mean(),
        },
    ),
    "window_means": Task(
        _window_means,
        ((_random(2, 3, 6),), (_random(1, 2, 4, seed=4),)),
        {
            "sums the stripes of a window instead of averaging them.": _window_sums,
            "orders the windows by their first stripe: the lowest windows come first.": _windows_by_top,
        },
    ),
    "visible_weights": Task(
        _visible_weights,
        ((torch.sigmoid(_random(3, 4)), _VISIBLE), (torch.sigmoid(_random(3, 4, seed=5)), _VISIBLE.flip(1))),
        {
            "does not make up for the hidden parts: the sum falls.": lambda mu, visible: mu * visible,
            "makes the weights sum to 1, not to what they summed to before.": lambda mu, visible: (
                mu * visible / (mu * visible).sum(1, keepdim=True)
            ),
        },
    ),
}
"""The coding task of each paper's notebook, by the name of the function to write."""
