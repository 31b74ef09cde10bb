"""The report: one page, ``results/index.html``, of whatever tables, figures and readings lie in ``results``.

    tables/<paper>-<table>-<dataset>-<profile>.csv    with its .json (``tables.save``); the table 'claims' comes first
    figures/<name>.webp                               with its .json (``save_figure``)
    readings.csv, readings-<paper>.csv                ledgers of readings
    runs.csv                                          a row per run: device, versions, seed, times

What is missing does not appear. The page needs nothing but this folder: its style is inside it, links are relative.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pandas.io.formats.style import Styler
from PIL import Image

from ..files import write_atomically
from ..papers import KNOWN
from ..papers.experiments import train_set
from ..study import claims, reproduction
from . import headline, tables
from . import saved as kept
from .saved import Saved, nearest_first, save_figure

__all__ = ["build", "save_figure"]
SECONDS = ["train_seconds", "evaluate_seconds"]
"""What a run takes, in ``runs.csv``."""
HEADINGS = {"attention": "What attention sees", "compare": "Networks compared"}
"""The sections that no paper has, by the first word of their tables."""
SENTENCES = re.compile(r"(?<=\.) (?=[A-Z]|mAP)")


def build(results: str | Path) -> Path:
    """Write ``index.html`` into the results folder and return its path.

    Raises FileNotFoundError when the folder is missing, ValueError when nothing in it can be reported or a file in it
    cannot be read, naming the file.
    """
    results = Path(results)
    if not results.is_dir():
        raise FileNotFoundError(f"there is no results folder {results}")
    saved = kept.tables(results)
    headline.draw(saved, results)
    figures, runs = _figures(results), _runs_table(results)
    by_paper = {name: [each for each in saved if each.paper == name] for name in [each.paper for each in saved]}
    names = dict.fromkeys(name for name in (*KNOWN, *by_paper) if name in by_paper or figures.get(name))
    content = {
        "cards": headline.cards(saved, runs, results),
        "claims": figures.get("claims", []),
        "overview": _overview(saved, runs),
        "sections": [_section(name, by_paper.get(name, []), figures, results) for name in names],
        "figures": _by_caption(figures.get("", [])),
        "reproduction": _reproduction(results),
        "readings": [ledger for path in sorted(results.glob("readings*.csv")) if (ledger := _readings(path))["count"]],
        "runs": _runs(runs),
        "pages": headline.pages(results),
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


def _heading(section: str) -> str:
    return KNOWN[section].short if section in KNOWN else HEADINGS.get(section, section)


def _section(name: str, saved: Sequence[Saved], figures: dict[str, list[dict]], results: Path) -> dict:
    """A paper's part of the page: slope charts, tables by data set and profile, contradictions, figures."""
    settings = sorted({each.setting for each in saved}, key=nearest_first)
    return {
        "id": f"paper-{name}",
        "title": _heading(name),
        "citation": KNOWN[name].citation if name in KNOWN else "",
        "slopes": figures.get(f"{name}-slope", []),
        "groups": [_group([each for each in saved if each.setting == setting], setting) for setting in settings],
        "contradictions": _contradictions(results / f"contradictions-{name}.csv"),
        "figures": _by_caption(figures.get(name, [])),
    }


def _group(saved: Sequence[Saved], setting: tuple[str, str]) -> dict:
    """The tables of one data set and profile; what all their captions have in common is printed once, above them."""
    dataset, profile = setting
    captions = [_sentences(each) for each in saved]
    shared = [text for text in captions[0] if len(saved) > 1 and all(text in other for other in captions)]
    rest = [" ".join(text for text in caption if text not in shared) for caption in captions]
    return {
        "title": ", ".join(filter(None, (dataset, profile and f"{profile} profile"))) or "other tables",
        "count": len(saved),
        "note": " ".join(shared),
        "tables": [_table(each, caption, bool(shared)) for each, caption in zip(saved, rest, strict=True)],
    }


def _sentences(saved: Saved) -> list[str]:
    """A table's caption in sentences, without the paper's title and the table's, which are its headings."""
    sentences = SENTENCES.split(str(saved.about.get("caption", "")))
    title = KNOWN[saved.paper].title if saved.paper in KNOWN else ""
    return [text for text in sentences if text and not (title and text.startswith(f"{title}, "))]


def _contradictions(path: Path) -> Markup | str:
    """What a paper says twice and differently; '' where nothing is known of it."""
    frame = kept.read_csv(path) if path.exists() else pd.DataFrame()
    return _html(tables.prose(frame), path.stem) if len(frame) else ""


