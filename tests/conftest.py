"""Shared fixtures: a cache of its own for the whole test session, and a small street in it."""

import os
from pathlib import Path

import hypothesis
import pytest

from reidnb.data import catalog

# A busy machine is slow, which is not a fault of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Neither the user's cache nor results are touched; a cache can be given to make repeated runs faster."""
    os.environ.setdefault("REIDNB_CACHE", str(tmp_path_factory.mktemp("cache")))
    os.environ["REIDNB_RESULTS"] = str(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def street_small() -> catalog.ReidData:
    return catalog.load("street-small")


@pytest.fixture(scope="session")
def notebooks() -> Path:
    return Path(__file__).resolve().parents[1] / "notebooks"
