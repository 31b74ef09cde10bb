"""What a results folder holds for the report: tables and figures with what is known of them, and how they are kept."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..data import catalog
from ..figures import style
from ..files import write_atomically
from ..papers.experiments import train_set
from ..training.profiles import PROFILES

PICTURES = (".webp", ".png")
"""Figures that a report shows; earlier versions saved PNG."""


@dataclass(frozen=True)
class Saved:
    """A table of ``tables.save`` as it was read back."""

    path: Path
    about: dict
    frame: pd.DataFrame

    @property
    def paper(self) -> str:
        return str(self.about["paper"])

    @property
    def table(self) -> str:
        return str(self.about["table"])

    @property
    def setting(self) -> tuple[str, str]:
        """Data set and profile; '' where they are not known."""
        return str(self.about.get("dataset", "")).replace("-to-", "->"), str(self.about.get("profile", ""))


def nearest_first(setting: tuple[str, str]) -> tuple:
    """Order of (data set, profile): real data before the street, then by how near a profile is to the papers."""
    dataset, profile = setting
    place = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
    return train_set(dataset) in catalog.STREETS, place, dataset


def save_figure(figure: Figure, results: Path, name: str, *, title: str, caption: str) -> Path:
    """Keep a figure for the report as ``figures/<name>.webp`` and .pdf, with title and caption beside it.

    Returns the path of the .webp.
    """
    if not title.strip():
        raise ValueError(f"the figure {name!r} needs a title")
    path = style.save(figure, Path(results) / "figures" / f"{name}.webp")
    about = json.dumps({"title": title, "caption": caption}, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path.with_suffix(".json"), lambda file: file.write_text(about, "utf-8"))
    return path


def tables(results: Path) -> list[Saved]:
    """The saved tables: of each paper its claims, then its own tables by number, then the others by name."""
    paths = sorted((results / "tables").glob("*.csv"), key=_claims_first)
    return [Saved(path, read_about(path), read_csv(path)) for path in paths]


def pictures(results: Path) -> list[Path]:
    """The saved figures, by name."""
    return sorted(path for path in (results / "figures").glob("*") if path.suffix in PICTURES)


def read_about(path: Path) -> dict:
    """What is known of a table or figure: from its JSON file, and otherwise from its name."""
    paper, table, *_ = [*path.stem.split("-"), ""]
    known = {"paper": paper, "table": table} if path.suffix == ".csv" else {}
    side = path.with_suffix(".json")
    if not side.exists():
        return known
    try:
        about = json.loads(side.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{side} is not readable JSON: {error}") from error
    if not isinstance(about, dict):
        raise ValueError(f"{side} holds no JSON object")
    return known | about


def read_csv(path: Path, **options) -> pd.DataFrame:
    """A table; ValueError that names the file where it is none."""
    try:
        return pd.read_csv(path, **options)
    except ValueError as error:  # pandas' parser errors, and text that is not UTF-8
        raise ValueError(f"{path} is not a readable table: {error}") from error


def _claims_first(path: Path) -> tuple:
    paper, table, *_ = [*path.stem.split("-"), ""]
    number = table.removeprefix("table")
    return (paper, table != "claims", not number.isdigit(), int(number) if number.isdigit() else 0, path.stem)