def _overview(saved: Sequence[Saved], runs: pd.DataFrame) -> Markup | str:
    """A line for each paper, data set and profile: what is finished, which claims hold, how long it took."""
    parts: dict[tuple[str, str, str], dict[str, pd.DataFrame]] = {}
    for table in saved:
        about = table.about
        if about["paper"] in KNOWN and {"dataset", "profile"} <= about.keys():
            parts.setdefault((table.paper, *table.setting), {})[table.table] = table.frame
    lines = []
    for (paper, dataset, profile), by_table in sorted(
        parts.items(), key=lambda part: (list(KNOWN).index(part[0][0]), nearest_first(part[0][1:]))
    ):
        planned = {table.name: len(table.rows) for table in KNOWN[paper].tables_for(dataset)}
        done = {name: int((frame.seeds > 0).sum()) for name, frame in by_table.items() if name in planned}
        counts = claims.counts(by_table.get("claims", pd.DataFrame({"claim": [], "verdict": []})))
        lines.append(
            {
                "paper": KNOWN[paper].short,
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
    comparison = kept.read_csv(path)
    if comparison.empty:
        return {}
    return {
        "line": reproduction.in_a_line(comparison),
        "html": _html(tables.plain(comparison.round(2)), "reproduction"),
    }


def _figures(results: Path) -> dict[str, list[dict]]:
    """The figures by their place: 'claims', '<paper>-slope', a paper's name, or '' for the others."""
    places: dict[str, list[dict]] = {}
    for path in kept.pictures(results):
        paper, kind, *_ = [*path.stem.split("-"), ""]
        place = paper if paper in (*KNOWN, "claims") else ""
        places.setdefault(f"{place}-slope" if place and kind == "slope" else place, []).append(_figure(path, results))
    drawn = {tuple(figure["name"].replace("-to-", "->").rsplit("-", 1)): figure for figure in places.get("claims", [])}
    if drawn:
        order = sorted(drawn, key=nearest_first)
        on_street = nearest_first(order[0])[0]
        # At once visible are those on real data, or where there are none, the first.
        for setting in order:
            drawn[setting]["first"] = setting == order[0] or not (on_street or nearest_first(setting)[0])
        places["claims"] = [drawn[setting] for setting in order]
    return places


def _by_caption(figures: Sequence[dict]) -> list[dict]:
    """The figures, those of the same caption together, under it once."""
    captions = [figure["caption"] for figure in figures]
    together = {text: [figure for figure in figures if figure["caption"] == text] for text in captions}
    single = [figure for members in together.values() if len(members) == 1 for figure in members]
    groups = [
        {"note": text, "figures": [figure | {"caption": ""} for figure in members]}
        for text, members in together.items()
        if len(members) > 1
    ]
    return groups + ([{"note": "", "figures": single}] if single else [])


def _table(saved: Saved, caption: str, is_noted: bool) -> dict:
    path, about, frame = saved.path, saved.about, saved.frame
    try:
        # A table without its caption is marked as such.
        needed = "Ours: profile, seeds and weights not recorded." if tables.needs_caption(frame) else ""
        styler = tables.styled(frame, caption=caption or needed)
        if is_noted and not caption:
            styler.set_caption("")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    title = ". ".join(part for part in (_spoken(saved.table), str(about.get("title", ""))) if part) or path.stem
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
    about = kept.read_about(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
    except OSError as error:
        raise ValueError(f"{path} is not a readable picture") from error
    return {
        "name": path.stem.removeprefix("claims-"),
        "url": quote(path.relative_to(results).as_posix()),
        "pdf": quote(path.relative_to(results).with_suffix(".pdf").as_posix())
        if path.with_suffix(".pdf").exists()
        else "",
        "id": f"figure-{path.stem}",
        # Only there borders tell matches from other people.
        "ranking": "-rankings-" in f"{path.stem}-",
        "title": str(about.get("title") or path.stem),
        "caption": str(about.get("caption", "")),
        # Made at 150 dots an inch, shown at 96.
        "width": round(width * 96 / 150),
        "height": round(height * 96 / 150),
    }


def _readings(path: Path) -> dict:
    frame = kept.read_csv(path, dtype=str)
    paper = path.stem.removeprefix("readings").removeprefix("-")
    try:
        html = _html(tables.readings(frame), path.stem)
        return {"title": _heading(paper), "html": html, "count": len(frame)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _runs_table(results: Path) -> pd.DataFrame:
    path = results / "runs.csv"
    return kept.read_csv(path) if path.exists() else pd.DataFrame()


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
