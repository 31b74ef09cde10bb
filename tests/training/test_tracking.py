"""Trackers: which are requested, what they receive, and that they do not affect results."""

import accelerate.tracking
import pytest
from accelerate.tracking import GeneralTracker
from accelerate.utils import LoggerType

from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.runs import run
from reidnb.training import tracking

SMOKE = one_experiment(PAPERS["wrcanet"], {"wra": "", "gp": False, "ms": False}, {}, "street-small", "smoke")


class Listener(GeneralTracker):
    """Stands in for TensorBoard and records what it receives."""

    name = "tensorboard"
    requires_logging_directory = True
    received: dict = {}  # noqa: RUF012

    def __init__(self, run_name, logging_dir, **options):
        super().__init__()
        self.received |= {"place": (run_name, str(logging_dir)), "steps": {}, "finished": 0}

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.received["settings"] = values

    def log(self, values, step=None, **options):
        self.received["steps"].setdefault(step, {}).update(values)

    def finish(self):
        self.received["finished"] += 1


@pytest.fixture
def listener(monkeypatch):
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [LoggerType.TENSORBOARD])
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Listener)
    monkeypatch.setattr(Listener, "received", {})
    return Listener


@pytest.mark.parametrize(
    ("variable", "expected"), [("", []), ("0", []), ("1", ["tensorboard"]), (" TensorBoard,", ["tensorboard"])]
)
def test_trackers_are_requested_by_the_environment(listener, monkeypatch, variable, expected):
    monkeypatch.setenv("REIDNB_TRACKER", variable)
    assert tracking.requested_trackers() == expected


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("tensorboard,excel", "REIDNB_TRACKER='excel': known are tensorboard, wandb, mlflow, trackio"),
        ("mlflow", "REIDNB_TRACKER='mlflow' is not installed: pip install mlflow, or unset it"),
    ],
)
def test_unusable_trackers_are_refused_before_training(
    listener, monkeypatch, tmp_path, variable, message, street_small
):
    monkeypatch.setenv("REIDNB_TRACKER", variable)
    with pytest.raises(ValueError, match=message):
        run(SMOKE, street_small, results=tmp_path, cpu=True)
    assert not (tmp_path / "runs").exists()


def test_a_tracker_receives_settings_epochs_and_metrics(listener, monkeypatch, tmp_path, street_small):
    monkeypatch.setenv("REIDNB_TRACKER", "1")
    done = run(SMOKE, street_small, results=tmp_path, cpu=True, log=lambda line: None)
    received = listener.received
    assert received["place"] == (tracking.PROJECT, str(done.folder))
    assert received["settings"]["recipe.lr"] == SMOKE.recipe.lr and received["settings"]["options.gp"] is False
    for epoch, row in done.history.set_index("epoch").iterrows():
        assert received["steps"][epoch]["loss"] == pytest.approx(row["loss"])
        assert {"lr", "images_per_second"} <= set(received["steps"][epoch])
    assert received["steps"][len(done.history)]["map"] == done.metrics["map"]
    assert received["finished"] == 1


def test_settings_are_flattened():
    assert tracking.flat({"a": {"b": 1, "c": {"d": (2, 3)}}, "e": None}) == {"a.b": 1, "a.c.d": "(2, 3)", "e": "None"}


def test_tensorboard_writes_into_the_runs_folder(monkeypatch, tmp_path, street_small):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("REIDNB_TRACKER", "tensorboard")
    done = run(SMOKE, street_small, results=tmp_path, cpu=True, log=lambda line: None)
    assert list((done.folder / tracking.PROJECT).glob("events.*"))
