"""Progress of long loops: a bar in a terminal, and lines where there is none, as in notebooks and log files."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

EVERY = 20.0
"""Seconds between two lines."""

T = TypeVar("T")


def with_progress(
    items: Sequence[T],
    title: str,
    log: Callable[[str], None] | None = print,
    *,
    every: float = EVERY,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Yield the items; where there is no terminal, log a line every ``every`` seconds with the time that is left.

    ``log`` is None in a process that is silent, as only one of several speaks.
    """
    if log is None:
        yield from items
        return
    if sys.stderr.isatty():
        yield from tqdm(items, desc=title, leave=False)
        return
    start = logged = clock()
    for done, item in enumerate(items):
        now = clock()
        if done and now - logged >= every:
            remaining = (now - start) / done * (len(items) - done)
            log(f"{title}: {done}/{len(items)}, about {in_words(remaining)} left")
            logged = now
        yield item


def in_words(seconds: float) -> str:
    """A time to wait, as a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
