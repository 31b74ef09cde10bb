"""Lines of progress where no terminal is."""

import numpy as np
import pytest

from reidnb import progress
from reidnb.progress import in_words, with_progress


class Clock:
    """A clock that each step of a loop moves on by ``step`` seconds."""

    def __init__(self, step: float):
        self.time, self.step = 0.0, step

    def __call__(self) -> float:
        return self.time

    def steps(self, items):
        for item in items:
            self.time += self.step
            yield item


@pytest.mark.parametrize(("step", "lines"), [(0.1, 0), (3, 1), (20, 9)])
def test_a_line_every_so_often(step, lines, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    clock, printed = Clock(step), []
    items = with_progress(np.arange(10), "epoch 1", printed.append, every=20, clock=clock)
    assert list(clock.steps(items)) == list(range(10))
    assert len(printed) == lines
    if lines == 1:
        assert printed == ["epoch 1: 7/10, about 9 s left"]


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(with_progress([1, 2], "epoch 1", pytest.fail)) == [1, 2]
    assert "epoch 1" in capsys.readouterr().err


def test_times_in_words():
    assert [in_words(seconds) for seconds in (4.4, 89, 91, 3600, 7200)] == ["4 s", "89 s", "2 min", "60 min", "2.0 h"]
