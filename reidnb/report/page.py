"""The report: one page, ``results/index.html``, of whatever tables, figures and readings lie in ``results``.

    tables/<paper>-<table>-<dataset>-<profile>.csv    with its .json (``tables.save``); the table 'claims' comes first
    figures/<name>.webp                               with its .json (``save_figure``)
    readings.csv, readings-<paper>.csv                ledgers of readings
    runs.csv                                          a row per run: device, versions, seed, times

What is missing does not appear. The page needs nothing but this folder: its style is inside it, links are relative.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from PIL import Image

from ..figures import style
from ..files import write_atomically
from ..papers import PAPERS
from ..papers.experiments import train_set
from ..study import claims, reproduction
from . import tables

SECONDS = ["train_seconds", "evaluate_seconds"]
"""What a run takes, in ``runs.csv``."""
PICTURES = (".webp", ".png")
"""Figures that a report shows; earlier versions saved PNG."""


def save_figure(figure: Figure, results: Path, name: str, *, title: str, caption: str) -> Path:
    """Keep a figure for the report as ``figures/<name>.webp`` with title and caption beside it; returns the path."""
    if not title.strip():
        raise ValueError(f"the figure {name!r} needs a title")
    path = style.save(figure, Path(results) / "figures" / f"{name}.webp")
    about = json.dumps({"title": title, "caption": caption}, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path.with_suffix(".json"), lambda file: file.write_text(about, "utf-8"))
    return path


def build(results: str | Path) -> Path:
    """Write ``index.html`` into the results folder and return its path.

    Raises FileNotFoundError when the folder is missing, ValueError when nothing in it can be reported or a file in it
    cannot be read, naming the file.
    """
    results = Path(results)
    if not results.is_dir():
        raise FileNotFoundError(f"there is no results folder {results}")
    kept, figures = _tables(results), _figures(results)
    runs = _csv(results / "runs.csv") if (results / "runs.csv").exists() else pd.DataFrame()
    by_paper: dict[str, list[dict]] = {}
    for saved in kept:
        by_paper.setdefault(str(saved.about["paper"]), []).append(_table(saved))
    names = [name for name in (*PAPERS, *by_paper) if name in by_paper or figures.get(name)]
    content = {
        "sections": [
            {
                "id": f"paper-{name}",
                "title": _heading(name),
                "tables": by_paper.get(name, []),
                "contradictions": _contradictions(results / f"contradictions-{name}.csv"),
                "figures": figures.get(name, []),
            }
            for name in dict.fromkeys(names)
        ],
        "overview": _overview(kept, runs),
        "figures": figures.get("", []),
        "reproduction": _reproduction(results),
        "readings": [_readings(path) for path in sorted(results.glob("readings*.csv"))],
        "runs": _runs(runs),
    }
    if not any(content.values()):
        raise ValueError(
            f"nothing to report in {results}: neither tables/*.csv nor figures/*.webp nor readings*.csv nor runs.csv;"
            " run a notebook first"
        )
    environment = Environment(loader=PackageLoader("reidnb.report", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("page.html").render(content)
    path = results / "index.html"
    write_atomically(path, lambda file: file.write_text(page, "utf-8"))
    return path


@dataclass(frozen=True)
class _Saved:
    """A table of ``tables.save`` as it was read back."""

    path: Path
    about: dict
    frame: pd.DataFrame


def _heading(paper: str) -> str:
    return PAPERS[paper].short if paper in PAPERS else paper


def _contradictions(path: Path) -> Markup | str:
    """What a paper says twice and differently; '' where nothing is known of it."""
    frame = _csv(path) if path.exists() else pd.DataFrame()
    return _html(tables.prose(frame), path.stem) if len(frame) else ""


def _tables(results: Path) -> list[_Saved]:
    paths = sorted((results / "tables").glob("*.csv"), key=_claims_first)
    return [_Saved(path, _about(path), _csv(path)) for path in paths]


def _claims_first(path: Path) -> tuple:
    """A paper's claims, then its own tables by number, then the others by name."""
    paper, table, *_ = [*path.stem.split("-"), ""]
    number = table.removeprefix("table")
    return (paper, table != "claims", not number.isdigit(), int(number) if number.isdigit() else 0, path.stem)


def _overview(saved: list[_Saved], runs: pd.DataFrame) -> Markup | str:
    """A line for each paper, data set and profile: what is finished, which claims hold, how long it took."""
    parts: dict[tuple[str, str, str], dict[str, pd.DataFrame]] = {}
    for table in saved:
        about = table.about
        if about["paper"] in PAPERS and {"dataset", "profile"} <= about.keys():
            dataset = about["dataset"].replace("-to-", "->")
            parts.setdefault((about["paper"], dataset, about["profile"]), {})[about["table"]] = table.frame
    lines = []
    for (paper, dataset, profile), by_table in sorted(
        parts.items(), key=lambda part: (list(PAPERS).index(part[0][0]), *part[0])
    ):
        planned = {table.name: len(table.rows) for table in PAPERS[paper].tables_for(dataset)}
        done = {name: int((frame.seeds > 0).sum()) for name, frame in by_table.items() if name in planned}
        counts = claims.counts(by_table.get("claims", pd.DataFrame({"claim": [], "verdict": []})))
        lines.append(
            {
                "paper": PAPERS[paper].short,
                "data set": dataset,
                "profile": profile,
                "tables": f"{sum(done[name] == planned[name] for name in done)} of {len(planned)}",
                "rows trained": f"{sum(done.values())} of {sum(planned.values())}",
                "claims": ", ".join(f"{verdict} {n}" for verdict, n in counts.items() if n) or tables.NONE,
                **_spent(runs, paper, train_set(dataset), profile),
            }
        )
    about = "A claim is a sentence of a paper about one of its tables; the paper's section says how each was decided."
    return _html(tables.plain(pd.DataFrame(lines), caption=about), "overview") if lines else ""


def _spent(runs: pd.DataFrame, paper: str, dataset: str, profile: str) -> dict[str, str]:
    """Computing time and devices of the runs behind a line of the overview, where ``runs.csv`` has them."""
    if not {"paper", "dataset", "profile", *SECONDS} <= set(runs):
        return {"computing time": tables.NONE, "device": tables.NONE}
    selected = runs[(runs.paper == paper) & (runs.dataset == dataset) & (runs.profile == profile)]
    devices = ", ".join(sorted(set(selected.device)))
    return {
        "computing time": _duration(selected[SECONDS].sum().sum()) if len(selected) else tables.NONE,
        "device": devices or tables.NONE,
    }


def _reproduction(results: Path) -> dict[str, str]:
    """How the study compares with the committed results, in a sentence and a table, where it was compared."""
    path = results / "reproduction.csv"
    if not path.exists():
        return {}
    comparison = _csv(path)
    if comparison.empty:
        return {}
    return {
        "line": reproduction.in_a_line(comparison),
        "html": _html(tables.plain(comparison.round(2)), "reproduction"),
    }


def _figures(results: Path) -> dict[str, list[dict]]:
    """The figures of each paper, by their names' beginning; '' for those of none."""
    by_paper: dict[str, list[dict]] = {}
    for path in sorted(path for path in (results / "figures").glob("*") if path.suffix in PICTURES):
        paper = path.stem.split("-")[0]
        by_paper.setdefault(paper if paper in PAPERS else "", []).append(_figure(path, results))
    return by_paper


def _table(saved: _Saved) -> dict:
    path, about, frame = saved.path, saved.about, saved.frame
    caption = str(about.get("caption", ""))
    try:
        # A table whose origin is lost says so.
        needed = "Ours: profile, seeds and weights not recorded." if tables.needs_caption(frame) else ""
        styler = tables.styled(frame, caption=caption or needed)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    title = ". ".join(part for part in (_spoken(str(about["table"])), str(about.get("title", ""))) if part) or path.stem
    where = [str(about["dataset"])] if about.get("dataset") else []
    where += [f"{about['profile']} profile"] if about.get("profile") else []
    return {
        "title": title + (f" ({', '.join(where)})" if where else ""),
        "html": _html(styler, path.stem),
        "links": [
            {"name": name, "url": f"tables/{quote(path.stem + suffix)}"}
            for name, suffix in (("csv", ".csv"), ("markdown", ".md"), ("LaTeX", ".tex"))
            if path.with_suffix(suffix).exists()
        ],
    }


def _figure(path: Path, results: Path) -> dict:
    about = _about(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError as error:
        raise ValueError(f"{path} is not a readable picture") from error
    return {
        "url": quote(path.relative_to(results).as_posix()),
        "id": f"figure-{path.stem}",
        "title": str(about.get("title") or path.stem),
        "caption": str(about.get("caption", "")),
        # Made at 150 dots an inch, shown at 96.
        "width": round(width * 96 / 150),
        "height": round(height * 96 / 150),
    }


def _readings(path: Path) -> dict:
    frame = _csv(path, dtype=str)
    paper = path.stem.removeprefix("readings").removeprefix("-")
    try:
        html = _html(tables.readings(frame), path.stem)
        return {"title": _heading(paper), "html": html, "count": len(frame)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _runs(frame: pd.DataFrame) -> dict | None:
    if frame.columns.empty:
        return None
    facts = {"runs": str(len(frame))}
    for name, label in (("device", "devices"), ("seed", "seeds"), ("commit", "code versions")):
        if name in frame and frame[name].notna().any():
            facts[label] = ", ".join(str(value) for value in sorted(frame[name].dropna().unique()))
    seconds = [c for c in SECONDS if c in frame]
    if seconds:
        facts["computing time"] = _duration(float(frame[seconds].sum().sum()))
    return {"facts": facts, "html": _html(tables.plain(frame), "runs")}


def _about(path: Path) -> dict:
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


def _csv(path: Path, **options) -> pd.DataFrame:
    try:
        return pd.read_csv(path, **options)
    except ValueError as error:  # pandas' parser errors, and text that is not UTF-8
        raise ValueError(f"{path} is not a readable table: {error}") from error


def _html(styler: Styler, name: str) -> Markup:
    """The table's HTML under ids made of its file's name, so that the same results give the same page."""
    safe = "".join(letter if letter.isalnum() else "_" for letter in name)
    # The Styler has escaped every cell already.
    return Markup(styler.set_uuid(safe).to_html())


def _spoken(table: str) -> str:
    """'table2' as a reader says it."""
    number = table.removeprefix("table")
    return f"Table {number}" if number and number != table else table.capitalize()


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"
